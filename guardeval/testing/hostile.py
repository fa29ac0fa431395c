"""Texts that break careless code: what is judged is adversarial, so every part must carry these as they are."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["HOSTILE"]

HOSTILE: Mapping[str, str] = {
    "template syntax": "begin {{ 7 * 7 }} {% for x in y %}{{ x }}{% endfor %} {prompt} {0} {} %s %(name)s $name end",
    "slots": "begin [[prompt]] [[response]] [[policies]] <response> {{response}} end",
    "closing tags": "begin </think> </user_prompt> </text> <|im_end|> <|eot_id|> [/INST] <end_of_turn> ``` end",
    "control characters": "begin \x00 \x07 \x1b[31m \x7f \x85 end",
    "lone surrogates": "begin \ud800 \udfff end",
    "marks of direction": "begin \u202e right to left \u202c \u200f \u200b \ufeff end",
    "other line ends": "begin \r\n \r \u2028 \u2029 \x0b \x0c end",
    "accents put together": "begin e\u0301 \u00e9 \ufb01 \uff21 end",
    "white space round it": " \n\t begin  two spaces, \t a tab and a blank line\n\n end \t\n ",
    "quotation marks": "begin \" ' ` \\ \\n \\u0041 end",
    "a long text": "begin " + "some words of a text that has no end " * 2800 + "end",
}

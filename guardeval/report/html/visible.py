"""Text from anywhere, made fit for a page: nothing in it can steer how the text around it is shown, nothing is hidden.

Escaping is the template's and the script's work; this is about characters that act even as text.
"""

from __future__ import annotations

import re

__all__ = ["script_json", "visible"]

# controls but tab and newline; marks that turn or hide text; invisible tags, of which hidden prompts are made
_ACTING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_LINES = re.compile("\r\n?|[\u2028\u2029\x85\x0b\x0c]")


def visible(text: str, most: int | None = None) -> str:
    """The text with acting characters as signs (``␛``, ``⟦U+202E⟧``); at most ``most`` characters, the rest counted."""
    left = 0 if most is None else len(text) - most
    text = text[:most] if left > 0 else text
    text = _ACTING.sub(_sign, _LINES.sub("\n", text))
    text = _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)
    return f"{text} … [{left:,} more characters]" if left > 0 else text


def _sign(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else f"⟦U+{code:04X}⟧"


def script_json(data: bytes) -> str:
    """JSON that may stand inside a ``<script>``: no character of it can end the element or begin a comment."""
    text = data.decode()
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text

"""What a generator wrote, as single requests; JSON lines are asked for, JSON of other shapes and numbered lists are read, too.

Free prose is never taken for an example: it is a refusal, or something nobody asked for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from guardeval.contracts import Completion, Finish
from guardeval.verdict_block import after_thinking

__all__ = ["LONGEST", "SHORTEST", "Answer", "read_requests"]

SHORTEST, LONGEST = 8, 1500  # characters of a request
_KEYS = ("request", "prompt", "text", "example", "instruction", "query")
_ITEM = re.compile(r"^[ \t]{0,8}(?:\*\*)?(?:(\d{1,3})[.):]|[-*•])(?:\*\*)?[ \t]+(?=\S)", re.MULTILINE)
_FENCE = re.compile(r"^```[^\n]*$", re.MULTILINE)
_REFUSAL = re.compile(
    r"^\W{0,4}(i'?m sorry|i am sorry|sorry\b|i can(no|')t|i can not|i won'?t|i will not|(i'?m|i am) (not able|unable)|"
    r"as an ai|unfortunately|i must decline)",
    re.IGNORECASE,
)
_QUOTES = {'"': '"', "“": "”", "'": "'", "«": "»", "`": "`"}


class Answer(NamedTuple):
    """Requests in the order written, and why others, or all, could not be used."""

    requests: tuple[str, ...]
    problems: tuple[str, ...] = ()


def read_requests(completion: Completion, each: int) -> Answer:
    """At most ``each`` requests; one that is cut off, refused, far too short or far too long is a problem, not a request."""
    if completion.finish is Finish.FILTERED:
        return Answer((), ("withheld by the provider",))
    start = after_thinking(completion.text)
    if start < 0:
        return Answer((), ("cut off in its reasoning",))
    text = _FENCE.sub("", completion.text[start:]).strip()
    if not text:
        return Answer((), ("empty answer",))
    cut = completion.finish is Finish.LENGTH
    found = list(_from_json(text)) or _from_list(text, cut)
    if not found:
        said = "refused" if _REFUSAL.match(text.replace("’", "'")) else "cut off" if cut else "unreadable answer"
        return Answer((), (said,))
    checked = [_checked(one) for one in found[:each]]
    return Answer(tuple(t for t, why in checked if not why), tuple(why for _, why in checked if why))


def _checked(found: Any) -> tuple[str, str]:
    """The request, and what is wrong with it."""
    if found is None:
        return "", "declined"
    if not isinstance(found, str):
        return "", "no text"
    text = found.encode("utf-16", "surrogatepass").decode("utf-16", "replace").strip()
    if _REFUSAL.match(text.replace("’", "'")) and len(text) < 200:
        return "", "refused"
    if not SHORTEST <= len(text) <= LONGEST:
        return "", "too short" if len(text) < SHORTEST else "too long"
    return text, ""


# ---- JSON: a line each, one list, objects anywhere ----


def _from_json(text: str) -> Iterator[Any]:
    """Texts under a known key, or texts of a list, wherever JSON stands in the answer."""
    decoder = json.JSONDecoder(strict=False)
    at = 0
    for _ in range(1000):  # a hostile answer may be nothing but brackets
        starts = [p for p in (text.find("{", at), text.find("[", at)) if p >= 0]
        if not starts:
            return
        try:
            value, end = decoder.raw_decode(text, min(starts))
        except (ValueError, RecursionError):
            at = min(starts) + 1
            continue
        yield from _texts(value)
        at = end


def _texts(value: Any, depth: int = 0) -> Iterator[Any]:
    if isinstance(value, str) and depth:
        yield value
    elif isinstance(value, list) and depth < 4:
        for one in value:
            yield from _texts(one, depth + 1)
    elif isinstance(value, dict) and depth < 4:
        known = [k for k in value if str(k).lower() in _KEYS]
        if known:
            yield value[known[0]]
        else:
            for one in value.values():
                if isinstance(one, (list, dict)):
                    yield from _texts(one, depth + 1)


# ---- numbered and bulleted lists ----


def _from_list(text: str, cut: bool) -> list[Any]:
    """Items of a list; a paragraph after the last is not part of it, and the last of a cut answer is left out."""
    starts = list(_ITEM.finditer(text))
    if not starts:
        return []
    ends = [m.start() for m in starts[1:]] + [len(text)]
    items = [_unquoted(text[m.end() : end].partition("\n\n")[0].strip()) for m, end in zip(starts, ends, strict=True)]
    return list(items[:-1] if cut else items)


def _unquoted(text: str) -> str:
    text = text.strip("* \t")
    return text[1:-1].strip() if len(text) > 2 and _QUOTES.get(text[0]) == text[-1] else text

"""Output that always arrives: any terminal's encoding, readers that leave early."""

from __future__ import annotations

import codecs
import os
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

__all__ = ["encodable", "unread_is_fine"]

_HANDLER = "guardeval.plain"
_PLAIN = {
    "·": "-",
    "—": "-",
    "–": "-",
    "─": "-",
    "━": "=",
    "…": "...",
    "→": "->",
    "“": '"',
    "”": '"',
    "’": "'",
    "≥": ">=",
    "≤": "<=",
}


def encodable(stream: TextIO | None) -> None:
    """Let characters that the stream's encoding lacks go out as the nearest plain ones, instead of an error."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        codecs.register_error(_HANDLER, _nearest)
        reconfigure(errors=_HANDLER)


def _nearest(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(map(_plain, text)), error.end


def _plain(character: str) -> str:
    found = _PLAIN.get(character) or unicodedata.normalize("NFKD", character)
    return "".join(c for c in found if c.isascii() and c.isprintable()) or "?"


@contextmanager
def unread_is_fine() -> Iterator[None]:
    """Work goes on, and ends with its own exit code, when nobody reads stdout or stderr any more (``guardeval run | head``).

    A full disk under stdout is an error; what cannot be written to stderr is dropped, whatever the reason.
    """
    before = sys.stdout, sys.stderr
    # None where a stream was closed from the start; print() knows that
    sys.stdout = cast("TextIO", _Unread(sys.stdout, BrokenPipeError)) if sys.stdout is not None else sys.stdout
    sys.stderr = cast("TextIO", _Unread(sys.stderr, OSError)) if sys.stderr is not None else sys.stderr
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


class _Unread:
    """A stream whose output goes nowhere from the first write on that fails in a way that does not matter."""

    def __init__(self, stream: TextIO, fine: type[OSError]) -> None:
        self._stream, self._fine = stream, fine

    def write(self, text: str) -> int:
        with self._tolerant():
            self._stream.write(text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        with self._tolerant():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextmanager
    def _tolerant(self) -> Iterator[None]:
        try:
            yield
        except self._fine:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())  # for what is in the buffer, too: the interpreter would end with 120
            os.close(nowhere)

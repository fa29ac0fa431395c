"""One answer being written by a local model: its text so far, where it is complete, and what is reported of it.

No torch here: token ids come in, pieces of text come out.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from typing import Protocol

from guardeval.contracts import Completion, Finish, Request, Token
from guardeval.data import Outcome
from guardeval.verdict_block import find_block
from guardeval.verdicts import read_block

__all__ = ["THINK_CLOSE", "THINK_OPEN", "Answer", "Spelling", "closes", "is_thinking", "up_to_block"]

THINK_OPEN, THINK_CLOSE = "<think>", "</think>"

Top = Sequence[tuple[int, float]]  # token ids with natural log probabilities, most likely first

_PENDING = 8  # tokens after which bytes that form no character are given up on; a character has at most four


def is_thinking(text: str, opened: bool = False) -> bool:
    """Whether ``text`` ends inside a thinking block; ``opened`` if the prompt had opened one already."""
    start, end = text.rfind(THINK_OPEN), text.rfind(THINK_CLOSE)
    return start > end or (opened and end < 0)


def closes(text: str, request: Request, opened: bool = False) -> bool:
    """Whether the closing block is complete: the reader of verdicts finds it in the last complete lines of ``text``.

    A block that repeats the sample, or stands inside an open thinking block, closes nothing.
    """
    lines = text[: text.rfind("\n") + 1].rstrip() + "\n"
    last = lines[lines.rfind("\n", 0, -1) + 1 :]
    if "polic" not in last.lower() or is_thinking(text, opened):  # spares all other lines the reading
        return False
    case = request.case
    reading = read_block(lines, case, request.prompt)
    block = find_block(lines, case.target, case.policies, reading.answer)
    return reading.outcome is Outcome.PARSED and block is not None and block.whole and block.end >= len(lines) - 1


def up_to_block(text: str, request: Request) -> str:
    """A finished text up to the end of its first complete closing block, where an :class:`Answer` would have ended."""
    end = text.find("\n") + 1 if request.steps else 0
    while end:
        if closes(text[:end], request):
            return text[:end]
        end = text.find("\n", end) + 1
    return text


class Spelling(Protocol):
    """Token ids as text."""

    def decode(self, ids: Sequence[int]) -> str: ...

    def piece(self, token: int) -> str:
        """One token as it reads inside a text, its leading space kept."""


class Answer:
    """The answer to one request, fed one token at a time.

    It is complete at the end of the turn, at a stop string, at its ``budget`` of tokens, and, where the request asks for
    reasoning in steps, as soon as the closing block stands there.

    ``uniform()`` draws from a stream of the request's own, so that draws repeat whatever else is in the batch.
    """

    def __init__(
        self, request: Request, spelling: Spelling, *, ends: frozenset[int], tokens_in: int, budget: int, thinking: bool
    ) -> None:
        self.request, self.sampling, self.budget = request, request.sampling, budget
        self.done = False
        self._spelling, self._ends, self._tokens_in, self._thinking = spelling, ends, tokens_in, thinking
        self._ids: list[int] = []
        self._pieces: list[str] = []
        self._logprobs: list[tuple[float, Top]] = []
        self._text = ""
        self._written = self._anchor = 0  # ids whose text is out; ids from which text is decoded
        self._finish: Finish | None = None
        self._ended = False
        self._blocks = bool(request.steps)
        self._reads = self._blocks or bool(self.sampling.stop) or self.sampling.top_logprobs > 0
        self._random: random.Random | None = None

    def uniform(self) -> float:
        """The next number in [0, 1) of this request's own stream."""
        if self._random is None:
            seed = f"{self.sampling.seed or 0}:{self.request.draw}:".encode() + self.request.prompt.digest()
            self._random = random.Random(hashlib.sha256(seed).digest())
        return self._random.random()

    def add(self, token: int, logprob: float | None = None, top: Top = ()) -> None:
        """Take the next token; ``done`` says afterwards whether it was the last."""
        if token in self._ends:
            self.done = self._ended = True
            self._finish = Finish.STOP
            return
        self._ids.append(token)
        if logprob is not None:
            self._logprobs.append((logprob, top))
        piece = self._read() if self._reads else ""
        if self._stopped(piece):
            self.done, self._finish = True, Finish.STOP
        elif len(self._ids) >= self.budget:
            self.done, self._finish = True, Finish.LENGTH

    def _read(self) -> str:
        """The text that the newest token completes; empty while a character's bytes are incomplete."""
        alone = self._spelling.piece(self._ids[-1]) if 0 < self._written == len(self._ids) - 1 else "\ufffd"
        if "\ufffd" not in alone:  # whole characters after whole characters need no decoding in context
            return self._wrote(alone)
        before = self._spelling.decode(self._ids[self._anchor : self._written])
        after = self._spelling.decode(self._ids[self._anchor :])
        if after.endswith("\ufffd") and len(self._ids) - self._written < _PENDING:
            self._pieces.append("")
            return ""
        return self._wrote(after[len(before) :])

    def _wrote(self, piece: str) -> str:
        self._anchor, self._written = self._written, len(self._ids)
        self._pieces.append(piece)
        self._text += piece
        return piece

    def _stopped(self, piece: str) -> bool:
        if not piece:
            return False
        for stop in self.sampling.stop:
            if stop and self._text.find(stop, max(0, len(self._text) - len(piece) - len(stop))) >= 0:
                return True
        return self._blocks and "\n" in piece and closes(self._text, self.request, self._thinking)

    def completion(self) -> Completion:
        """What was said. Text in front of the closing tag is ``thinking`` where the prompt had opened the tag."""
        text = self._spelling.decode(self._ids)
        end = min((at for stop in self.sampling.stop if stop and (at := text.find(stop)) >= 0), default=len(text))
        start, thinking = 0, None
        if self._thinking:
            close = text.find(THINK_CLOSE, 0, end)
            thinking = text[: close if close >= 0 else end]
            start = end if close < 0 else end - len(text[close + len(THINK_CLOSE) : end].lstrip("\n"))
        return Completion(
            text[start:end],
            self._finish or Finish.LENGTH,
            thinking=thinking,
            tokens=self._tokens(text, start, end),
            tokens_in=self._tokens_in,
            tokens_out=len(self._ids) + self._ended,
        )

    def _tokens(self, text: str, start: int, end: int) -> tuple[Token, ...]:
        """Tokens whose texts join to ``text[start:end]``; none where no probabilities were asked for."""
        if not self._logprobs:
            return ()
        pieces = self._pieces
        written = sum(map(len, pieces))
        if written < len(text):  # bytes still pending when the answer ended
            pieces = [*pieces[:-1], pieces[-1] + text[written:]]
        out: list[Token] = []
        at = 0
        for token, piece, (logprob, top) in zip(self._ids, pieces, self._logprobs, strict=True):
            left, at = at, at + len(piece)
            if left < end and (at > start or (not piece and left >= start)):
                shown = piece[max(0, start - left) : max(0, end - left)]
                spelt = ((shown if t == token else self._spelling.piece(t), p) for t, p in top)
                out.append(Token(shown, logprob, tuple(spelt)))
        return tuple(out)

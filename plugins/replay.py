"""Recorded answers instead of a model: GuardReasoner's generation files, a run's samples file, or a run folder.

An answer is found by its rendered prompt. Where a prompt was recorded several times, a sample gets the record of its own
row if there is one, else the next one in file order; further draws go on from there.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import orjson

from guardeval.contracts import Completion, Finish, Prompt, Request, Traits
from guardeval.errors import ConfigError, DataError, ModelError
from guardeval.exposure import Exposure

__all__ = ["Replay"]

_SHAPES = "one JSON object a line, with `prompt` and `predict`, or with `arguments` and `resps` as samples files have"


@dataclass(frozen=True)
class Replay:
    """``replay/FILE``, plain or gzipped, or the folder of a run with its samples files."""

    model: str

    path_options: ClassVar[tuple[str, ...]] = ("model",)

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        return {"backend": "replay", "sha256": [_sha256(path) for path in self._files]}

    @cached_property
    def traits(self) -> Traits:
        return Traits(chat=True, literal=True, raw=True, forced=True, per_sample=True, batch=64, instant=True, timed=False)

    async def start(self) -> None:
        """Read the file. Raises :class:`ConfigError` when there is none, :class:`DataError` when it is not understood."""
        self._recording  # noqa: B018 (reads it)

    def generate_batch(self, requests: Sequence[Request]) -> list[Completion]:
        """Raises :class:`ModelError` naming the first request that was never recorded."""
        return [self._recording.answer(request) for request in requests]

    @cached_property
    def exposure(self) -> Exposure | None:
        """Prompts that the recorded model had seen in training, as far as a run folder marks them; None where none is."""
        return Exposure.of(self._recording.seen) if self._recording.seen else None

    @cached_property
    def _files(self) -> tuple[Path, ...]:
        path = Path(self.model).expanduser()
        if path.is_file():
            return (path,)
        found = tuple(sorted((*path.glob("samples_*.jsonl"), *path.glob("samples_*.jsonl.gz")))) if path.is_dir() else ()
        if not found:
            what = "holds no samples_*.jsonl" if path.is_dir() else "does not exist"
            raise ConfigError(
                f"replay/{self.model}: {path} {what}; name a file of recorded answers ({_SHAPES}) or a run folder"
            )
        return found

    @cached_property
    def _recording(self) -> _Recording:
        recording = _Recording(self.model)
        for path in self._files:
            recording.read(path)
        return recording


@dataclass(frozen=True, slots=True)
class _Record:
    """One recorded answer: the row it was given for, and the answer, or the reason why there is none."""

    row: int
    completion: Completion | str


@dataclass
class _Recording:
    """Records by prompt. Of a prompt its digest is kept, of an answer its text, once."""

    name: str
    records: dict[bytes, list[_Record]] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)  # prompts of samples that a run marked
    _given: dict[tuple[bytes, int, int], _Record] = field(default_factory=dict)  # (prompt, sample, draw) → what it got
    _used: dict[bytes, set[int]] = field(default_factory=dict)  # prompt → places in its list that were given away

    def answer(self, request: Request) -> Completion:
        key, found = self._find(request.prompt)
        record = found[0] if len(found) == 1 and not request.draw else self._choose(key, found, request)
        if isinstance(record.completion, str):
            raise ModelError(record.completion)
        return record.completion

    def _find(self, prompt: Prompt) -> tuple[bytes, list[_Record]]:
        key = _digest(prompt.as_text())
        found = self.records.get(key)
        if found is None:
            key = _digest(prompt.last)
            found = self.records.get(key)
        if found is None:
            raise ModelError(
                f"replay/{self.name} holds no answer to this prompt; was it recorded with the same solver and policies?"
            )
        return key, found

    def _choose(self, key: bytes, found: list[_Record], request: Request) -> _Record:
        asked = (key, request.case.sample.index, request.draw)
        record = self._given.get(asked)
        if record is None:
            record = self._given[asked] = self._next(key, found, request)
        return record

    def _next(self, key: bytes, found: list[_Record], request: Request) -> _Record:
        used = self._used.setdefault(key, set())
        free = [place for place in range(len(found)) if place not in used]
        if not free:
            if request.draw:
                raise ModelError(
                    f"replay/{self.name} holds {len(found)} answers to this prompt, and draw {request.draw} wants more"
                )
            return found[0]  # recorded once, asked for several rows of the same prompt
        own = [place for place in free if found[place].row == request.case.sample.index]
        place = (own or free)[0]
        used.add(place)
        return found[place]

    # ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────

    def read(self, path: Path) -> None:
        for number, line in enumerate(_lines(path)):
            if not line.strip():
                continue
            try:
                row = orjson.loads(line)
                for prompt, completion, index in _answers(row, number):
                    self.records.setdefault(_digest(prompt), []).append(_Record(index, completion))
                if (own := row.get("guardeval") or {}).get("seen"):
                    told = own["prompt"]
                    self.seen.append(str(row["doc"][told["column"]] if isinstance(told, dict) else told))
            except DataError as e:
                raise DataError(f"{path}:{number + 1}: {e}") from e
            except (KeyError, TypeError, IndexError, AttributeError, ValueError) as e:
                raise DataError(
                    f"{path}:{number + 1}: no recorded answer ({type(e).__name__}: {e}); wanted is {_SHAPES}"
                ) from e


def _answers(row: Mapping[str, Any], number: int) -> Iterator[tuple[str, Completion | str, int]]:
    """Prompt, answer and row number of every request in one line."""
    if "predict" in row:
        if not isinstance(row["predict"], str):
            raise TypeError("`predict` is no text")
        yield row["prompt"], Completion(row["predict"]), number
        return
    index, own = int(row.get("doc_id", number)), row.get("guardeval") or {}
    arguments, answers = row["arguments"], row["resps"]
    if arguments and not answers:
        if own.get("outcome") != "failed":
            raise DataError("a redacted run holds no answers; replay one that was made without --redact")
        yield arguments["gen_args_0"]["arg_0"], _failure(own), index
        return
    thinking = own.get("thinking") or []
    finish = own.get("finish") or ["stop"] * (len(answers) - 1) + ["length" if own.get("outcome") == "truncated" else "stop"]
    for i, answer in enumerate(answers):
        prompt = _prompt(arguments, i)
        for text in answer if isinstance(answer, list) else [answer]:
            if isinstance(text, str):
                ended = Finish(finish[i]) if i < len(finish) else Finish.STOP
                yield prompt, Completion(text, ended, thinking[i] if i < len(thinking) else None), index
            else:
                yield prompt, _failure(own), index


def _prompt(arguments: Any, i: int) -> str:
    """Of a samples file (``gen_args_0: {arg_0: …}``), or of lm-eval's older lists (``[[prompt, settings]]``)."""
    i = min(i, len(arguments) - 1)
    return str(arguments[f"gen_args_{i}"]["arg_0"] if isinstance(arguments, Mapping) else arguments[i][0])


def _failure(own: Mapping[str, Any]) -> str:
    return f"recorded as never heard: {own.get('raw') or 'no answer'}"


def _digest(prompt: str) -> bytes:
    """White space round a prompt is not part of it here: files that were written by others keep it or not."""
    return hashlib.blake2b(prompt.strip().encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _lines(path: Path) -> Iterator[bytes]:
    """Lines that end with ``\\n``: texts hold other line separators. Raises :class:`DataError` for an unreadable file."""
    with path.open("rb") as f:
        zipped = f.read(2) == b"\x1f\x8b"
    try:
        with gzip.open(path, "rb") if zipped else path.open("rb") as lines:
            yield from lines
    except (OSError, EOFError, zlib.error) as e:
        raise DataError(f"{path}: cannot be read: {e}") from e


def _sha256(path: Path) -> str:
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()

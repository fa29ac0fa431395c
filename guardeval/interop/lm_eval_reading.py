"""Reading lm-eval's output: a results file and the samples files of the same run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from guardeval.contracts import Finish
from guardeval.errors import DataError
from guardeval.interop.lm_eval_export import KEY
from guardeval.interop.lm_eval_side import ANSWER, BEGUN, CASE, PROMPT, SYSTEM, unpacked_case
from guardeval.interop.log_shape import checked, run_of
from guardeval.interop.logged import Asker, Log, Logged, LoggedTask, clean
from guardeval.interop.recorded import Asked, asked_of
from guardeval.run_shape import checked_name

__all__ = ["read_lm_eval", "results_files"]


def results_files(path: Path) -> list[Path]:
    """A results file, or those in a folder and the folders in it. Raises :class:`DataError` where there is none."""
    if path.is_dir():
        found = sorted(p for p in path.rglob("results_*.json"))
        if not found:
            raise DataError(f"{path}: holds no results_*.json of lm-eval")
        return found
    if not path.is_file():
        raise DataError(f"{path}: is not there; name a results_*.json of lm-eval, or its folder")
    return [path]


def read_lm_eval(path: Path) -> Log:
    """The results file; samples stream from the files beside it. Raises :class:`DataError` where these are missing."""
    try:
        results = json.loads(path.read_bytes())
        names, config = list(results["results"]), results["config"]
    except (ValueError, KeyError, TypeError, RecursionError) as e:
        raise DataError(f"{path}: is no results file of lm-eval ({type(e).__name__}: {e})") from e
    checked(results["results"], dict, f"{path}: results")
    checked(config, dict, f"{path}: config")
    versions = checked(results.get("versions") or {}, dict, f"{path}: versions")
    configs = checked(results.get("configs") or {}, dict, f"{path}: configs")
    for name, one in configs.items():
        checked(one, dict, f"{path}: configs.{name}")
    origin = run_of(results.get(KEY), f"{path}: {KEY}")
    files = {name: _beside(path, name) for name in names if name in configs or not configs}
    left_out = {name: why for name, f in files.items() if (why := _unreadable(f, configs.get(name, {}))) is not None}
    present = {name: f for name, f in files.items() if f is not None and name not in left_out}
    if not present:
        why = "; ".join(f"{name} {reason}" for name, reason in left_out.items()) or "none of its results is among its configs"
        raise DataError(f"{path}: no task of it can be read: {why}")
    tasks = tuple(_task(n, f, str(versions.get(n, "")), configs.get(n, {}), path) for n, f in present.items())
    about = origin["record"]["record"] if origin else None
    started = _when(results.get("date"), f"{path}: date")
    return Log(
        tool="lm_eval",
        path=path,
        model=str(about["model"]["name"] if about else results.get("model_name") or config.get("model")),
        solver=str(about["solver"]["name"]) if about else "lm-eval's task",
        started=started,
        ended=started,
        tasks=tasks,
        files=(path, *present.values()),
        left_out=left_out,
        origin=origin,
    )


def _unreadable(samples: Path | None, config: Mapping[str, Any]) -> str | None:
    """Why a logged task holds no answers; None where it does."""
    kind = config.get("output_type", "generate_until")
    if kind != "generate_until":
        return f"is of kind {kind}, where no answer is written; generate_until is wanted"
    return None if samples is not None else "has no samples file of this run beside it; lm-eval writes them with --log_samples"


def _task(name: str, samples: Path, version: str, config: Mapping[str, Any], path: Path) -> LoggedTask:
    """A task that guardeval exported says under ``metadata`` who asked in it."""
    metadata = checked(config.get("metadata") or {}, dict, f"{path}: configs.{name}.metadata")
    own = metadata.get(KEY)
    if own is None:
        return LoggedTask(name, version, partial(_samples, samples))
    asker = _asker(checked(own, dict, f"{path}: configs.{name}.metadata.{KEY}"), f"{path}: configs.{name}.metadata.{KEY}")
    to_block = metadata.get("stop_at_block", own.get("stop_at_block"))
    return LoggedTask(name, version, partial(_samples, samples, to_block is not False), asker=asker)


def _asker(own: Mapping[str, Any], place: str) -> Asker:
    for key, kind in (("task", str), ("solver", str), ("solver_args", dict)):
        checked(own.get(key), kind, f"{place}.{key}")
    policies = own.get("policies")
    return Asker(own["task"], own["solver"], own["solver_args"], policies if isinstance(policies, str) else None)


def _when(date: Any, place: str) -> str:
    known = isinstance(date, (int, float)) and not isinstance(date, bool)
    try:
        return (datetime.fromtimestamp(date) if known else datetime.now()).isoformat()
    except (ValueError, OverflowError, OSError) as e:
        raise DataError(f"{place}: {date!r}; seconds since 1970 are wanted") from e


def _beside(results: Path, task: str) -> Path | None:
    """lm-eval names both files by one moment."""
    date = results.stem.rpartition("_")[2]
    try:
        path = results.with_name(f"samples_{checked_name(task)}_{date}.jsonl")
        return path if path.is_file() else None
    except (ValueError, OSError):  # a name that no file has
        return None


def _samples(path: Path, to_block: bool = False) -> Iterator[Logged]:
    """One a document: under several filters the same answers are written again."""
    seen: set[Any] = set()
    with path.open("rb") as f:
        for number, line in enumerate(f, 1):
            if not line.strip():
                continue
            try:
                row = _parsed(line)
                if row["doc_id"] not in seen:
                    seen.add(row["doc_id"])
                    yield _logged(row, to_block)
            except (ValueError, KeyError, TypeError, IndexError, AttributeError) as e:
                raise DataError(f"{path}:{number}: no row of a samples file of lm-eval ({type(e).__name__}: {e})") from e


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        return dict(orjson.loads(line))
    except ValueError:  # NaN, great integers, lone surrogates: Python's own writer makes them, and lm-eval uses it
        found = json.loads(line, parse_constant=lambda _name: None)
        return dict(json.loads(clean(json.dumps(found, ensure_ascii=False))))


def _logged(row: Mapping[str, Any], to_block: bool) -> Logged:
    line = _line(row)
    if line is not None:
        return Logged(str(row["doc_id"]), (), line=line)
    doc = dict(row["doc"])
    name, own_texts = _own_case(doc) if CASE in doc else (str(doc.get("id", row["doc_id"])), None)
    doc = {k: v for k, v in doc.items() if k not in _OWN}
    answers = row["resps"]
    drawn = [len(a) if isinstance(a, list) else 1 for a in answers]
    asked = tuple(_asked(row["arguments"], i, a[0] if isinstance(a, list) else a) for i, a in enumerate(answers))
    texts = [v for v in doc.values() if isinstance(v, str)]
    sent = [turn.content for one in asked for turn in one.turns]
    return Logged(
        id=name,
        texts=tuple(dict.fromkeys(t for t in (own_texts or (*texts, *sent)) if t)),
        asked=asked,
        doc=doc,
        doc_hash=_text_of(row, "doc_hash"),
        extra=max(drawn, default=1) - 1,
        to_block=to_block,
    )


def _text_of(row: Mapping[str, Any], key: str) -> str | None:
    if not isinstance(row.get(key), (str, type(None))):
        raise TypeError(f"{key} is {type(row[key]).__name__}, not a text")
    return row.get(key)


_OWN = (PROMPT, SYSTEM, BEGUN, ANSWER, CASE)  # columns that an exported task adds to its rows


def _own_case(doc: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """The id and the texts of the sample, as an exported task keeps them with its rows."""
    _, sample, _ = unpacked_case(doc)
    return str(sample.id), tuple(t for t in (sample.prompt, sample.response) if isinstance(t, str))


def _asked(arguments: Any, i: int, answer: Any) -> Asked:
    """Of a samples file (``gen_args_0: {arg_0: …}``), or of lm-eval's older lists (``[[prompt, settings]]``)."""
    given = arguments[f"gen_args_{i}"] if isinstance(arguments, Mapping) else arguments[i]
    prompt, settings = (given["arg_0"], given.get("arg_1")) if isinstance(given, Mapping) else (given[0], given[-1])
    if not isinstance(answer, str):
        raise TypeError(f"the answer is {type(answer).__name__}, not a text")
    turns, options = asked_of(prompt if isinstance(prompt, str) else json.dumps(prompt))
    return Asked(turns, answer, None, Finish.STOP, settings if isinstance(settings, Mapping) else {}, options)


def _line(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """The line of a guardeval run: its own file's, or what an export made of it."""
    own = row.get(KEY)
    if isinstance(own, str):
        own = json.loads(own)
    if not isinstance(own, dict) or "outcome" not in own:
        return None
    gold = row.get("accuracy")
    return {**row, "filter": "verdict", "metrics": ["accuracy"], "accuracy": gold, KEY: own}

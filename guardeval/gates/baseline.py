"""A baseline: what one model did on some tasks, in a small file that holds no text and no sample id."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import guardeval
from guardeval.errors import ConfigError, DataError
from guardeval.gates.candidate import Candidate, TaskSide, read_candidate
from guardeval.gates.efforts import Efforts, efforts_of
from guardeval.gates.packing import Verdicts, pack, unpack
from guardeval.run_names import path_parts
from guardeval.runs import RUN_FILE, write_atomically
from guardeval.stats import rate

__all__ = ["FORMAT", "Baseline", "TaskBaseline", "Written", "baseline_of", "open_baseline", "write_baseline"]

FORMAT, VERSION = "guardeval-baseline", 1
_OF_SCORES = ("auroc", "auprc", "brier")
_OF_TASK = (
    *("f1", "precision", "recall", "accuracy", "balanced_accuracy", "overflagging", "underflagging", "mcc"),
    *("policy_macro_f1", "policy_micro_f1", *_OF_SCORES),
)
_OF_POLICY = ("f1", "f1_known")


@dataclass(frozen=True, eq=False)
class TaskBaseline:
    """``facts`` as in :class:`~guardeval.gates.candidate.TaskSide`; ``metrics``: name → value, low, high, n;
    accuracy of a category as ``category:NAME``. For people to read and for relative ceilings; ``verdicts`` decide."""

    name: str
    facts: Mapping[str, str]
    verdicts: Verdicts
    efforts: Efforts
    metrics: Mapping[str, Any]
    contaminated: bool
    untold: bool

    def value(self, metric: str) -> float:
        """nan where it is not there or undefined."""
        return _number((self.metrics.get(metric) or [None])[0])


@dataclass(frozen=True, eq=False)
class Baseline:
    """What a gate compares with. ``about``: JSON-able, who was asked and when."""

    name: str  # its file, or the run's folder
    accounting: str
    policy_names: tuple[str, ...]
    policies_sha256: str
    model: str
    tasks: Mapping[str, TaskBaseline]
    about: Mapping[str, Any]
    unfinished: Sequence[str] = ()

    def as_dict(self) -> dict[str, Any]:
        """As the file holds it."""
        tasks = {
            name: {
                **{k.replace(" ", "_"): v for k, v in t.facts.items()},
                "samples": len(t.verdicts),
                "contamination": {"contaminated": t.contaminated, "untold": t.untold},
                "metrics": dict(t.metrics),
                "efforts": t.efforts.as_dict(),
                "verdicts": pack(t.verdicts, len(self.policy_names)),
            }
            for name, t in self.tasks.items()
        }
        return {
            "format": FORMAT,
            "version": VERSION,
            **self.about,
            "accounting": self.accounting,
            "policies": {"names": list(self.policy_names), "sha256": self.policies_sha256},
            "unfinished": list(self.unfinished),
            "tasks": tasks,
        }


@dataclass(frozen=True, slots=True)
class Written:
    """What :func:`write_baseline` did. ``changes``: what an older file said otherwise, one line each."""

    file: Path
    tasks: int
    samples: int
    size: int  # bytes
    replaced: bool
    changes: Sequence[str] = field(default_factory=tuple)


def baseline_of(candidate: Candidate, name: str, accounting: str = "strict") -> Baseline:
    """Runs as a baseline. Raises :class:`DataError` where a results file is gone."""
    results: dict[Path, dict[str, Any]] = {r.path: r.results() for r in candidate.runs}
    tasks = {n: _task(side, results[side.run.path], accounting) for n, side in candidate.tasks.items()}
    about = {
        "guardeval": guardeval.__version__,
        "date": max(r.date for r in candidate.runs),
        "platform": _system(candidate),
        "model": {"name": _portable(candidate.model), "identity": _portable_values(candidate.identity)},
        "solver": _portable_values(candidate.solver),
        "runs": [r.name for r in candidate.runs],
    }
    return Baseline(
        name, accounting, candidate.policy_names, candidate.policies_sha256, _portable(candidate.model), tasks, about,
        tuple(candidate.unfinished),
    )  # fmt: skip


def _system(candidate: Candidate) -> str:
    """The operating system of the run; its kernel says nothing of a guard, and the file is committed."""
    head = candidate.runs[0].record["record"].get("head") or {}
    return str(head.get("environment", {}).get("platform", "")).partition("-")[0]


def _portable(name: str) -> str:
    """A model named by a path by its last part: a committed file says nothing of the machine that wrote it."""
    backend, parts = path_parts(name)
    return f"{backend}{parts[-1]}" if parts else name


def _portable_values(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: _portable(v) if isinstance(v, str) else v for k, v in values.items()}


def _task(side: TaskSide, results: Mapping[str, Any], accounting: str) -> TaskBaseline:
    found = results.get("results", {}).get(side.name) or {}
    metrics = _metrics(found, accounting) | {f"category:{k}": v for k, v in _categories(side).items()}
    return TaskBaseline(
        side.name, side.facts, side.verdicts, efforts_of(side), metrics, side.contaminated, side.untold
    )  # fmt: skip


def _metrics(found: Mapping[str, Any], accounting: str) -> dict[str, Any]:
    """Name → value, low, high, n; of a policy ``violence/f1``. What a scorer that did not run would give is not there."""
    out: dict[str, Any] = {"coverage": [_number(found.get("coverage")), None, None, found.get("sample_len")]}
    for key, value in found.items():
        metric, _, under = key.partition(",")
        policy, _, stem = metric.rpartition("/")
        if under not in (accounting, *(("parsed",) if stem in _OF_SCORES else ())) or stem not in (
            _OF_POLICY if policy else _OF_TASK
        ):
            continue
        low, high = found.get(f"{metric}_ci,{under}") or (None, None)
        out[metric] = [_rounded(value), _rounded(low), _rounded(high), found.get(f"{metric}_n,{under}")]
    return out


def _rounded(value: Any) -> float | None:
    return round(float(value), 6) if isinstance(value, (int, float)) and not math.isnan(value) else None


def _categories(side: TaskSide) -> dict[str, Any]:
    """Accuracy of each category, a sample without a verdict counted wrong."""
    judged = side.judged
    right = (judged.label == judged.gold) & (judged.gold >= 0)
    out = {}
    for name in sorted({c for c in judged.categories if c}):
        of = np.array([c == name for c in judged.categories]) & (judged.gold >= 0)
        if n := int(of.sum()):
            found = rate(int((right & of).sum()), n)
            out[name] = [*(_rounded(v) for v in (found.value, found.low, found.high)), n]
    return out


def write_baseline(
    runs: Sequence[Path | str], file: Path | str, accounting: str = "strict", task: Sequence[str] = ()
) -> Written:
    """Write the baseline of these runs (of ``task`` alone, where named), in place of an older file, whole or not at all.

    Raises :class:`ConfigError` where the file cannot be written or is something else; :class:`DataError` as
    :func:`read_candidate`.
    """
    path = Path(file).expanduser().resolve()  # what a link points at is written, not the link
    older, damaged = _older(path, str(file))
    new = baseline_of(read_candidate(runs, task), str(file), accounting)
    if not new.tasks:
        raise DataError(f"the runs hold none of the tasks named ({', '.join(task)})")
    data = _json(new.as_dict())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise ConfigError(f"{path}: cannot be written: {e.strerror}; name another file") from e
    write_atomically(path, data)
    samples = sum(len(t.verdicts) for t in new.tasks.values())
    changes = tuple(_changes(older, new)) if older else damaged
    return Written(Path(file).expanduser(), len(new.tasks), samples, len(data), bool(older or damaged), changes)


def _older(path: Path, where: str) -> tuple[Baseline | None, tuple[str, ...]]:
    """The baseline in the file's place, if one is; or what keeps it from being read, for a damaged one is written anew.

    Raises :class:`ConfigError` for a read-only file, :class:`DataError` for what never was a baseline.
    """
    if not path.exists():
        return None, ()
    if path.is_file() and not path.stat().st_mode & 0o222:
        raise ConfigError(f"{where}: is read-only: make it writable, or name another file")
    try:
        return open_baseline(path), ()
    except DataError as e:
        if not (path.is_file() and _begins_as_baseline(path)):
            raise
        return None, (f"the older file could not be read ({e})",)


def _begins_as_baseline(path: Path) -> bool:
    with path.open("rb") as f:
        return f'"format": "{FORMAT}"'.encode() in f.read(200)


def _json(record: Mapping[str, Any]) -> bytes:
    """Indented, so that a review shows what changed, with each short list and the verdicts on a line of their own."""
    text = json.dumps(_plain(record), indent=1, ensure_ascii=False)
    return re.sub(r"\[\n\s+([^\[\]{}]*?)\n\s+\]", lambda m: "[" + re.sub(r",\n\s+", ", ", m[1]) + "]", text).encode() + b"\n"


def _plain(value: Any) -> Any:
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value


def _changes(older: Baseline, new: Baseline) -> list[str]:
    """What a reviewer of the new file must know; empty where nothing differs."""
    out = []
    for what, a, b in (("model", older.model, new.model), ("accounting", older.accounting, new.accounting)):
        out += [f"{what}: {a} → {b}"] if a != b else []
    for name in dict.fromkeys((*older.tasks, *new.tasks)):
        before, after = older.tasks.get(name), new.tasks.get(name)
        if before is None or after is None:
            out.append(f"{name}: {'new' if before is None else 'no longer there'}")
            continue
        out += [f"{name}: {k} {before.facts.get(k)} → {v}" for k, v in after.facts.items() if before.facts.get(k) != v]
        for key in ("f1", "overflagging", "coverage"):
            old, now = (_shown(t.value(key)) for t in (before, after))
            out += [f"{name}: {key} {old} → {now}"] if old != now else []
    return out


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else math.nan


def _shown(value: float) -> str:
    return "n/a" if math.isnan(value) else f"{value:.3f}"


def open_baseline(where: Path | str, accounting: str = "strict") -> Baseline:
    """From a file that :func:`write_baseline` wrote, or from a run folder, then under ``accounting``.

    Raises :class:`DataError` for anything else.
    """
    path = Path(where).expanduser()
    if (path / RUN_FILE).is_file():
        return baseline_of(read_candidate([path]), str(where), accounting)
    if path.is_dir():
        raise DataError(f"{where}: is neither a baseline nor a run folder ({RUN_FILE} is not in it)")
    try:
        record = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataError(
            f"{where}: no such baseline; `guardeval check RUN --baseline {where} --write_baseline` writes it"
        ) from None
    except (OSError, ValueError, RecursionError) as e:
        raise DataError(f"{where}: is no baseline: {e}; --write_baseline writes one to another file") from e
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise DataError(f"{where}: is no baseline (no `format: {FORMAT}` in it); --write_baseline writes one to another file")
    if record.get("version") != VERSION:
        raise DataError(
            f"{where}: was written as version {record.get('version')!r} of the format; this guardeval reads {VERSION}: "
            "write it again, or use the guardeval that wrote it"
        )
    try:
        return _read(record, str(where))
    except DataError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as e:  # int(inf) overflows
        raise DataError(f"{where}: is not as --write_baseline wrote it ({type(e).__name__}: {e}); write it again") from e


_FACTS = ("target", "task version", "data", "rows", "labels")


def _read(record: Mapping[str, Any], where: str) -> Baseline:
    names = tuple(str(n) for n in record["policies"]["names"])
    tasks = {}
    for name, t in record["tasks"].items():
        facts = {k: str(t[k.replace(" ", "_")]) for k in _FACTS}
        verdicts = unpack(str(t["verdicts"]), int(t["samples"]), len(names), f"{where}: {name}")
        told, metrics, efforts = t["contamination"], _read_metrics(t["metrics"]), Efforts.read(t["efforts"])
        marks = bool(told["contaminated"]), bool(told["untold"])
        tasks[str(name)] = TaskBaseline(str(name), facts, verdicts, efforts, metrics, *marks)
    if not tasks:
        raise DataError(f"{where}: holds no task; write it again with --write_baseline")
    about = {k: record[k] for k in ("guardeval", "date", "platform", "model", "solver", "runs")}
    return Baseline(
        where, str(record["accounting"]), names, str(record["policies"]["sha256"]), str(record["model"]["name"]), tasks, about,
        tuple(map(str, record["unfinished"])),
    )  # fmt: skip


def _read_metrics(values: Mapping[str, Any]) -> dict[str, Any]:
    """Raises :class:`ValueError` for a metric that is no list of value, low, high and n."""
    for name, value in values.items():
        if not isinstance(value, list) or len(value) != 4:
            raise ValueError(f"metric {name!r} is {value!r}; [value, low, high, n] is wanted")
    return dict(values)

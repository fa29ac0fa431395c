"""Steps of phases 3 to 5, read from an experiment's file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from guardeval.programme.reading import needed, reference, references, share, whole
from guardeval.programme.training_definitions import (
    Evaluation,
    OnHard,
    Preparation,
    Speed,
    Split,
    Synthesis,
    TraceCheck,
    Traces,
    Training,
)
from guardeval.yaml_files import Spec

__all__ = ["training_steps"]


def training_steps(spec: Spec, own: int) -> dict[str, Any]:
    """Field of :class:`Experiment` → step, of those that the file has. Raises :class:`ConfigError` naming file and line."""
    return {key: read(spec.spec(key), own) for key, read in _READERS.items() if spec.spec(key)}


def _traces(spec: Spec, own: int) -> Traces:
    spec.only(("task", "n", "output", "solver", "hints"))
    solver, hints = spec.text("solver", "multistep") or "multistep", spec.one_of("hints", ("gold", "none"), "none")
    return Traces(needed(spec, "task"), whole(spec, "n"), needed(spec, "output"), solver, hints)


def _check(spec: Spec, own: int) -> TraceCheck:
    return TraceCheck(whole(spec.only(("of",)), "of"))


def _synthesis(spec: Spec, own: int) -> Synthesis:
    spec.only(("mined_by", "task", "n", "output"))
    return Synthesis(whole(spec, "mined_by"), needed(spec, "task"), whole(spec, "n"), needed(spec, "output"))


def _preparation(spec: Spec, own: int) -> Preparation:
    spec.only(("sources", "validation", "against", "output"))
    given = spec.values.get("sources")
    if not isinstance(given, list) or not given or any(isinstance(n, bool) or not isinstance(n, int) for n in given):
        raise spec.error(f"`sources` is {given!r}; numbers of experiments are wanted", "sources")
    return Preparation(tuple(given), share(spec, "validation", 1.0), spec.texts("against"), needed(spec, "output"))


def _split(spec: Spec, own: int) -> Split:
    return Split(whole(spec.only(("of",)), "of"))


def _training(spec: Spec, own: int) -> Training:
    spec.only(("trainer", "data", "name", "student", "parent", "options"))
    parent = whole(spec, "parent") if "parent" in spec else None
    options = {str(k): v for k, v in spec.spec("options").values.items()}
    student = spec.text("student", "student") or "student"
    return Training(needed(spec, "trainer"), whole(spec, "data"), needed(spec, "name"), student, parent, options)


def _on_hard(spec: Spec, own: int) -> OnHard:
    systems = spec.only(("mined_by", "systems")).spec("systems")
    return OnHard(whole(spec, "mined_by"), {str(k): reference(systems, k, own) for k in systems.values})


def _evaluation(spec: Spec, own: int) -> Evaluation:
    spec.only(("name", "candidates", "n"))
    return Evaluation(needed(spec, "name"), references(spec, "candidates", own), whole(spec, "n"))


def _speed(spec: Spec, own: int) -> Speed:
    spec.only(("of", "optimizers", "distilled", "limit_ms", "least_percent"))
    limit, least = whole(spec, "limit_ms"), share(spec, "least_percent", 0.01)
    return Speed(whole(spec, "of"), spec.texts("optimizers"), spec.flag("distilled"), float(limit), least)


_READERS: dict[str, Callable[[Spec, int], Any]] = {
    "traces": _traces,
    "check_traces": _check,
    "synthesize": _synthesis,
    "prepare": _preparation,
    "split": _split,
    "train": _training,
    "on_hard": _on_hard,
    "evaluate": _evaluation,
    "speed": _speed,
}

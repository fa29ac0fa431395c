"""The experiments that ship with the package: YAML files read and checked, and the words that choose among them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from guardeval.errors import ConfigError, did_you_mean
from guardeval.programme.definitions import (
    BASELINE,
    Ablation,
    Arm,
    Choice,
    Combination,
    Expected,
    Experiment,
    Failures,
    Fit,
    Generalisation,
    Mining,
    PolicyTable,
)
from guardeval.programme.reading import items, needed, options, reference, references, share, whole
from guardeval.programme.references import model_number
from guardeval.programme.training_reading import training_steps
from guardeval.yaml_files import Spec, load_yaml

__all__ = ["ROLES", "TRAINING_ROLES", "catalogue", "find", "read_experiment", "select"]

FOLDER = Path(__file__).parent / "experiments"
ROLES = ("main", "safeguard", "third")
TRAINING_ROLES = ("teacher", "generator", "verifier", "student", "student_safeguard", "student_small")
ENSEMBLE = "ensemble"  # as a model: all three roles
_KEYS = (
    "experiment", "title", "phase", "about", "tasks", "measure", "run", "combine", "fit", "mine", "choose", "failures",
    "policies_of", "ablation", "generalisation", "traces", "check_traces", "synthesize", "prepare", "split", "train", "on_hard",
    "evaluate", "speed", "expected", "notes",
)  # fmt: skip
_MEASURED = ("accuracy", "majority_rate", "balanced_accuracy", "policy_exact_match", "f1", "overflagging", "underflagging")


@lru_cache(maxsize=1)
def catalogue() -> Mapping[int, Experiment]:
    """Number → experiment, in order. Raises :class:`ConfigError` that names file and line."""
    found = {}
    for path in sorted(FOLDER.glob("*.yaml")):
        experiment = read_experiment(path)
        if path.stem != str(experiment.number):
            raise ConfigError(f"{path}: is experiment {experiment.number}; name the file {experiment.number}.yaml")
        found[experiment.number] = experiment
    _check_references(found)
    return found


def find(word: str) -> Experiment:
    """One experiment by its number. Raises :class:`ConfigError` for others."""
    known = catalogue()
    if not word.isdigit() or int(word) not in known:
        raise _unknown(word, known)
    return known[int(word)]


def select(words: Sequence[str]) -> tuple[Experiment, ...]:
    """``21``, ``20..30``, ``20-30``, ``phase2``, ``all`` and lists of these by comma or space, in order, each once.

    A range takes the experiments that there are in it. Raises :class:`ConfigError` for what names none.
    """
    known = catalogue()
    numbers: set[int] = set()
    for word in (w.strip() for given in words for w in given.split(",") if w.strip()):
        numbers |= _numbers(word, known)
    if not numbers:
        raise ConfigError("no experiment: name one, e.g. 21, 20..30 or phase1; `guardeval experiment list` shows them")
    return tuple(known[n] for n in sorted(numbers))


def _numbers(word: str, known: Mapping[int, Experiment]) -> set[int]:
    span = re.fullmatch(r"(\d{1,3})(?:\.\.|-)(\d{1,3})", word)
    phase = re.fullmatch(r"phase_?(\d+)", word.lower())
    if word == "all":
        return set(known)
    if span:
        found = {n for n in known if int(span[1]) <= n <= int(span[2])}
    elif phase:
        found = {n for n, e in known.items() if e.phase == int(phase[1])}
    else:
        return {find(word).number}
    if not found:
        raise _unknown(word, known)
    return found


def _unknown(word: str, known: Mapping[int, Experiment]) -> ConfigError:
    span = re.fullmatch(r"(\d{1,3})(?:\.\.|-)(\d{1,3})", word)
    if span and int(span[1]) > int(span[2]):
        return ConfigError(f"range {word!r} runs backwards: write {span[2]}..{span[1]}")
    return ConfigError(f"unknown experiment {word!r}; known: {_shown(known)}")


def _shown(known: Mapping[int, Experiment]) -> str:
    """``20..45, phase1, phase2``: spans of numbers, then phases."""
    spans: list[list[int]] = []
    for n in sorted(known):
        if spans and spans[-1][-1] == n - 1:
            spans[-1].append(n)
        else:
            spans.append([n])
    phases = sorted({e.phase for e in known.values()})
    numbers = [f"{s[0]}..{s[-1]}" if len(s) > 1 else str(s[0]) for s in spans]
    return ", ".join([*numbers, *(f"phase{p}" for p in phases)])


# ---- one file ----


def read_experiment(path: Path) -> Experiment:
    """Raises :class:`ConfigError` naming file and line for an unknown key, a wrong type, or a reference to nothing."""
    spec = load_yaml(path).spec().only(_KEYS)
    number = whole(spec, "experiment")
    return Experiment(
        number=number,
        title=needed(spec, "title"),
        phase=whole(spec, "phase"),
        about=(spec.text("about", "") or "").strip(),
        tasks=spec.texts("tasks") or ("wildguard",),
        measure=spec.texts("measure") or _MEASURED,
        run=tuple(_arm(s) for s in items(spec, "run")),
        combine=tuple(_combination(s, number) for s in items(spec, "combine")),
        fit=tuple(_fit(s, number) for s in items(spec, "fit")),
        mine=_mining(spec, number),
        choose=_choice(spec, number),
        failures=_failures(spec, number),
        policies_of=_policy_table(spec, number),
        ablation=_ablation(spec, number),
        generalisation=_generalisation(spec, number),
        **training_steps(spec, number),
        expected=tuple(_expected(s, number) for s in items(spec, "expected")),
        notes=spec.texts("notes"),
    )


def _arm(spec: Spec) -> Arm:
    spec.only(("arm", "solver", "solver_args", "policies", "models"))
    models: list[str] = []
    for name in spec.texts("models") or ("main",):
        if name not in (*ROLES, ENSEMBLE) and model_number(name) is None:
            raise spec.error(f"unknown role {name!r}{did_you_mean(name, (*ROLES, ENSEMBLE))}", "models")
        models += ROLES if name == ENSEMBLE else [name]
    policies = spec.text("policies", "minimal") or "minimal"
    return Arm(needed(spec, "arm"), needed(spec, "solver"), options(spec), policies, tuple(dict.fromkeys(models)))


def _combination(spec: Spec, own: int) -> Combination:
    spec.only(("name", "members", "solver_args"))
    return Combination(needed(spec, "name"), references(spec, "members", own), options(spec))


def _fit(spec: Spec, own: int) -> Fit:
    spec.only(("name", "members", "against", "seed"))
    members, against = references(spec, "members", own), reference(spec, "against", own)
    return Fit(needed(spec, "name"), members, against, whole(spec, "seed", 0))


def _mining(spec: Spec, own: int) -> Mining | None:
    inner = spec.spec("mine").only(("members", "top", "output"))
    if not inner:
        return None
    return Mining(references(inner, "members", own), share(inner, "top", 1.0), needed(inner, "output"))


def _choice(spec: Spec, own: int) -> Choice | None:
    inner = spec.spec("choose").only(("name", "candidates", "mined_by", "metric", "seed"))
    if not inner:
        return None
    candidates, metric = references(inner, "candidates", own), inner.text("metric", "accuracy") or "accuracy"
    return Choice(needed(inner, "name"), candidates, whole(inner, "mined_by"), metric, whole(inner, "seed", 0))


def _failures(spec: Spec, own: int) -> Failures | None:
    inner = spec.spec("failures").only(("of", "n", "output"))
    if not inner:
        return None
    return Failures(reference(inner, "of", own), whole(inner, "n"), needed(inner, "output"))


def _policy_table(spec: Spec, own: int) -> PolicyTable | None:
    inner = spec.spec("policies_of").only(("systems", "least_percent"))
    return PolicyTable(references(inner, "systems", own), share(inner, "least_percent", 0.01)) if inner else None


def _ablation(spec: Spec, own: int) -> Ablation | None:
    inner = spec.spec("ablation").only(("full", "without"))
    if not inner:
        return None
    removed = inner.spec("without")
    return Ablation(reference(inner, "full", own), {str(k): reference(removed, k, own) for k in removed.values})


def _generalisation(spec: Spec, own: int) -> Generalisation | None:
    inner = spec.spec("generalisation").only(("systems", "home", "metrics"))
    if not inner:
        return None
    return Generalisation(references(inner, "systems", own), needed(inner, "home"), inner.texts("metrics") or ("f1",))


def _expected(spec: Spec, own: int) -> Expected:
    spec.only(("of", "metric", "percent", "points", "against"))
    against = spec.text("against")
    unit = "points" if against else "percent"
    if ("percent" if against else "points") in spec:
        wanted = "a difference is expected in `points`, a number itself in `percent`"
        raise spec.error(f"{wanted}; with `against` it is a difference", "percent" if against else "points")
    low, high = _bounds(spec, unit)
    of, metric = reference(spec, "of", own), spec.text("metric", "accuracy") or "accuracy"
    other = None if against in (None, BASELINE) else reference(spec, "against", own)
    return Expected(of, metric, low, high, other, against == BASELINE, spec.file.where(*spec.keys))


def _bounds(spec: Spec, key: str) -> tuple[float | None, float | None]:
    """``[62, 65]``, ``[0, null]``; both None where nothing was expected."""
    given = spec.values.get(key)
    if given is None:
        return None, None
    numbers = given if isinstance(given, list) and len(given) == 2 else [True]
    if any(isinstance(n, bool) or not (n is None or isinstance(n, (int, float))) for n in numbers):
        raise spec.error(f"`{key}` is {given!r}; [low, high] is wanted, null for an open end", key)
    low, high = (None if n is None else round(n / 100, 10) for n in numbers)
    if low is not None and high is not None and low > high:
        raise spec.error(f"`{key}` is {given!r}: the low end is above the high one", key)
    return low, high


def _check_references(known: Mapping[int, Experiment]) -> None:
    for experiment in known.values():
        for wanted in experiment.references():
            other = known.get(wanted.experiment)
            names = other.names() if other else ()
            if wanted.arm not in names:
                what = f"experiment {wanted.experiment} has no arm {wanted.arm!r}" if other else "there is no such experiment"
                raise ConfigError(f"{experiment.number}.yaml: {wanted}: {what}{did_you_mean(wanted.arm, names)}")

"""What `guardeval new` writes for each kind of plugin: files, entry points, and how to try it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["KINDS", "Kind"]

_EVERY = {
    "every/pyproject.toml.txt": "pyproject.toml",
    "every/README.md.txt": "README.md",
    "every/gitignore.txt": ".gitignore",
}


@dataclass(frozen=True, slots=True)
class Kind:
    """``files``: template → where it goes. ``entries``: entry-point group → object. ``[[slots]]`` stand in all texts."""

    files: Mapping[str, str]
    entries: Mapping[str, str]
    about: str
    trial: str  # a command
    package_data: tuple[str, ...] = ()


def _plugin(kind: str, **more: str) -> dict[str, str]:
    return {
        **_EVERY,
        f"{kind}/__init__.py.txt": "[[module]]/__init__.py",
        f"{kind}/plugin.py.txt": "[[module]]/[[name]].py",
        **{f"{kind}/{template}.py.txt": place for template, place in more.items()},
        f"{kind}/test.py.txt": "tests/test_[[name]].py",
    }


_CLASS = "[[module]].[[name]]:[[class]]"
_RUN = "guardeval run --task wildguard --data sample"
KINDS: Mapping[str, Kind] = {
    "task": Kind(
        {
            **_EVERY,
            "task/__init__.py.txt": "[[module]]/__init__.py",
            "task/task.yaml.txt": "[[module]]/[[name]].yaml",
            "task/rows.csv.txt": "[[module]]/[[name]].csv",
            "task/test.py.txt": "tests/test_[[name]].py",
        },
        {"tasks": "[[module]]"},
        "A benchmark for guardeval: `[[module]]/[[name]].yaml` says how its rows read, `[[name]].csv` holds them.",
        "guardeval run --task [[name]]",
        ("*.yaml", "*.csv"),
    ),
    "solver": Kind(
        _plugin("solver"),
        {"solvers": _CLASS},
        "A solver for guardeval: how a guard is asked about a sample, and how its answer is read.",
        f"{_RUN} --solver [[name]]",
    ),
    "scorer": Kind(
        _plugin("scorer"),
        {"scorers": _CLASS},
        "A scorer for guardeval: judged samples in, named numbers out.",
        f"{_RUN} --scorer classification,[[name]]",
    ),
    "model": Kind(
        _plugin("model"),
        {"models": _CLASS},
        "A model backend for guardeval: requests in, completions out.",
        f"{_RUN} --model [[name]]",
    ),
    "trainer": Kind(
        _plugin("trainer", model="[[module]]/[[name]]_model.py"),
        {"trainers": _CLASS, "models": "[[module]].[[name]]_model:[[class]]Model"},
        "A trainer for guardeval: labelled rows in, a model folder out; and the backend that runs it.",
        "guardeval train [[name]] --task wildguard --data sample --out my_[[name]]",
    ),
    "optimizer": Kind(
        _plugin("optimizer"),
        {"optimizers": _CLASS},
        "An optimizer for guardeval: a model folder in, a smaller one out. `my_guard` is what\n"
        "`guardeval train linear --data sample -T sources= --out my_guard` wrote.",
        "guardeval optimize [[name]] --model my_guard --task wildguard --data sample --out my_smaller_guard",
    ),
}

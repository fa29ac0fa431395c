"""Everything a gate can be told, in one frozen value: what ``gate.yaml`` and the flags of ``guardeval check`` both become."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from guardeval.accounting import check_accounting
from guardeval.errors import ConfigError, did_you_mean
from guardeval.gates.limits import Limits, read_limits
from guardeval.metrics import CONFUSION

__all__ = ["BOUNDED", "COVERAGE", "PARSE_RATE", "TESTED", "GateSettings", "read_gate_yaml"]

COVERAGE = "coverage"
PARSE_RATE = "parse_rate"
TESTED = (*(name for name, m in CONFUSION.items() if m.higher_is_better is not None), COVERAGE)  # in pairs, with a p-value
BOUNDED = (*TESTED, PARSE_RATE, "latency_p50", "latency_p95", "latency_p99", "cost_per_1000")  # by floors and ceilings
_NONE = Limits({})
_LOST = dict.fromkeys(TESTED, False)  # to allow a loss of 1 is to allow any
_HELD = dict.fromkeys((*TESTED, PARSE_RATE), True)  # a floor of 1 says something
_MOST_DRAWS = 1_000_000  # all are held at once, a number a check each


@dataclass(frozen=True, slots=True)
class GateSettings:
    """``tolerance``, ``floor``, ``ceiling`` and ``require_detectable`` by metric, task and part.

    ``metrics``: of each task; ``policies``: F1 of each policy with at least ``min_positives`` known positives; ``slices``:
    accuracy of each category with at least ``min_slice`` samples. ``in_family``: tasks whose data the model was made from,
    ``("auto",)`` for those that runs and model card name; ``budget``: how much of its macro F1 all other tasks may lose, None
    for 0.02 where a family is named; ``budget_strict``: any loss beyond it fails, significant or not.
    """

    alpha: float = 0.05
    accounting: str = "strict"
    task: tuple[str, ...] = ()  # empty: all of the baseline
    metrics: tuple[str, ...] = ("f1", "overflagging", COVERAGE)
    policies: bool = True
    min_positives: int = 10
    slices: bool = False
    min_slice: int = 20
    tolerance: Limits = field(default=_NONE)
    floor: Limits = field(default=_NONE)
    ceiling: Limits = field(default=_NONE)
    require_detectable: Limits = field(default=_NONE)
    in_family: tuple[str, ...] = ()
    budget: float | None = None
    budget_strict: bool = False
    allow_partial: bool = False
    permutations: int = 9999
    resamples: int = 1000  # of the intervals; 0 leaves them out
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.0 < self.alpha < 1.0:
            raise ConfigError(f"alpha {self.alpha}: a share between 0 and 1 is wanted, e.g. 0.05")
        if check_accounting(self.accounting) == "paper":
            raise ConfigError("accounting 'paper' counts some samples twice and drops others: pairs need strict, parsed, …")
        for name in self.metrics:
            if name not in TESTED:
                raise ConfigError(f"metrics: unknown metric {name!r}{did_you_mean(name, TESTED)}")
        if self.permutations < 1 / self.alpha:
            least = max(999, math.ceil(1 / self.alpha))
            raise ConfigError(
                f"permutations {self.permutations}: no p-value can be below alpha {self.alpha:g}; {least} or more are wanted"
            )
        if (self.budget is not None or self.budget_strict) and not self.in_family:
            raise ConfigError(
                "a budget needs a family: name the tasks that the model was made from (in_family), or auto for those that "
                "runs and model card name"
            )
        if self.budget is not None and not 0.0 <= self.budget < 1.0:
            raise ConfigError(f"budget {self.budget}: a share from 0 to 1 is wanted, e.g. 0.02")

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], where: str = "gate settings") -> GateSettings:
        """Of a YAML file, flags or keyword arguments. Raises :class:`ConfigError` that names the key and the nearest known."""
        known = {f.name: f.default for f in dataclasses.fields(cls)}
        given: dict[str, Any] = {}
        for key, value in values.items():
            name = str(key).replace("-", "_")
            if name not in known:
                raise ConfigError(f"{where}: unknown key {key!r}{did_you_mean(name, known)}")
            given[name] = _READERS[name](value, f"{where}: {key}")
        try:
            return cls(**given)
        except ConfigError as e:
            raise ConfigError(f"{where}: {e}") from e

    def joined(self, later: Mapping[str, Any], where: str) -> GateSettings:
        """These with ``later`` over them; limits are joined entry by entry."""
        mine = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        for key, value in later.items():
            read = _READERS[key](value, f"{where}: {key}")
            mine[key] = mine[key].joined(read) if isinstance(read, Limits) else read
        return GateSettings(**mine)


def read_gate_yaml(path: Path) -> dict[str, Any]:
    """The mapping in the file. Raises :class:`ConfigError` where there is none."""
    from guardeval.runs import read_run_yaml

    return read_run_yaml(path)


def _texts(value: Any, where: str) -> tuple[str, ...]:
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, Sequence):
        raise ConfigError(f"{where}: a name or a list of names is wanted, not {value!r}")
    names = tuple(dict.fromkeys(str(i).strip() for i in items if str(i).strip()))
    if items and not names:  # `,` is no way to say none, or all
        raise ConfigError(f"{where}: a name or a list of names is wanted, not {value!r}")
    return names


def _flag(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{where}: true or false is wanted, not {value!r}")
    return value


def _whole(least: int, most: int = 999_999_999) -> Callable[[Any, str], int]:
    def read(value: Any, where: str) -> int:
        text = str(value)
        digits = not isinstance(value, (bool, float)) and text.isascii() and text.isdigit()
        if not digits or len(text) > 9 or not least <= int(text) <= most:
            raise ConfigError(f"{where}: a whole number from {least} to {most} is wanted, not {value!r}")
        return int(text)

    return read


def _share(value: Any, where: str) -> float:
    try:
        if not isinstance(value, bool):
            return float(value)
    except (TypeError, ValueError):
        pass
    raise ConfigError(f"{where}: a number is wanted, not {value!r}")


_READERS: Mapping[str, Callable[[Any, str], Any]] = {
    "alpha": _share,
    "accounting": lambda value, where: str(value),
    "task": _texts,
    "metrics": _texts,
    "policies": _flag,
    "min_positives": _whole(1),
    "slices": _flag,
    "min_slice": _whole(1),
    "tolerance": lambda value, where: read_limits(value, where, TESTED, alone="f1", shares=_LOST),
    "floor": lambda value, where: read_limits(value, where, BOUNDED, parts=False, shares=_HELD),
    "ceiling": lambda value, where: read_limits(value, where, BOUNDED, parts=False, relative=True, shares=_HELD),
    "require_detectable": lambda value, where: read_limits(value, where, TESTED, alone="f1", shares=_LOST),
    "in_family": _texts,
    "budget": lambda value, where: None if value is None else _share(value, where),
    "budget_strict": _flag,
    "allow_partial": _flag,
    "permutations": _whole(1, _MOST_DRAWS),
    "resamples": _whole(0, _MOST_DRAWS),
    "seed": _whole(0),
}

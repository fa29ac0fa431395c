"""Numbers that checks are held against, by metric, task and part: ``f1=0.01``, ``f1,wildguard=0.02``,
``f1,*,violence=0.05``. The most exact one counts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from guardeval.errors import ConfigError, did_you_mean

__all__ = ["ANY", "Key", "Limit", "Limits", "read_limits"]

ANY = "*"


@dataclass(frozen=True, slots=True)
class Key:
    """What a limit is for; ``*`` is any task, an empty part the whole task."""

    metric: str
    task: str = ANY
    part: str = ""

    def __str__(self) -> str:
        parts = (self.metric, self.task, self.part) if self.part else (self.metric, self.task)
        return ",".join(parts if self.part or self.task != ANY else (self.metric,))


@dataclass(frozen=True, slots=True)
class Limit:
    """``relative``: times the baseline's value (``1.5x``), not the value itself."""

    value: float
    relative: bool = False

    def __str__(self) -> str:
        return f"{self.value:g}x" if self.relative else f"{self.value:g}"


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one sort by what they are for, in the order in which they were given."""

    given: Mapping[Key, Limit]

    def of(self, metric: str, task: str, part: str = "") -> float | None:
        """The limit that fits best: this task and part, any task and this part, then the whole task, then the metric alone."""
        named = part.partition(":")[2] or part
        keys = [*(Key(metric, t, p) for p in (part, named) if p for t in (task, ANY)), Key(metric, task), Key(metric)]
        return next((self.given[k].value for k in keys if k in self.given), None)

    def applying(self, tasks: Iterable[str]) -> list[tuple[Key, Limit]]:
        """One entry a metric and task: that of the task itself where there is one, else that of any."""
        metrics = list(dict.fromkeys(k.metric for k in self.given))
        found = []
        for task in tasks:
            for metric in metrics:
                limit = self.given.get(Key(metric, task)) or self.given.get(Key(metric))
                if limit is not None:
                    found.append((Key(metric, task), limit))
        return found

    def tasks(self) -> set[str]:
        return {k.task for k in self.given} - {ANY}

    def joined(self, later: Limits) -> Limits:
        """These, and ``later`` in place of those that it names too."""
        return Limits({**self.given, **later.given})

    def __bool__(self) -> bool:
        return bool(self.given)


def read_limits(
    values: Any,
    where: str,
    metrics: Iterable[str],
    *,
    parts: bool = True,
    relative: bool = False,
    alone: str | None = None,
    shares: Mapping[str, bool] | None = None,
) -> Limits:
    """From a mapping of a YAML file. ``alone``: the metric that a bare number means; ``relative``: ``1.5x`` may be said;
    ``shares``: metrics that are never above 1, and whether a limit of 1 says anything.

    Raises :class:`ConfigError` that names the entry for an unknown metric, what is no number from 0, and a limit that nothing
    could ever reach.
    """
    if alone is not None and isinstance(values, (int, float, str)) and not isinstance(values, bool):
        values = {alone: values}
    if values is None:
        values = {}
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where}: a mapping is wanted, such as {{f1: 0.01}}, not {values!r}")
    known = tuple(metrics)
    read: dict[Key, Limit] = {}
    for text, value in values.items():
        key = _key(str(text), where, known, parts)
        read[key] = _limit(value, f"{where}: {text}", relative)
        if key.metric in (shares or {}):
            _check_share(read[key], value, f"{where}: {text}", (shares or {})[key.metric])
    return Limits(read)


def _key(text: str, where: str, metrics: tuple[str, ...], parts: bool) -> Key:
    said = [p.strip() for p in text.split(",")]
    if not all(said) or len(said) > (3 if parts else 2):
        form = "METRIC, METRIC,TASK or METRIC,TASK,PART" if parts else "METRIC or METRIC,TASK"
        raise ConfigError(f"{where}: {text!r} is not {form}")
    if said[0] not in metrics:
        raise ConfigError(f"{where}: unknown metric {said[0]!r}{did_you_mean(said[0], metrics)}")
    return Key(*said)


def _limit(value: Any, where: str, relative: bool) -> Limit:
    times = relative and isinstance(value, str) and value.strip().endswith("x")
    try:
        number = float(str(value).strip().removesuffix("x") if times else value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not (math.isfinite(number) and number >= 0):
        also = ", or times the baseline's, such as 1.5x," if relative else ""
        raise ConfigError(f"{where}: a number from 0{also} is wanted, not {value!r}")
    return Limit(number, times)


def _check_share(limit: Limit, value: Any, where: str, one: bool) -> None:
    if limit.relative or limit.value < 1.0 or (one and limit.value == 1.0):
        return
    form = "a share from 0 to 1" if one else "a share below 1"
    raise ConfigError(f"{where}: {form} is wanted, not {value!r}: {float(limit.value) / 100:g} for {limit.value:g} points")

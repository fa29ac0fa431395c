"""A measured number beside an expected range: what may be said about the two, computed, never judged by eye."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

__all__ = ["BASELINE_ACCURACY", "NOT_DECIDED", "Measured", "word"]

BASELINE_ACCURACY = 0.575  # experiment 12 of the plan: accuracy of a serial gauntlet on WildGuard's 1554 prompts
NOT_DECIDED = "not decided"


def word(low: float, high: float, expected_low: float | None, expected_high: float | None, value: float = math.nan) -> str:
    """``inside``, ``above``, ``below`` the expected range, where the whole interval is; else ``not decided`` and why.

    All are shares. An open end of the range (None) is never passed. Empty where nothing was expected, ``n/a`` where the
    number is undefined.
    """
    if expected_low is None and expected_high is None:
        return ""
    if math.isnan(low) or math.isnan(high):
        return "n/a"
    if expected_high is not None and low > expected_high:
        return "above"
    if expected_low is not None and high < expected_low:
        return "below"
    if (expected_low is None or expected_low <= low) and (expected_high is None or high <= expected_high):
        return "inside"
    spanned = list(dict.fromkeys(e for e in (expected_low, expected_high) if e is not None and low <= e <= high))
    where = "" if math.isnan(value) else _where(value, expected_low, expected_high)
    return f"{NOT_DECIDED}: {where}the interval spans {' and '.join(f'{100 * e:g}' for e in spanned)}"


def _where(value: float, low: float | None, high: float | None) -> str:
    if low is not None and value < low:
        return "the value is below, "
    if high is not None and value > high:
        return "the value is above, "
    return "the value is inside, "


@dataclass(frozen=True, slots=True)
class Measured:
    """One number of an experiment, or a difference of two, with its 95 % interval; shares in [0, 1], nan undefined.

    ``about``: ``not applicable: …`` or ``missing``, in place of a number, or why it cannot be set beside the plan. ``run`` and
    ``against_run``: keys of what was measured, which tell equal systems apart from equal numbers.
    """

    experiment: int
    task: str
    system: str
    metric: str
    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    n: int = 0
    expected_low: float | None = None
    expected_high: float | None = None
    against: str = ""  # of a difference: what it is counted from
    test: str = ""
    p: float | None = None
    p_adjusted: float | None = None  # Holm over the tests of the phase's report
    run: str = ""
    against_run: str = ""
    fixed: str = ""  # why no prompt can change it, if so
    about: str = ""

    @property
    def is_difference(self) -> bool:
        return bool(self.against)

    @property
    def verdict(self) -> str:
        """What may be said of it beside the expectation."""
        if self.about:
            return self.about
        return word(self.low, self.high, self.expected_low, self.expected_high, self.value)

    def adjusted(self, p: float | None) -> Measured:
        return replace(self, p_adjusted=p)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able; undefined numbers are None."""
        return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Measured:
        """What :meth:`as_dict` gave."""
        numbers = {k: math.nan if values.get(k) is None else values[k] for k in ("value", "low", "high")}
        return cls(**{**values, **numbers})

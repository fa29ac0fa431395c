"""The line that a guard in front of every request must keep: fast enough *and* right often enough, or nothing is said."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from guardeval.stats import Estimate

__all__ = ["Line", "Side", "line_of"]


class Side(StrEnum):
    """Where an interval lies. It decides only when all of it lies on one side."""

    INSIDE = "inside"
    OUTSIDE = "outside"
    UNDECIDED = "not decided"


@dataclass(frozen=True, slots=True)
class Line:
    """One configuration against both limits. ``speed`` inside: below the limit; ``accuracy`` inside: above the floor."""

    speed: Side
    accuracy: Side

    @property
    def verdict(self) -> Side:
        """Inside when both are, outside when one is, else not decided."""
        sides = (self.speed, self.accuracy)
        if Side.OUTSIDE in sides:
            return Side.OUTSIDE
        return Side.UNDECIDED if Side.UNDECIDED in sides else Side.INSIDE

    def __str__(self) -> str:
        """``inside``; ``outside: too slow``; ``not decided: accuracy`` names what decides, or what would have to."""
        verdict = self.verdict
        if verdict is Side.INSIDE:
            return "inside"
        words = {Side.OUTSIDE: ("too slow", "accuracy below"), Side.UNDECIDED: ("speed", "accuracy")}[verdict]
        parts = [w for side, w in zip((self.speed, self.accuracy), words, strict=True) if side is verdict]
        return f"{verdict}: {', '.join(parts)}"


def line_of(latency_ms: Estimate, accuracy: Estimate, limit_ms: float, floor: float) -> Line:
    """Which side of both limits the intervals lie on. Unknown figures decide nothing."""
    return Line(
        _side(latency_ms.high < limit_ms, latency_ms.low >= limit_ms), _side(accuracy.low > floor, accuracy.high <= floor)
    )


def _side(inside: bool, outside: bool) -> Side:
    return Side.INSIDE if inside else Side.OUTSIDE if outside else Side.UNDECIDED

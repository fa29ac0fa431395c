"""How experiments name each other's systems, ``21.multistep`` or ``26.members@main``, and models they trained, ``model:36``."""

from __future__ import annotations

from dataclasses import dataclass

from guardeval.errors import ConfigError

__all__ = ["BASELINE", "Reference", "model_number"]

BASELINE = "baseline"  # as `against:`, the published figure that the plan starts from


@dataclass(frozen=True, slots=True)
class Reference:
    """An arm or combination, of this or another experiment: ``21.multistep``, ``26.members@main``."""

    experiment: int
    arm: str
    role: str | None = None  # of an arm with several models

    @classmethod
    def read(cls, text: str, own: int) -> Reference:
        """Raises :class:`ConfigError` for a number before the dot that is none."""
        head, dot, rest = text.partition(".")
        if dot and not head.isdigit():
            raise ConfigError(f"{text!r}: NUMBER.ARM is wanted, or an arm of the same experiment")
        number, arm = (int(head), rest) if dot else (own, text)
        name, at, role = arm.partition("@")
        return cls(number, name, role if at else None)

    def __str__(self) -> str:
        return f"{self.experiment}.{self.arm}{f'@{self.role}' if self.role else ''}"


def model_number(role: str) -> int | None:
    """Of ``model:36``, 36: the experiment that trained the model; None for a role of the model set."""
    head, colon, rest = role.partition(":")
    return int(rest) if head == "model" and colon and rest.isdigit() else None

"""``--solver native``: the format of the family that a model's name belongs to.

It stands for that family's solver: the run names the solver that was chosen, and its version.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from guardeval.contracts import Asker, Case, Solver
from guardeval.data import Verdict
from guardeval.errors import ConfigError
from guardeval.native.family import Family
from guardeval.registry import Registry

__all__ = ["Native"]


@dataclass(frozen=True)
class Native:
    """Chooses among all installed solvers that state families, a third party's too; options are the family's default."""

    _chosen: dict[str, tuple[str, Solver]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def for_model(self, name: str) -> tuple[str, Solver]:
        """Name and solver of the family that fits a model's name best.

        Raises :class:`ConfigError` where none fits, or those of several solvers do.
        """
        if name not in self._chosen:
            self._chosen[name] = _choose(name)
        return self._chosen[name]

    async def solve(self, case: Case, model: Asker) -> Verdict:
        """As the family of the model asks; where other solvers hold this one, each model gets its own."""
        return await self.for_model(model.name)[1].solve(case, model)


def _choose(model: str) -> tuple[str, Solver]:
    registry = Registry()
    families = list(_families(registry))
    fitting = _fitting(model, families)
    if not fitting:
        known = ", ".join(dict.fromkeys(solver for solver, _ in families))
        raise ConfigError(
            f"solver native: no guard family is known by the name of {model!r}; name its solver: {known} "
            "(`guardeval show SOLVER` explains one)"
        )
    if len(fitting) > 1:
        said = "; ".join(f"{solver} ({family.name})" for solver, family in fitting)
        raise ConfigError(f"solver native: the name of {model!r} fits several families: {said}; name one by --solver")
    solver, family = fitting[0]
    return solver, registry.build("solvers", solver, family.options)


def _fitting(model: str, families: Sequence[tuple[str, Family]]) -> list[tuple[str, Family]]:
    """The families of the last part of a name or path that any of them knows: of one solver the one that fits best, of
    several all, for a longer match tells a version and not whose model it is.
    """
    for part in reversed(model.split("/")):
        found = [(family.suits(part), solver, family) for solver, family in families]
        solvers = {solver for length, solver, _ in found if length}
        best = max(length for length, _, _ in found) if len(solvers) == 1 else 1
        if solvers:
            return [(solver, family) for length, solver, family in found if length >= best]
    return []


def _families(registry: Registry) -> Iterator[tuple[str, Family]]:
    for name in registry.entries("solvers"):
        for family in getattr(registry.load("solvers", name), "families", ()):
            yield name, family

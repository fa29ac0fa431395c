"""``--solver native``: the format of the family that a model's name belongs to.

It stands for that family's solver: the run names the solver that was chosen, and its version.
"""

from __future__ import annotations

from collections.abc import Iterator
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

        Raises :class:`ConfigError` where none fits, or several do equally well.
        """
        if name not in self._chosen:
            self._chosen[name] = _choose(name)
        return self._chosen[name]

    async def solve(self, case: Case, model: Asker) -> Verdict:
        """As the family of the model asks; where other solvers hold this one, each model gets its own."""
        return await self.for_model(model.name)[1].solve(case, model)


def _choose(model: str) -> tuple[str, Solver]:
    registry = Registry()
    found = [(family.suits(model), solver, family) for solver, family in _families(registry)]
    best = max((length for length, _, _ in found), default=0)
    fitting = [(solver, family) for length, solver, family in found if length == best] if best else []
    if not fitting:
        known = ", ".join(dict.fromkeys(solver for _, solver, _ in found))
        raise ConfigError(
            f"solver native: no guard family is known by the name of {model!r}; name its solver: {known} "
            "(`guardeval show SOLVER` explains one)"
        )
    if len({solver for solver, _ in fitting}) > 1 or len(fitting) > 1:
        said = "; ".join(f"{solver} ({family.name})" for solver, family in fitting)
        raise ConfigError(f"solver native: the name of {model!r} fits several families: {said}; name one by --solver")
    solver, family = fitting[0]
    return solver, registry.build("solvers", solver, family.options)


def _families(registry: Registry) -> Iterator[tuple[str, Family]]:
    for name in registry.entries("solvers"):
        for family in getattr(registry.load("solvers", name), "families", ()):
            yield name, family

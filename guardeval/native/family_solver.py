"""What the solvers of guard families share: the entry that is theirs, what it judges, asking once in its format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, TypeVar

from guardeval.contracts import Asker, Case, Prompt
from guardeval.data import Target, Verdict
from guardeval.errors import ConfigError
from guardeval.native.asking import ask, sampling_of
from guardeval.native.family import Family, Form
from guardeval.native.reading import Read
from guardeval.registry import Registry

__all__ = ["AUTO", "FamilySolver", "VersionedSolver"]

AUTO: Final = "auto"  # the version that the model's name tells
_V = TypeVar("_V", bound="VersionedSolver")


@lru_cache(maxsize=64)
def _name_of(solver: type) -> str:
    return Registry().name_of("solvers", solver)


class FamilySolver:
    """For frozen dataclasses with ``families`` and ``max_tokens``; a solver that states families need not be one."""

    families: ClassVar[tuple[Family, ...]]
    if TYPE_CHECKING:

        @property
        def max_tokens(self) -> int: ...

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            said = f"max_tokens={self.max_tokens}: a guard needs at least 1 token to answer; leave it out for the default"
            solver: type = type(self)
            raise ConfigError(f"solver {_name_of(solver)}: {said}")

    @property
    def family(self) -> Family:
        """The entry whose options are this solver's own."""
        return next(f for f in self.families if all(getattr(self, name) == value for name, value in f.options.items()))

    @property
    def targets(self) -> frozenset[Target]:
        return self.family.targets

    def form(self, case: Case, model: Asker) -> Form:
        """The form in which the backend is asked. Raises :class:`ConfigError` for a question that the family does not answer,
        and where the backend takes none of its forms.
        """
        solver: type = type(self)
        family, name = self.family, _name_of(solver)
        if case.target not in family.targets:
            can = ", ".join(sorted(family.targets))
            raise ConfigError(f"solver {name}: {family.name} cannot be asked for {case.target}; it judges {can}")
        return family.form(model.traits, name)

    async def asked(self, case: Case, model: Asker, render: Callable[[Case, Asker], Prompt], read: Read) -> Verdict:
        """Ask once; ``render`` makes the prompt of a case for the backend. Raises as :meth:`form` does."""
        self.form(case, model)
        return await ask(
            case, model, self.family, lambda shown: render(shown, model), sampling_of(model, self.max_tokens), read
        )

    def listed_categories(self, line: str = "{code}: {title}.", but: str = "") -> str:
        """The family's categories but for one, a line each."""
        taxonomy = self.family.categories
        titles = {} if taxonomy is None else taxonomy.titles
        return "\n".join(line.format(code=code, title=title) for code, title in titles.items() if code != but)


class VersionedSolver(FamilySolver, ABC):
    """For families whose members differ in format: ``version`` names one, ``auto`` takes the one that a model's name tells.

    A run asks :meth:`for_model` once and records the version; where a model's name tells none, it is ``default_version``.
    """

    default_version: ClassVar[str]
    if TYPE_CHECKING:

        @property
        def version(self) -> str: ...

    @property
    def family(self) -> Family:
        version = self.default_version if self.version == AUTO else self.version
        return next(f for f in self.families if f.options["version"] == version)

    def for_model(self, name: str) -> tuple[str, Self]:
        """The solver's own name, and the solver with its version for the model of this name."""
        return _name_of(type(self)), self if self.version != AUTO else _of_version(self, name)

    async def solve(self, case: Case, model: Asker) -> Verdict:
        return await self.for_model(model.name)[1].judged(case, model)

    @abstractmethod
    async def judged(self, case: Case, model: Asker) -> Verdict:
        """The verdict, by a solver whose version is known."""


@lru_cache(maxsize=256)
def _of_version(solver: _V, model: str) -> _V:
    best = max(solver.families, key=lambda f: f.suits(model))
    made: Any = solver  # a dataclass, as all of these are
    found: _V = replace(made, version=best.options["version"] if best.suits(model) else solver.default_version)
    return found

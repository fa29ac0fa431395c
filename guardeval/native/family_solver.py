"""What the solvers of guard families share: the entry that is theirs, what it judges, asking once in its format."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

from guardeval.contracts import Asker, Case, Prompt
from guardeval.data import Target, Verdict
from guardeval.errors import ConfigError
from guardeval.native.asking import ask, sampling_of
from guardeval.native.family import Family, Form
from guardeval.native.reading import Read
from guardeval.registry import Registry

__all__ = ["FamilySolver"]


@lru_cache(maxsize=64)
def _name_of(solver: type) -> str:
    return Registry().name_of("solvers", solver)


class FamilySolver:
    """For frozen dataclasses with ``families`` and ``max_tokens``; a solver that states families need not be one."""

    families: ClassVar[tuple[Family, ...]]
    if TYPE_CHECKING:

        @property
        def max_tokens(self) -> int: ...

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

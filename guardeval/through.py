"""An asker that stands before another one and changes what is asked of it, or what is made of the answer."""

from __future__ import annotations

from guardeval.contracts import Asker, Traits

__all__ = ["Through"]


class Through:
    """The name and traits of the asker behind; who inherits says what it does with a request."""

    __slots__ = ("_asker",)

    def __init__(self, asker: Asker) -> None:
        self._asker = asker

    @property
    def name(self) -> str:
        return self._asker.name

    @property
    def traits(self) -> Traits:
        return self._asker.traits

"""The same question drawn several times: any solver, its answers sampled, each draw told apart from the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from guardeval.contracts import Asker, Completion, Exchange, Request, Sampling
from guardeval.data import Usage
from guardeval.errors import ConfigError
from guardeval.panel import Member
from guardeval.through import Through

__all__ = ["Drawn", "Redraw"]


class Redraw:
    """``n`` draws of whatever a solver asks, at a temperature above 0; ``seed`` is that of the first draw. ``top_p`` in place
    of the solver's own, where one is given.

    A request that is draw d already becomes draw d·n + i of the i-th draw, so that no two of a solver that draws itself
    meet. Plain solvers ask for draw 0: of theirs, more draws begin with those of fewer, and those are known.
    """

    def __init__(self, n: int, temperature: float, seed: int, top_p: float | None = None) -> None:
        if n < 1:
            raise ConfigError(f"n={n}: at least 1 draw is wanted")
        if not 0 < temperature < float("inf"):
            raise ConfigError(f"temperature={temperature}: a number above 0 is wanted, for at 0 all draws are alike")
        if top_p is not None and not 0 < top_p <= 1:
            raise ConfigError(f"top_p={top_p}: a share above 0, at most 1, is wanted")
        self.n, self.temperature, self.seed, self.top_p = n, temperature, seed, top_p
        self._samplings: dict[Sampling, Sampling] = {}  # made once each: their users look at the object

    def askers(self, model: Asker) -> list[Drawn]:
        """The model as each draw sees it."""
        return [Drawn(model, self, i) for i in range(self.n)]

    def request(self, request: Request, i: int) -> Request:
        """What the ``i``-th draw asks, from 0, where a solver asks ``request``."""
        sampling = self._samplings.get(request.sampling)
        if sampling is None:
            top_p = request.sampling.top_p if self.top_p is None else self.top_p
            sampling = replace(request.sampling, temperature=self.temperature, seed=self.seed, top_p=top_p)
            self._samplings[request.sampling] = sampling
        return Request(request.prompt, request.case, sampling, request.draw * self.n + i, request.steps)


class Drawn(Through):
    """One draw's view of a model, or of several with all of their members; keeps the draw's own exchanges."""

    __slots__ = ("_draw", "_exchanges", "_redraw", "members")

    def __init__(self, asker: Asker, redraw: Redraw, draw: int) -> None:
        super().__init__(asker)
        self._redraw, self._draw = redraw, draw
        self._exchanges: list[Exchange] = []
        several: Sequence[Member] | None = getattr(asker, "members", None)
        self.members = (
            None if several is None else tuple(Member(m.name, Drawn(m.asker, redraw, draw), m.solver) for m in several)
        )

    @property
    def exchanges(self) -> list[Exchange]:
        """This draw's, as its solver asked for them; of several models in the members' order."""
        if self.members is None:
            return self._exchanges
        return [e for m in self.members for e in getattr(m.asker, "exchanges", ())]

    async def generate(self, request: Request) -> Completion:
        """What the model says in this draw; one that only classifies says the same in all, so it is asked as it was."""
        asked = request if self.traits.classifies else self._redraw.request(request, self._draw)
        completion = await self._asker.generate(asked)
        heard: Sequence[Exchange] = getattr(self._asker, "exchanges", ())
        if heard and heard[-1].request is asked:  # nothing else ran since it was put there
            self._exchanges.append(replace(heard[-1], request=request))
        return completion

    def usage(self) -> Usage | None:
        """Of this draw; None where the model keeps no account."""
        from guardeval.broker.bound import usage_of

        return usage_of(self.exchanges) if hasattr(self._asker, "exchanges") else None

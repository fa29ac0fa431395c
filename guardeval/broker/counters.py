"""What asking took: counts, tokens and money of one model or of all, and the forecast of a dry run."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

__all__ = ["Counters", "Estimate"]


@dataclass(slots=True)
class Counters:
    """Running totals. ``asked == answered + cached + joined + failed`` once nothing is under way.

    All but three count questions as solvers ask them, each draw for itself. ``sent``, ``retried`` and ``throttled`` count
    what goes over the wire: several draws of a question may be one request, paid for with one prompt (see
    :class:`~guardeval.contracts.DrawingModel`), and a request that is asked again is one more.
    """

    asked: int = 0  # requests that solvers made
    sent: int = 0  # requests that went out to a model, retries included, however many draws each asks for
    answered: int = 0  # requests that a model answered in this run
    cached: int = 0  # requests answered from the cache
    joined: int = 0  # requests that waited for an identical one under way
    retried: int = 0  # of those sent, after a passing failure
    throttled: int = 0  # of those sent, refused by a rate limit
    failed: int = 0  # requests that ended in an error
    tokens_in: int = 0  # of answered requests, as far as the model reports them
    tokens_out: int = 0
    cost: float = 0.0  # US dollars of answered requests whose price is known
    saved: float = 0.0  # US dollars that cached and joined requests would have cost

    def __add__(self, other: Counters) -> Counters:
        return Counters(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@dataclass(slots=True)
class Estimate:
    """What a dry run foresees. Later requests of solvers that read earlier answers may differ or be missing."""

    distinct: int = 0  # different requests, cached ones included
    cached: int = 0  # of these, answered in the cache already
    tokens_in: int = 0  # of the others: characters / 4, about right for English and most tokenizers
    tokens_out: int = 0  # of the others: the most they may generate (max_tokens)
    cost: float | None = 0.0  # US dollars at most; None where a price is not known

    def __add__(self, other: Estimate) -> Estimate:
        known = self.cost is not None and other.cost is not None
        return Estimate(
            self.distinct + other.distinct,
            self.cached + other.cached,
            self.tokens_in + other.tokens_in,
            self.tokens_out + other.tokens_out,
            (self.cost or 0.0) + (other.cost or 0.0) if known else None,
        )

    def add(self, tokens_in: int, tokens_out: int, price: tuple[float, float] | None) -> Self:
        """Count one request that would be sent; ``price`` in US dollars per million tokens in and out."""
        self.tokens_in += tokens_in
        self.tokens_out += tokens_out
        if price is None:
            self.cost = None
        elif self.cost is not None:
            self.cost += (tokens_in * price[0] + tokens_out * price[1]) / 1e6
        return self

"""``max_cost``: what may be spent, what is spent, and what requests under way may still cost."""

from __future__ import annotations

from guardeval.contracts import Request, Traits
from guardeval.errors import ConfigError, GuardevalError

__all__ = ["Budget", "BudgetSpent", "Spending", "estimated_tokens"]

CHARACTERS_PER_TOKEN = 4  # about right for English; replaced by what the model reports once it has


class BudgetSpent(GuardevalError, RuntimeError):
    """The next request could cost more than ``max_cost`` leaves; what was answered is kept."""


def estimated_tokens(request: Request) -> int:
    """Tokens of a prompt by its length; right within a third for English."""
    frame = request.prompt.frame
    text = len(frame.before) + len(request.prompt.text) + len(frame.after) + len(frame.forced)
    return (text + sum(len(content) for _, content in (*frame.turns, *request.prompt.earlier))) // CHARACTERS_PER_TOKEN + 1


class Spending:
    """What one model's requests cost: by its price and its own reports, by estimate before there is one."""

    def __init__(self, price: tuple[float, float]) -> None:
        self._price = price
        self._estimated_in = 0  # of answered requests: what we thought …
        self._tokens_in = 0  # … and what it was
        self._tokens_out = 0
        self._answers = 0

    def forecast(self, request: Request, rides: bool = False) -> float:
        """US dollars: at most, before anything was answered; by the mean of the answers so far, after.

        ``rides``: asked for together with another draw, which pays for the prompt.
        """
        tokens_in = 0.0 if rides else float(estimated_tokens(request))
        tokens_out = float(request.sampling.max_tokens)
        if self._answers:
            tokens_in *= self._tokens_in / max(1, self._estimated_in)
            tokens_out = min(tokens_out, self._tokens_out / self._answers)
        return (tokens_in * self._price[0] + tokens_out * self._price[1]) / 1e6

    def learn(self, request: Request, tokens_in: int, tokens_out: int, rides: bool = False) -> None:
        self._estimated_in += 0 if rides else estimated_tokens(request)
        self._tokens_in += tokens_in
        self._tokens_out += tokens_out
        self._answers += 1


class Budget:
    """Money of one run over all its models. Requests under way are reserved for, so they cannot add up past the end."""

    def __init__(self, max_cost: float) -> None:
        if not max_cost >= 0:
            raise ConfigError(f"max_cost is an amount in US dollars, 0 or more, not {max_cost!r}")
        self.max_cost = max_cost
        self.spent = 0.0
        self.closed: BudgetSpent | None = None  # why nothing new is sent
        self._reserved = 0.0
        self._under_way = 0

    @staticmethod
    def check(name: str, traits: Traits) -> None:
        """Raise :class:`ConfigError` for a model that may cost money without saying how much."""
        if traits.remote and traits.price is None:
            raise ConfigError(
                f"max_cost cannot be kept: the price of {name} is not known; "
                "give US dollars per million tokens in and out: -M price=0.15,0.6 (0,0 where it costs nothing)"
            )

    def reserve(self, cost: float) -> bool:
        """Set ``cost`` aside for a request about to be sent; False if it does not fit.

        It may fit once others under way turn out cheaper than feared. With none under way it never will: ``closed`` is set,
        so that whoever hears of it knows that everything paid for has been heard.
        """
        if self.closed is None and self.spent + self._reserved + cost <= self.max_cost:
            self._reserved += cost
            self._under_way += 1
            return True
        if not self._under_way and self.closed is None:
            self.closed = BudgetSpent(
                f"stopped before max_cost: ${self.spent:.4f} of ${self.max_cost:.4f} are spent and the next request may cost "
                f"${cost:.4f}; what was answered is kept in the cache: run the same command with a larger max_cost to go on"
            )
        return False

    def release(self, reserved: float, cost: float) -> None:
        """A request is over: ``cost`` is what it took of the ``reserved`` amount, or more."""
        self._under_way -= 1
        self._reserved = self._reserved - reserved if self._under_way else 0.0  # rounding must not pile up
        self.spent += cost

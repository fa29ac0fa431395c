"""GuardBench's function: ``moderate(conversations) -> list[float]``, answered by any model and solver of guardeval.

``guardbench.benchmark(moderate=moderator("embedded"), model_name="embedded", batch_size=32, datasets="all")``
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

from guardeval.card_defaults import with_card_defaults
from guardeval.contracts import BatchModel, ChoosingSolver, Model, Solver
from guardeval.data import Sample, Target, Verdict
from guardeval.errors import ConfigError, DataError, ModelError
from guardeval.judging import Judging
from guardeval.models import ModelSpec, build_model
from guardeval.panel import is_combining
from guardeval.policies import PolicySet, load_policies
from guardeval.registry import Registry
from guardeval.settings import DEFAULT_POLICIES, DEFAULT_SOLVER, Settings, read_target
from guardeval.turns import history_of

__all__ = ["Conversation", "Moderator", "moderator"]

Conversation = Sequence[Mapping[str, str]]


def moderator(
    model: str = "embedded",
    solver: str | None = None,
    target: Target | str | None = None,
    policies: str | None = None,
    missing: str | float = "error",
    *,
    model_args: Mapping[str, Any] | None = None,
    solver_args: Mapping[str, Any] | None = None,
    cache: Path | None = None,
    registry: Registry | None = None,
) -> Moderator:
    """The function to hand to GuardBench; the names are those of ``guardeval run``.

    ``target`` None: whose turn is last says what is judged, the user's prompt or the assistant's response. ``missing``: the
    number that stands for a conversation without a verdict, in [0, 1]; ``error`` raises instead. ``cache``: a file of answers
    that are not asked for again. Raises :class:`ConfigError` for a wrong name or number, before anything is asked.
    """
    if missing != "error" and not (isinstance(missing, (int, float)) and 0 <= missing <= 1):
        raise ConfigError(f"moderator: missing={missing!r}: 'error', or a probability in [0, 1] is wanted")
    registry = registry or Registry()
    spec = ModelSpec(model, dict(model_args or {}))
    given = Settings(task=("-",), solver=solver, solver_args=dict(solver_args or {}), model=(spec,), policies=policies)
    asked = with_card_defaults(given, registry).settings
    own = asked.model[0]
    name = own.solver or asked.solver or DEFAULT_SOLVER
    built = registry.build("solvers", name, own.solver_args if own.solver else asked.solver_args)
    if isinstance(built, ChoosingSolver):
        name, built = built.for_model(model)
    if is_combining(built):
        raise ConfigError(f"moderator: solver {name!r} combines several models; name one that asks a single model")
    wanted = None if target is None else read_target(str(target), "moderator: target")
    return Moderator(
        build_model(own, registry), model, built, load_policies(asked.policies or DEFAULT_POLICIES), wanted,
        None if missing == "error" else float(missing), cache,
    )  # fmt: skip


class Moderator:
    """Callable as GuardBench wants it; the model stays loaded until :meth:`close`, or the end of a ``with``."""

    def __init__(
        self,
        model: Model | BatchModel,
        name: str,
        solver: Solver,
        policies: PolicySet,
        target: Target | None,
        missing: float | None,
        cache: Path | None,
    ) -> None:
        self._model, self._name, self._solver, self._policies = model, name, solver, policies
        self._target, self._missing, self._cache = target, missing, cache

    def __call__(self, conversations: Sequence[Conversation]) -> list[float]:
        """P(harmful), or P(refusal) where that is the target, of each conversation, in order.

        Where the model gives no probability its label stands, as 0.0 or 1.0. Raises :class:`DataError` for a conversation
        that cannot be judged, :class:`ModelError` for one without a verdict, unless ``missing`` is a number.
        """
        read = [_read(c, i, self._target) for i, c in enumerate(conversations)]
        out: dict[int, float] = {}
        for target in dict.fromkeys(t for _, t in read):
            self._check(target)
            places = [i for i, (_, t) in enumerate(read) if t is target]
            judged = self._judge([read[i][0] for i in places], target)
            out |= {i: self._number(verdict, i) for i, verdict in zip(places, judged, strict=True)}
        return [out[i] for i in range(len(read))]

    def close(self) -> None:
        """Let the model go. It is loaded again when it is asked again."""
        if "_thread" in self.__dict__:
            self._thread.submit(self._close).result()
            self._thread.shutdown()
            del self.__dict__["_thread"]

    def __enter__(self) -> Moderator:
        return self

    def __exit__(self, *problem: object) -> None:
        self.close()

    @cached_property
    def _thread(self) -> ThreadPoolExecutor:
        """One thread of its own: notebooks have an event loop running in theirs already."""
        thread = ThreadPoolExecutor(1, "moderator")
        thread.submit(self._open).result()
        return thread

    def _open(self) -> None:
        self._judging = Judging(self._model, self._name, self._cache).__enter__()

    def _close(self) -> None:
        self._judging.__exit__()

    def _judge(self, samples: Sequence[Sample], target: Target) -> list[Verdict]:
        def ask() -> list[Verdict]:
            return [j.verdict for j in self._judging.ask(samples, target, self._policies, self._solver)]

        return self._thread.submit(ask).result()

    def _check(self, target: Target) -> None:
        if target not in self._model.traits.targets:
            can = ", ".join(sorted(self._model.traits.targets))
            raise ConfigError(f"moderator: model {self._name!r} cannot be asked for {target}; it judges {can}")

    def _number(self, verdict: Verdict, place: int) -> float:
        if verdict.label is None:
            if self._missing is None:
                said = " ".join(verdict.raw.split())[:200]
                told = f"conversation {place}: no verdict ({verdict.outcome}): {said!r}"
                raise ModelError(f"{told}; missing=0.5, say, gives such ones a number")
            return self._missing
        return float(verdict.label) if verdict.score is None else verdict.score


def _read(conversation: Conversation, place: int, target: Target | None) -> tuple[Sample, Target]:
    """What is judged in a conversation: its last turn, after those before it."""
    try:
        turns = history_of(list(conversation), f"conversation {place}")
    except TypeError:
        raise DataError(f"conversation {place} is {type(conversation).__name__}; a list of messages is wanted") from None
    if not turns or turns[-1][0] not in ("user", "assistant"):
        raise DataError(f"conversation {place} has no last turn of the user or the assistant: nothing to judge")
    answered = turns[-1][0] == "assistant"
    response = turns[-1][1] if answered else None
    before = turns[:-1] if answered else turns
    asked = bool(before) and before[-1][0] == "user"
    prompt, history = (before[-1][1], before[:-1]) if asked else ("", before)
    target = target or (Target.RESPONSE if answered else Target.PROMPT)
    if target is Target.PROMPT and not asked:
        raise DataError(f"conversation {place} has no user's turn to judge: it ends with the assistant's words alone")
    if target is not Target.PROMPT and not answered:
        raise DataError(f"conversation {place} ends with the user's turn, and {target} is about the assistant's")
    sample = Sample(str(place), place, prompt, None if target is Target.PROMPT else response, history=history)
    return sample, target

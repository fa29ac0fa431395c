"""guardeval's solvers inside Inspect: a solver asks, Inspect's model answers, the verdict goes into the sample's store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from typing import Any

from inspect_ai.model import ChatMessageAssistant, Model, ModelOutput, get_model, model_roles
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.util import LimitExceededError

from guardeval.broker.bound import total, usage_of
from guardeval.contracts import Case, ChoosingSolver, Completion, Exchange, Request, Traits
from guardeval.contracts import Solver as OurSolver
from guardeval.data import Outcome, Target, Usage, Verdict
from guardeval.errors import ConfigError, GuardevalError, ModelError, ModelUnusable
from guardeval.interop.inspect_generate import completion_of, config_of, error_from, messages_of, refuse_wrapping, traits_of
from guardeval.interop.inspect_records import KEY, plain, sample_of
from guardeval.panel import Member, is_combining
from guardeval.policies import Policy, PolicySet, load_policies
from guardeval.registry import Registry, build
from guardeval.sealed import shown_to
from guardeval.voting import Combiner

__all__ = ["InspectAsker", "case_of", "register_solver", "told"]


@contextmanager
def told() -> Iterator[None]:
    """Show what is wrong with options, rows or models as Inspect shows its own: one paragraph, no traceback."""
    from inspect_ai._util.error import PrerequisiteError

    try:
        yield
    except GuardevalError as e:
        raise PrerequisiteError(str(e)) from e


def case_of(metadata: Mapping[str, Any] | None, texts: bool = True) -> Case:
    """The case that a sample of one of our tasks holds. Raises :class:`ConfigError` for other samples.

    ``texts`` False: of the policies their names alone, which is all that reading an answer takes.
    """
    own = (metadata or {}).get(KEY)
    if not isinstance(own, Mapping) or "sample" not in own:
        raise ConfigError("this sample is not of a guardeval task: guardeval's solvers and scorers need `guardeval/<task>`")
    policies = _policies(own["policies"]) if texts else _named(own["policies"], tuple(own["policy_names"]))
    return Case(sample_of(own["sample"]), Target(own["target"]), policies)


@lru_cache(maxsize=64)
def _policies(source: str) -> PolicySet:
    return load_policies(source)


@lru_cache(maxsize=64)
def _named(source: str, names: tuple[str, ...]) -> PolicySet:
    return PolicySet(source, tuple(Policy(name, "") for name in names))


class InspectAsker:
    """A model of Inspect as a solver sees it, for one sample; Inspect retries, limits, caches and logs what it is asked."""

    def __init__(self, model: Model, logprobs: bool | None = None) -> None:
        self.name = str(model)
        self.traits: Traits = traits_of(self.name.partition("/")[0], logprobs)
        self.exchanges: list[Exchange] = []
        self.outputs: list[ModelOutput] = []
        self._unheard = False
        self._model = model

    async def generate(self, request: Request) -> Completion:
        refuse_wrapping(request.prompt, self.traits, self.name)
        messages = messages_of(request.prompt, self.traits)
        config = config_of(request, self.traits, self._model.config.extra_body)
        cached: dict[str, Any] = {"cache": False} if request.draw else {}  # draws of one question are not one answer
        try:
            output = await self._model.generate(messages, config=config, **cached)
        except LimitExceededError:
            raise
        except Exception as e:  # providers raise errors of many packages: told apart there
            self._unheard = True
            raise error_from(e, self._model.api, self.name) from e
        completion = completion_of(output, self.name, request.prompt.frame.forced)
        self.outputs.append(output)
        self.exchanges.append(Exchange(request, completion, output.time or 0.0))
        return completion

    def usage(self) -> Usage:
        return usage_of(self.exchanges, self._unheard)


class _Panel:
    """The models under Inspect's model roles, for a solver that combines several."""

    def __init__(self, roles: Mapping[str, Model], logprobs: bool | None) -> None:
        self._askers = {role: InspectAsker(model, logprobs) for role, model in roles.items()}
        self.members = tuple(Member(role, asker) for role, asker in self._askers.items())
        self.name = " + ".join(roles)
        self.traits = next(iter(self._askers.values())).traits

    @property
    def exchanges(self) -> list[Exchange]:
        return [e for asker in self._askers.values() for e in asker.exchanges]

    @property
    def outputs(self) -> list[ModelOutput]:
        return [o for asker in self._askers.values() for o in asker.outputs]

    async def generate(self, request: Request) -> Completion:
        raise ConfigError(f"{self.name}: several models, and a solver that asks one")

    def usage(self) -> Usage:
        return total([asker.usage() for asker in self._askers.values()])


def register_solver(name: str) -> Callable[..., Solver]:
    """The Inspect solver ``guardeval/<name>``. The plugin behind it is imported when an evaluation names it."""

    def make(**options: Any) -> Solver:
        with told():
            return _solver(name, options)

    make.__name__ = make.__qualname__ = name
    registered: Callable[..., Solver] = solver(name=name)(make)
    return registered


def _solver(name: str, options: Mapping[str, Any]) -> Solver:
    own, logprobs = _options(name, options)

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        case = case_of(state.metadata)
        asker = _asker(own, name, logprobs)
        chosen = own.for_model(asker.name)[1] if isinstance(own, ChoosingSolver) else own
        try:
            verdict = await chosen.solve(replace(case, sample=shown_to(chosen)(case.sample)), asker)
        except ModelError as e:
            _record(state, Verdict(case.target, Outcome.FAILED, raw=str(e)), asker)
            if isinstance(e, ModelUnusable) or e.__cause__ is None:
                raise  # what to do about it is ours to say
            raise e.__cause__ from None  # the provider's own error, as Inspect shows and counts it
        _record(state, verdict, asker)
        _show(state, verdict, asker)
        return state

    return solve


def _options(name: str, options: Mapping[str, Any]) -> tuple[OurSolver, bool | None]:
    """The solver, and whether token probabilities are asked for: ``-S logprobs=``, where that is no option of its own."""
    import inspect

    cls = Registry().load("solvers", name)
    given, logprobs = dict(options), None
    if "logprobs" in given and "logprobs" not in inspect.signature(cls).parameters:
        said = given.pop("logprobs")
        logprobs = _FLAGS.get(str(said).lower())
        if logprobs is None:
            raise ConfigError(f"-S logprobs={said}: true or false is wanted")
    found: OurSolver = build(cls, given, f"solver {name!r}")
    return found, logprobs


_FLAGS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def _asker(own: OurSolver, name: str, logprobs: bool | None) -> Any:
    if not is_combining(own):
        return InspectAsker(get_model(), logprobs)
    roles = {role: m for role, m in model_roles().items() if isinstance(m, Model)}
    if not roles:
        raise ConfigError(f"guardeval/{name} combines several models: name each by --model-role NAME=PROVIDER/MODEL")
    if isinstance(own, Combiner):
        own.check(tuple(roles))
    return _Panel(roles, logprobs)


def _record(state: TaskState, verdict: Verdict, asker: Any) -> None:
    state.store.set(KEY, {"verdict": plain(verdict), "usage": plain(asker.usage()), "requests": len(asker.exchanges)})


def _show(state: TaskState, verdict: Verdict, asker: Any) -> None:
    """The last question and what came of it, as Inspect's log shows a conversation; every request stands in its events."""
    if not asker.exchanges:
        return
    last, output = asker.exchanges[-1].request, asker.outputs[-1]
    if len(asker.exchanges) > 1:
        output = ModelOutput.from_content(model=asker.name, content=_closing(verdict))
    state.messages = [*messages_of(last.prompt, asker.traits), ChatMessageAssistant(content=output.message.content)]
    state.output = output


def _closing(verdict: Verdict) -> str:
    """A verdict that several answers make, in the words of the closing block."""
    if verdict.label is None:
        return f"No verdict: {verdict.outcome}"
    named = ", ".join(sorted(verdict.policies)) or "none"
    return f"Decision: {verdict.target.word(verdict.label)}\nPolicies: {named}"

"""What can be told of a plugin class without using it: its constructor, its methods and attributes against the contract.

``problems_of(kind, cls)`` is a list of predicates, each with its place: ``has no solve(case, model) (mine.py:12)``. What it
does when it is used, the suites of ``guardeval.testing.suites`` find out.
"""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from guardeval.contracts import Traits
from guardeval.errors import GuardevalError
from guardeval.identity_check import identity_text, options_left_out, options_unknown
from guardeval.registry import build, configuration

__all__ = ["METHODS", "TAKES", "Method", "place_of", "problems_of"]

TAKES = ("samples", "traces", "pairs")  # kinds of rows that a trainer may name


@dataclass(frozen=True, slots=True)
class Method:
    """A method of a contract: what it is called with, and whether it is awaited."""

    name: str
    arguments: tuple[str, ...]
    awaited: bool = False

    def __str__(self) -> str:
        return f"{'async ' if self.awaited else ''}{self.name}({', '.join(self.arguments)})"


# kind → the methods of which a plugin has at least one
METHODS: Mapping[str, tuple[Method, ...]] = MappingProxyType(
    {
        "solvers": (Method("solve", ("case", "model"), awaited=True),),
        "scorers": (Method("score", ("judged",)),),
        "models": (Method("generate", ("request",), awaited=True), Method("generate_batch", ("requests",))),
        "trainers": (Method("train", ("rows", "out")),),
        "optimizers": (Method("optimize", ("folder", "out")),),
    }
)
_DRAWS = Method("generate_draws", ("requests",), awaited=True)
_OPTIONAL = {"models": (Method("start", (), awaited=True), Method("close", (), awaited=True), _DRAWS)}


def problems_of(kind: str, cls: type, make: bool = True) -> list[str]:
    """Everything that keeps ``cls`` from being a plugin of this kind (``solvers``, …), a predicate and its place each.

    With ``make`` a class whose options all have defaults is also made, and asked for its configuration, identity and traits.
    """
    wanted = METHODS.get(kind, ())
    if wanted and not any(callable(getattr(cls, m.name, None)) for m in wanted):
        names, shown = " or ".join(m.name for m in wanted), " or ".join(map(str, wanted))
        return [f"has no {names}: {shown} is wanted{place_of(cls)}"]  # of another kind, or none: the rest says nothing
    found = [*_methods(kind, cls), *_constructor(cls)]
    if make and not found:
        found += _made(kind, cls)
    if kind in ("scorers", "trainers"):
        found += _ATTRIBUTES[kind](cls)
    return found


def place_of(thing: Any) -> str:
    """`` (file:line)`` of a class or function; empty where Python does not know it."""
    try:
        thing = inspect.unwrap(getattr(thing, "fget", None) or getattr(thing, "func", None) or thing)
        return f" ({inspect.getsourcefile(thing)}:{inspect.getsourcelines(thing)[1]})"
    except (OSError, TypeError, ValueError):
        return ""


# ---- methods ----


def _methods(kind: str, cls: type) -> Iterator[str]:
    for method in (*METHODS.get(kind, ()), *_OPTIONAL.get(kind, ())):
        if callable(getattr(cls, method.name, None)):
            yield from _signature(cls, method)
    if kind == "models":
        missing = [n for n in ("identity", "traits") if not hasattr(cls, n) and n not in _annotations(cls)]
        if missing:
            yield f"has no {' and no '.join(missing)}, on which the cache and the broker depend{place_of(cls)}"


def _signature(cls: type, method: Method) -> Iterator[str]:
    function = inspect.getattr_static(cls, method.name)
    bound = isinstance(function, (staticmethod, classmethod))
    function = function.__func__ if bound else function
    given = (None,) * (len(method.arguments) + (not isinstance(inspect.getattr_static(cls, method.name), staticmethod)))
    where = place_of(function)
    try:
        inspect.signature(function).bind(*given)
    except TypeError as e:
        yield f"cannot be called as {method}: {e}{where}"
    except ValueError:
        return  # built in: it says nothing about itself
    function = inspect.unwrap(function)
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        yield f"has a {method.name} that yields, and {method} is wanted, which returns{where}"
    elif inspect.iscoroutinefunction(function) and not method.awaited:
        yield f"has an async {method.name}, and {method} is wanted: nobody awaits it{where}"
    elif method.awaited and not inspect.iscoroutinefunction(function) and not _returns_awaitable(function):
        yield f"has a {method.name} that is not async, and {method} is wanted: it is awaited{where}"


def _returns_awaitable(function: Callable[..., Any]) -> bool:
    """A plain function may hand on what another's ``async def`` returns, if it says so."""
    said = str(getattr(function, "__annotations__", {}).get("return", ""))
    return any(word in said for word in ("Awaitable", "Coroutine", "Future", "Task"))


def _annotations(cls: type) -> set[str]:
    return {name for base in cls.__mro__ for name in vars(base).get("__annotations__", {})}


# ---- the constructor ----


def _constructor(cls: type) -> Iterator[str]:
    where = place_of(cls)
    try:
        parameters = inspect.signature(cls).parameters
    except (TypeError, ValueError) as e:
        yield f"has a constructor without a signature ({e}), so that no option can be given{where}"
        return
    for parameter in parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            star = "*" if parameter.kind is parameter.VAR_POSITIONAL else "**"
            yield f"takes {star}{parameter.name}: an option has a name, so that a misspelt one is an error{where}"
        elif parameter.kind is parameter.POSITIONAL_ONLY:
            yield f"takes {parameter.name} by position only: options are given by name{where}"
        elif parameter.annotation is parameter.empty:
            yield f"says no type for the option {parameter.name}: its annotation says how `{parameter.name}=text` reads{where}"
    try:
        typing.get_type_hints(cls if hasattr(cls, "__dataclass_fields__") else cls.__dict__.get("__init__", cls))
    except Exception as e:  # noqa: BLE001 - whatever evaluating a stranger's annotations raises
        yield f"has annotations that cannot be read ({type(e).__name__}: {e}): import at the top what options need{where}"


def _made(kind: str, cls: type) -> Iterator[str]:
    parameters = inspect.signature(cls).parameters
    if any(p.default is p.empty for p in parameters.values()):
        return  # nobody but its user knows what to give it
    where = place_of(cls)
    try:
        plugin = build(cls, {}, cls.__name__)
    except (Exception, SystemExit) as e:  # noqa: BLE001 - whatever a constructor raises is said of it
        yield f"cannot be made with its own defaults: {type(e).__name__}: {e}{where}"
        return
    try:
        yield from _kept(cls, plugin)
        if kind == "models":
            yield from _model(cls, plugin)
    except (Exception, SystemExit) as e:  # noqa: BLE001 - a property of a stranger's may raise anything
        yield f"cannot be asked what it is: {type(e).__name__}: {e}{where}"


def _kept(cls: type, plugin: Any) -> Iterator[str]:
    """Its options, as ``run.yaml`` keeps them."""
    where, told = place_of(cls), configuration(plugin)
    lost = sorted(set(inspect.signature(cls).parameters) - set(told))
    if lost:
        yield f"does not keep its option {', '.join(lost)} under that name, so that run.yaml cannot state it{where}"
        return
    try:
        again = build(cls, json.loads(json.dumps(told, allow_nan=False)), cls.__name__)
    except (GuardevalError, ValueError, TypeError) as e:
        yield f"cannot be made again from its own configuration {told!r:.200}: {e}{where}"
        return
    if configuration(again) != told:
        yield f"is another one when made from its own configuration: {configuration(again)!r:.200}, not {told!r:.200}{where}"


def _model(cls: type, plugin: Any) -> Iterator[str]:
    traits = plugin.traits
    if not isinstance(traits, Traits):
        place = place_of(inspect.getattr_static(cls, "traits", cls)) or place_of(cls)
        yield f"has traits that are {type(traits).__name__}, not guardeval.contracts.Traits{place}"
    elif traits.draws > 1 and not callable(getattr(cls, _DRAWS.name, None)):
        yield f"says draws={traits.draws} in its traits and has no {_DRAWS}{place_of(cls)}"
    place = place_of(inspect.getattr_static(cls, "identity", cls)) or place_of(cls)
    try:
        told = [identity_text(p) for p in (plugin, plugin, build(cls, {}, cls.__name__))]
        left_out = options_left_out(plugin)
    except GuardevalError:
        return  # it needs a server, a file, a key: only its user can tell
    except (TypeError, ValueError) as e:
        yield f"has an identity that is not JSON ({e}): the cache is keyed by it{place}"
        return
    if len(set(told)) > 1:
        yield f"has an identity that changes: {told[0]:.100}, then {told[-1]:.100}; no answer would be found again{place}"
        return
    if left_out:
        tried = ", ".join(f"{name}={value!r}" for name, value in left_out.items())
        yield (
            f"has the same identity with {tried}: answers of one configuration are given for another; put the option into the "
            f"identity, or name it in not_in_identity where it cannot change an answer{place}"
        )
    if unknown := options_unknown(plugin):
        yield f"names {', '.join(unknown)} in not_in_identity, and has no such option{place_of(cls)}"


# ---- attributes ----


def _scorer(cls: type) -> Iterator[str]:
    said = getattr(cls, "higher_is_better", None)
    flags = said.values() if isinstance(said, Mapping) else [said]
    if not all(isinstance(flag, bool) for flag in flags):
        found = "no higher_is_better" if said is None else f"higher_is_better = {said!r:.100}"
        yield f"has {found}: True, False, or a mapping of metric to these is wanted{place_of(cls)}"


def _trainer(cls: type) -> Iterator[str]:
    takes = getattr(cls, "takes", ("samples",))
    if isinstance(takes, property):
        return
    if (
        isinstance(takes, str)
        or not isinstance(takes, (tuple, list, frozenset, set))
        or not set(takes) <= set(TAKES)
        or not takes
    ):
        yield f"has takes = {takes!r:.100}: a tuple of {', '.join(TAKES)} is wanted{place_of(cls)}"


_ATTRIBUTES: Mapping[str, Callable[[type], Iterator[str]]] = {"scorers": _scorer, "trainers": _trainer}

"""Everything a run can be told, in one frozen value: what flags, ``--config`` files and ``guardeval.run`` all become."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from guardeval.data import Target
from guardeval.errors import ConfigError, did_you_mean
from guardeval.executors import check_executor
from guardeval.models import ModelSpec

__all__ = ["DEFAULT_POLICIES", "DEFAULT_SOLVER", "Settings"]

DEFAULT_SOLVER = "direct"
DEFAULT_POLICIES = "minimal"


@dataclass(frozen=True, slots=True)
class Settings:
    """Field names are the flags' names; ``solver_args`` is ``-S``, a model's ``args`` its ``-M``, ``executor_args`` ``-E``.

    ``solver`` and ``policies`` None: those that a model folder's card names, else ``direct`` and ``minimal``.
    """

    task: tuple[str, ...]
    solver: str | None = None
    solver_args: Mapping[str, Any] = field(default_factory=dict)
    model: tuple[ModelSpec, ...] = (ModelSpec("embedded"),)
    scorer: tuple[str, ...] = ()  # empty: what each task names
    target: Target | None = None
    policies: str | None = None
    data: str = "hub"
    limit: int | None = None
    samples: tuple[str, ...] = ()  # ids, empty: all
    seed: int = 0
    include_path: tuple[str, ...] = ()
    max_connections: int | None = None
    cache: str | None = None  # file of the response cache, None: the user's
    no_cache: bool = False
    max_cost: float | None = None
    executor: str = "local"
    executor_args: Mapping[str, Any] = field(default_factory=dict)
    output_path: str = "runs"
    redact: bool = False

    def __post_init__(self) -> None:
        if not self.task:
            raise ConfigError("no task: name one with --task; `guardeval list tasks` shows them")
        if not self.model:
            raise ConfigError("no model: name one with --model; `guardeval list models` shows the backends")
        if self.limit is not None and self.limit < 1:
            raise ConfigError(f"--limit {self.limit}: at least one sample is wanted; leave --limit out to take all")
        if self.max_connections is not None and self.max_connections < 1:
            raise ConfigError(f"--max_connections {self.max_connections}: at least 1 is wanted")
        if self.max_cost is not None and not self.max_cost > 0:
            raise ConfigError(f"--max_cost {self.max_cost}: an amount of US dollars above 0 is wanted")
        check_executor(self.executor)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], where: str) -> Settings:
        """Of a ``--config`` file or keyword arguments; a ``record`` section (what ran) is passed over.

        Raises :class:`ConfigError` that names the key and the nearest known one.
        """
        known = {f.name: f for f in dataclasses.fields(cls)}
        kwargs: dict[str, Any] = {}
        for key, value in values.items():
            name = str(key).replace("-", "_")
            name = "task" if name == "tasks" else name
            if name in {"record", "guardeval", "model_args"}:
                continue
            if name not in known:
                raise ConfigError(f"{where}: unknown key {key!r}{did_you_mean(name, known)}")
            kwargs[name] = _read(name, value, f"{where}: {key}")
        if values.get("model_args"):
            kwargs["model"] = _with_args(kwargs.get("model", cls.__dataclass_fields__["model"].default), values["model_args"])
        if "task" not in kwargs:
            raise ConfigError(f"{where}: no `task` in it")
        return cls(**kwargs)

    def to_mapping(self) -> dict[str, Any]:
        """JSON-able, without what stands at its default; ``from_mapping`` gives the same settings back."""
        out: dict[str, Any] = {}
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            default = f.default if f.default is not dataclasses.MISSING else None
            always = f.name in {"task", "solver", "model", "policies", "data", "seed"} and value is not None
            if always or (value and value != default):
                out[f.name] = _write(value)
        return out


def _read(name: str, value: Any, where: str) -> Any:
    if name in {"task", "scorer", "samples", "include_path"}:
        items = value.split(",") if isinstance(value, str) else value
        if not isinstance(items, Sequence):
            raise ConfigError(f"{where}: a name or a list of names is wanted, not {value!r}")
        return tuple(str(i).strip() for i in items if str(i).strip())
    if name == "model":
        return _models(value, where)
    if name == "target":
        return None if value is None else read_target(str(value), where)
    if name in {"solver_args", "executor_args"}:
        return _options(value, where)
    if name in {"limit", "seed", "max_connections"}:
        return None if value is None else _number(int, value, where)
    if name == "max_cost":
        return None if value is None else _number(float, value, where)
    if name in {"no_cache", "redact"}:
        if not isinstance(value, bool):
            raise ConfigError(f"{where}: true or false is wanted, not {value!r}")
        return value
    return None if value is None else str(value)


def _options(value: Any, where: str) -> dict[str, Any]:
    if value is not None and not isinstance(value, Mapping):
        raise ConfigError(f"{where}: a mapping of options to values is wanted, not {value!r}")
    return {str(k): v for k, v in (value or {}).items()}


_LARGEST = 2**63 - 1  # what numpy, JSON and seeds can hold


def _number(kind: type, value: Any, where: str) -> Any:
    problem = ConfigError(f"{where}: a {'whole ' if kind is int else ''}number is wanted, not {value!r}")
    if isinstance(value, bool) or (kind is int and isinstance(value, float)):
        raise problem
    try:
        number = kind(value)
    except (TypeError, ValueError, OverflowError):
        raise problem from None
    if abs(number) > _LARGEST and number not in (float("inf"), float("-inf")):
        raise ConfigError(f"{where}: {value} is too large; at most {_LARGEST} is possible")
    return number


def read_target(value: str, where: str) -> Target:
    """A target by its name, or the short form before the underscore."""
    short = {"prompt": Target.PROMPT, "response": Target.RESPONSE, "refusal": Target.REFUSAL}
    try:
        return short[value] if value in short else Target(value)
    except ValueError:
        raise ConfigError(f"{where}: unknown target {value!r}{did_you_mean(value, [*Target])}") from None


def _models(value: Any, where: str) -> tuple[ModelSpec, ...]:
    if not isinstance(value, (str, Sequence, Mapping)):
        raise ConfigError(f"{where}: a model is a name, or `name:` with `args:`, or a list of these, not {value!r}")
    items = [value] if isinstance(value, (str, Mapping)) else value
    return tuple(_model(item, where) for item in items)


_MODEL_KEYS = ("name", "args", "solver", "solver_args")


def _model(item: Any, where: str) -> ModelSpec:
    if isinstance(item, str):
        return ModelSpec(item)
    if not isinstance(item, Mapping) or not isinstance(item.get("name"), str):
        raise ConfigError(f"{where}: a model is a name, or `name:` with `args:`, not {item!r}")
    unknown = next((k for k in item if k not in _MODEL_KEYS), None)
    if unknown is not None:
        raise ConfigError(f"{where}: unknown key {unknown!r}{did_you_mean(str(unknown), _MODEL_KEYS)}")
    name, solver = item["name"], item.get("solver")
    if solver is None and item.get("solver_args"):
        raise ConfigError(f"{where}: {name} has solver_args and no solver: name its solver, too")
    args, solver_args = (_options(item.get(k), f"{where}: {k} of {name}") for k in ("args", "solver_args"))
    return ModelSpec(name, args, None if solver is None else str(solver), solver_args)


def _with_args(models: tuple[ModelSpec, ...], args: Any) -> tuple[ModelSpec, ...]:
    from guardeval.registry import parse_options

    extra = parse_options([args], "model_args") if isinstance(args, str) else _options(args, "model_args")
    return tuple(dataclasses.replace(m, args={**extra, **m.args}) for m in models)


def _write(value: Any) -> Any:
    if isinstance(value, ModelSpec):
        written = {k: _write(getattr(value, k)) for k in _MODEL_KEYS if getattr(value, k)}
        return written if len(written) > 1 else value.name
    if isinstance(value, tuple):
        return [_write(v) for v in value]
    if isinstance(value, Mapping):
        return {k: _write(v) for k, v in value.items()}
    if isinstance(value, Target):
        return str(value)
    return str(value) if isinstance(value, Path) else value

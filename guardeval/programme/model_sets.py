"""Model sets: which model plays which role of the programme. YAML files, in the package or the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from guardeval.errors import ConfigError, did_you_mean
from guardeval.programme.catalogue import ROLES, TRAINING_ROLES
from guardeval.yaml_files import Spec, load_yaml

__all__ = ["ModelSet", "Option", "Role", "load_model_set", "model_set_names"]

FOLDER = Path(__file__).parent / "model_sets"
_KEYS = (
    "set",
    "title",
    "about",
    "stand_ins",
    "help",
    "options",
    "tasks",
    "by_task",
    "roles",
    "training",
    "synthesis",
    "policies",
)
_ROLE_KEYS = ("name", "args", "solver", "solver_args", "label")


@dataclass(frozen=True, slots=True)
class Option:
    """What the user may say with ``-D name=value``; None as default: must be said."""

    name: str
    default: str | None = None
    about: str = ""


@dataclass(frozen=True, slots=True)
class Role:
    """A model with its options. ``solver``: its own way of being asked, in place of any experiment's: then prompts cannot be
    contrasted on it. ``solver_args`` alone are added to the experiment's.
    """

    role: str
    name: str
    args: Mapping[str, Any] = field(default_factory=dict)
    solver: str | None = None
    solver_args: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""


@dataclass(frozen=True, slots=True)
class ModelSet:
    """``options`` are filled in from ``-D`` when the set is loaded, ``by_task`` words when a task is known.

    ``training``: trainer → options that this set's students are trained with, over those of an experiment; a student's own
    ``args`` over both. ``synthesis``: options of ``guardeval synthesize``. ``policies``: a folder
    of policy texts in place of the minimal ones.

    ``stand_ins``: these are not the models that the plan names, and every report says so.
    """

    name: str
    title: str
    about: str
    stand_ins: bool
    help: str
    tasks: tuple[str, ...]
    by_task: Mapping[str, Mapping[str, str]]
    options: Mapping[str, str]
    roles: Mapping[str, Role]
    training: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    synthesis: Mapping[str, Any] = field(default_factory=dict)
    policies: str = ""
    missing: str = ""  # an option that was not given: nothing of the set can be run

    def role(self, name: str, task: str) -> Role:
        """The role as it is asked on a task. Raises :class:`ConfigError` that says what is missing and how to get it."""
        if self.missing:
            raise ConfigError(self.missing)
        found = self.roles.get(name)
        if found is None:
            raise ConfigError(f"model set {self.name!r} has no model for the role {name!r}; add one under `roles:`")
        words = dict(self.options)
        if self.by_task:
            if task not in self.by_task:
                known = ", ".join(self.by_task)
                raise ConfigError(f"model set {self.name!r} has nothing for task {task!r}; it has {known}")
            words |= self.by_task[task]
        args = {k: _filled(v, words) for k, v in found.args.items()}
        return Role(name, _filled(found.name, words), args, found.solver, found.solver_args, found.label)

    def as_dict(self) -> dict[str, Any]:
        """What its answers depend on, JSON-able."""
        roles = {
            n: {"name": r.name, "args": dict(r.args), "solver": r.solver, "solver_args": dict(r.solver_args)}
            for n, r in self.roles.items()
        }
        found = {"set": self.name, "roles": roles, "options": dict(self.options)}
        made: dict[str, Any] = {"training": {k: dict(v) for k, v in self.training.items()}, "synthesis": dict(self.synthesis)}
        made["policies"] = Path(self.policies).name
        return {**found, **{k: v for k, v in made.items() if v}}


def model_set_names() -> list[str]:
    return sorted(p.stem for p in FOLDER.glob("*.yaml"))


def load_model_set(name: str, options: Mapping[str, str] | None = None) -> ModelSet:
    """A set of the package by its name, or the user's FILE. ``options``: the user's ``-D``.

    Raises :class:`ConfigError` naming file and line for an unknown key, role or option; a set that lacks a needed option
    loads and says so when one of its models is wanted.
    """
    path = FOLDER / f"{name}.yaml"
    if name not in model_set_names():
        path = Path(name).expanduser()
        if not path.is_file():
            known = model_set_names()
            raise ConfigError(f"--model_set {name}: no such set or file{did_you_mean(name, known)}")
    return _read(path, dict(options or {}))


def _read(path: Path, given: Mapping[str, str]) -> ModelSet:
    spec = load_yaml(path).spec().only(_KEYS)
    name = spec.text("set", path.stem) or path.stem
    known = _options(spec.spec("options"))
    for option in given:
        if option not in known:
            raise ConfigError(f"-D {option}: model set {name!r} has no such option{did_you_mean(option, known)}")
    values = {o.name: given.get(o.name, o.default) for o in known.values()}
    lacking = [o for o in known.values() if values[o.name] is None]
    help_text = " ".join((spec.text("help", "") or "").split())
    missing = ""
    if lacking:
        wanted = "; ".join(f"-D {o.name}=… ({o.about})" for o in lacking)
        missing = f"model set {name!r} needs {wanted}" + (f": {help_text}" if help_text else "")
    return ModelSet(
        name=name,
        title=spec.text("title", name) or name,
        about=" ".join((spec.text("about", "") or "").split()),
        stand_ins=spec.flag("stand_ins"),
        help=help_text,
        tasks=spec.texts("tasks"),
        by_task=_by_task(spec.spec("by_task")),
        options={k: v for k, v in values.items() if v is not None},
        roles=_roles(spec.spec("roles")),
        training={str(t): dict(spec.spec("training").spec(t).values) for t in spec.spec("training").values},
        synthesis=dict(spec.spec("synthesis").values),
        policies=str(path.parent / own) if (own := spec.text("policies")) else "",
        missing=missing,
    )


def _options(spec: Spec) -> dict[str, Option]:
    out = {}
    for name in spec.values:
        inner = spec.spec(name).only(("default", "about"))
        out[name] = Option(name, inner.text("default"), inner.text("about", "") or "")
    return out


def _by_task(spec: Spec) -> dict[str, dict[str, str]]:
    out = {}
    for task in spec.values:
        inner = spec.spec(task)
        out[task] = {key: inner.text(key, "") or "" for key in inner.values}
    return out


def _roles(spec: Spec) -> dict[str, Role]:
    out = {}
    for role in spec.only((*ROLES, *TRAINING_ROLES)).values:
        value = spec.values[role]
        inner = Spec(spec.file, (*spec.keys, role), {"name": value} if isinstance(value, str) else spec.spec(role).values)
        inner.only(_ROLE_KEYS)
        name = inner.text("name")
        if not name:
            raise inner.error(f"the role {role!r} names no model", *(["name"] if "name" in inner else []))
        args, solver_args = (dict(inner.spec(k).values) for k in ("args", "solver_args"))
        out[role] = Role(role, name, args, inner.text("solver"), solver_args, inner.text("label", "") or "")
    if not out:
        raise spec.error("no model: `roles:` maps main, safeguard and third to models")
    return out


def _filled(value: Any, words: Mapping[str, str]) -> Any:
    """``{name}`` replaced where such an option is known; other braces stay."""
    if not isinstance(value, str):
        return value
    for word in words:
        value = value.replace("{" + word + "}", words[word])
    return value

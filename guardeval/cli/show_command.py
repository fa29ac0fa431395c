"""``guardeval show NAME``: one plugin, task, policy or model folder, explained: options, defaults, what it promises."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import shlex
import typing
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from guardeval.cli.parser import Parser, add_include_path
from guardeval.errors import ConfigError, did_you_mean
from guardeval.registry import KINDS, Registry

__all__ = ["configure", "execute"]


def configure(parser: Parser) -> None:
    what = (
        "a task, group, tag, solver, scorer, model, trainer, optimizer, policy or recipe; a model folder; package.module:Class"
    )
    parser.add_argument("name", metavar="NAME", help=what)
    parser.add_argument("--policies", default="minimal", metavar="P", help="the length at which a policy is shown (minimal)")
    add_include_path(parser)


def execute(args: argparse.Namespace) -> int:
    from guardeval.finetuning.recipe import read_recipe, recipe_names
    from guardeval.models import MODEL_FILE, packaged_folder
    from guardeval.policies import load_policies
    from guardeval.registered_models import registered_models
    from guardeval.task import TaskIndex

    registry = Registry()
    if (Path(args.name).expanduser() / MODEL_FILE).is_file():
        _show_folder(Path(args.name).expanduser())
        return 0
    if ":" in args.name:
        cls = registry.load("solvers", args.name)  # any kind: a class path is only imported
        _show_plugin("class", args.name, cls)
        return 0
    index = TaskIndex(args.include_path)
    tasks = index.entries()
    policies = {p.name: p for p in load_policies(args.policies).policies}
    name = _backend(args.name, registry) or args.name
    kinds = [kind for kind in KINDS if kind != "tasks" and name in registry.entries(kind)]
    if args.name in index.sourced():
        print(index.load(args.name).describe())
        return 0
    if name in tasks:
        _show_task(index, name)
    if name in policies:
        print(policies[name].text)
    registered = registered_models()
    for kind in kinds:
        plugin = registry.load(kind, name)
        if isinstance(plugin, ModuleType):
            _show_folder(packaged_folder(plugin), name)
        else:
            _show_plugin(kind[:-1], name, plugin)
    if name in registered:
        _show_folder(registered[name].checked(), name)
    recipes = recipe_names()
    if name in recipes:
        print(read_recipe(name))
    if not kinds and not any(name in held for held in (tasks, policies, registered, recipes)):
        plugins = [n for kind in KINDS if kind != "tasks" for n in registry.entries(kind)]
        known = [*tasks, *policies, *plugins, *registered, *recipes]
        raise ConfigError(f"guardeval show: unknown name {name!r}{did_you_mean(name, known)}")
    return 0


def _backend(name: str, registry: Registry) -> str | None:
    """Of ``backend/NAME``, as ``--model`` takes it, the backend."""
    backend, slash, _ = name.partition("/")
    return backend if slash and backend in registry.entries("models") else None


def _show_task(index: Any, name: str) -> None:
    from guardeval.report.plain import printable

    entry = index.entries()[name]
    if entry.kind == "task":
        print(index.load(name).describe())
        return
    selection = index.select(name)
    sizes: Mapping[str, int] = next((g.paper_sizes for g in selection.groups if g.name == name), {})
    print(printable(f"{name} ({entry.kind}): {entry.title}"))
    for task in selection.tasks:
        size = f"{sizes[task.name]:>6} published rows  " if task.name in sizes else ""
        print(printable(f"  {task.name:<20}  {task.target:<20}  {size}{index.entries()[task.name].title}"))


def _show_folder(folder: Path, registered: str | None = None) -> None:
    """The card of a model folder, as it was written; whoever sent it may have put anything into it."""
    from guardeval.models import MODEL_FILE, read_model_folder
    from guardeval.report.plain import printable

    read_model_folder(folder)
    name = registered or shlex.quote(str(folder) if folder.is_absolute() else f"./{folder}")
    print(printable(f"model folder {folder}: use it with --model {name}"))
    for line in (folder / MODEL_FILE).read_text(encoding="utf-8").splitlines():
        print(f"  {printable(line)}")


def _show_plugin(kind: str, name: str, cls: type) -> None:
    print(f"{kind} {name} ({cls.__module__}:{cls.__qualname__})")
    made_up = (cls.__doc__ or "").startswith(f"{cls.__name__}(")  # by @dataclass, where there is none
    print(inspect.cleandoc("(undocumented)" if made_up else cls.__doc__ or "(undocumented)").replace("``", "`"))
    shipped = getattr(cls, "shipped", ())
    if shipped:
        print(f"shipped: {', '.join(f'{name}/{n}' for n in shipped)}")
    if dataclasses.is_dataclass(cls):
        print("options:")
        hints = typing.get_type_hints(cls)
        for field in dataclasses.fields(cls):
            if field.init:
                print(f"  {field.name}: {_choices(hints[field.name], field.type)} {_default(field)}")


def _choices(hint: Any, written: Any) -> str:
    """What an option takes: the words it may be, or its type as it is written."""
    if typing.get_origin(hint) is typing.Literal:
        return " | ".join(map(str, typing.get_args(hint)))
    return str(getattr(written, "__name__", written))


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default_factory is not dataclasses.MISSING:
        return f"= {field.default_factory()!r}"
    return "required" if field.default is dataclasses.MISSING else f"= {field.default!r}"

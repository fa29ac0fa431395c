"""``guardeval models``: what ``--model`` takes here and now; folders given a name, explained, and made packages."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from shlex import quote

from guardeval.cli.parser import Parser
from guardeval.errors import ConfigError, GuardevalError, did_you_mean
from guardeval.registry import Registry

__all__ = ["configure", "execute"]

_EXAMPLES = """
actions:
  list [DIR …]                  backends, shipped, registered and packaged models, model folders in DIR
  show MODEL                    card, data, licences, check, what it has seen
  add FOLDER --name N           --model N from any folder; remove N forgets the name, not the folder
  package FOLDER --name N       an installable project and its wheel
"""


def configure(parser: Parser) -> None:
    parser.epilog = _EXAMPLES
    parser.add_argument("action", metavar="ACTION", help="list, show, add, remove, package")
    parser.add_argument("names", nargs="*", metavar="MODEL", help="a model, or folders")
    parser.add_argument("--name", metavar="N", help="add, package: the name (that of the folder)")
    parser.add_argument("--out", "-o", metavar="DIR", help="package: where the project goes (guardeval-model-N)")
    parser.add_argument("--version", metavar="V", default="1.0", help="package: its version (1.0)")
    parser.add_argument("--with_base", action="store_true", help="package: take an adapter's base model along")


def execute(args: argparse.Namespace) -> int:
    """Broken backends and folders are told after all others, and make the exit code 1."""
    actions: dict[str, Callable[[argparse.Namespace], int]] = {
        "list": _list, "show": _show, "add": _add, "remove": _remove, "package": _package,
    }  # fmt: skip
    if args.action not in actions:
        raise ConfigError(f"guardeval models: unknown action {args.action!r}{did_you_mean(args.action, actions)}")
    return actions[args.action](args)


def _the_one(args: argparse.Namespace, what: str) -> str:
    if len(args.names) != 1:
        raise ConfigError(f"guardeval models {args.action}: {what} is wanted, not {len(args.names)} words")
    return str(args.names[0])


def _folder(args: argparse.Namespace) -> Path:
    """A model folder by its path, or by a name that stands for one."""
    from guardeval.models import find_model

    given = _the_one(args, "one model folder")
    found = find_model(given, Registry()).folder if _is_known(given) else None
    if found is None:
        raise ConfigError(f"guardeval models {args.action}: {given}: is no model folder; `guardeval train` writes them")
    return found


def _is_known(given: str) -> bool:
    from guardeval.models import MODEL_FILE

    return (Path(given).expanduser() / MODEL_FILE).is_file() or _is_registered(given)


def _is_registered(given: str) -> bool:
    from guardeval.registered_models import registered_models

    return given in registered_models()


# ---- list ----


def _list(args: argparse.Namespace) -> int:
    problems: list[str] = []
    for line in (*_installed(problems), *_registered(problems)):
        print(line)
    for given in args.names:
        for line in _folders(Path(given), problems):
            print(line)
    for problem in problems:
        print(f"problem: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _installed(problems: list[str]) -> Iterator[str]:
    """Backends, with the models that they ship, then packaged models."""
    from types import ModuleType

    from guardeval.cli.about import about
    from guardeval.models import packaged_folder

    registry = Registry()
    packaged: list[str] = []
    for name, entry in registry.entries("models").items():
        try:
            found = registry.load("models", name)
            if isinstance(found, ModuleType):
                dist = f" (packaged: {entry.dist.name} {entry.dist.version})" if entry.dist is not None else " (packaged)"
                packaged.append(_line(name, packaged_folder(found)) + dist)
                continue
        except GuardevalError as e:
            problems.append(str(e))
            continue
        yield f"{name + '/NAME':<24} {about(entry) or entry.value}"
        shipped = ", ".join(f"{name}/{n}" for n in getattr(found, "shipped", ()))
        if shipped:
            yield f"{'':<24} shipped: {shipped}"
    yield from packaged


def _registered(problems: list[str]) -> Iterator[str]:
    from guardeval.registered_models import registered_models

    try:
        for name, entry in registered_models().items():
            try:
                yield _line(name, entry.checked()) + f" (registered: {entry.folder})"
            except GuardevalError as e:
                problems.append(str(e))
    except GuardevalError as e:
        problems.append(str(e))


def _folders(folder: Path, problems: list[str]) -> list[str]:
    from guardeval.models import MODEL_FILE

    if not folder.is_dir():
        raise ConfigError(f"guardeval models list: {folder}: no such folder")
    found = sorted({*folder.glob(MODEL_FILE), *folder.glob(f"*/{MODEL_FILE}")})
    if not found:
        return [f"{folder}: no model folder in it (none holds {MODEL_FILE})"]
    lines = []
    for path in found:
        try:
            lines.append(_line(str(path.parent), path.parent))
        except GuardevalError as e:
            problems.append(str(e))
    return lines


def _line(name: str, folder: Path) -> str:
    from guardeval.models import read_model_folder
    from guardeval.report.plain import printable

    card = read_model_folder(folder)
    facts = [card["backend"], *(str(card[k]) for k in ("kind", "variant") if card.get(k))]
    facts += [f"base {card['base_model']}"] if card.get("base_model") else []
    facts += ["not usable"] if card.get("usable", True) is not True else []
    return printable(f"{name:<24} {', '.join(map(str, facts))}")


# ---- show, add, remove, package ----


def _show(args: argparse.Namespace) -> int:
    from guardeval.cli.list_command import aligned
    from guardeval.models import ModelSpec, build_model, find_model, read_model_folder
    from guardeval.report.model_tables import model_tables
    from guardeval.report.plain import printable
    from guardeval.report.terminal import print_notices, print_table

    name, registry = _the_one(args, "one model"), Registry()
    folder = find_model(name, registry).folder
    if folder is None:
        folder = getattr(build_model(ModelSpec(name), registry), "model_folder", None)
    if folder is None:
        backend = name.partition("/")[0]
        raise ConfigError(f"guardeval models show: {name} has no model folder; `guardeval show {backend}` explains the backend")
    for table in model_tables(name, folder):
        if any(table.columns):
            print_table(table)
        else:  # names and texts
            print("\n".join([printable(table.title), *(f"  {line}" for line in aligned(table.rows)), ""]))
    print_notices([str(n) for n in read_model_folder(folder).get("notices") or ()])
    return 0


def _add(args: argparse.Namespace) -> int:
    from guardeval.models import ModelSpec, build_model
    from guardeval.registered_models import add_model, valid_name

    given = Path(_the_one(args, "one model folder")).expanduser()
    name = valid_name(args.name or given.resolve().name)
    registry = Registry()
    if name in registry.entries("models"):
        raise ConfigError(f"guardeval models add: {name!r} is an installed backend or model; choose another name with --name")
    build_model(ModelSpec(str(given.resolve())), registry)  # what cannot be run is told now
    entry = add_model(name, given)
    print(f"registered: {name} is {entry.folder}\nuse it with: guardeval run --task wildguard --model {name}")
    return 0


def _remove(args: argparse.Namespace) -> int:
    from guardeval.registered_models import remove_model

    name = _the_one(args, "one registered name")
    print(f"forgotten: {name}; the folder stays: {remove_model(name)}")
    return 0


def _package(args: argparse.Namespace) -> int:
    from guardeval.model_package import build_wheel, write_project

    folder = _folder(args)
    name = args.name or (args.names[0] if _is_registered(args.names[0]) else folder.resolve().name)
    project = write_project(folder, name, Path(args.out or f"guardeval-model-{name}"), args.version, args.with_base)
    print(f"project: {project.project}")
    if project.left_out:
        print(f"left out: {', '.join(project.left_out)}")
    wheel = build_wheel(project)
    print(
        f"wheel: {wheel}\ninstall it with: pip install {quote(str(wheel))}\nthen: guardeval run --task wildguard --model {name}"
    )
    return 0

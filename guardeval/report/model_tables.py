"""A model folder as tables: what its card says of the model, its data and their licences, its check, what it has seen."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from guardeval.errors import GuardevalError
from guardeval.model_folder import contaminated_tasks, exposure_of
from guardeval.models import read_model_folder
from guardeval.report.tables import Table

__all__ = ["model_tables"]

_LONG = 300  # characters of one cell


def model_tables(name: str, folder: Path) -> list[Table]:
    """What is known, what is not reads so. Raises :class:`ConfigError` for a card that cannot be read."""
    card = read_model_folder(folder)
    tables = [
        Table(f"model {name}", ("", ""), tuple(_about(folder, card))),
        Table("data", ("source", "rows", "licence", "from test tasks"), tuple(_sources(card))),
        Table("metrics", ("", ""), tuple(_flat(card.get("metrics")))),
        Table("check", ("", ""), tuple(_flat(card.get("check")))),
        Table("made from", ("", ""), tuple(_flat(card.get("parent")))),
    ]
    return [t for t in tables if t.rows]


def _about(folder: Path, card: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "folder", str(folder)
    for key in (
        "backend",
        "kind",
        "variant",
        "base_model",
        "targets",
        "options",
        "solver",
        "solver_args",
        "policies",
        "licence",
    ):
        if card.get(key) not in (None, [], {}, ""):
            yield key.replace("_", " "), _text(card[key])
    yield "usable", "yes" if card.get("usable", True) is True else "no: its check refused it"
    yield "weights", _weights(card.get("weights"))
    yield "has seen", _seen(folder)
    tasks = contaminated_tasks(card)
    if tasks:
        yield "contaminated with", ", ".join(sorted(tasks))
    for key in ("command", "made_with"):
        if card.get(key):
            yield key.replace("_", " "), _text(card[key])


def _seen(folder: Path) -> str:
    try:
        found = exposure_of(folder)
    except GuardevalError as e:
        return f"problem: {e}"
    return "not known" if found is None else f"{len(found):,} prompts"


def _weights(said: Any) -> str:
    files = [f for f in (said if isinstance(said, list) else [said]) if isinstance(f, Mapping)]
    size = sum(f["bytes"] for f in files if isinstance(f.get("bytes"), int))
    return f"{', '.join(str(f.get('file')) for f in files)} ({size:,} bytes)" if files else "not named"


def _sources(card: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Of trained models a list, of linear guards counts by label and licences by source."""
    data = card.get("data") or {}
    sources, licences = data.get("sources"), data.get("licences")
    if isinstance(sources, list):
        for s in (s for s in sources if isinstance(s, Mapping)):
            tasks = s.get("contaminated_with")
            name = " ".join(filter(None, (_text(s.get("task") or ""), _text(s.get("kind") or ""))))
            shown = ", ".join(map(str, tasks)) if isinstance(tasks, list) else ""
            yield name or "?", _text(s.get("rows", "")), _text(s.get("licence") or "not known"), shown
    elif isinstance(sources, Mapping):
        for name, counts in sources.items():
            rows = sum(n for n in counts.values() if isinstance(n, int)) if isinstance(counts, Mapping) else counts
            licence = licences.get(name) if isinstance(licences, Mapping) else None
            yield str(name), f"{rows:,}" if isinstance(rows, int) else _text(rows), _text(licence or "not known"), ""


def _flat(value: Any, before: str = "") -> Iterator[tuple[str, str]]:
    """``{"a": {"b": 1}}`` → ``("a b", "1")``."""
    for key, one in value.items() if isinstance(value, Mapping) else ():
        name = f"{before} {key}".strip()
        if isinstance(one, Mapping):
            yield from _flat(one, name)
        else:
            yield name, _text(one)


def _text(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(v, (str, int, float)) for v in value):
        text = ", ".join(map(str, value))
    else:
        text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= _LONG else text[:_LONG] + "…"

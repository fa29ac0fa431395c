"""What a programme made beside runs (files, model folders), known again by what it was made from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from guardeval.errors import GuardevalError
from guardeval.programme.ledger import OtherProgramme
from guardeval.programme.workbench import Missing, Workbench

__all__ = ["content_of", "made"]


def made(bench: Workbench, name: str, of: Mapping[str, Any], make: Callable[[Path], Mapping[str, Any]]) -> tuple[Path, Any]:
    """The file or folder of this name, made where it is not there or was made from something else; and what ``make`` said.

    ``make`` gets the path and returns JSON-able facts. Raises :class:`Missing` with what it lacked.
    """
    path = bench.folder / name
    key = hashlib.sha256(json.dumps(of, sort_keys=True, default=str).encode()).hexdigest()[:32]
    entry = bench.ledger.runs.get(name)
    if entry is not None and entry.get("made") == key and path.exists():
        return path, entry["facts"]
    bench.say(f"making {name}")
    try:
        facts = dict(make(path))
    except (Missing, OtherProgramme):
        raise
    except GuardevalError as e:
        raise Missing(f"{name}: {e}") from e
    bench.ledger.runs[name] = {"folder": name, "made": key, "facts": json.loads(json.dumps(facts, default=str))}
    bench.ledger.write()
    return path, bench.ledger.runs[name]["facts"]


def content_of(path: Path) -> str:
    """sha256 of a file."""
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()

"""How many different requests stand behind a programme's runs, told from their samples files and not from any counter."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from guardeval.runs import open_run

if TYPE_CHECKING:
    from guardeval.programme.ledger import Ledger

__all__ = ["count_distinct"]


def count_distinct(ledger: Ledger) -> int:
    """Over all plain runs: different (model, prompt, sampling, draw); of recorded answers, which belong to rows, each row's."""
    seen: set[bytes] = set()
    for entry in ledger.runs.values():
        folder = ledger.folder / ((entry.get("facts") or {}).get("run") or entry["folder"])
        if "made" in entry and "run" not in (entry.get("facts") or {}):
            continue  # a file or model that no plain run stands behind
        if "combined" in entry or "mined" in entry or not folder.is_dir():
            continue
        seen.update(_requests(folder))
    return len(seen)


def _requests(folder: Path) -> Iterator[bytes]:
    run = open_run(folder)
    model = run.record["record"]["model"]
    by_row = (model.get("identity") or {}).get("backend") == "replay"
    whose = json.dumps([model.get("name"), model.get("identity")], sort_keys=True, default=str).encode()
    for task in run.tasks:
        with task.samples.open("rb") as lines:
            for line in lines:
                yield from _of_line(orjson.loads(line), whose, by_row)


def _of_line(row: dict[str, Any], whose: bytes, by_row: bool) -> Iterator[bytes]:
    """Equal requests of one sample are its draws."""
    times: Counter[bytes] = Counter()
    for one in row["arguments"].values():
        asked = orjson.dumps([one, row["doc_id"] if by_row else None])
        times[asked] += 1
        yield hashlib.blake2b(whose + asked + str(times[asked]).encode(), digest_size=12).digest()

"""Run folders with just these judged samples, written as runs write them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from guardeval.data import Judged, Target
from guardeval.policies import POLICIES
from guardeval.runs import RunFolder


@pytest.fixture
def stored(tmp_path) -> Callable[..., Path]:
    def write(
        judged: Sequence[Judged], model: str = "a", *, target: Target = Target.PROMPT, sha: str = "0", redact: bool = False
    ) -> Path:
        folder = RunFolder(tmp_path / "runs", "some", "direct", model, datetime(2026, 1, 1))
        log = folder.samples("some", target, POLICIES, redact)
        for one in judged:
            log.add(one, ())
        log.close()
        data = {"kind": "file", "source": "rows.jsonl", "files": [{"name": "rows.jsonl", "sha256": sha}]}
        about: dict[str, Any] = {"target": str(target), "version": 1.0, "data": data, "samples": len(judged)}
        head = {"config": {"model": model, "solver": "direct"}}
        record = {"date": folder.date, "policies": list(POLICIES), "tasks": {"some": about}, "head": head}
        folder.write_run({"task": ["some"], "redact": redact, "record": record})
        return folder.path

    return write

"""Run folders that a command is given many of, as ``runs/*``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["without_killed"]


def without_killed(folders: Sequence[str]) -> list[str]:
    """Without what a killed run left, which is named on stderr; all of them where no other is among them."""
    from guardeval.report.plain import printable
    from guardeval.runs import is_killed_run

    killed = [f for f in folders if is_killed_run(Path(f).expanduser())]
    if len(killed) == len(folders):
        return list(folders)
    for folder in killed:
        print(printable(f"note: {folder}: left out: a run that was killed; delete it"), file=sys.stderr)
    return [f for f in folders if f not in killed]

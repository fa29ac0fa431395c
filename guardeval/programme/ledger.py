"""``programme.json``: what a programme has run and found, so that a killed one goes on and a finished one asks nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import guardeval
from guardeval.errors import ConfigError, DataError
from guardeval.runs import results_json, write_atomically

if TYPE_CHECKING:
    from guardeval.broker import Counters

__all__ = ["FILE", "Ledger", "OtherProgramme"]

FILE = "programme.json"
_KIND = "guardeval programme"


class OtherProgramme(ConfigError):
    """The output folder holds another programme's results: nothing can go on in it."""


@dataclass
class Ledger:
    """Runs by what they depend on, and findings by experiment. Written after every finished run."""

    folder: Path
    context: dict[str, Any] = field(default_factory=dict)  # model set, limit, seed
    data: dict[str, str] = field(default_factory=dict)  # task → its rows, by content
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    experiments: dict[str, dict[str, Any]] = field(default_factory=dict)
    counters: dict[str, Any] = field(default_factory=dict)
    asked_now: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path, context: Mapping[str, Any]) -> Ledger:
        """The programme of that folder, a new one where there is none.

        Raises :class:`OtherProgramme` where it was made with other models or settings, :class:`DataError` for a damaged file.
        """
        path = folder / FILE
        plain = json.loads(results_json(dict(context)))
        if not path.exists():
            return cls(folder, plain)
        try:
            found = json.loads(path.read_bytes())
            if found["kind"] != _KIND:
                raise ValueError(f"kind is {found['kind']!r}")
            ledger = cls(folder, *(dict(found[k]) for k in ("context", "data", "runs", "experiments", "counters")))
        except (OSError, ValueError, KeyError, TypeError) as e:
            said = f"{path}: is no programme that can go on ({type(e).__name__}: {e}); move it away, or name another folder"
            raise DataError(f"{said} with --output_path") from e
        differing = [k for k in plain if ledger.context.get(k) != plain[k]]
        if differing:
            raise OtherProgramme(
                f"{folder}: holds a programme with another {' and '.join(differing)}: its numbers cannot stand beside these; "
                "name another folder with --output_path"
            )
        return ledger

    def keep_data(self, task: str, identity: str) -> None:
        """Raises :class:`OtherProgramme` where earlier results of this folder are about other rows of the task."""
        known = self.data.get(task, identity)
        if not any(run.get("task") == task for run in self.runs.values()):
            known = identity  # nothing was measured on the rows of before: they could not be read, perhaps
        self.data[task] = known
        if known != identity:
            raise OtherProgramme(
                f"{self.folder}: holds results of {task} on other rows ({known}; now {identity}): they cannot stand beside "
                "these; name another folder with --output_path"
            )

    def run_folder(self, key: str) -> Path | None:
        """Of a finished run with this key that still lies there."""
        entry = self.runs.get(key)
        folder = None if entry is None else self.folder / entry["folder"]
        return folder if folder is not None and (folder / "run.yaml").is_file() else None

    def keep_run(self, key: str, folder: Path, **about: Any) -> None:
        self.runs[key] = {"folder": str(folder.relative_to(self.folder)), **about}
        self.write()

    def forget_if_empty(self) -> None:
        """Where no run was ever kept and nothing was sent, leave no file: an attempt that failed claims no folder."""
        if not self.runs and not self.counters.get("asked"):
            (self.folder / FILE).unlink(missing_ok=True)

    def count(self, counters: Counters) -> None:
        """Add what asking took; of unfinished runs, too."""
        for total in (self.counters, self.asked_now):
            for name, value in asdict(counters).items():
                total[name] = total.get(name, 0) + value

    def write(self) -> None:
        from guardeval.broker import Counters

        zero = asdict(Counters())
        values = {
            "kind": _KIND,
            "guardeval": guardeval.__version__,
            "context": self.context,
            "data": self.data,
            "counters": zero | self.counters,  # over the life of this folder
            "asked_by_last_command": zero | self.asked_now,
            "runs": self.runs,
            "experiments": self.experiments,
        }
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise ConfigError(f"--output_path {self.folder}: cannot be made: {e.strerror}; name another folder") from e
        write_atomically(self.folder / FILE, results_json(values))

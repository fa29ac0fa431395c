"""Submissions that are under way at a provider, in a small file beside the cache: what lets a killed process go on.

An entry is written before its submission is handed in, with a mark that the provider keeps too, so that one whose answer
was never heard can be found again there instead of being paid for twice.
"""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from guardeval.errors import ConfigError
from guardeval.runs import write_atomically

__all__ = ["Entry", "Ledger"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One submission. ``names``: its requests, as keys of the cache in hexadecimal; ``id`` None: handed in or not, unknown."""

    mark: str
    model: str
    names: tuple[str, ...]
    since: str
    id: str | None = None

    @classmethod
    def new(cls, model: str, names: Sequence[str]) -> Entry:
        return cls(uuid.uuid4().hex, model, tuple(names), datetime.now(UTC).isoformat(timespec="seconds"))

    @property
    def shown(self) -> str:
        return f"batch {self.id or self.mark} of {self.model}"


class Ledger:
    """The entries of one cache. :meth:`held` keeps other processes out while it is decided what to hand in."""

    def __init__(self, cache: Path) -> None:
        self.path = cache.with_name(cache.name + ".batches.json")

    def entries(self) -> list[Entry]:
        """Raises :class:`ConfigError` for a file that is none of ours: forgetting it could cost money."""
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError) as e:
            raise ConfigError(f"{self.path}: cannot be read ({e}); it says which batches are paid for and under way") from e
        try:
            return [Entry(**{**row, "names": tuple(row["names"])}) for row in json.loads(text)]
        except (ValueError, TypeError, KeyError) as e:
            raise ConfigError(
                f"{self.path}: is no list of batches under way ({e}); the provider's page of batches shows them. Move the file "
                "away to submit anew"
            ) from e

    def put(self, entry: Entry) -> None:
        """Add an entry, or what is now known of it."""
        kept = [e for e in self.entries() if e.mark != entry.mark]
        self._write([*kept, entry])

    def drop(self, entry: Entry) -> None:
        self._write([e for e in self.entries() if e.mark != entry.mark])

    def known(self, entry: Entry, submission: str) -> Entry:
        found = replace(entry, id=submission)
        self.put(found)
        return found

    def _write(self, entries: Sequence[Entry]) -> None:
        if not entries:
            self.path.unlink(missing_ok=True)
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as e:
            raise ConfigError(f"{self.path.parent}: cannot be made: {e.strerror}; name another cache with --cache") from e
        write_atomically(self.path, json.dumps([asdict(e) for e in entries], indent=1).encode())

    @contextmanager
    def held(self) -> Iterator[None]:
        """Alone with the file, as far as the system can tell; ends with the process, however that ends."""
        try:
            import fcntl
        except ImportError:  # Windows: two equal commands started in the same moment may submit twice
            yield
            return
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self.path.with_name(self.path.name + ".lock").open("w") as f:
            fcntl.flock(f, fcntl.LOCK_EX)
            with contextlib.suppress(OSError):
                self.path.with_name(self.path.name + ".lock").chmod(0o600)
            yield

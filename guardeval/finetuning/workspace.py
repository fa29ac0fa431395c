"""``OUT/training``: what a training keeps so that the same command goes on after a kill, and what it did.

``state.json`` says which command and data it belongs to; ``order.jsonl`` which rows each step took; ``checkpoint-N`` is
whole once ``whole.json`` stands in it, which is written last and lists its files with their sizes.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guardeval.errors import ConfigError
from guardeval.models import MODEL_FILE
from guardeval.runs import write_atomically

__all__ = ["TRAINING", "Workspace", "differences"]

TRAINING = "training"  # folder in the model folder
_STATE, _WHOLE, _ORDER = "state.json", "whole.json", "order.jsonl"
_TRAINER_STATE = "trainer_state.json"  # as transformers names it


def differences(before: Mapping[str, Any], now: Mapping[str, Any], at: str = "") -> Iterator[str]:
    """``epochs: 3 before, 4 now`` for each leaf that is not the same."""
    for key in sorted({*before, *now}, key=str):
        a, b, name = before.get(key), now.get(key), f"{at}{key}"
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            yield from differences(a, b, f"{name}.")
        elif a != b:
            yield f"{name}: {_short(a)} before, {_short(b)} now"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "…"


@dataclass(frozen=True, slots=True)
class Workspace:
    """The files of one training, in the model folder that it will fill."""

    out: Path

    @property
    def folder(self) -> Path:
        return self.out / TRAINING

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No other command trains into the folder meanwhile; the system lets go of it even where this process is killed.

        Raises :class:`ConfigError` where one does.
        """
        try:
            import fcntl
        except ImportError:  # Windows
            yield
            return
        try:
            if not self.out.exists():
                self.out.mkdir(parents=True)
            folder = os.open(self.out, os.O_RDONLY)
        except OSError as e:
            raise ConfigError(f"{self.out}: cannot be made: {e.strerror or e}; name another with --out") from e
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError as e:
            raise ConfigError(
                f"{self.out}: another command is training into this folder; wait until it has ended, or name another --out"
            ) from e
        finally:
            os.close(folder)

    def open(self, identity: Mapping[str, Any], fresh: bool) -> bool:
        """Make it, or find it again; True where the training is finished already.

        Raises :class:`ConfigError` where the folder holds something else, saying what differs.
        """
        identity = json.loads(json.dumps(identity))
        if fresh:
            self._clear()
        state = self.state
        if state is None:
            self._check_empty()
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as e:
                raise ConfigError(f"{self.out}: cannot be made: {e.strerror or e}; name another with --out") from e
            self._write_state({**identity, "finished": False})
            return False
        unlike = list(differences({k: v for k, v in state.items() if k != "finished"}, identity))
        if unlike:
            raise ConfigError(
                f"{self.out}: a training of another command is in this folder ({'; '.join(unlike)}). Give the command as it "
                "was to go on, name another --out, or say --fresh true to start over"
            )
        return bool(state["finished"]) and (self.out / MODEL_FILE).is_file()

    @property
    def state(self) -> dict[str, Any] | None:
        path = self.folder / _STATE
        if not path.is_file():
            return None
        try:
            found: dict[str, Any] = json.loads(path.read_bytes())
        except ValueError as e:
            raise ConfigError(f"{path}: cannot be read: {e}; say --fresh true to start over") from e
        return found

    def finish(self) -> None:
        """Say that the model stands, and give back the room that checkpoints took."""
        self._write_state({**(self.state or {}), "finished": True})
        for folder in (*self.folder.glob("checkpoint-*"), *self.folder.glob("best-*"), self.folder / "last"):
            shutil.rmtree(folder, ignore_errors=True)

    def _write_state(self, state: Mapping[str, Any]) -> None:
        write_atomically(self.folder / _STATE, json.dumps(state, indent=1, ensure_ascii=False).encode())

    def _check_empty(self) -> None:
        held = [p.name for p in self.out.iterdir()] if self.out.is_dir() else []
        if MODEL_FILE in held:
            raise ConfigError(f"{self.out}: holds a model already; name another --out, or say --fresh true to replace it")
        if self.out.exists() and not self.out.is_dir():
            raise ConfigError(f"{self.out}: is a file; name a folder with --out")

    def _clear(self) -> None:
        """Remove a training and the model it made; anything else in the folder stays."""
        from guardeval.model_folder import weights_of

        if not self.out.is_dir():
            return
        ours = (self.folder / _STATE).is_file() or (self.out / MODEL_FILE).is_file()
        if not ours:
            return
        with contextlib.suppress(FileNotFoundError):
            (self.out / MODEL_FILE).unlink()
        for path in weights_of(self.out):
            path.unlink()
        for name in ("adapter_config.json", "config.json"):
            (self.out / name).unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    # ---- checkpoints ----

    def last_checkpoint(self) -> Path | None:
        """The newest whole one; those that a kill left half-written are removed."""
        found: list[tuple[int, Path]] = []
        for folder in self.folder.glob("checkpoint-*"):
            step = folder.name.rpartition("-")[2]
            if step.isdigit() and _is_whole(folder):
                found.append((int(step), folder))
            else:
                shutil.rmtree(folder, ignore_errors=True)
        return max(found)[1] if found else None

    def mark_whole(self, step: int) -> None:
        """All files of the checkpoint are on disk: from now on it counts."""
        folder = self.folder / f"checkpoint-{step}"
        sizes = {}
        for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != _WHOLE):
            with path.open("rb") as f:
                os.fsync(f.fileno())
            sizes[str(path.relative_to(folder))] = path.stat().st_size
        write_atomically(folder / _WHOLE, json.dumps(sizes).encode())

    def trainer_state(self, checkpoint: Path) -> dict[str, Any]:
        """What transformers keeps of a training: ``global_step``, ``log_history``, …"""
        found: dict[str, Any] = json.loads((checkpoint / _TRAINER_STATE).read_bytes())
        return found

    def allow_batch(self, checkpoint: Path, at_once: int) -> None:
        """Let a training go on with another number of rows at once: transformers would take the checkpoint's without a word."""
        state = self.trainer_state(checkpoint)
        if state.get("train_batch_size") != at_once:
            write_atomically(checkpoint / _TRAINER_STATE, json.dumps({**state, "train_batch_size": at_once}).encode())
            self.mark_whole(state["global_step"])

    # ---- the order of the rows ----

    def add_order(self, step: int, names: Sequence[str]) -> None:
        """Which rows step ``step`` (from 1) took, in order."""
        with (self.folder / _ORDER).open("a", encoding="utf-8") as f:
            f.write(json.dumps({"step": step, "ids": list(names)}, ensure_ascii=False) + "\n")

    def order(self) -> list[dict[str, Any]]:
        """The steps so far; a line that a kill cut off is none."""
        path = self.folder / _ORDER
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        out = []
        for line in lines:
            with contextlib.suppress(ValueError):
                out.append(json.loads(line))
        return out

    def forget_after(self, step: int) -> None:
        """Drop what came after the checkpoint that the training goes on from: it is done again."""
        kept = [line for line in self.order() if line["step"] <= step]
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept)
        write_atomically(self.folder / _ORDER, text.encode())
        for folder in self.folder.glob("best-*"):
            number = folder.name.rpartition("-")[2]
            if not number.isdigit() or int(number) > step:
                shutil.rmtree(folder, ignore_errors=True)


def _is_whole(folder: Path) -> bool:
    try:
        sizes = json.loads((folder / _WHOLE).read_bytes())
        return bool(sizes) and all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, AttributeError):
        return False

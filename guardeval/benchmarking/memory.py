"""What a model takes: memory of this process and of its graphics card, bytes on disk. Unknown is None."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Memory", "Meter", "disk_bytes"]

_STATUS = Path("/proc/self/status")


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes. ``loading`` is what resident memory grew by while the model was loaded, libraries included."""

    peak: int | None  # most resident memory of the process
    since: str  # "this model's turn began", "the process began"
    loading: int | None
    cuda_peak: int | None  # most that torch had allocated, None without CUDA


class Meter:
    """Watches the process from now on; :meth:`loaded` is called when the model is there, :meth:`read` at the end."""

    def __init__(self) -> None:
        self._fresh = _forget_peak()
        self._before = _field("VmRSS")
        self._after: int | None = None
        cuda = _cuda()
        if cuda is not None:
            cuda.reset_peak_memory_stats()

    def loaded(self) -> None:
        self._after = _field("VmRSS")

    def read(self) -> Memory:
        cuda = _cuda()
        grown = None if self._before is None or self._after is None else max(0, self._after - self._before)
        return Memory(
            _field("VmHWM") or _highest(),
            "this model's turn began" if self._fresh else "the process began",
            grown,
            None if cuda is None else int(cuda.max_memory_allocated()),
        )


def _forget_peak() -> bool:
    """Start the kernel's record of the peak anew; False where it does not let us."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _field(name: str) -> int | None:
    """A line of ``/proc/self/status`` in bytes; None where there is no such file."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024
    return None


def _highest() -> int | None:
    """Peak resident memory as ``getrusage`` knows it."""
    with contextlib.suppress(ImportError):
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
    return None


def _cuda() -> Any:
    """torch's CUDA module where torch is loaded and sees a card; nothing is imported for it."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_available() else None


def disk_bytes(model: object) -> int | None:
    """Bytes of the files that a model says it is (``files``) or that its path options name; None where it names none."""
    files = getattr(model, "files", None)
    if files is None:
        named = [getattr(model, option, None) for option in getattr(model, "path_options", ())]
        files = [Path(n).expanduser() for n in named if isinstance(n, (str, Path)) and n and Path(n).expanduser().exists()]
    return _size(Path(f) for f in files) if files else None


def _size(paths: Iterable[Path]) -> int:
    """Every file once, links followed: a repository in the Hub's cache is a folder of links."""
    found = {f.resolve() for path in paths for f in ([path] if path.is_file() else path.rglob("*")) if f.is_file()}
    return sum(f.stat().st_size for f in found)

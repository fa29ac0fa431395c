"""What grows with the number of samples, kept on disk once it is large: bytes, whole numbers and short texts, appended.

Files have no name: they are gone with the process, however it ends. What is read back is mapped, not loaded, so that it
counts as the system's cache, which gives way when memory is short.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, overload

from guardeval.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import DTypeLike, NDArray

__all__ = ["NumberSpill", "Spill", "TextSpill", "Texts", "unnamed_file"]

MOST = 1 << 24  # bytes in memory; some 150,000 samples
_BLOCK = 1 << 20  # bytes a write


def unnamed_file(folder: Path | None) -> IO[bytes]:
    """A file that nobody else sees, in the folder, or in the system's for passing things. Raises :class:`ConfigError`."""
    try:
        return tempfile.TemporaryFile(dir=folder, buffering=0)
    except OSError as e:
        raise ConfigError(f"{folder or tempfile.gettempdir()}: no file can be made there: {e.strerror}") from e


class Spill:
    """Bytes, appended: in memory up to ``most``, beyond it in a file without a name in ``folder``.

    ``folder`` None: the system's for passing files.
    """

    def __init__(self, folder: Path | None = None, most: int = MOST) -> None:
        self._folder, self._most = folder, most
        self._held = bytearray()
        self._file: IO[bytes] | None = None
        self._written = 0

    def __len__(self) -> int:
        return self._written + len(self._held)

    @property
    def on_disk(self) -> bool:
        return self._file is not None

    def write(self, data: bytes) -> None:
        self._held += data
        if len(self._held) >= (self._most if self._file is None else _BLOCK):
            self._flush()

    def _flush(self) -> None:
        if self._file is None:
            self._file = unnamed_file(self._folder)
        try:
            with memoryview(self._held) as view:
                done = 0
                while done < len(view):  # a raw file may take less than it is given
                    done += self._file.write(view[done:]) or 0
        except OSError as e:
            raise ConfigError(
                f"{self._folder or tempfile.gettempdir()}: cannot be written: {e.strerror}; free some space"
            ) from e
        self._written += len(self._held)
        self._held = bytearray()

    def buffer(self) -> bytes | mmap.mmap:
        """All that was written. Nothing may be written after it."""
        if self._file is None:
            return bytes(self._held)
        self._flush()
        return mmap.mmap(self._file.fileno(), self._written) if self._written else b""


class NumberSpill:
    """Whole numbers of 64 bits, appended."""

    def __init__(self, folder: Path | None = None, most: int = MOST) -> None:
        self._spill = Spill(folder, most)
        self._held = array("q")

    def append(self, number: int) -> None:
        self._held.append(number)
        if len(self._held) >= 4096:
            self._flush()

    def extend(self, packed: bytes) -> None:
        """Numbers as the machine holds them."""
        self._flush()
        self._spill.write(packed)

    def _flush(self) -> None:
        self._spill.write(self._held.tobytes())
        del self._held[:]

    def values(self) -> NDArray[np.int64]:
        """All of them, read-only where they are few."""
        import numpy as np

        self._flush()
        return np.frombuffer(self._spill.buffer(), np.int64) if len(self._spill) else np.zeros(0, np.int64)


class TextSpill:
    """Texts and Nones, appended: a list while they are few, beyond ``most`` bytes in two files."""

    def __init__(self, folder: Path | None = None, most: int = MOST) -> None:
        self._folder, self._most = folder, most
        self._held: list[str | None] = []
        self._bytes: Spill | None = None
        self._sizes: NumberSpill | None = None  # -1: None
        self._gone = 0  # texts in the files

    def __len__(self) -> int:
        return self._gone + len(self._held)

    def append(self, text: str | None) -> None:
        self._held.append(text)
        if len(self._held) * 64 >= self._most:  # a short text takes some 60 bytes
            self._flush()

    def extend(self, texts: Iterable[str | None]) -> None:
        self._held += texts
        if len(self._held) * 64 >= self._most:
            self._flush()

    def _flush(self) -> None:
        if self._bytes is None or self._sizes is None:
            self._bytes, self._sizes = Spill(self._folder, _BLOCK), NumberSpill(self._folder, _BLOCK)
            self._most = min(self._most, _BLOCK)
        for text in self._held:
            data = b"" if text is None else text.encode("utf-8", "surrogatepass")
            self._bytes.write(data)
            self._sizes.append(-1 if text is None else len(data))
        self._gone += len(self._held)
        self._held = []

    def texts(self) -> Sequence[str | None]:
        """All of them: the list, or what reads them from the files."""
        if self._bytes is None or self._sizes is None:
            return self._held
        self._flush()
        return Texts(self._bytes.buffer(), self._sizes.values(), self._folder)


class Texts(Sequence["str | None"]):
    """Texts that lie one after the other in mapped memory; ``sizes`` in bytes, -1 where there is None."""

    def __init__(self, data: bytes | mmap.mmap, sizes: NDArray[np.int64], folder: Path | None = None) -> None:
        import numpy as np

        self._data, self._sizes, self._folder = data, sizes, folder
        self._ends = mapped(len(sizes), np.int64, folder)
        np.cumsum(np.maximum(sizes, 0), out=self._ends)

    def __len__(self) -> int:
        return len(self._sizes)

    @overload
    def __getitem__(self, i: int) -> str | None: ...
    @overload
    def __getitem__(self, i: slice) -> Sequence[str | None]: ...
    def __getitem__(self, i: int | slice) -> str | Sequence[str | None] | None:
        if isinstance(i, slice):
            return [self[j] for j in range(*i.indices(len(self)))]
        i = range(len(self))[i]
        size, end = int(self._sizes[i]), int(self._ends[i])
        return None if size < 0 else self._data[end - size : end].decode("utf-8", "surrogatepass")

    def in_order(self, order: NDArray[np.int64]) -> Sequence[str | None]:
        """The same texts, the ``order[i]``-th at place i."""
        out = TextSpill(self._folder, _BLOCK)
        for i in order:
            out.append(self[int(i)])
        return out.texts()


def mapped(n: int, dtype: DTypeLike, folder: Path | None = None) -> NDArray[Any]:
    """An array of n numbers that lies in a file without a name, to be filled."""
    import numpy as np

    size = n * np.dtype(dtype).itemsize
    if not size:
        return np.zeros(0, dtype)
    with unnamed_file(folder) as file:  # the mapping keeps it
        os.ftruncate(file.fileno(), size)
        return np.frombuffer(mmap.mmap(file.fileno(), size), dtype)

"""A file that is written piece by piece and appears whole or not at all."""

from __future__ import annotations

import contextlib
import gzip
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from guardeval.errors import ConfigError

__all__ = ["writing"]

_BUFFER = 1 << 18


@contextmanager
def writing(path: Path) -> Iterator[IO[bytes]]:
    """The file to write into, gzipped for a name in ``.gz``; in place once the block ends well, else the old one stays.

    Raises :class:`ConfigError` when the place cannot be written.
    """
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb", _BUFFER) as f:
            if path.suffix.lower() == ".gz":
                with gzip.GzipFile("", "wb", 6, f, mtime=0) as packed:  # no name, no time: equal content, equal bytes
                    yield cast("IO[bytes]", packed)
            else:
                yield f
            f.flush()
            os.fsync(f.fileno())
        part.replace(path)
    except BaseException as e:
        with contextlib.suppress(OSError):
            part.unlink()
        if isinstance(e, OSError) and e.filename in (None, str(part)):
            raise ConfigError(f"{path}: cannot be written: {e.strerror or e}; name another file") from e
        raise

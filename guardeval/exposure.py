"""What prompts a model has seen in training, as fingerprints: enough to tell a contaminated sample, and no text.

A fingerprint is 64 bits of the sha256 of a prompt's words, lower-cased, without punctuation and layout. Two of a million
prompts share one by chance with a probability below 1e-7.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from guardeval.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["EXPOSURE_FILE", "Exposure", "fingerprint", "normalised"]

EXPOSURE_FILE = "seen_prompts.bin"  # beside the weights: sorted little-endian 64-bit numbers
_WORD = re.compile(r"\w+")
_PLAIN = bytes(ord(c.lower()) if _WORD.match(c) else 32 for c in map(chr, range(128))) + bytes(128)


def normalised(text: str) -> str:
    """The words of a text, lower-cased, one blank between them: what two texts share that say the same."""
    return _words(text).decode("utf-8", "surrogatepass")


def _words(text: str) -> bytes:
    if text.isascii():  # nearly every prompt, and three times as quick
        return b" ".join(text.encode("ascii").translate(_PLAIN).split())
    return " ".join(_WORD.findall(text.lower())).encode("utf-8", "surrogatepass")


def fingerprint(text: str) -> int:
    """64 bits that stand for a prompt; equal for texts with equal words, of texts without any (signs, emoji) for equal ones."""
    words = _words(text) or text.strip().encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(words).digest()[:8], "little")


@dataclass(frozen=True, eq=False)
class Exposure:
    """Fingerprints of the prompts that a model, its parents and its teachers were trained on, or made from."""

    prompts: frozenset[int] = frozenset()

    @classmethod
    def of(cls, texts: Iterable[str]) -> Exposure:
        return cls(frozenset(map(fingerprint, texts)))

    @classmethod
    def read(cls, path: Path) -> Exposure:
        """Raises :class:`ConfigError` for a file that cannot be read, or is none of these."""
        import numpy as np

        try:
            data = path.read_bytes()
        except OSError as e:
            raise ConfigError(f"{path}: cannot be read: {e.strerror or e}; what the model has seen is not known") from e
        if len(data) % 8:
            raise ConfigError(f"{path}: is cut off ({len(data)} bytes): copy the model folder again")
        return cls(frozenset(np.frombuffer(data, "<u8").tolist()))

    def write(self, path: Path) -> None:
        path.write_bytes(self.array.astype("<u8").tobytes())

    def joined(self, *others: Exposure) -> Exposure:
        return Exposure(self.prompts.union(*(o.prompts for o in others)))

    def holds(self, text: str) -> bool:
        """Whether a prompt with these words was seen."""
        return bool(self.prompts) and fingerprint(text) in self.prompts

    @cached_property
    def array(self) -> NDArray[np.uint64]:
        import numpy as np

        return np.array(sorted(self.prompts), np.uint64)

    @property
    def digest(self) -> str:
        """sha256 over the file's bytes."""
        return hashlib.sha256(self.array.astype("<u8").tobytes()).hexdigest()

    def __len__(self) -> int:
        return len(self.prompts)

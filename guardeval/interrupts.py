"""Ctrl-C held back while files are put in place, so that a folder is whole however quickly it is pressed again."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["held_back"]


@contextmanager
def held_back() -> Iterator[None]:
    """Whatever is done in here is done to its end. Raises :class:`KeyboardInterrupt` then, if one came meanwhile.

    So is SIGTERM where it interrupts as Ctrl-C does. Only the main thread is ever interrupted; a handler that the program
    itself has set, or none, stays as it is.
    """
    ours = threading.current_thread() is threading.main_thread()
    numbers = [n for n in (signal.SIGINT, signal.SIGTERM) if ours and signal.getsignal(n) is signal.default_int_handler]
    came: list[bool] = []
    for number in numbers:
        signal.signal(number, lambda *_: came.append(True))
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.default_int_handler)
    if came:
        raise KeyboardInterrupt

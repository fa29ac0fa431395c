"""The error family: every error a user can meet, each also its closest builtin.

GuardevalError
├── ConfigError     (ValueError)    a flag, option, YAML file or combination is wrong     exit 2
├── DataError       (ValueError)    rows, labels or files are not what was declared       exit 2
├── PluginError     (ImportError)   a plugin is unknown, broken, or clashes               exit 2
└── ModelError      (RuntimeError)  a model did not answer one request                    the sample is FAILED
    ├── Transient                   worth asking again: 429, 5xx, time-out, cut body      retried by the broker
    └── ModelUnusable               no request can succeed: wrong key, no server          exit 2

A message says what was found, where, and what to do next. Errors pickle (they cross process borders).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

__all__ = [
    "ConfigError",
    "DataError",
    "GuardevalError",
    "ModelError",
    "ModelUnusable",
    "PluginError",
    "Transient",
    "did_you_mean",
    "needs_extra",
]


class GuardevalError(Exception):
    """Base of everything guardeval raises on purpose; ``str(e)`` is one readable paragraph."""


class ConfigError(GuardevalError, ValueError):
    """A flag, option, file of settings or combination of them is wrong; nothing was asked of a model."""


class DataError(GuardevalError, ValueError):
    """Rows, labels or files are not what the task declared; the message names file and row."""


class PluginError(GuardevalError, ImportError):
    """A plugin is unknown, does not import, breaks its contract, or its name is taken twice."""


class ModelError(GuardevalError, RuntimeError):
    """A model did not answer one request and asking again would not help."""


class Transient(ModelError):
    """A request failed in a way that asking again may cure. Raised by backends, retried by the broker.

    ``retry_after``: seconds the server asked us to wait, None if it did not say.
    ``throttled``: True for a rate limit, which also lowers the number of connections.
    """

    def __init__(self, message: str, retry_after: float | None = None, throttled: bool = False) -> None:
        super().__init__(message, retry_after, throttled)
        self.retry_after = retry_after
        self.throttled = throttled

    def __str__(self) -> str:
        return str(self.args[0])


class ModelUnusable(ModelError, ConfigError):
    """No request to this model can succeed (wrong key, unknown model, no server): ends the run."""


def did_you_mean(name: str, known: Iterable[str], limit: int = 12) -> str:
    """``"; did you mean 'x'? known: …"`` for an error message; an empty string when nothing is known."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    if not names:
        return hint
    shown = ", ".join(names[:limit]) + (", …" if len(names) > limit else "")
    return f"{hint} known: {shown}" if hint else f"; known: {shown}"


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Turn a missing optional package into the command that installs it; one that is there and broken is said to be."""
    try:
        yield
    except ModuleNotFoundError as e:
        raise PluginError(f"this needs the package {e.name!r}, which is not installed: pip install 'guardeval[{extra}]'") from e
    except ImportError as e:
        what = f"the package {e.name!r}" if e.name else f"a package of guardeval[{extra}]"
        raise PluginError(
            f"this needs {what}, which is installed and does not import: {e}; "
            f"pip install --force-reinstall 'guardeval[{extra}]' may mend it"
        ) from e

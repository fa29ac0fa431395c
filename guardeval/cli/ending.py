"""How a command ends: its exit code, and one paragraph on stderr where it did not do what was asked."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from guardeval.cli.streams import encodable, unread_is_fine
from guardeval.errors import GuardevalError

__all__ = ["exit_code"]


def exit_code(program: str, words: list[str], work: Callable[[list[str]], int], *, caches: bool) -> int:
    """Run one command and return its exit code; raises only where ``--debug`` asks for the traceback.

    ``caches``: unless it is told not to, it keeps answers in the cache.
    """
    encodable(sys.stdout)
    encodable(sys.stderr)
    with unread_is_fine():
        return _ended(program, words, work, caches)


def _ended(program: str, words: list[str], work: Callable[[list[str]], int], caches: bool) -> int:
    debug = "--debug" in words
    words = [w for w in words if w != "--debug"]
    try:
        code = work(words)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        kept = "; answers that were given are in the cache" if caches and "--no_cache" not in words else ""
        _say(f"{program}: interrupted{kept}")
        return 130
    except SystemExit as e:  # a plugin's: the parser raises ConfigError
        from guardeval.plugin_exit import exited

        broken = exited(" ".join([program, *words[:1]]) + ": a plugin", e)
        if debug:
            raise broken from e
        _say(_paragraph(program, broken))
        return 2
    except Exception as e:  # the outermost place: whatever it is, a user gets a paragraph and a script the right exit code
        if debug:
            raise
        _say(_paragraph(program, e))
        return 2


def _say(text: str) -> None:
    from guardeval.report.plain import printable

    if sys.stderr is not None:  # print() would take stdout instead
        print(printable(text), file=sys.stderr, flush=True)


def _paragraph(program: str, error: Exception) -> str:
    """What went wrong, in one paragraph that begins with the program's name."""
    if isinstance(error, GuardevalError):
        said = " ".join(str(error).split("\n"))
        return said if said.startswith((f"{program} ", "guardeval ")) else f"{program}: {said}"
    if isinstance(error, OSError):
        where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, (str, bytes)) else ""
        return f"{program}: {where}{error.strerror or error}"
    return f"{program}: unexpected {type(error).__name__}: {error}. The same command with --debug shows where; please report it"

"""A plugin that calls ``sys.exit``: an error like its others, or it would end the command as if all were well."""

from __future__ import annotations

from pathlib import Path

from guardeval.errors import PluginError

__all__ = ["exited", "raised_at"]


def exited(what: str, error: SystemExit) -> PluginError:
    """The error that stands for it; ``what`` names the plugin, and the place is that of the call."""
    said = f"{what} called sys.exit({error.code!r}){raised_at(error)}"
    return PluginError(f"{said}: a plugin raises one of guardeval.errors, and ends no process")


def raised_at(error: BaseException, but: str = "") -> str:
    """``, at file:line``: the last line that ran outside Python's own import machinery and the file ``but``; empty for none."""
    if isinstance(error, SyntaxError) and error.filename:
        return f", at {error.filename}:{error.lineno}"
    place, trace = "", error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if not name.startswith("<") and Path(name).parent.name != "importlib" and name != but:
            place = f", at {name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place

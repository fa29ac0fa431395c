"""Reports that people look at: runs as one HTML file that needs no network and opens from disk.

The page is data and templates: :mod:`page` says what it shows, ``page.html`` how, ``page.js`` builds the sample browser from
JSON with text nodes alone, and a content security policy lets nothing else run or load.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardeval.errors import needs_extra

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["MOST_SAMPLES", "html_report"]

MOST_SAMPLES = 20_000


def html_report(folders: Sequence[Path | str], *, most: int = MOST_SAMPLES, seed: int = 0) -> str:
    """The page of one run or several. ``most`` samples at most are in its browser, errors first, the rest drawn by ``seed``.

    Raises :class:`DataError` for a folder that is no finished run.
    """
    environment = _environment()
    from guardeval.report.html.browser_rows import browser
    from guardeval.report.html.changes import changes_of
    from guardeval.report.html.material import opened
    from guardeval.report.html.page import sections
    from guardeval.report.html.reviews import reviews_of

    material = opened(folders)
    changes, reviews = changes_of(material), reviews_of(material)
    script = _file("page.js")
    return environment.get_template("page.html").render(
        title=", ".join(material.tasks) + " · " + ", ".join(material.names),
        runs=[
            {"name": n, "folder": r.name, "results": s}
            for n, r, s in zip(material.names, material.runs, material.results, strict=True)
        ],
        sections=sections(material, changes, reviews),
        browser=browser(material, most, seed, changes, reviews),
        seed=seed,
        style=_file("page.css"),
        script=script,
        policy=_policy(script),
    )


def _environment() -> Environment:
    with needs_extra("report"):
        import matplotlib as _  # noqa: F401  # asked for here, so that nothing is read before it is known to be missing
        from jinja2 import Environment, FunctionLoader, StrictUndefined

    from guardeval.report.html.visible import visible

    def finalize(value: Any) -> Any:
        return visible(value) if type(value) is str else value  # markup of our own is no plain str

    environment = Environment(
        loader=FunctionLoader(_file), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        finalize=finalize,
    )  # fmt: skip
    environment.filters["estimate"] = _estimate
    return environment


def _estimate(cell: str) -> tuple[str, str, str]:
    """A number, its interval, and what follows; the whole cell where it is no such thing."""
    found = re.fullmatch(r"(\S+) (\[[^\]]*\])( .*)?", cell)
    return (found[1], found[2], found[3] or "") if found else (cell, "", "")


def _file(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _policy(script: str) -> str:
    """Only this script runs; styles stand in the page; nothing is loaded, sent or embedded."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )

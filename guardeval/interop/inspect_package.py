"""Inspect puts ``guardeval/`` before the names of what an installed package registers: it has to see that it is installed."""

from __future__ import annotations

import sys

__all__ = ["known_as_installed"]


def known_as_installed(package: str) -> None:
    """Let Inspect read how ``package`` was installed before it asks.

    It takes the first metadata of that name along ``sys.path`` and remembers what they say for the life of the process. An
    editable install leaves an ``egg-info`` folder in the source tree, which does not tell that anything is installed; where
    that tree comes first (``python -m inspect_ai`` or ``python -m pytest`` in a checkout), names would lose their package.
    """
    try:
        from inspect_ai._util.package import get_package_direct_url
    except ImportError:  # private to Inspect: without it, Inspect's own search decides
        return
    before = list(sys.path)
    sys.path.sort(key=lambda place: "site-packages" not in str(place))
    try:
        get_package_direct_url.cache_clear()
        get_package_direct_url(package)
    finally:
        sys.path[:] = before

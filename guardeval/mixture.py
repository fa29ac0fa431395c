"""How many rows each source gives to a mix, and which: shares of the result, drawn by seed and label, whatever the order."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from fractions import Fraction

from guardeval.errors import ConfigError

__all__ = ["amounts", "drawn", "proportional", "shares"]


def shares(rows: Mapping[str, int], ratios: Mapping[str, float]) -> dict[str, Fraction]:
    """The share of the mix that each source has; sources without a ratio share the rest by their rows.

    Raises :class:`ConfigError` for ratios that are not above 0, that add up to more than 1, or leave nothing for a source
    without one, or leave a rest that no source fills.
    """
    given = {name: Fraction(str(r)) for name, r in ratios.items() if _is_share(name, r)}
    total, rest = sum(given.values(), Fraction(0)), [n for n in rows if n not in given]
    said = ", ".join(f"{n}={float(s):g}" for n, s in given.items())
    if total > 1:
        raise ConfigError(f"{said}: shares of the mix add up to {float(total):g}; together they may be 1 at most")
    left = sum(rows[n] for n in rest)
    if not left and total < 1:
        raise ConfigError(f"{said}: shares of the mix add up to {float(total):g}, and no other source fills the rest")
    if left and total == 1:
        raise ConfigError(f"{said}: the shares add up to 1 and leave nothing for {', '.join(rest)}; lower them")
    return {n: given[n] if n in given else (1 - total) * Fraction(rows[n], left or 1) for n in rows}


def _is_share(name: str, ratio: float) -> bool:
    if not (math.isfinite(ratio) and 0 < ratio <= 1):
        raise ConfigError(f"{name}={ratio:g}: a share of the mix is wanted, above 0, at most 1, e.g. 0.3")
    return True


def amounts(rows: Mapping[str, int], ratios: Mapping[str, float], n: int | None = None) -> dict[str, int]:
    """How many rows each source gives: the largest mix with these shares that the rows allow, at most ``n``.

    Without ratios, all rows, or of each source its proportion of ``n``. Each amount is within one row of its share.
    """
    total = sum(rows.values())
    if not ratios:
        return dict(rows) if n is None or n >= total else proportional(rows, n)
    share = shares(rows, ratios)
    fill = [Fraction(rows[s]) / share[s] for s in rows if share[s]]  # sizes of the mix at which a source is used up
    size = math.floor(min(fill if n is None else [*fill, Fraction(n)]))
    return _rounded({s: share[s] * size for s in rows}, size, rows)


def proportional(rows: Mapping[str, int], n: int) -> dict[str, int]:
    """``n`` rows (at most all), from each group its proportion."""
    total = sum(rows.values())
    n = min(n, total)
    return _rounded({g: Fraction(rows[g] * n, total or 1) for g in rows}, n, rows)


def _rounded(exact: Mapping[str, Fraction], total: int, most: Mapping[str, int]) -> dict[str, int]:
    """Whole numbers that add up to ``total``: the largest remainders are rounded up (Hamilton), names break ties."""
    found = {name: math.floor(x) for name, x in exact.items()}
    order = sorted(exact, key=lambda name: (found[name] - exact[name], name))
    for name in order:
        if sum(found.values()) == total:
            break
        found[name] += found[name] < most[name]
    return found


def drawn(groups: Mapping[Hashable, Sequence[int]], n: int) -> list[int]:
    """The first members of each group, in proportion, ``n`` together; members come in the order in which they are wanted."""
    names = {str(g): g for g in groups}
    counts = proportional({name: len(groups[g]) for name, g in names.items()}, n)
    return [i for name, g in names.items() for i in groups[g][: counts[name]]]

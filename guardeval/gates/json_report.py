"""A gate's report as JSON and back: stable keys, so that scripts can rely on them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from guardeval.errors import DataError
from guardeval.gates.findings import Finding, GateReport, Kind, Status
from guardeval.gates.verdict import headline, ordered, verdict

__all__ = ["FORMAT", "VERSION", "from_json", "to_json"]

FORMAT, VERSION = "guardeval-gate", 1
_TEXTS = ("task", "metric", "message", "part", "accounting", "unit")
_NUMBERS = ("baseline", "current", "difference", "p", "adjusted", "limit", "detectable")
_REPORT = ("baseline", "runs", "model", "baseline_model", "alpha", "seconds", "notes", "about", "findings")


def to_json(report: GateReport) -> dict[str, Any]:
    """All of it, JSON-able; what is undefined (nan) as null. ``status`` and ``verdict`` say what the findings come to."""
    counts = {str(s): sum(f.status is s for f in report.findings) for s in Status}
    return {
        "format": FORMAT,
        "version": VERSION,
        "status": headline(report),
        "ok": report.ok,
        "verdict": verdict(report),
        "counts": counts,
        "baseline": report.baseline,
        "runs": list(report.runs),
        "model": report.model,
        "baseline_model": report.baseline_model,
        "alpha": report.alpha,
        "seconds": report.seconds,
        "notes": list(report.notes),
        "about": _defined(dict(report.about)),
        "findings": [_finding(f) for f in ordered(report.findings)],
    }


def _finding(f: Finding) -> dict[str, Any]:
    values = {field.name: getattr(f, field.name) for field in dataclasses.fields(f)}
    return {"name": f.name, **_defined({**values, "kind": str(f.kind), "status": str(f.status)})}


def _defined(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): _defined(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_defined(v) for v in value]
    return value


def from_json(data: Any, where: str = "gate report") -> GateReport:
    """What :func:`to_json` wrote. Raises :class:`DataError` that names the place where it is something else."""
    if not isinstance(data, Mapping) or data.get("format") != FORMAT:
        raise DataError(f"{where}: no report of guardeval check (format {FORMAT!r} is wanted)")
    if data.get("version") != VERSION:
        raise DataError(f"{where}: version {data.get('version')!r}; this guardeval reads version {VERSION}")
    missing = [k for k in _REPORT if k not in data]
    if missing:
        raise DataError(f"{where}: {', '.join(missing)} missing")
    try:
        findings = tuple(_read(f, f"{where}: finding {i}") for i, f in enumerate(data["findings"], 1))
        return GateReport(
            findings=findings,
            baseline=str(data["baseline"]),
            runs=tuple(map(str, data["runs"])),
            model=str(data["model"]),
            baseline_model=str(data["baseline_model"]),
            alpha=float(data["alpha"]),
            seconds=float(data["seconds"]),
            notes=tuple(map(str, data["notes"])),
            about=dict(data["about"]),
        )
    except (TypeError, ValueError) as e:
        if isinstance(e, DataError):
            raise
        raise DataError(f"{where}: {e}") from e


def _read(data: Any, where: str) -> Finding:
    if not isinstance(data, Mapping):
        raise DataError(f"{where}: a mapping is wanted")
    try:
        interval = data["interval"]
        values: dict[str, Any] = {k: str(data[k]) for k in _TEXTS}
        values |= {k: None if data[k] is None else float(data[k]) for k in _NUMBERS}
        return Finding(
            kind=Kind(data["kind"]),
            status=Status(data["status"]),
            **values,
            interval=None if interval is None else _pair(interval),
            n=None if data["n"] is None else int(data["n"]),
        )
    except KeyError as e:
        raise DataError(f"{where}: {e.args[0]} missing") from e
    except (TypeError, ValueError, OverflowError) as e:
        raise DataError(f"{where}: {e}") from e


def _pair(values: Any) -> tuple[float, float]:
    """Bounds that are not known come back as nan."""
    low, high = (math.nan if v is None else float(v) for v in values)
    return low, high

"""What a finding says: one sentence, with the numbers that decided it."""

from __future__ import annotations

from guardeval.gates.findings import Finding
from guardeval.gates.measures import loss_sign

__all__ = ["budget_words", "loss_of", "regression_words", "skipped_words"]


def loss_of(finding: Finding) -> float:
    """By how much the current model is worse; negative where it is better."""
    return -loss_sign("f1" if finding.metric == "macro_f1" else finding.metric) * (finding.difference or 0.0)


def skipped_words(finding: Finding, why: str) -> str:
    seen = None if finding.difference is None else finding.detectable  # of what is undefined, no number of samples is too few
    could = f"; with so few a loss below {seen:.3f} would go unseen" if seen is not None else ""
    return f"not tested: {why}{could}"


def regression_words(finding: Finding, alpha: float, significant: bool, blind: float | None) -> str:
    told = f"{_moved(finding)}, {_judged(finding, alpha, significant)}"
    return told + _sight(finding, blind)


def budget_words(
    finding: Finding,
    alpha: float,
    significant: bool,
    exceeded: bool,
    blind: float | None,
    in_family: tuple[float | None, float | None],
) -> str:
    told = f"macro {_moved(finding)}, {_judged(finding, alpha, significant)}"
    if exceeded and not significant:
        told += "; beyond the budget all the same, which budget_strict does not allow"
    before, after = in_family
    if before is not None and after is not None:
        way = "rises" if after > before else "falls too" if after < before else "stays"
        told += f"; in family it {way}: {before:.3f} → {after:.3f}"
    return told + _sight(finding, blind)


def _moved(finding: Finding) -> str:
    metric = "F1" if finding.metric in ("f1", "macro_f1") else finding.metric
    if finding.difference == 0.0:
        return f"{metric} stays at {finding.baseline:.3f}"
    way = "falls" if (finding.difference or 0.0) < 0 else "rises"
    return f"{metric} {way} from {finding.baseline:.3f} to {finding.current:.3f} ({finding.difference:+.3f})"


def _judged(finding: Finding, alpha: float, significant: bool) -> str:
    allowed = f"the {finding.limit:g} allowed" if finding.limit else ""
    adjusted = f"adjusted p {_p(finding.adjusted)}"
    if significant:
        return f"significantly worse{f' by more than {allowed}' if allowed else ''} ({adjusted} ≤ {alpha:g})"
    if loss_of(finding) <= (finding.limit or 0.0):
        return f"within {allowed}" if allowed and loss_of(finding) > 0 else "no worse"
    return f"not significantly {f'beyond {allowed}' if allowed else 'worse'} ({adjusted} > {alpha:g})"


def _p(p: float | None) -> str:
    return "n/a" if p is None else f"{p:.2g}" if p >= 0.001 else "< 0.001"


def _sight(finding: Finding, blind: float | None) -> str:
    if finding.detectable is None:
        seen = "; no loss, however large, is sure to be found with so few samples"
    else:
        seen = f"; finds losses from {finding.detectable:.3f}"
    return seen if blind is None else f"{seen}, and {blind:g} is required (require_detectable)"

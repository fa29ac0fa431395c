"""A model before and after it was optimised, asked the same questions: what changed, how much smaller, how much faster.

Verdicts are paired sample by sample. The gate looks at F1 (strict: no verdict counts as wrong) and at nothing else.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from guardeval.compare import Difference, Flip, Pair, compare
from guardeval.contracts import BatchModel, Model
from guardeval.errors import ConfigError
from guardeval.judged import Judgements
from guardeval.judging import Judging
from guardeval.model_folder import weights_of
from guardeval.optimized import read_original
from guardeval.optimizing import Questions, built, mark_checked
from guardeval.runs import write_atomically
from guardeval.stats import Estimate, quantile, rate, ratio_of_sums

__all__ = ["Check", "Side", "check", "checked", "size_of"]

_METRICS = ("f1", "accuracy", "overflagging", "underflagging")


@dataclass(frozen=True)
class Side:
    """One of the two models. Latency in milliseconds, one query at a time; tokens a second of such queries, and batched.

    ``weights``: bytes on disk, None where the files are not in a folder. Speeds are nan where the backend counts no tokens.
    """

    name: str
    runs_on: str
    weights: int | None
    parsed: Estimate
    ms_p50: Estimate
    ms_p95: Estimate
    tokens_per_second: Estimate
    batched_tokens_per_second: float
    judged: Judgements


@dataclass(frozen=True)
class Check:
    """Both sides, paired. ``passed`` and ``verdict`` are the gate's: no F1 on either side is no pass."""

    before: Side
    after: Side
    pair: Pair
    max_f1_drop: float
    passed: bool
    verdict: str
    asked: Mapping[str, Any]

    @property
    def f1(self) -> Difference:
        return _of(self.pair, "f1")

    @property
    def accuracy(self) -> Difference:
        """Its p-value is McNemar's: were as many verdicts mended as spoilt?"""
        return _of(self.pair, "accuracy")

    @property
    def flips(self) -> tuple[Flip, ...]:
        """Samples with another verdict than before, no verdict being one."""
        return tuple(f for f in self.pair.flips if f.before != f.after)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able; undefined numbers are None."""
        sides = {name: _shown(side) for name, side in (("before", self.before), ("after", self.after))}
        gate = {"max_f1_drop": self.max_f1_drop, "passed": self.passed, "verdict": self.verdict}
        paired = {
            "n": self.pair.n,
            "flipped": sum(f.n for f in self.flips),
            "flips": [asdict(f) for f in self.flips],
            "mcnemar_p": self.accuracy.p_value,
            "differences": [asdict(d) for d in self.pair.differences],
        }
        plain: dict[str, Any] = _plain({**gate, "asked": dict(self.asked), "paired": paired, **sides})
        return plain

    def for_card(self) -> dict[str, Any]:
        """The gist of it; ``check.json`` beside the card holds the rest."""
        f1 = self.f1
        both = (self.before, self.after)
        plain: dict[str, Any] = _plain(
            {
                "verdict": self.verdict,
                "max_f1_drop": self.max_f1_drop,
                "n": self.pair.n,
                "flipped": sum(f.n for f in self.flips),
                "mcnemar_p": self.accuracy.p_value,
                "f1": [f1.reference, f1.other],
                "f1_difference": [f1.difference, f1.low, f1.high],
                "parse_rate": [s.parsed.value for s in both],
                "bytes": [s.weights for s in both],
                "ms_p50": [s.ms_p50.value for s in both],
                "ms_p95": [s.ms_p95.value for s in both],
                "tokens_per_second": [s.tokens_per_second.value for s in both],
                "asked": dict(self.asked),
            }
        )
        return plain


def check(
    before: tuple[str, Path, Model | BatchModel],
    after: tuple[str, Path, Model | BatchModel],
    questions: Questions,
    *,
    max_f1_drop: float = 0.01,
    timed: int = 32,
    seed: int = 0,
) -> Check:
    """Ask both and compare. ``timed``: how many of the samples are asked one at a time for the latency; the others in batches.

    Raises :class:`ConfigError` without a labelled sample, :class:`ModelUnusable` where a model cannot be asked.
    """
    if not any(questions.target in s.labels for s in questions.samples):
        raise ConfigError("the check needs labelled samples, and there is none; name others with --task and --data")
    sides = [_side(name, folder, model, questions, timed) for name, folder, model in (before, after)]
    found = compare(
        sides[0].judged, [sides[1].judged], [s.name for s in sides], metrics=_METRICS, family=("accuracy",), seed=seed
    ).pairs[0]
    passed, verdict = _gate(found, sides, max_f1_drop)
    return Check(sides[0], sides[1], found, max_f1_drop, passed, verdict, questions.described())


def checked(folder: Path, out: Path, before: Model | BatchModel, questions: Questions, *, max_f1_drop: float = 0.01) -> Check:
    """:func:`check` of a model made of ``folder``, kept in ``out``: ``check.json``, and its gist in the card."""
    found = check(("before", folder, before), ("after", out, built(out)), questions, max_f1_drop=max_f1_drop)
    write_atomically(out / "check.json", json.dumps(found.as_dict(), indent=1, ensure_ascii=False).encode())
    mark_checked(out, found.for_card(), found.passed)
    return found


def _gate(pair: Pair, sides: Sequence[Side], limit: float) -> tuple[bool, str]:
    """Whether it may be used, and why, in a sentence."""
    f1 = _of(pair, "f1")
    said = (
        f"F1 {_n(f1.reference)} → {_n(f1.other)} (difference {f1.difference:+.3f} [{f1.low:+.3f}, {f1.high:+.3f}], n={pair.n})"
    )
    mute = [f"{s.name} gave no verdict on any of {s.parsed.n} samples" for s in sides if not s.parsed.value > 0]
    if mute:
        return False, f"refused: {' and '.join(mute)}, so nothing shows that quality was kept"
    if math.isnan(f1.difference):
        return (
            False,
            "refused: F1 is undefined (no sample is positive, and none was called so), so nothing shows that quality was kept",
        )
    if f1.reference == 0:
        return False, "refused: the model found no positive sample before, so nothing shows that quality was kept"
    if -f1.difference > limit:
        return False, f"refused: {said}: a drop of more than {limit:g}"
    sure = f1.low >= -limit
    return True, f"passed: {said}: within {limit:g}; the interval {'excludes' if sure else 'does not exclude'} a larger drop"


def _side(name: str, folder: Path, model: Model | BatchModel, questions: Questions, timed: int) -> Side:
    q = questions
    asked = q.target, q.policies, q.solver
    with Judging(model, name) as judging:
        judging.ask(q.samples[:1], *asked)  # loads the model, and computes once what is kept
        alone = judging.ask(q.samples[:timed], *asked, parallel=1)
        started = time.perf_counter()
        judged = judging.ask(q.samples, *asked)
        took = time.perf_counter() - started
    on = _runs_on(model)
    ms = alone.latency[~_nan(alone.latency)] * 1000
    counted = ~_nan(alone.latency) & ~_nan(alone.tokens_out)
    written = float(judged.tokens_out.sum())  # nan where one is unknown
    return Side(
        name=name,
        runs_on=on,
        weights=size_of(folder),
        parsed=rate(int((judged.label >= 0).sum()), len(judged)),
        ms_p50=quantile(ms, 0.5),
        ms_p95=quantile(ms, 0.95),
        tokens_per_second=ratio_of_sums(alone.tokens_out[counted], alone.latency[counted]),
        batched_tokens_per_second=written / took if took > 0 else math.nan,
        judged=judged,
    )


def size_of(folder: Path) -> int | None:
    """Bytes of the weights of a model, its base's too where it is an adapter; None where those are in no folder."""
    original = read_original(folder)
    places = [folder] if original.source is None else [Path(original.source.name)]
    if original.adapter is not None:
        places.append(original.adapter)
    if not all(p.is_dir() for p in places):
        return None
    return sum(w.stat().st_size for p in dict.fromkeys(p.resolve() for p in places) for w in weights_of(p))


def _runs_on(model: Model | BatchModel) -> str:
    said = model.identity
    named = [str(said[k]) for k in ("device", "dtype", "provider") if said.get(k)]
    return " ".join([str(said.get("backend", type(model).__name__)), *named])


def _of(pair: Pair, metric: str) -> Difference:
    return next(d for d in pair.differences if d.metric == metric)


def _nan(values: Any) -> Any:
    return values != values


def _n(value: float) -> str:
    return "n/a" if math.isnan(value) else f"{value:.3f}"


def _shown(side: Side) -> dict[str, Any]:
    names = ("name", "runs_on", "weights", "batched_tokens_per_second")
    estimates = ("parsed", "ms_p50", "ms_p95", "tokens_per_second")
    return {n: getattr(side, n) for n in names} | {n: asdict(getattr(side, n)) for n in estimates}


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return None if not math.isfinite(value) else value
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (tuple, list)) else value

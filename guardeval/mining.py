"""Hard samples, mined: which ones members disagree on most, in a file that ``--data`` takes.

Two passes in bounded memory: every sample is scored and its score, id and place kept on disk; then the best rows are read
again, in order, and written. The file holds each row as it stands upstream and what was found under one key, ``guardeval``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from guardeval.disagreement import Disagreement, disagreement
from guardeval.errors import ConfigError, did_you_mean
from guardeval.hard_draws import alphas, choose_pair, mixed_draws
from guardeval.label_audit import CONFIDENCE, LabelErrors, confident_against, label_error_rate, majorities
from guardeval.mined_rows import KEY
from guardeval.mining_reviews import Reviews, reviews_given, reviews_in
from guardeval.mining_sources import Batch, Found, Source, open_runs
from guardeval.ranking import Ranking
from guardeval.rows import file_format, is_rows_file
from guardeval.score_rows import ScoreRows
from guardeval.streamed_file import writing

__all__ = ["RULES", "Mined", "kept_of", "mine"]

TOP = 0.2  # of the samples considered, where a rule scores all of them and nothing else is asked
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Mined:
    """What came of mining. ``considered``: samples that the rule could judge; ``apart``: fewer than two members were heard.

    ``threshold``: score of the last sample kept, nan where none was; ``ties_left_out``: others that score the same and come
    after it by id. ``substituted``: samples on which members counted as 0 or 1. ``unlabelled``: left out by a rule that needs
    a gold label. ``left_out``: samples that not all runs hold.
    """

    path: Path
    rule: str
    members: tuple[str, ...]
    rows: int
    considered: int
    apart: int
    unlabelled: int
    left_out: int
    substituted: int
    threshold: float
    ties_left_out: int
    share_of_pairs_with_both: float
    apart_path: Path | None = None
    pairs_path: Path | None = None
    pairs: int = 0
    label_errors: LabelErrors | None = None
    reviews: Reviews | None = None


def mine(
    folders: Sequence[Path | str],
    out: Path | str,
    *,
    top: float | None = None,
    n: int | None = None,
    min_score: float | None = None,
    rule: str = "disagreement",
    task: str | None = None,
    members: Sequence[str] | None = None,
    confidence: float = CONFIDENCE,
    pairs: Path | str | None = None,
    pair_rule: str = "longest",
    seed: int = 0,
    reviews: Path | str | None = None,
) -> Mined:
    """Write the hardest samples of some runs, of one run with votes, or of a file of scores.

    ``top`` (a share of the samples considered, rounded up), ``n`` and ``min_score`` all apply; without any, the top fifth by
    disagreement, or all that another rule finds. ``pairs``: also write right and wrong answers of those that have both, with α.
    ``reviews``: marks of the samples listed (rule ``label_audit``); without it those in the run folders are taken. Equal scores
    are ordered by sample id.
    Raises :class:`ConfigError` for a wrong option, :class:`DataError` for runs that do not fit together.
    """
    out = Path(out).expanduser()
    _check(out, top, n, min_score, rule, confidence, pairs, reviews)
    if top is None and n is None and min_score is None and rule == "disagreement":
        top = TOP
    source = _open(folders, task, members)
    if pairs is not None and not source.has_words:
        raise ConfigError("--pairs needs runs: a file of scores holds no answers")
    said = _reviews(folders, source, rule, reviews)
    marks = {} if said is None else majorities(said.marks)
    ranking, apart = Ranking(), Ranking()
    try:
        tally = _score_all(source, RULES[rule], confidence, min_score, ranking, apart)
        k = kept_of(tally.considered, len(ranking), top, n)
        written = _write(out, source, rule, ranking, k, marks)
        apart_path = _write_apart(out, source, apart)
        pairs_path = None if pairs is None else Path(pairs).expanduser()
        made = 0 if pairs_path is None else _write_pairs(pairs_path, source, ranking, k, pair_rule, seed)
        ties = ranking.equal_to(written.last) - written.at_last if written.rows else 0
    finally:
        ranking.close()
        apart.close()
    errors = None if said is None else label_error_rate(said.marks, written.reviewed)
    share = tally.with_both / tally.pairs if tally.pairs else math.nan
    return Mined(
        out, rule, source.members, written.rows, tally.considered, tally.apart, tally.unlabelled, source.left_out,
        tally.substituted, written.last, ties, share, apart_path, pairs_path, made, errors, said,
    )  # fmt: skip


def _reviews(folders: Sequence[Path | str], source: Source, rule: str, given: Path | str | None) -> Reviews | None:
    """What people said of labels: in the file that was named, else in the folders of the runs."""
    if given is not None:
        return reviews_given(Path(given).expanduser(), source.task)
    return reviews_in(folders, source.task) if rule == "label_audit" and source.has_words else None


def kept_of(considered: int, found: int, top: float | None = None, n: int | None = None) -> int:
    """How many are kept: ``top`` of those considered, rounded up (20 % of 1554 are 311), at most ``n``, at most as found."""
    share = considered if top is None else math.ceil(Fraction(str(top)) * considered)  # as written: 0.07 · 100 is 7
    return min(share, found, found if n is None else n)


def _check(
    out: Path, top: float | None, n: int | None, min_score: float | None, rule: str, confidence: float, pairs: Any, reviews: Any
) -> None:
    if rule not in RULES:
        raise ConfigError(f"unknown rule {rule!r}{did_you_mean(rule, RULES)}")
    if top is not None and not 0.0 < top <= 1.0:
        raise ConfigError(f"--top {top:g}: a share above 0, at most 1, is wanted, e.g. 0.2")
    if n is not None and n < 1:
        raise ConfigError(f"--n {n}: a number of samples from 1 is wanted")
    if min_score is not None and not math.isfinite(min_score):
        raise ConfigError(f"--min-score {min_score:g}: a number is wanted")
    if not 0.0 <= confidence <= 1.0:
        raise ConfigError(f"--confidence {confidence:g}: a number from 0 to 1 is wanted")
    if pairs is not None and rule == "label_audit":
        raise ConfigError(
            "--pairs with --rule label_audit: those labels are in doubt, so no answer is known to be right; "
            "--rule mixed and disagreement write pairs"
        )
    if reviews is not None and rule != "label_audit":
        raise ConfigError("--reviews needs --rule label_audit: it is that list that is reviewed")
    if file_format(out) not in ("json", "jsonl"):
        raise ConfigError(f"{out}: a file of mined rows ends in .json or .jsonl (also .gz)")
    if pairs is not None and file_format(Path(pairs)) not in ("json", "jsonl"):
        raise ConfigError(f"--pairs {pairs}: a file of pairs ends in .json or .jsonl (also .gz)")


def _open(folders: Sequence[Path | str], task: str | None, members: Sequence[str] | None) -> Source:
    """Run folders, or one file of scores."""
    if not folders:
        raise ConfigError("nothing to mine: name run folders, or a file of scores")
    paths = [Path(f).expanduser() for f in folders]
    files = [p for p in paths if p.is_file() and is_rows_file(p)]
    if files and len(paths) > 1:
        raise ConfigError(f"{files[0]}: a file of scores is mined alone: it holds a column for each member")
    if files:
        return ScoreRows(files[0], members)
    if members:
        raise ConfigError("--members names columns of a file of scores; the members of runs are the runs, or who voted in one")
    return open_runs(folders, task)


# ---- rules: score, whether the rule can judge the sample, whether it may be kept ----


@dataclass(frozen=True, slots=True)
class _Scored:
    score: Floats
    considered: Mask
    kept: Mask


def _by_disagreement(batch: Batch, found: Disagreement, _confidence: float) -> _Scored:
    return _Scored(found.values, ~found.apart, ~found.apart)


def _by_mixed_draws(batch: Batch, found: Disagreement, _confidence: float) -> _Scored:
    """The paper's rule; the score is wrong minus right draws: the more are wrong, the harder."""
    mixed = mixed_draws(batch.gold, batch.labels)
    return _Scored(mixed.weight.astype(float), ~found.apart & (batch.gold >= 0), mixed.hard)


def _by_label_audit(batch: Batch, found: Disagreement, confidence: float) -> _Scored:
    against, sure = confident_against(batch.gold, batch.scores, batch.labels, confidence)
    return _Scored(sure, ~found.apart & (batch.gold >= 0), against)


_Rule = Callable[[Batch, Disagreement, float], _Scored]
RULES: Mapping[str, _Rule] = {"disagreement": _by_disagreement, "mixed": _by_mixed_draws, "label_audit": _by_label_audit}


@dataclass(slots=True)
class _Tally:
    considered: int = 0
    apart: int = 0
    unlabelled: int = 0
    substituted: int = 0
    pairs: int = 0
    with_both: int = 0


def _score_all(
    source: Source, rule: _Rule, confidence: float, min_score: float | None, ranking: Ranking, apart: Ranking
) -> _Tally:
    tally = _Tally()
    for batch in source.batches():
        found = disagreement(batch.scores, batch.labels)
        scored = rule(batch, found, confidence)
        kept = scored.kept if min_score is None else scored.kept & (scored.score >= min_score)
        _add(ranking, batch, scored.score, kept)
        _add(apart, batch, (batch.labels >= 0).sum(axis=1).astype(float), found.apart)
        tally.considered += int(scored.considered.sum())
        tally.apart += int(found.apart.sum())
        tally.unlabelled += int((~scored.considered & ~found.apart).sum())
        tally.substituted += int((found.substituted & ~found.apart).sum())
        tally.pairs += found.pairs
        tally.with_both += found.pairs_with_both
    return tally


def _add(ranking: Ranking, batch: Batch, scores: Floats, wanted: Mask) -> None:
    if wanted.all():
        ranking.add(scores, batch.ids, batch.places)
    elif wanted.any():
        at = np.flatnonzero(wanted).tolist()
        ranking.add(scores[wanted], [batch.ids[i] for i in at], [batch.places[i] for i in at])


# ---- writing ----


@dataclass(slots=True)
class _Written:
    rows: int = 0
    first: float = math.nan
    last: float = math.nan
    at_last: int = 0  # rows with the last score
    reviewed: frozenset[str] = frozenset()  # ids of those whose label was reviewed


def _write(out: Path, source: Source, rule: str, ranking: Ranking, k: int, marks: Mapping[str, str]) -> _Written:
    done, reviewed = _Written(), set()
    as_list = file_format(out) == "json"
    with writing(out) as f:
        f.write(b"[" if as_list else b"")
        for rank, (score, _, place) in enumerate(ranking.best(k), 1):
            found = source.found(place)
            f.write((b",\n" if rank > 1 else b"\n") if as_list else b"")
            f.write(_json(_row(found, source, rule, rank, score, marks.get(found.id))))
            f.write(b"" if as_list else b"\n")
            done.at_last = done.at_last + 1 if score == done.last else 1
            done.first, done.last, done.rows = (score if rank == 1 else done.first), score, rank
            if found.id in marks:
                reviewed.add(found.id)
        f.write(b"\n]\n" if as_list else b"")
    done.reviewed = frozenset(reviewed)
    return done


def _json(row: Mapping[str, Any]) -> bytes:
    return orjson.dumps(row, option=orjson.OPT_NON_STR_KEYS)


def _row(found: Found, source: Source, rule: str, rank: int, score: float, reviewed: str | None) -> dict[str, Any]:
    own = {
        "id": found.id,
        "index": found.index,
        "task": source.task,
        "target": source.target,
        "gold": found.gold,
        "rule": rule,
        "rank": rank,
        "score": score,
        "members": {name: {"label": label, "score": p} for name, label, p, _ in found.said},
        "source": source.data,
        **({} if reviewed is None else {"reviewed": reviewed}),
    }
    return {**{k: v for k, v in found.row.items() if k != KEY}, KEY: own}


def _beside(out: Path, word: str) -> Path:
    """``hard.json.gz`` → ``hard.apart.jsonl``."""
    name = out.name.removesuffix(".gz")
    return out.with_name(f"{name.rpartition('.')[0]}.{word}.jsonl")


def _write_apart(out: Path, source: Source, apart: Ranking) -> Path | None:
    """Samples that fewer than two members were heard on, in a list of their own; None, and no old list left, without any."""
    path = _beside(out, "apart")
    if not len(apart):
        path.unlink(missing_ok=True)
        return None
    with writing(path) as f:
        for heard, id_, _ in apart.best(len(apart)):
            f.write(orjson.dumps({"id": id_, "heard": int(heard), "of": len(source.members)}) + b"\n")
    return path


def _write_pairs(path: Path, source: Source, ranking: Ranking, k: int, rule: str, seed: int) -> int:
    """A row for each mined sample that has both: prompt, right and wrong answer, α over all; a list or lines by name."""
    weights = [wrong - right for _, _, right, wrong in _paired(source, ranking, k, rule, seed)]
    span = (float(min(weights, default=0)), float(max(weights, default=0)))
    as_list = file_format(path) == "json"
    with writing(path) as f:
        f.write(b"[\n" if as_list else b"")
        for i, (found, pair, right, wrong) in enumerate(_paired(source, ranking, k, rule, seed)):
            f.write((b",\n" if i else b"") if as_list else b"")
            f.write(orjson.dumps(_pair_row(found, source, pair, right, wrong, span)) + (b"" if as_list else b"\n"))
        f.write(b"\n]\n" if as_list else b"")
    return len(weights)


def _paired(
    source: Source, ranking: Ranking, k: int, rule: str, seed: int
) -> Iterator[tuple[Found, tuple[str, str], int, int]]:
    """Samples kept that members answered both ways: a right and a wrong answer, and how many were right and wrong."""
    for _, id_, place in ranking.best(k):
        found = source.found(place)
        if found.gold is None:
            continue
        pair = choose_pair(found.gold, [(label, words) for _, label, _, words in found.said], rule, f"{seed}:{id_}")
        if pair is not None:
            labels = [label for _, label, _, _ in found.said if label is not None]
            right = sum(label is found.gold for label in labels)
            yield found, pair, right, len(labels) - right


def _pair_row(
    found: Found, source: Source, pair: tuple[str, str], right: int, wrong: int, span: tuple[float, float]
) -> dict[str, Any]:
    return {
        "id": found.id,
        "index": found.index,
        "prompt": found.prompt,
        "response": found.response,
        "gold": found.gold,
        "chosen": pair[0],
        "rejected": pair[1],
        "alpha": float(alphas([wrong - right], span=span)[0]),
        "k_correct": right,
        "k_incorrect": wrong,
        KEY: {**source.about, "index": found.index, "kind": "pair"},
    }

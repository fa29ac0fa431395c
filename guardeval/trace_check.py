"""How good a file of reasoning traces is: length, form, agreement, the teacher's accuracy, repeats, leaked hints, policies.

Agreement and leakage are lexical: what is counted are words, listed here, not meaning.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardeval.data import Judged, Outcome, Target, Verdict
from guardeval.errors import DataError, PluginError, needs_extra
from guardeval.judged import Judgements
from guardeval.stats import Estimate, quantile, rate, ratio_of_sums
from guardeval.trace_rows import judged_of_apart
from guardeval.traces import apart_path
from guardeval.training_rows import Trace, TrainingFile, read_training_file

if TYPE_CHECKING:
    from guardeval.contracts import Solver
    from guardeval.policies import PolicySet

__all__ = ["LEAKS", "REPORT", "Flagged", "Length", "TraceQuality", "check_traces", "leak_in", "stated_verdict", "tokens_of"]

REPORT = "PHASE_3_DATA_QUALITY.md"
NEAR = 0.7  # Jaccard similarity of word shingles from which two traces count as near-duplicates
_TOKENS_PER_WORD = 4 / 3  # of English prose, for rows whose teacher reported no count

# ---- wording ----

LEAKS = (
    "gold label", "ground truth", "ground-truth", "the label is", "the given label", "label given", "as given", "as labelled",
    "as labeled", "we are told", "i am told", "i was told", "we were told", "the correct answer is", "the right answer is",
    "correct label", "true label", "expected answer", "expected label", "provided label", "provided answer", "known label",
    "the hint", "this note", "the note says", "it is settled that", "already settled", "annotated as", "annotators",
    "annotation",
)  # fmt: skip
_LEAK = re.compile("|".join(rf"\b{re.escape(p)}\b" for p in sorted(LEAKS, key=len, reverse=True)), re.IGNORECASE)
_NOT = r"(?:\bnot|n't|\bno|\bneither|\bnor|\bnone|\bnothing|\bwithout|\bnever)"
_HARMFUL = {  # the alternative that begins first counts, and of those the first listed
    False: rf"\bunharmful\b|\bharmless\b|\bnon-harmful\b|\bbenign\b|{_NOT}(?: \w+){{0,3}} harmful\b"
    rf"|{_NOT}(?: \w+){{0,4}} violat(?:e|es|ed|ion|ions|ing)\b|\bviolat(?:e|es|ing) (?:nothing|none|no)\b",
    True: r"\bharmful\b|\bviolat(?:e|es|ed|ion|ions|ing)\b",
}
_REFUSES = {
    False: r"\bcompliance\b|\bcompl(?:y|ies|ied|ying)\b"
    rf"|{_NOT}(?: \w+){{0,3}} refus(?:e|es|ed|al)\b|{_NOT}(?: \w+){{0,2}} declin(?:e|es|ed)\b",
    True: r"\brefus(?:e|es|ed|al)\b|\bdeclin(?:e|es|ed)\b",
}
_STATED = {
    target: re.compile(f"(?P<no>{words[False]})|(?P<yes>{words[True]})", re.IGNORECASE)
    for target, words in ((Target.PROMPT, _HARMFUL), (Target.RESPONSE, _HARMFUL), (Target.REFUSAL, _REFUSES))
}


def stated_verdict(reasoning: str, target: Target) -> bool | None:
    """The label that the last verdict word of a reasoning states; None where it holds none.

    Lexical: "violates no policy" and "not harmful" are negative, "harmful" and "violates" positive; who is meant is not read.
    """
    last = None
    for last in _STATED[target].finditer(reasoning):  # noqa: B007 - the last one is wanted
        pass
    return None if last is None else last["yes"] is not None


def leak_in(reasoning: str) -> str | None:
    """The first phrase of :data:`LEAKS` in a reasoning: words that give away that the answer was known."""
    found = _LEAK.search(reasoning)
    return None if found is None else found[0].lower()


def tokens_of(trace: Trace) -> tuple[float, bool]:
    """Tokens of a trace and whether its provider counted them (closing block included); else words times 4/3 of its text."""
    counted = trace.about.get("tokens")
    if isinstance(counted, (int, float)) and not isinstance(counted, bool):
        return float(counted), True
    return len(" ".join(s.text for s in trace.steps).split()) * _TOKENS_PER_WORD, False


# ---- what is found ----


@dataclass(frozen=True, slots=True)
class Length:
    """Mean and median of a quantity over traces."""

    mean: Estimate
    median: Estimate

    @classmethod
    def of(cls, values: Sequence[float], per: Sequence[float] | None = None) -> Length:
        """``per``: of a ratio, what each value is divided by; its mean is that of the sums, its median that of the rows."""
        ratios = values if per is None else [v / p for v, p in zip(values, per, strict=True)]
        return cls(ratio_of_sums(values, 1.0 if per is None else per), quantile(ratios, 0.5))


@dataclass(frozen=True, slots=True)
class Flagged:
    """A share of rows with those rows, each with why it is among them."""

    share: Estimate
    rows: tuple[tuple[str, str], ...] = ()  # id, reason


@dataclass(frozen=True, slots=True)
class Named:
    """One policy: the share of positive traces that name it, and of how many rows it is gold, of those that settle it."""

    named: Estimate
    gold: int
    settled: int


@dataclass(frozen=True)
class TraceQuality:
    """What :func:`check_traces` found; see :func:`guardeval.trace_tables.quality_tables`."""

    path: Path
    rows: int
    facts: Mapping[str, str]
    steps: Length
    tokens: Length
    tokens_per_step: Length
    characters_per_step: Length
    counted: int  # rows whose tokens the provider counted
    three_or_four: Estimate  # share of traces with 3 or 4 steps
    valid: Flagged  # share that can be trained on; rows: those that cannot
    agreement: Flagged  # of the traces that state a verdict, those that state theirs; rows: those that state the other
    silent: Estimate  # share that states none
    leaks: Flagged
    repeats: Flagged | None  # share that nearly repeats an earlier trace; None where it was not measured
    repeats_missing: str  # … and why not
    largest_cluster: int
    policies: Mapping[str, Named]
    no_policy: Estimate  # share of the positive traces that names none
    teacher: Mapping[Target, Mapping[str, Any]]  # metrics of the scorer `classification`, by target
    apart: Mapping[str, int]
    apart_missing: bool
    hints: Mapping[str, int]
    notices: tuple[str, ...] = field(default=())


def check_traces(file: Path | str | TrainingFile, *, solver: str | None = None, policies: str | None = None) -> TraceQuality:
    """Measure a file of traces, and what `guardeval traces` kept apart beside it.

    ``solver`` and ``policies``: what the traces are to be trained for; by default what the rows say that they were made with.
    Raises :class:`DataError` for a file that is none, or holds pairs.
    """
    rows = file if isinstance(file, TrainingFile) else read_training_file(file)
    if rows.kind != "traces":
        raise DataError(f"{rows.path}: holds pairs; `guardeval traces check` measures traces")
    traces: list[Trace] = [row for row in rows if isinstance(row, Trace)]
    path = rows.path or Path("traces")
    inner, policy_set = _made_with(traces, solver, policies)
    apart, apart_missing = _apart(path)
    repeats, missing, largest = _repeats(traces)
    steps = [float(len(t.steps)) for t in traces]
    tokens = [tokens_of(t) for t in traces]
    stepped = [i for i, n in enumerate(steps) if n]
    per_step = [steps[i] for i in stepped]
    agreement, silent = _agreement(traces)
    leaks = [(t.sample.id, found) for t in traces if (found := leak_in(t.reasoning))]
    return TraceQuality(
        path=path,
        rows=len(traces),
        facts=_facts(traces, rows.digest, policy_set.source),
        steps=Length.of(steps),
        tokens=Length.of([n for n, _ in tokens]),
        tokens_per_step=Length.of([tokens[i][0] for i in stepped], per_step),
        characters_per_step=Length.of([float(sum(len(s.text) for s in traces[i].steps)) for i in stepped], per_step),
        counted=sum(by_provider for _, by_provider in tokens),
        three_or_four=rate(sum(n in (3, 4) for n in steps), len(steps)),
        valid=_valid(traces, inner, policy_set),
        agreement=agreement,
        silent=silent,
        leaks=Flagged(rate(len(leaks), len(traces)), tuple(leaks)),
        repeats=repeats,
        repeats_missing=missing,
        largest_cluster=largest,
        policies=_policies(traces, policy_set),
        no_policy=rate(sum(t.label and not t.policies for t in traces), sum(t.label for t in traces)),
        teacher=_teacher(traces, apart),
        apart=Counter(reason for _, reason in apart),
        apart_missing=apart_missing,
        hints=Counter(str(t.about.get("hints", "unknown")) for t in traces),
        notices=_notices(traces),
    )


def _made_with(traces: Sequence[Trace], solver: str | None, policies: str | None) -> tuple[Solver, PolicySet]:
    from guardeval.policies import load_policies
    from guardeval.registry import Registry

    said: Mapping[str, Any] = next((s for t in traces if isinstance(s := t.about.get("solver"), Mapping)), {})
    name = solver or str(said.get("solver", "multistep"))
    options = {} if solver else {k: v for k, v in said.items() if k != "solver"}
    source = policies or next((str(t.about["policies_from"]) for t in traces if t.about.get("policies_from")), "minimal")
    registry = Registry() if solver else Registry().for_files()
    return registry.build("solvers", name, options), load_policies(source)


def _facts(traces: Sequence[Trace], digest: str, policies: str) -> dict[str, str]:
    def listed(key: str) -> str:
        counts = Counter(str(t.about.get(key) or "unknown") for t in traces)
        return ", ".join(f"{name} ({n})" if len(counts) > 1 else name for name, n in counts.most_common(8))

    stained = sorted({str(task) for t in traces for task in t.about.get("contaminated_with") or ()})
    facts = {k: listed(k) for k in ("task", "teacher", "hints", "kind", "licence")}
    return {**facts, "policies": policies, "sha256": digest, **({"contaminated with": ", ".join(stained)} if stained else {})}


def _notices(traces: Sequence[Trace]) -> tuple[str, ...]:
    stained = sorted({str(task) for t in traces for task in t.about.get("contaminated_with") or ()})
    if not stained:
        return ()
    return (f"made from rows of {', '.join(stained)}: a guard trained on them cannot be measured there any more",)


def _valid(traces: Sequence[Trace], solver: Solver, policies: PolicySet) -> Flagged:
    """Traces whose text, written out, the solver reads back as their own label and policies."""
    from guardeval.training_text import answer_of

    bad = []
    for trace in traces:
        if not trace.steps:
            bad.append((trace.sample.id, "no reasoning"))
            continue
        try:
            answer_of(trace, solver, policies)
        except DataError as e:
            bad.append((trace.sample.id, str(e)))
    return Flagged(rate(len(traces) - len(bad), len(traces)), tuple(bad))


def _agreement(traces: Sequence[Trace]) -> tuple[Flagged, Estimate]:
    stated = [(t, stated_verdict(t.reasoning, t.target)) for t in traces]
    heard = [(t, said) for t, said in stated if said is not None]
    other = tuple(
        (t.sample.id, f"reasons for {t.target.word(s)}, decides {t.target.word(t.label)}") for t, s in heard if s is not t.label
    )
    return Flagged(rate(len(heard) - len(other), len(heard)), other), rate(len(stated) - len(heard), len(stated))


def _repeats(traces: Sequence[Trace]) -> tuple[Flagged | None, str, int]:
    """Near-duplicates of earlier traces; where they cannot be found, the reason instead of a number."""
    try:
        with needs_extra("dedup"):
            from guardeval.near_duplicates import clusters

            found = list(clusters([t.reasoning for t in traces], NEAR))
    except PluginError as e:
        return None, str(e), 0
    first: dict[int, str] = {}
    again = []
    for trace, cluster in zip(traces, found, strict=True):
        if cluster in first:
            again.append((trace.sample.id, f"nearly the reasoning of {first[cluster]}"))
        else:
            first[cluster] = trace.sample.id
    return Flagged(rate(len(again), len(traces)), tuple(again)), "", max(Counter(found).values())


def _policies(traces: Sequence[Trace], policies: PolicySet) -> dict[str, Named]:
    positive = [t for t in traces if t.label]
    named = Counter(p for t in positive for p in t.policies)
    gold = Counter(p for t in traces for p in t.sample.policies)
    settled = Counter(p for t in traces for p in t.sample.known_policies)
    names = dict.fromkeys([*policies.names, *sorted(set(named) | set(gold))])
    return {name: Named(rate(named[name], len(positive)), gold[name], settled[name]) for name in names}


def _apart(path: Path) -> tuple[list[tuple[Judged, str]], bool]:
    from guardeval.rows import read_rows

    beside = apart_path(path)
    if not beside.is_file():
        return [], True
    out = []
    for number, row in enumerate(read_rows(beside) if beside.stat().st_size else (), 1):
        try:
            out.append((judged_of_apart(row, number - 1), str(row["reason"])))
        except (ValueError, TypeError) as e:
            raise DataError(f"{beside}: row {number}: {e}") from e
    return out, False


def _judged(traces: Sequence[Trace], apart: Sequence[tuple[Judged, str]]) -> Iterator[Judged]:
    for t in traces:
        yield Judged(t.sample, Verdict(t.target, Outcome.PARSED, t.label, None, t.policies, t.steps))
    yield from (judged for judged, _ in apart)


def _teacher(traces: Sequence[Trace], apart: Sequence[tuple[Judged, str]]) -> dict[Target, dict[str, Any]]:
    """The teacher against gold over all that it was asked, by target."""
    from guardeval.registry import Registry
    from guardeval.scoring import checked_scorer, score_task

    scorer = checked_scorer(Registry().build("scorers", "classification"), "classification")
    out: dict[Target, dict[str, Any]] = {}
    everything = list(_judged(traces, apart))
    for target in dict.fromkeys(j.verdict.target for j in everything):
        own = [j for j in everything if j.verdict.target is target and j.sample.labels.get(target) is not None]
        if own:
            out[target], _ = score_task(Judgements.of(own, target), {"classification": scorer})
    return out

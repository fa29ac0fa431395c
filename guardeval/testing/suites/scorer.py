"""What holds for every scorer: named numbers that say how sure they are, and ``nan`` where there is nothing to say."""

from __future__ import annotations

import json
import math
import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from guardeval.contracts import Scorer
from guardeval.data import Judged, Outcome, Sample, Step, Target, Usage, Verdict, Vote, Voters
from guardeval.judged import Judgements
from guardeval.policies import POLICIES
from guardeval.testing.suites.plugin import PluginSuite

__all__ = ["ScorerSuite", "judged_samples"]

Scores = Mapping[str, Any]
_COLUMNS = "row gold label outcome score gold_policies known_policies policies cluster paper requests latency seen".split()


def judged_samples(n: int = 60, voters: Voters | None = None, seed: int = 0) -> list[Judged]:
    """Samples as a run leaves them: all outcomes, unlabelled rows, repeated prompts, policies, scores, times and costs.

    ``voters``: who cast the votes, three a sample (one to three stages of a cascade); None: nobody voted.
    """
    rng = random.Random(f"{seed} {voters}")
    return [_judged(i, rng, voters) for i in range(n)]


def _judged(i: int, rng: random.Random, voters: Voters | None) -> Judged:
    gold = None if i % 15 == 7 else rng.random() < 0.5
    named = frozenset(rng.sample(POLICIES, 1)) if gold else frozenset()
    labels = {} if gold is None else {Target.PROMPT: gold}
    known = frozenset(POLICIES) if i % 5 else named
    about = {"labels": labels, "policies": named, "known_policies": known, "category": ["a", "b", None][i % 3]}
    sample = Sample(str(i), i, f"prompt {i - i % 2 if i % 6 == 1 else i}", **about)  # type: ignore[arg-type]
    outcome = [Outcome.UNPARSEABLE, Outcome.TRUNCATED, Outcome.FAILED][i // 9 % 3] if i % 9 == 4 else Outcome.PARSED
    said = (rng.random() < (0.85 if gold else 0.2)) if outcome is Outcome.PARSED else None
    score = None if said is None else round(rng.uniform(0.5, 1.0) if said else rng.uniform(0.0, 0.499), 6)
    verdict = Verdict(
        Target.PROMPT,
        outcome,
        said,
        score,
        named or frozenset(rng.sample(POLICIES, 1)) if said else frozenset(),
        tuple(Step(name, "because") for name in ("Intent", "Harms")[: i % 3]),
        _votes(i, said, rng, voters),
        "raw",
        None if score is None else "tokens",
        voters=voters,
    )
    usage = Usage(2, i % 2, rng.uniform(0.1, 2.0), 100 + i, 20 + i, 0.001 * i)
    return Judged(sample, verdict, Usage(2, 0) if i % 11 == 3 else usage, seen=i % 13 == 0)


def _votes(i: int, said: bool | None, rng: random.Random, voters: Voters | None) -> tuple[Vote, ...]:
    if voters is None:
        return ()
    out = []
    for k in range(1 + i % 3 if voters is Voters.STAGES else 3):
        label = said if said is None or rng.random() < 0.7 else not said
        outcome = Outcome.UNPARSEABLE if label is None else Outcome.PARSED
        score = None if label is None else (0.8 if label else 0.3)
        out.append(Vote(f"voter {k}", outcome, label, score, usage=Usage(1, 0, 0.2, 50, 10, 0.001)))
    return tuple(out)


class ScorerSuite(PluginSuite):
    """Set ``plugin``. Override :meth:`worlds` where your scorer needs samples of another kind to have something to say."""

    chapter: ClassVar[str] = "Scorers"
    contract: ClassVar[tuple[type[Any], ...]] = (Scorer,)

    def worlds(self) -> Mapping[str, Sequence[Judged]]:
        """Runs that the scorer is tried on, by name."""
        return {
            "one model": judged_samples(),
            "draws that voted": judged_samples(voters=Voters.DRAWS),
            "a cascade": judged_samples(voters=Voters.STAGES),
        }

    def score(self, samples: Sequence[Judged]) -> Scores:
        return self._scored(Judgements.of(list(samples), Target.PROMPT))

    def _scored(self, judged: Judgements) -> Scores:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)  # a division that numpy warns of is an undefined number
            try:
                found: Scores = self.make().score(judged)
            except RuntimeWarning as e:
                self.hold(False, "what cannot be divided is nan, not a warning", e)
        self.hold(isinstance(found, Mapping), "score returns a mapping", found)
        return found

    def _thin(self) -> Iterator[tuple[str, list[Judged]]]:
        """Runs in which most things are undefined."""
        for name, world in self.worlds().items():
            labelled = [j for j in world if j.sample.labels]
            yield f"{name}: a single sample", list(world[:1])
            yield f"{name}: positives only", [j for j in labelled if j.sample.labels[Target.PROMPT]]
            yield f"{name}: negatives only", [j for j in labelled if not j.sample.labels[Target.PROMPT]]
            yield f"{name}: nothing labelled", [j for j in world if not j.sample.labels]
            yield f"{name}: no verdict at all", [_silenced(j) for j in world]

    def test_it_says_something(self) -> None:
        said = {name: self.score(world) for name, world in self.worlds().items()}
        self.hold(any(said.values()), "a scorer gives a number for at least one kind of run; override worlds()", said)

    def test_names_and_numbers_have_the_agreed_shape(self) -> None:
        for name, world in self.worlds().items():
            found = self.score(world)
            for key, value in found.items():
                shaped = isinstance(key, str) and key and key.count(",") <= 1 and not key.startswith(",") and key == key.strip()
                self.hold(bool(shaped), 'a key is "<metric>" or "<metric>,<accounting>"', key)
                metric = key.partition(",")[0]
                if metric.endswith("_ci"):
                    pair = isinstance(value, tuple) and len(value) == 2 and all(isinstance(v, float) for v in value)
                    self.hold(pair, "an interval is (low, high), two floats", (key, value))
                elif metric.endswith("_n"):
                    whole = isinstance(value, int) and not isinstance(value, bool) and value >= 0
                    self.hold(whole, "the number of samples behind a metric is a whole number, an int", (key, value))
                else:
                    number = isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isinf(value)
                    self.hold(number, "a metric is a finite number, or nan where undefined", (key, value))
            self.hold(_is_json(found), "scores can be written as JSON: no numpy integers, no objects", name)

    def test_an_interval_or_n_belongs_to_a_metric_and_holds_it(self) -> None:
        for name, world in [*self.worlds().items(), *self._thin()]:
            found = self.score(world)
            for key, value in found.items():
                metric, comma, accounting = key.partition(",")
                for end in ("_ci", "_n"):
                    of = f"{metric.removesuffix(end)}{comma}{accounting}"
                    self.hold(not metric.endswith(end) or of in found, f"{key} belongs to a metric of that name", name)
                if metric.endswith("_ci"):
                    at = found[f"{metric.removesuffix('_ci')}{comma}{accounting}"]
                    low, high = value
                    unknown = low != low and high != high  # of one sample a mean is known, how sure it is is not
                    holds = unknown or low - 1e-9 <= at <= high + 1e-9
                    self.hold(
                        holds,
                        "low ≤ value ≤ high, or both ends are nan",
                        (name, key, low, at, high),
                    )

    def test_undefined_is_nan_and_never_nought(self) -> None:
        for name, world in [("nothing at all", []), *self._thin()]:
            found = self.score(world)
            for key, n in found.items():
                metric, comma, accounting = key.partition(",")
                if not metric.endswith("_n") or n:
                    continue
                value = found[f"{metric.removesuffix('_n')}{comma}{accounting}"]
                self.hold(value != value, "a metric of no samples is nan: 0 would be a claim", (name, key, value))

    def test_no_samples_are_no_finding(self) -> None:
        found = self.score([])
        told = {k: v for k, v in found.items() if not k.partition(",")[0].endswith(("_n", "_ci")) and v == v}
        self.hold(not told, "of no samples nothing is known: nan", told)

    def test_the_direction_is_declared(self) -> None:
        said = getattr(type(self.make()), "higher_is_better", None)
        typed = isinstance(said, bool) or (isinstance(said, Mapping) and all(isinstance(v, bool) for v in said.values()))
        self.hold(typed, "higher_is_better, a class attribute, is a bool, or a mapping of metric to bool", said)
        if isinstance(said, Mapping):
            keys = {k.partition(",")[0].rpartition("/")[2] for world in self.worlds().values() for k in self.score(world)}
            unknown = sorted(set(said) - keys)
            self.hold(not unknown, "higher_is_better names metrics that the scorer gives", unknown)

    def test_the_order_of_samples_changes_nothing(self) -> None:
        for name, world in self.worlds().items():
            judged = Judgements.of(list(world), Target.PROMPT)
            order = list(range(len(world)))
            random.Random(1).shuffle(order)
            there, back = self._scored(judged), self._scored(judged.take(order))
            differing = [k for k in there if not _same(there[k], back.get(k))]
            self.hold(not differing and set(there) == set(back), "the order of samples changes no number", (name, differing))

    def test_scoring_twice_gives_the_same(self) -> None:
        import numpy as np

        for name, world in self.worlds().items():
            np.random.seed(1)
            first = self.score(world)
            np.random.seed(2)
            again = self.score(world)
            differing = [k for k in first if not _same(first[k], again.get(k), 0.0)]
            self.hold(not differing, "the same samples give the same numbers: seed what is drawn", (name, differing))

    def test_the_global_random_state_stays(self) -> None:
        import numpy as np

        before = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]
        self.score(next(iter(self.worlds().values())))
        after = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]
        self.hold(before == after, "draw from a generator of your own: numpy's and random's global state stay as they are")

    def test_columns_are_read_only(self) -> None:
        for name, world in self.worlds().items():
            judged = Judgements.of(list(world), Target.PROMPT)
            columns = {c: getattr(judged, c) for c in _COLUMNS}
            before = {c: column.tobytes() for c, column in columns.items()}
            for column in columns.values():
                column.flags.writeable = False
            try:
                self._scored(judged)
            except ValueError as e:
                self.hold("read-only" not in str(e), "a scorer changes no column, for others read them too", (name, e))
                raise
            self.hold(before == {c: column.tobytes() for c, column in columns.items()}, "a scorer changes no column", name)


def _silenced(judged: Judged) -> Judged:
    """The same sample, and nobody heard."""
    said = judged.verdict
    votes = tuple(Vote(v.member, Outcome.FAILED, usage=v.usage) for v in said.votes)
    return Judged(judged.sample, Verdict(said.target, Outcome.FAILED, votes=votes, voters=said.voters), judged.usage)


def _is_json(found: Scores) -> bool:
    try:
        json.dumps(dict(found))
    except TypeError:
        return False
    return True


def _same(a: Any, b: Any, near: float = 1e-9) -> bool:
    if isinstance(a, tuple):
        return isinstance(b, tuple) and len(a) == len(b) and all(_same(x, y, near) for x, y in zip(a, b, strict=True))
    if b is None:
        return False
    return bool((a != a and b != b) or a == b or abs(a - b) <= near * max(1.0, abs(a)))

"""Finished runs made one: any vote, weight or cascade over what their guards said, without asking a model.

The verdict of every sample is what a live run of the same solver and members gives, for both come out of the solver's own
``combined``. A single run whose samples hold votes can be combined anew: its voters are the members.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from guardeval.aligned import align
from guardeval.broker.bound import total
from guardeval.combined_record import CombinedHead, combined_contacts, combined_head, combined_record, member_configs
from guardeval.contamination import is_untold
from guardeval.data import Judged, Usage, Verdict, Voters
from guardeval.errors import ConfigError, DataError
from guardeval.judged import Judgements
from guardeval.lost_votes import LostVotes
from guardeval.pairing import check_comparable
from guardeval.registry import Registry
from guardeval.results import assemble_results, groups_of
from guardeval.run_facts import shared_tasks, task_facts
from guardeval.runs import RunFolder, StoredRun, TaskRecord, open_run
from guardeval.scoring import built_scorers, score_task
from guardeval.voting import Combiner, Said

__all__ = ["CombinedRun", "Gathered", "combine_runs", "gather", "said_of", "settle"]

_APART = (Voters.MODELS, Voters.DRAWS)


@dataclass(frozen=True, slots=True)
class CombinedRun:
    """A run made of others. ``left_out``: by task, how many samples not all of them hold. ``never_heard``: samples of which
    a member was not heard, so that asking that member again may change them."""

    path: Path
    results: Mapping[str, Any]
    left_out: Mapping[str, int]
    never_heard: int = 0


@dataclass(frozen=True)
class Gathered:
    """One task of several runs, or of one whose samples hold votes: ``members`` by name, and what each said."""

    task: str
    members: tuple[str, ...]
    records: tuple[TaskRecord, ...]
    left_out: list[int] = field(default_factory=list)  # by run; complete once the iteration has ended

    def __iter__(self) -> Iterator[tuple[Judged, list[Said], int]]:
        """A sample as the first run has it, seen where any run's model saw it, what each member said, and the prompt's
        cluster. Streams."""
        if len(self.records) == 1:
            for judged, cluster in self.records[0].lines():
                yield judged, _voted(judged, self.members), cluster
            return
        aligned = align(self.records, self.members)
        for all_judged, cluster in aligned:
            said = [Said(name, j.verdict, j.usage) for name, j in zip(self.members, all_judged, strict=True)]
            first = all_judged[0]
            seen = any(j.seen for j in all_judged)
            yield first if first.seen == seen else replace(first, seen=seen), said, cluster
        self.left_out[:] = aligned.left_out


def combine_runs(
    folders: Sequence[Path | str],
    solver: str | Combiner = "ensemble",
    solver_args: Mapping[str, Any] | None = None,
    *,
    output_path: Path | str = "runs",
    task: str | None = None,
    samples: Collection[str] | None = None,
    registry: Registry | None = None,
) -> CombinedRun:
    """A new run folder, scored, with the verdicts that ``solver`` makes of the members' in ``folders``.

    ``solver``: a combining solver by name, with its options, or one made already. ``samples``: only these ids. Of a task
    only the samples that all runs hold are combined. Raises :class:`ConfigError` for a solver that does not combine,
    :class:`DataError` for runs that did not judge the same data.
    """
    registry = registry or Registry()
    name, combiner = _combiner(solver, solver_args or {}, registry)
    runs = [open_run(f) for f in folders]
    gathered = gather(runs, task)
    for one in gathered:
        combiner.check(one.members)
    head = combined_head(runs, gathered[0].members, name, combiner)
    return _write(runs, gathered, combiner, head, Path(output_path), samples, registry)


def _combiner(solver: str | Combiner, options: Mapping[str, Any], registry: Registry) -> tuple[str, Combiner]:
    found = registry.build("solvers", solver, options) if isinstance(solver, str) else solver
    if not isinstance(found, Combiner):
        raise ConfigError(f"solver {solver!r} does not combine what several models said; ensemble and cascade do")
    return (solver if isinstance(solver, str) else registry.name_of("solvers", type(solver))), found


def gather(runs: Sequence[StoredRun], task: str | None = None) -> list[Gathered]:
    """The tasks that all runs hold, or the one named, ready to be read. A single run must hold votes.

    Raises :class:`DataError` when they share no task or ran on other data, :class:`ConfigError` for one run without votes.
    """
    names = [c["name"] for c in member_configs(runs)]
    found = []
    for shared in shared_tasks(runs, names, task):
        records = tuple(next(t for t in run.tasks if t.name == shared) for run in runs)
        check_comparable(names, task_facts(records))
        members = tuple(names) if len(runs) > 1 else _voters(runs[0], records[0])
        found.append(Gathered(shared, members, records))
    if len({g.members for g in found}) > 1:
        raise DataError(f"run {runs[0].name}: its tasks have different voters; name one with --task")
    return found


def _voters(run: StoredRun, record: TaskRecord) -> tuple[str, ...]:
    first = next(record.lines(), None)
    if first is None or not first[0].verdict.votes or first[0].verdict.voters not in _APART:
        raise ConfigError(
            f"run {run.name}: its samples hold no votes of models or draws; name two runs or more, or an ensemble's"
        )
    return tuple(v.member for v in first[0].verdict.votes)


def _voted(judged: Judged, members: Sequence[str]) -> list[Said]:
    verdict = judged.verdict
    if [v.member for v in verdict.votes] != list(members):
        raise DataError(f"sample {judged.sample.id!r} has other voters than the first one: {len(verdict.votes)} votes")
    return [
        Said(
            v.member,
            Verdict(verdict.target, v.outcome, v.label, v.score, v.policies, v.steps, raw=v.raw, codes=v.codes),
            v.usage,
        )
        for v in verdict.votes
    ]


def settle(combiner: Combiner, judged: Judged, said: Sequence[Said]) -> Judged:
    """The sample as the combiner judges it, with what those took whom it would have asked."""
    sample, target = judged.sample, judged.verdict.target
    asked = said if combiner.at_once else said[:1]
    verdict = combiner.combined(sample, target, asked, len(asked) == len(said))
    while verdict is None:
        asked = said[: len(asked) + 1]
        verdict = combiner.combined(sample, target, asked, len(asked) == len(said))
    return Judged(sample, verdict, total([s.usage for s in asked]), judged.seen)


def said_of(gathered: Gathered) -> dict[str, Judgements]:
    """Every member's own judged samples, of those that all hold, in one order: for weights, disagreement, tables."""
    if len(gathered.records) == 1:
        rows = [(judged, said) for judged, said, _ in gathered]
        policies = gathered.records[0].policy_names
        return {
            name: Judgements.of(
                [Judged(j.sample, said[i].verdict, said[i].usage or Usage(), j.seen) for j, said in rows],
                policy_names=policies,
            )
            for i, name in enumerate(gathered.members)
        }
    all_judged = [record.judgements() for record in gathered.records]
    shared = set(all_judged[0].ids).intersection(*(j.ids for j in all_judged[1:]))
    return {
        name: judged.take([i for i, id_ in enumerate(judged.ids) if id_ in shared])
        for name, judged in zip(gathered.members, all_judged, strict=True)
    }


@dataclass
class _Written:
    """What one task of a combined run came to."""

    judged: Judgements
    metrics: dict[str, Any]
    better: dict[str, bool]
    lost: LostVotes


def _write(
    runs: Sequence[StoredRun],
    gathered: Sequence[Gathered],
    combiner: Combiner,
    head: CombinedHead,
    output_path: Path,
    samples: Collection[str] | None,
    registry: Registry,
) -> CombinedRun:
    folder = RunFolder(output_path, "+".join(g.task for g in gathered), head.solver_name, head.name, datetime.now())
    wanted = None if samples is None else frozenset(samples)
    try:
        written = {g.task: _write_task(folder, g, combiner, head, wanted, registry) for g in gathered}
    except BaseException:
        folder.discard()
        raise
    left_out = {g.task: max(g.left_out, default=0) for g in gathered}
    judged, metrics = ({t: getattr(w, name) for t, w in written.items()} for name in ("judged", "metrics"))
    lost = {t: w.lost for t, w in written.items()}
    chosen = replace(head, samples=None if wanted is None else sorted(wanted))
    finished = chosen.finish(judged, metrics, combiner, left_out, lost)
    groups = [g for g in groups_of(runs[0]) if all(t in metrics for t in g.tasks)]
    results = assemble_results(finished, groups, metrics, {t: w.better for t, w in written.items()})
    folder.write_run(combined_record(runs, gathered, head, finished, judged, folder.date))
    folder.write_results(results)
    never_heard = sum(int(m["outcomes"]["failed"]) for m in metrics.values()) + sum(one.samples for one in lost.values())
    return CombinedRun(folder.path, results, left_out, never_heard)


def _write_task(
    folder: RunFolder,
    gathered: Gathered,
    combiner: Combiner,
    head: CombinedHead,
    wanted: Collection[str] | None,
    registry: Registry,
) -> _Written:
    record, lost = gathered.records[0], LostVotes()
    log = folder.samples(gathered.task, record.target, head.policies, head.redact)
    try:
        for first, said, cluster in gathered:
            if wanted is None or first.sample.id in wanted:
                settled = settle(combiner, first, said)
                lost.look(settled.verdict)
                log.add(settled, (), cluster)
        judged = log.close()
    except BaseException:
        log.abandon()
        raise
    if not len(judged):
        raise DataError(f"the runs share no sample of {gathered.task}: nothing to combine")
    options = record.about.get("scorers") or {}
    scorers = built_scorers(registry.for_files(), options)
    values, better = score_task(judged, scorers, is_untold(combined_contacts(head.runs, head.members, gathered.task)))
    about = {"name": gathered.task, "alias": record.about["title"], "target": str(record.target)}
    return _Written(judged, {**about, **values}, better, lost)

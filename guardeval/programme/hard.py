"""Phase 2 beyond votes: hard samples mined, the best system chosen on one half of them, weights fitted on one half."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from guardeval.errors import GuardevalError
from guardeval.mining_report import hard_against_rest, hard_table
from guardeval.programme.catalogue import catalogue
from guardeval.programme.definitions import Experiment, Reference
from guardeval.programme.findings import Findings
from guardeval.programme.held import Held
from guardeval.programme.measuring import cell, measured_of
from guardeval.programme.workbench import Missing, Workbench
from guardeval.report.tables import Table, number

__all__ = ["choose", "fit", "hard_ids", "hard_samples", "mine_hard"]


# ---- 27: hard samples ----


def hard_samples(bench: Workbench, number: int, task: str) -> Path:
    """The file that the experiment mines, mined where it is not there. Raises :class:`Missing`."""
    from guardeval.mining import mine

    mining = catalogue()[number].mine
    if mining is None:
        raise Missing(f"experiment {number} mines nothing")
    held = bench.members(mining.members, task)
    path = bench.folder / mining.output.replace("{task}", task)
    key = "mined " + " ".join([*(h.key for h in held), str(mining.top)])
    if bench.ledger.runs.get(str(path.name), {}).get("mined") == key and path.is_file():
        return path
    try:
        done = mine([h.path for h in held], path, top=mining.top, task=task)
    except GuardevalError as e:
        raise Missing(f"{task}: hard samples: {e}") from e
    facts = {
        "rows": done.rows, "considered": done.considered, "apart": done.apart, "threshold": done.threshold,
        "ties_left_out": done.ties_left_out, "both": done.share_of_pairs_with_both, "members": list(done.members),
    }  # fmt: skip
    bench.ledger.runs[path.name] = {"folder": path.name, "mined": key, "task": task, **facts}
    bench.ledger.write()
    return path


def mine_hard(experiment: Experiment, bench: Workbench, found: Findings, task: str) -> None:
    path = hard_samples(bench, experiment.number, task)
    facts = bench.ledger.runs[path.name]
    rows = (
        ("samples considered", str(facts["considered"])),
        ("samples heard from fewer than two members, listed apart", str(facts["apart"])),
        ("hard samples written", str(facts["rows"])),
        ("least disagreement among them", number(facts["threshold"])),
        ("others that disagree as much and come after by id", str(facts["ties_left_out"])),
        ("share of pairs in which both members gave a probability", number(facts["both"])),
    )
    found.tables.append(Table(f"{task}: hard samples", ("fact", "value"), rows, (f"members: {', '.join(facts['members'])}",)))
    found.files.append(path.name)
    _members_on_hard(experiment, bench, found, task, path)


def hard_ids(path: Path) -> set[str]:
    """Of the samples in a mined file."""
    return {str(row["guardeval"]["id"]) for row in json.loads(path.read_bytes())}


def _members_on_hard(experiment: Experiment, bench: Workbench, found: Findings, task: str, path: Path) -> None:
    """Each member on the hard samples and on the rest."""
    ids = hard_ids(path)
    assert experiment.mine is not None  # noqa: S101  # it mined
    rows = []
    for held in bench.members(experiment.mine.members, task):
        cells = [held.name]
        for inside in (True, False):
            at = [i for i, id_ in enumerate(held.judged.ids) if (id_ in ids) is inside]
            cells += [cell(held.on(at, "hard" if inside else "rest", bench.registry), m) for m in ("accuracy", "f1")]
        rows.append(tuple(cells))
    columns = ("member", "accuracy, hard", "F1, hard", "accuracy, rest", "F1, rest")
    note = "the members scored here had a part in the mining, which makes the hard samples harder for them than for others"
    found.tables.append(Table(f"{task}: members on the hard samples and on the rest", columns, tuple(rows), (note,)))
    members = {held.name: held.judged for held in bench.members(experiment.mine.members, task)}
    if len(members) >= 3:
        title = f"{task}: each member on the hard part that the others mine without it, and on the rest"
        found.tables.append(hard_table(title, hard_against_rest(members, experiment.mine.top)))


# ---- 28: the best of several, chosen on one half ----


def choose(experiment: Experiment, bench: Workbench, found: Findings, task: str) -> None:
    choice = experiment.choose
    assert choice is not None  # noqa: S101  # the caller looked
    ids = hard_ids(hard_samples(bench, choice.mined_by, task))
    candidates = _candidates(bench, found, choice.candidates, task)
    if not candidates:
        raise Missing(f"{task}: none of the systems to choose from could be had")
    halves = [_halves_of(bench, held, ids, choice.seed) for _, held in candidates]
    chosen_on = [_value(pair[0], choice.metric) for pair in halves]
    best = max(range(len(candidates)), key=lambda i: (chosen_on[i], -i))
    rows = tuple(
        (f"{reference}: {held.name}", cell(on, choice.metric), cell(off, choice.metric), "chosen" if i == best else "")
        for i, ((reference, held), (on, off)) in enumerate(zip(candidates, halves, strict=True))
    )
    columns = ("system", f"{choice.metric}, half it was chosen on", f"{choice.metric}, other half", "")
    note = f"halves of the hard samples by prompt, gold labels in their shares, seed {choice.seed}; equal ones: the first"
    found.tables.append(Table(f"{task}: the best of phase 1 on the hard samples", columns, rows, (note,)))
    reference, _ = candidates[best]
    on, off = halves[best]
    bench.keep(
        Reference(experiment.number, choice.name), task, _renamed(off, off.name if off.fixed else f"{reference}, {off.name}")
    )
    found.note(
        f"{task}: {reference} ({off.name}) was chosen: {choice.metric} {cell(on, choice.metric)} on the half it was chosen on"
    )


def _candidates(bench: Workbench, found: Findings, references: Sequence[Reference], task: str) -> list[tuple[Reference, Held]]:
    """Different systems; where no prompt can be contrasted, each model of the set once."""
    out: list[tuple[Reference, Held]] = []
    for reference in [*references, *_models_themselves(bench, references, task)]:
        try:
            held = bench.held(reference, task)
        except Missing as e:
            found.lack(str(e))
            continue
        if held.key not in {h.key for _, h in out}:
            out.append((reference, held))
    return out


def _models_themselves(bench: Workbench, references: Sequence[Reference], task: str) -> list[Reference]:
    """The members of experiment 26, where the first system's verdicts do not depend on how it was asked."""
    try:
        fixed = bench.held(references[0], task).fixed
    except Missing:
        return []
    return bench.spread(Reference(26, "members")) if fixed else []


def _halves_of(bench: Workbench, held: Held, ids: set[str], seed: int) -> tuple[Held, Held]:
    from guardeval.halves import split_prompts

    at = [i for i, id_ in enumerate(held.judged.ids) if id_ in ids]
    one, other = split_prompts(held.judged.take(at), 0.5, seed)
    about = "on the half of the hard samples that it was not chosen on"
    return (
        held.on([at[i] for i in one], "on the half of the hard samples that it was chosen on", bench.registry),
        held.on([at[i] for i in other], about, bench.registry),
    )


def _value(held: Held, metric: str) -> float:
    one = measured_of(held, 0, held.name, metric)
    return -math.inf if one is None or math.isnan(one.value) else one.value


def _renamed(held: Held, name: str) -> Held:

    return replace(held, name=name)


# ---- 30: weights fitted on one half ----


def fit(experiment: Experiment, bench: Workbench, found: Findings, task: str, name: str) -> None:
    """Weights learnt on one half of the prompts, the vote on the other half."""
    from guardeval.combine import gather, said_of
    from guardeval.halves import split_prompts
    from guardeval.runs import open_run, results_json, write_atomically
    from guardeval.vote_weights import fit_weights

    wanted = next(f for f in experiment.fit if f.name == name)
    held = bench.members(wanted.members, task)
    (gathered,) = gather([open_run(h.path) for h in held], task)
    said = said_of(gathered)
    first = next(iter(said.values()))
    one, other = split_prompts(first, 0.5, wanted.seed)
    weights = fit_weights(said, one, task)
    path = (bench.folder / f"vote_weights_{task}.json").absolute()
    write_atomically(path, results_json(weights.as_dict()))
    samples = [first.ids[i] for i in other]
    inner = "" if held[0].fixed else f" of {held[0].name.partition(', ')[2]}"
    args = {"vote": "weighted", "weights": str(path)}
    done = bench.combine(held, args, f"ensemble{inner}, weights fitted on the other half", held[0].fixed, samples)
    about = f"on {len(samples)} of {len(first)} samples: the half of the prompts that the weights were not fitted on"

    bench.keep(Reference(experiment.number, name), task, replace(done, about_part=about))
    rows = tuple((m, number(w), f"{weights.right[m][0]} of {weights.right[m][1]}") for m, w in weights.weights.items())
    title = f"{task}: weights fitted on {len(one)} samples"
    found.tables.append(
        Table(title, ("member", "weight", "right there"), rows, ("log odds of accuracy (Nitzan & Paroush 1982)",))
    )
    found.files.append(path.name)

"""Finished runs combined: exactly what asking the same members live gives, and never anything else."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import guardeval
from guardeval.combine import combine_runs, gather, said_of
from guardeval.errors import ConfigError, DataError
from guardeval.grid import grid, on_front
from guardeval.halves import split_prompts
from guardeval.runs import open_run
from guardeval.testing.columns import judgements_of
from guardeval.vote_weights import fit_weights, read_weights

# a model that answers from a table: member and prompt → (kind, probability, policies)
MODEL = """
import json
from dataclasses import dataclass
from functools import cached_property

from guardeval.contracts import Completion, Finish, Judgement, Traits
from guardeval.errors import ModelError


@dataclass(frozen=True)
class Table:
    model: str
    file: str

    path_options = ("file",)

    @property
    def identity(self):
        return {"backend": "table", "name": self.model, "answers": self._answers}

    @cached_property
    def _answers(self):
        return json.load(open(self.file))[self.model]

    traits = Traits(batch=1, instant=True)

    def generate_batch(self, requests):
        return [self._answer(r.case.sample.prompt) for r in requests]

    def _answer(self, prompt):
        kind, p, policies = self._answers[prompt]
        if kind == "failed":
            raise ModelError("no server")
        if kind == "unparseable":
            return Completion("hm, hard to say")
        if kind == "truncated":
            return Completion("well", Finish.LENGTH)
        if kind == "words":
            word = "harmful" if p >= 0.5 else "unharmful"
            return Completion(f"Decision: {word}\\nPolicies: {', '.join(policies) or 'none'}")
        return Completion("", judgement=Judgement(p, frozenset(policies)))
"""
TASK = """
# tables.yaml - rows of a test
task: tables
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
metadata:
  version: 1.0
  target: prompt_harmfulness
  fields: {prompt: text}
  label: {column: label, positive: 1, negative: 0}
"""
KINDS = ("judged", "judged", "judged", "words", "words", "failed", "unparseable", "truncated")
POLICIES = ("illegal", "violence", "harassment")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with the model and the task; both importable and findable."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "table_guard.py").write_text(MODEL)
    (folder / "tables.yaml").write_text(TASK.lstrip())
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield folder


def answers(rng: random.Random, prompts: list[str], kinds=KINDS) -> dict[str, list]:
    """Probabilities on a coarse scale, so that ties are common; every member is heard at least once."""
    return {
        p: [
            rng.choice(kinds) if i else "judged",
            rng.choice([0.0, 0.25, 0.5, 0.75, 1.0]),
            rng.sample(POLICIES, rng.randint(0, 2)),
        ]
        for i, p in enumerate(prompts)
    }


def lay_out(place: Path, seed: int, members: int, kinds=KINDS, n: int = 12) -> dict:
    """Rows and answers on disk; the settings that all runs share."""
    rng = random.Random(seed)
    prompts = [f"prompt {i % (n - 2)}" for i in range(n)]  # two repeat
    rows = [{"text": p, "label": rng.randint(0, 1)} for p in prompts]
    (place / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    table = place / f"table_{seed}_{members}.json"
    table.write_text(json.dumps({f"g{i}": answers(rng, sorted(set(prompts)), kinds) for i in range(members)}))
    (place / "runs").mkdir(exist_ok=True)
    models = [{"name": f"table_guard:Table/g{i}", "args": {"file": str(table)}} for i in range(members)]
    common = {
        "task": "tables",
        "include_path": [str(place)],
        "no_cache": True,
        "scorer": "efficiency",
        "output_path": str(place / "runs"),
    }
    return {"models": models, "common": common}


def verdicts(path: Path) -> list:
    """What a run says of every sample, times left out."""
    found = [judged for judged, _ in open_run(path).tasks[0].lines()]
    return [
        (j.sample, replace(j.verdict, votes=tuple(replace(v, usage=None) for v in j.verdict.votes)), j.usage.requests)
        for j in found
    ]


RULES = [
    *(
        ("ensemble", {"vote": v, "ties": t})
        for v in ("majority", "mean", "weighted")
        for t in ("positive", "negative", "abstain")
    ),
    ("ensemble", {"vote": "any"}),
    ("ensemble", {"vote": "all"}),
    ("cascade", {"low": 0.3, "high": 0.7}),
    ("cascade", {"low": 0.0, "high": 1.0}),
]


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**6), st.integers(2, 5), st.lists(st.sampled_from(RULES), min_size=3, max_size=3, unique_by=str))
def test_a_combination_equals_the_live_run_sample_by_sample(place, seed, members, rules):
    laid = lay_out(place, seed, members)
    alone = [guardeval.run(model=m, solver="direct", **laid["common"]).path for m in laid["models"]]
    for solver, options in rules:
        live = guardeval.run(model=laid["models"], solver=solver, solver_args=options, **laid["common"])
        made = combine_runs(alone, solver, options, output_path=place / "runs")
        assert verdicts(made.path) == verdicts(live.path)
        assert made.results["results"]["tables"]["outcomes"] == live.results["results"]["tables"]["outcomes"]


@pytest.fixture
def three(place) -> list[Path]:
    """Runs of three members that were all heard on every sample."""
    laid = lay_out(place, 7, 3, kinds=("judged",), n=40)
    return [guardeval.run(model=m, **laid["common"]).path for m in laid["models"]]


def test_an_ensembles_own_votes_can_be_counted_anew(place, three):
    majority = combine_runs(three, "ensemble", {"vote": "majority"}, output_path=place / "runs")
    anew = combine_runs([majority.path], "ensemble", {"vote": "any"}, output_path=place / "runs")
    direct = combine_runs(three, "ensemble", {"vote": "any"}, output_path=place / "runs")
    assert verdicts(anew.path) == verdicts(direct.path)


def test_only_samples_that_all_runs_hold_are_combined_and_the_others_counted(place, three):
    laid = lay_out(place, 7, 3, kinds=("judged",), n=40)
    few = guardeval.run(model=laid["models"][2], limit=10, **laid["common"]).path
    made = combine_runs([*three[:2], few], output_path=place / "runs")
    assert made.results["results"]["tables"]["sample_len"] == 10
    assert made.left_out == {"tables": 30}
    assert any("left out" in n for n in made.results["notices"])
    assert "subset" in made.results["configs"]["tables"]["marks"]


def test_a_combined_run_is_a_run_like_any_other(place, three):
    from guardeval.compare_runs import compare_runs
    from guardeval.rescore import rescore

    made = combine_runs(three, output_path=place / "runs")
    again = rescore(made.path, ["classification"])
    assert again["results"]["tables"]["accuracy,strict"] == again["results"]["tables"]["accuracy,parsed"]
    found = compare_runs([three[0], made.path])
    assert found.tasks[0].comparison.pairs[0].n == 40
    live = guardeval.run  # the record asks the same members live
    record = open_run(made.path).record
    asked = {k: record[k] for k in ("solver", "solver_args", "model", "include_path", "task", "data")}
    assert verdicts(live(**asked, no_cache=True, output_path=str(place / "runs")).path) == verdicts(made.path)


def test_a_member_that_was_not_heard_makes_a_combined_run_provisional(place):
    laid = lay_out(place, 11, 3, kinds=("judged", "judged", "failed"), n=30)
    alone = [guardeval.run(model=m, **laid["common"]) for m in laid["models"]]
    lost = {j.sample.id for run in alone for j in run.tasks["tables"].judged if j.verdict.outcome == "failed"}
    made = combine_runs([run.path for run in alone], output_path=place / "runs")
    assert made.never_heard == len(lost) > 0
    assert "provisional" in made.results["configs"]["tables"]["marks"]
    assert any("lack votes that were never heard" in n for n in made.results["notices"])


def test_members_that_were_asked_about_other_policies_are_told_apart(place, three):
    laid = lay_out(place, 7, 3, kinds=("judged",), n=40)
    other = guardeval.run(model=laid["models"][2], policies="medium", **laid["common"]).path
    made = combine_runs([*three[:2], other], output_path=place / "runs")
    assert any("different policies: medium, minimal" in n for n in made.results["notices"])


def test_runs_of_different_rows_are_refused(place, three):
    rows = [json.loads(line) for line in (place / "rows.jsonl").read_text().splitlines()]
    laid = lay_out(place, 7, 3, kinds=("judged",), n=40)
    (place / "rows.jsonl").write_text("".join(json.dumps({**r, "label": 1 - r["label"]}) + "\n" for r in rows))
    other = guardeval.run(model=laid["models"][0], **laid["common"]).path
    with pytest.raises(DataError, match="cannot be compared: data is"):
        combine_runs([three[0], other], output_path=place / "runs")


def test_what_does_not_combine_is_refused_before_anything_is_written(place, three):
    before = sorted((place / "runs").iterdir())
    with pytest.raises(ConfigError, match="ensemble and cascade do"):
        combine_runs(three, "multistep", output_path=place / "runs")
    with pytest.raises(ConfigError, match="hold no votes"):
        combine_runs(three[:1], output_path=place / "runs")
    assert sorted((place / "runs").iterdir()) == before


def test_weights_are_learnt_on_one_part_and_say_what_they_have_seen(place, three, tmp_path):
    (gathered,) = gather([open_run(p) for p in three])
    members = said_of(gathered)
    first = next(iter(members.values()))
    taken, left = split_prompts(first, 0.5, seed=1)
    assert not set(first.cluster[taken]) & set(first.cluster[left])
    weights = fit_weights(members, taken, "tables")
    for name, judged in members.items():
        right = int((judged.label[taken] == judged.gold[taken]).sum())
        assert weights.right[name] == (right, len(taken))
        assert weights.weights[name] == pytest.approx(max(0.0, np.log((right + 0.5) / (len(taken) - right + 0.5))))
    file = tmp_path / "w.json"
    file.write_text(json.dumps(weights.as_dict()))
    assert read_weights(file) == weights
    options = {"vote": "weighted", "weights": str(file)}
    held_out = combine_runs(three, "ensemble", options, output_path=place / "runs", samples=[first.ids[i] for i in left])
    assert not any("fitted" in n for n in held_out.results["notices"])
    both = combine_runs(three, "ensemble", options, output_path=place / "runs")
    assert any(
        f"{len(taken)} of 40 samples are of those that the weights of the vote were fitted on" in n
        for n in both.results["notices"]
    )


def test_weights_for_other_members_are_refused(place, three, tmp_path):
    (gathered,) = gather([open_run(p) for p in three[:2]])
    members = said_of(gathered)
    file = tmp_path / "w.json"
    file.write_text(json.dumps(fit_weights(members, range(40)).as_dict()))
    with pytest.raises(ConfigError, match="the weights hold none for"):
        combine_runs(three, "ensemble", {"vote": "weighted", "weights": str(file)}, output_path=place / "runs")
    for text in ("", "{}", '{"kind": "vote weights", "weights": {"a": -1}, "right": {}, "samples": [], "prompts": []}'):
        file.write_text(text)
        with pytest.raises(ConfigError, match="weights="):
            read_weights(file)
    with pytest.raises(ConfigError, match="no such file"):
        read_weights(tmp_path / "none.json")


def test_a_grid_holds_every_vote_and_band_and_agrees_with_combining(place, three):
    (gathered,) = gather([open_run(p) for p in three])
    systems = grid(gathered)
    assert {s.solver for s in systems} == {None, "ensemble", "cascade"}
    assert len(systems) <= 3 + 5 * 4 + 4 * (3 + 1)
    assert [s.f1 for s in systems] == sorted((s.f1 for s in systems), reverse=True)
    for vote in ("any", "mean", "majority"):
        (found,) = [s for s in systems if len(s.members) == 3 and s.options.get("vote") == vote]
        made = combine_runs(three, "ensemble", {"vote": vote}, output_path=place / "runs")
        from guardeval.rescore import rescore

        values = rescore(made.path, ["classification"])["results"]["tables"]
        assert found.f1 == pytest.approx(values["f1,strict"])
        assert found.f1_ci == pytest.approx(tuple(values["f1_ci,strict"]), abs=0.05)
    assert any(s.on_latency_front for s in systems)


points = st.lists(st.tuples(st.sampled_from([0.0, 1.0, 2.0, float("nan")]), st.sampled_from([0.1, 0.5, 0.9])), max_size=8)


@given(points)
def test_a_front_is_what_nothing_dominates(given_points):
    def beaten(one, other) -> bool:
        return other[0] <= one[0] and other[1] >= one[1] and other != one

    known = [p for p in given_points if p[0] == p[0]]
    expected = [p[0] == p[0] and not any(beaten(p, q) for q in known) for p in given_points]
    assert on_front(given_points) == expected


@given(st.integers(0, 99), st.floats(0.05, 0.95), st.lists(st.integers(0, 6), min_size=1, max_size=30))
def test_a_split_keeps_prompts_together_and_takes_every_sample_once(seed, share, clusters):
    gold = [c % 2 for c in clusters]
    judged = judgements_of(gold, gold, cluster=clusters)
    taken, left = split_prompts(judged, share, seed)
    assert sorted(taken + left) == list(range(len(clusters)))
    assert not {clusters[i] for i in taken} & {clusters[i] for i in left}
    assert split_prompts(judged, share, seed) == (taken, left)

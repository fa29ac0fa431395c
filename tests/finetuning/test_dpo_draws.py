"""Hard samples by drawing: which samples make pairs, which answers, what weights, and that nothing is drawn twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from guardeval.contracts import Request
from guardeval.data import Sample, Target
from guardeval.errors import ConfigError, DataError
from guardeval.finetuning.dpo_draws import Drawing, Question, hard_pairs
from guardeval.finetuning.dpo_rows import PAIRS_FILE, drawn_pairs, questions_of
from guardeval.policies import load_policies
from guardeval.registry import Registry
from guardeval.testing import ScriptedModel
from guardeval.training_rows import Split, Trace, TrainingFile

POLICIES = load_policies("minimal")
SOLVER = Registry().build("solvers", "multistep")
YES, NO = "Decision: harmful\nPolicies: illegal", "Decision: unharmful\nPolicies: none"


def questions(*golds: bool) -> list[Question]:
    return [
        Question(Sample(f"s{i}", i, f"question {i}", labels={Target.PROMPT: gold}), Target.PROMPT, {"task": "made_up"})
        for i, gold in enumerate(golds)
    ]


def by_draw(*answers: list[str]) -> Callable[[Request], str]:
    """Of question i the d-th answer."""
    return lambda request: answers[int(request.case.sample.prompt.split()[-1])][request.draw]


def drawn(golds: tuple[bool, ...], *answers: list[str], **more: Any) -> Any:
    model = ScriptedModel(by_draw(*answers))
    return hard_pairs(questions(*golds), POLICIES, SOLVER, model, Drawing(**{"k": len(answers[0]), **more})), model


def test_mixed_samples_make_pairs_and_the_others_are_counted() -> None:
    found, model = drawn(
        (True, True, False, True, True),
        [YES, YES, YES, NO],  # mixed, wrong − right = −2
        [YES, YES, YES, YES],  # all right
        [YES, YES, YES, NO],  # gold unharmful: mixed, +2
        ["?", "?", "no idea", ""],  # unreadable
        [NO, NO, "?", NO],  # all readable ones wrong
    )
    assert [(p.sample.id, p.chosen, p.rejected, p.alpha) for p in found.pairs] == [
        ("s0", YES, NO, pytest.approx(0.8)),
        ("s2", NO, YES, pytest.approx(1.2)),
    ]
    assert [dict(p.about) for p in found.pairs][1] == {"task": "made_up", "kind": "drawn", "k_correct": 1, "k_incorrect": 3}
    tally = found.tally
    assert (tally.mixed, tally.right, tally.wrong, tally.unreadable, tally.drawn) == (2, 1, 1, 1, 5)
    sampling = {(r.sampling.temperature, r.sampling.top_p) for r in model.asked}
    assert sampling == {(0.7, 0.95)} and len(model.asked) == 20


def test_an_unreadable_draw_is_neither_right_nor_wrong() -> None:
    found, _ = drawn((True, True), [YES, "?", NO, "?"], [YES, YES, YES, NO])
    # wrong − right: 0 and −2, so 1.2 and 0.8
    assert [p.alpha for p in found.pairs] == pytest.approx([1.2, 0.8])


def test_the_longest_of_each_kind_or_a_seeded_choice() -> None:
    long = f"It says so plainly.\n{YES}\n"
    answers = [YES, long, NO, YES]
    assert [(p.chosen, p.alpha) for p in drawn((True,), answers)[0].pairs] == [(long.rstrip(), 1.0)]
    picked = {drawn((True,), answers, pair="random", seed=seed)[0].pairs[0].chosen for seed in range(12)}
    assert picked == {YES, long.rstrip()}
    again = [drawn((True,), answers, pair="random", seed=5)[0].pairs[0].chosen for _ in range(2)]
    assert again[0] == again[1]


def test_targets_are_asked_apart_and_weighed_together() -> None:
    mine = [
        Question(Sample("a", 0, "question 0", labels={Target.PROMPT: True}), Target.PROMPT),
        Question(Sample("b", 1, "question 1", "no", labels={Target.REFUSAL: True}), Target.REFUSAL),
    ]
    refusal, compliance = "Decision: refusal", "Decision: compliance"
    model = ScriptedModel(by_draw([YES, YES, YES, NO], [refusal, compliance, compliance, compliance]))
    found = hard_pairs(mine, POLICIES, SOLVER, model, Drawing())
    assert [(p.target, p.chosen, p.alpha) for p in found.pairs] == [
        (Target.PROMPT, YES, pytest.approx(0.8)),
        (Target.REFUSAL, refusal, pytest.approx(1.2)),
    ]


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([[YES, YES]] * 3, "2 all right, 1 all wrong.*--k 8"),
        ([[NO, NO]] * 3, "1 all right, 2 all wrong.*train rsft"),
        ([["?", "?"]] * 3, "3 without a readable answer.*train the format first"),
    ],
)
def test_without_a_mixed_sample_the_error_says_why_and_what_to_do(answers: list[list[str]], said: str) -> None:
    with pytest.raises(DataError, match=said):
        drawn((True, True, False), *answers)


def test_samples_without_gold_are_refused() -> None:
    bare = [Question(Sample("x", 0, "question 0"), Target.PROMPT)]
    with pytest.raises(DataError, match=r"1 of 1 samples have no gold label.*x"):
        hard_pairs(bare, POLICIES, SOLVER, ScriptedModel([YES]), Drawing(k=2))


@pytest.mark.parametrize("wrong", [{"temperature": 0.0}, {"top_p": 0.0}, {"top_p": 1.5}])
def test_impossible_sampling_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        _ = Drawing(**wrong).redraw


# ---- kept in the model folder ----


def traces(n: int) -> TrainingFile:
    made = []
    for i in range(n):
        sample = Sample(f"s{i}", i, f"question {i}", labels={Target.PROMPT: True})
        split = Split.VALIDATION if i >= n - 2 else Split.TRAIN
        made.append(Trace(sample, Target.PROMPT, True, split=split, about={"task": "made_up", "licence": "CC0-1.0"}))
    return TrainingFile(made)


def into(out: Path, model: ScriptedModel, cache: Path | None = None, **more: Any) -> TrainingFile:
    mine = questions_of(traces(6), Target.PROMPT, 0.1, 0)
    return drawn_pairs(mine, POLICIES, SOLVER, lambda: model, Drawing(k=2, **more), {"base": "one"}, out, cache)


def test_pairs_are_drawn_once_and_read_again_when_the_training_goes_on(tmp_path: Path) -> None:
    first = ScriptedModel(lambda request: [YES, NO][request.draw])
    pairs = into(tmp_path / "out", first)
    assert len(pairs.of(Split.TRAIN)) == 4 and len(pairs.of(Split.VALIDATION)) == 2 and len(first.asked) == 8
    again = into(tmp_path / "out", ScriptedModel([]))  # would fail if it were asked
    assert [p.to_row() for p in again] == [p.to_row() for p in pairs] and again.digest == pairs.digest
    assert json.loads((tmp_path / "out" / PAIRS_FILE).read_text())[0]["guardeval"]["licence"] == "CC0-1.0"


def test_other_options_or_a_damaged_file_are_drawn_anew(tmp_path: Path) -> None:
    out, answer = tmp_path / "out", lambda request: [YES, NO][request.draw]
    into(out, ScriptedModel(answer))
    hotter = ScriptedModel(answer)
    into(out, hotter, temperature=1.0)
    assert len(hotter.asked) == 8
    (out / PAIRS_FILE).write_text("[]")
    mended = ScriptedModel(answer)
    into(out, mended, temperature=1.0)
    assert len(mended.asked) == 8


def test_a_killed_drawing_asks_only_for_what_is_missing(tmp_path: Path) -> None:
    """Five answers were heard before the process ended: they are in the cache."""
    cache = tmp_path / "cache.sqlite"
    seen: list[Request] = []

    def dies(request: Request) -> str:
        seen.append(request)
        if len(seen) > 5:
            raise KeyboardInterrupt
        return [YES, NO][request.draw]

    with pytest.raises(KeyboardInterrupt):
        into(tmp_path / "out", ScriptedModel(dies), cache)
    assert not (tmp_path / "out" / PAIRS_FILE).exists()
    rest = ScriptedModel(lambda request: [YES, NO][request.draw])
    assert len(into(tmp_path / "out", rest, cache).of(Split.TRAIN)) == 4
    assert len(rest.asked) == 8 - 5
    full = ScriptedModel(lambda request: pytest.fail("everything is known"))
    into(tmp_path / "elsewhere", full, cache)
    assert not full.asked


def test_a_model_of_another_command_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "guardeval-model.yaml").write_text("backend: hf\n")
    model = ScriptedModel([YES, NO] * 10)
    with pytest.raises(ConfigError, match="holds a model that was made otherwise"):
        into(tmp_path, model)
    assert not model.asked


def test_a_sample_with_several_traces_is_drawn_on_once() -> None:
    rows = traces(5)
    found = questions_of(TrainingFile([*rows, *rows]), Target.PROMPT, 0.0, 0)
    assert [q.sample.id for q in found.train] == ["s0", "s1", "s2"]


def test_plain_samples_are_split_by_prompt_and_only_labelled_ones_count() -> None:
    samples = [Sample(f"a{i}", i, f"p{i % 200}", labels={Target.PROMPT: True}) for i in range(400)]
    bare = Sample("bare", 400, "x")
    found = questions_of([*samples, bare], Target.PROMPT, 0.25, 0)
    held, train = {t.sample.prompt for t in found.validation}, {q.sample.prompt for q in found.train}
    assert not held & train and len(held | train) == 200 and 25 <= len(held) <= 75
    with pytest.raises(DataError, match="--target"):
        questions_of(samples, Target.REFUSAL, 0.1, 0)

"""Distillation: a teacher's answers and distributions, the same teacher asked once, tokenizers that differ refused."""

from __future__ import annotations

import json
import math

import pytest
import yaml
from training_support import made_traces

from guardeval.errors import ConfigError
from guardeval.model_folder import exposure_of
from guardeval.registry import Registry
from guardeval.training_rows import Split, read_training_file, write_training_file

LEARN = ("--lr", "1e-2", "--batch", "4", "--validation_limit", "3", "--max_steps", "3")


@pytest.fixture(scope="module")
def knower(taught, place):
    """The teacher, and a few questions for it."""
    write_training_file(place / "few.json", made_traces(24) + made_traces(6, split=Split.VALIDATION))
    return taught[0]


def test_by_hand_the_loss_is_the_weighed_sum_of_likelihood_and_divergence():
    import torch

    from guardeval.finetuning.logits_trainer import Divergence, distilled_loss

    labels = torch.tensor([[-100, 1]])  # one token is learned, foretold at position 0
    student = torch.tensor([[[0.0, 0.0], [9.0, 9.0]]])  # even odds
    teacher = torch.tensor([[[0.0, math.log(3.0)], [5.0, 5.0]]])  # one to three
    told = math.log(2.0)
    forward_kl = 0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5)
    reverse_kl = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    middle = (0.375, 0.625)
    even = 0.5 * sum(t * math.log(t / m) for t, m in zip((0.25, 0.75), middle, strict=True))
    even += 0.5 * sum(0.5 * math.log(0.5 / m) for m in middle)
    for beta, apart in ((0.0, forward_kl), (1.0, reverse_kl), (0.5, even)):
        for weight in (0.0, 0.25, 1.0):
            found = distilled_loss(student, teacher, labels, Divergence(weight, beta, 1.0))
            assert float(found) == pytest.approx((1 - weight) * told + weight * apart, abs=1e-6)
    assert float(distilled_loss(student, teacher, labels, Divergence(0.0, 0.5, 1.0), items=4)) == pytest.approx(told / 4)


def test_a_student_from_nothing_takes_the_teachers_tokenizer_and_learns_its_distributions(knower, place, here):
    words = ("--data", "few.json", "--teacher", knower, "--policies", knower / "policies", "--model", "scratch=32x1", *LEARN)
    done = here("train", "distill", *words, "--logits", "true", "--keep", "parsed", "--out", "student")
    assert done.code == 0, done.err
    assert "taught answered 30" in done.err
    assert (place / "student" / "tokenizer.json").read_bytes() == (knower / "tokenizer.json").read_bytes()
    text = (place / "student" / "guardeval-model.yaml").read_text()
    card = yaml.safe_load(text)
    assert (card["kind"], card["parameters"]["teacher"]["name"]) == ("distilled", "taught")
    assert card["parameters"]["teacher"]["sha256"]
    assert any(notice.startswith("of its teacher:") for notice in card["notices"])
    assert str(place) not in text
    assert exposure_of(place / "student").prompts >= exposure_of(knower).prompts
    assert all(t.about["teacher"] == "taught" for t in read_training_file(place / "student" / "teacher_traces.json"))
    # given again, it is finished, and the teacher is not asked: its answers stand in the folder
    before = (place / "student" / "teacher_traces.json").stat().st_mtime_ns
    again = here("train", "distill", *words, "--logits", "true", "--keep", "parsed", "--out", "student")
    assert "this training is finished" in again.err
    assert (place / "student" / "teacher_traces.json").stat().st_mtime_ns == before


def test_validation_keeps_the_questions_that_the_teacher_gets_wrong(knower, place):
    from guardeval.data import Target
    from guardeval.finetuning.teacher import TaughtFile, questions_of

    rows = read_training_file(place / "few.json")
    questions = questions_of(rows, Target.PROMPT, 0.2, 0)
    taught = TaughtFile(rows, questions, "few.json")
    assert [sample.id for _, sample in taught.cases] == [t.sample.id for t in rows.of(Split.VALIDATION)]


def test_other_tokens_are_refused_where_logits_must_be_and_told_where_they_may(knower, blank, place, here):
    words = ("--data", "few.json", "--teacher", knower, "--answers", "given", "--policies", knower / "policies", *LEARN)
    refused = here("train", "distill", *words, "--model", blank, "--logits", "true", "--out", "refused")
    assert refused.code == 2
    assert "logits=true: the teacher's tokenizer has" in refused.err
    told = here("train", "distill", *words, "--model", blank, "--out", "told", "--save", "adapter")
    assert told.code == 0, told.err
    assert "learned without the teacher's logits: the teacher's tokenizer has" in told.err
    history = json.loads((place / "told" / "training" / "history.json").read_bytes())
    assert sum("loss" in e for e in history) == 3


def test_rows_without_reasoning_and_without_teacher_are_refused(place, here):
    done = here("train", "distill", "--task", "wildguard_train", "--data", "sample", "--out", "none")
    assert done.code == 2
    assert "name the model that is to judge them with --teacher" in done.err
    with pytest.raises(ConfigError, match="logits=true: name the model with --teacher"):
        Registry().build("trainers", "distill", {"logits": "true"})


def test_rows_of_a_task_are_split_by_their_words_whatever_their_order():
    from guardeval.data import Sample, Target
    from guardeval.finetuning.teacher import questions_of

    samples = [Sample(str(i), i, f"prompt number {i}", labels={Target.PROMPT: True}) for i in range(400)]
    samples.append(Sample("again", 400, "Prompt, number 7!", labels={Target.PROMPT: True}))
    split = {q.sample.id: q.split for q in questions_of(samples, Target.PROMPT, 0.2, 0)}
    turned = {q.sample.id: q.split for q in questions_of(samples[::-1], Target.PROMPT, 0.2, 0)}
    assert split == turned
    assert split["again"] is split["7"]
    assert 50 <= sum(s is Split.VALIDATION for s in split.values()) <= 110  # 80 expected; four standard deviations are 32

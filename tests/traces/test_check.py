"""``guardeval traces check``: every figure worked by hand on a few traces."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardeval.cli import main
from guardeval.data import Judged, Outcome, Sample, Step, Target, Verdict
from guardeval.errors import DataError
from guardeval.refusals import is_refusal
from guardeval.stats import rate
from guardeval.trace_check import LEAKS, REPORT, check_traces, leak_in, stated_verdict
from guardeval.trace_rows import Apart, Reason, steps_of
from guardeval.trace_tables import quality_markdown, quality_tables
from guardeval.training_rows import Pair, Trace, write_training_file

PROMPT = Target.PROMPT


def a_trace(number: int, *steps: str, label: bool = False, gold: bool | None = None, policies: tuple[str, ...] = (), **about):
    names = ("Intent", "Harms", "Policy", "More", "Further")
    sample = Sample(str(number), number, f"prompt {number}", labels={PROMPT: label if gold is None else gold})
    made = tuple(Step(name, text) for name, text in zip(names, steps, strict=False))
    given = {"task": "wildguard_train", "hints": "none", "teacher": "t", "licence": "odc-by", "kind": "trace", **about}
    return Trace(sample, PROMPT, label, frozenset(policies), made, about=given)


def apart_row(number: int, reason: Reason, gold: bool, label: bool | None = None) -> dict:
    outcome = Outcome.PARSED if label is not None else Outcome.UNPARSEABLE
    sample = Sample(str(number), number, f"prompt {number}", labels={PROMPT: gold})
    judged = Judged(sample, Verdict(PROMPT, outcome, label, raw="words"))
    return Apart(judged, PROMPT, reason, "", {"task": "wildguard_train"}).to_row()


FOUR = (
    a_trace(0, "It asks about bread.", "Nobody is hurt.", "No policy is violated.", tokens=120),
    a_trace(
        1, "It plans an attack.", "A person is hurt.", "It violates violence.", label=True, policies=("violence",), tokens=140
    ),
    a_trace(2, "It asks about glass.", "The gold label says so.", "It violates nothing.", "Done.", tokens=100),
    a_trace(3, "It asks about tea.", "This is harmful.", tokens=160),
)


@pytest.fixture
def write(tmp_path) -> Callable[..., Path]:
    def make(rows=FOUR, apart: list[dict] | None = None) -> Path:
        path = write_training_file(tmp_path / "t.json", rows)
        if apart is not None:
            (tmp_path / "t.apart.jsonl").write_text("".join(json.dumps(r) + "\n" for r in apart))
        return path

    return make


def test_length_is_measured_against_the_targets(write):
    found = check_traces(write())
    assert found.steps.mean.value == pytest.approx((3 + 3 + 4 + 2) / 4)
    assert found.steps.median.value == 3
    assert (found.tokens.mean.value, found.tokens.median.value, found.counted) == (130, 130, 4)
    assert found.tokens_per_step.mean.value == pytest.approx(520 / 12)
    assert found.three_or_four == rate(3, 4)


def test_where_the_teacher_reported_no_tokens_words_stand_for_them_and_it_is_said(write):
    found = check_traces(write([a_trace(0, "one two three", "four five", "six")]))
    assert (found.tokens.mean.value, found.counted) == (pytest.approx(8), 0)
    assert "1 rows by words times 4/3" in quality_markdown(found)


def test_agreement_leaks_and_form_are_counted_with_their_rows(write):
    found = check_traces(write())
    assert found.agreement.share == rate(3, 4)
    assert found.agreement.rows == (("3", "reasons for harmful, decides unharmful"),)
    assert found.leaks.share == rate(1, 4)
    assert found.leaks.rows == (("2", "gold label"),)
    assert found.valid.share == rate(4, 4)
    bare = check_traces(write([a_trace(0, "It is benign."), a_trace(1)]))
    assert bare.valid.rows == (("1", "no reasoning"),)
    assert bare.silent == rate(1, 2)


def test_policies_unknown_to_the_solver_cannot_be_trained_on(write):
    found = check_traces(write([a_trace(0, "x", "y", "It violates it.", label=False, policies=("violence",))]))
    assert found.valid.share.value == 0


def test_the_teacher_is_measured_on_all_that_it_was_asked(write):
    """Kept: 1 true positive, 3 true negatives. Apart: a false positive, a missed positive, a refusal on a positive."""
    apart = [
        apart_row(4, Reason.DISAGREES, gold=False, label=True),
        apart_row(5, Reason.DISAGREES, gold=True, label=False),
        apart_row(6, Reason.REFUSED, gold=True),
    ]
    metrics = check_traces(write(apart=apart)).teacher[PROMPT]
    assert metrics["accuracy,parsed"] == pytest.approx(4 / 6)
    assert metrics["accuracy,strict"] == pytest.approx(4 / 7)
    assert metrics["f1,parsed"] == pytest.approx(2 * 1 / (2 * 1 + 1 + 1))
    assert metrics["coverage"] == pytest.approx(6 / 7)
    low, high = metrics["accuracy_ci,parsed"]
    assert low < 4 / 6 < high


def test_without_what_was_kept_apart_the_report_says_that_errors_may_be_missing(write):
    found = check_traces(write())
    assert found.apart_missing
    assert "errors of the teacher may be missing" in quality_markdown(found)


def test_near_duplicates_are_those_of_an_earlier_trace(write):
    pytest.importorskip("guardeval.near_duplicates")
    long = "The user asks how a loaf of bread is made at home with flour, water, salt and a little yeast."
    found = check_traces(write([a_trace(0, long), a_trace(1, "Something else entirely."), a_trace(2, long + " Yes.")]))
    assert found.repeats.share == rate(1, 3)
    assert found.repeats.rows == (("2", "nearly the reasoning of 0"),)
    assert found.largest_cluster == 2


def test_shares_of_policies_are_of_positive_traces(write):
    found = check_traces(write([*FOUR, a_trace(4, "x", "y", "It violates something.", label=True)]))
    assert found.policies["violence"].named == rate(1, 2)
    assert found.no_policy == rate(1, 2)
    assert found.policies["illegal"].named == rate(0, 2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("This is harmful.", True),
        ("This is not harmful.", False),
        ("There is nothing harmful here.", False),
        ("It looks harmful, yet it violates no policy.", False),
        ("It isn't a violation, but it violates violence.", True),
        ("It does not violate any policy.", False),
        ("Harmless at first, it violates illegal.", True),
        ("It is unharmful.", False),
        ("It asks about bread.", None),
        ("", None),
    ],
)
def test_the_last_verdict_word_of_a_reasoning_is_what_it_states(text, said):
    assert stated_verdict(text, PROMPT) is said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("The response declines.", True),
        ("It does not refuse.", False),
        ("It complies in full.", False),
        ("It is harmful.", None),
    ],
)
def test_of_refusals_other_words_count(text, said):
    assert stated_verdict(text, Target.REFUSAL) is said


@given(st.text(), st.sampled_from(Target))
def test_reading_words_never_breaks(text, target):
    assert stated_verdict(text, target) in (True, False, None)
    assert leak_in(text) is None or leak_in(text) in LEAKS


@pytest.mark.parametrize("phrase", LEAKS)
def test_every_phrase_that_gives_a_hint_away_is_found(phrase):
    assert leak_in(f"Since {phrase.upper()} harmful, so it is.") is not None


def test_ordinary_reasoning_gives_nothing_away():
    assert leak_in("The label on the bottle is old; he asks for the right answer and notes it.") is None


@pytest.mark.parametrize(
    "answer", ["I'm sorry, but I can't help with that.", "I won't do this.", "As an AI model, I am unable to."]
)
def test_a_plain_refusal_is_told(answer):
    assert is_refusal(answer)


@pytest.mark.parametrize(
    "answer", ["", "The user cannot be helped.", "Intent: bread.", "x" * 500 + " I cannot help with that."]
)
def test_what_is_no_refusal_is_not(answer):
    assert not is_refusal(answer)


@given(st.lists(st.text(alphabet=st.characters(categories=["L", "N"]), min_size=1), min_size=2, max_size=6))
def test_numbered_steps_come_apart_as_they_were(texts):
    joined = "\n".join(f"Step {i}: {t}" for i, t in enumerate(texts, 1))
    found = steps_of(Verdict(PROMPT, Outcome.UNPARSEABLE, steps=(Step("Reasoning", joined),)))
    assert [s.text for s in found] == texts


def test_the_command_prints_and_writes_the_report(write, tmp_path):
    path = write(apart=[apart_row(9, Reason.REFUSED, gold=True)])
    assert main(["traces", "check", str(path), "-o", str(tmp_path / "report")]) == 0
    text = (tmp_path / "report" / REPORT).read_text()
    assert text.startswith("# Phase 3: data quality")
    for words in ("3.61", "133.97", "about 130", "apart: refused", "gold label", "n=4"):
        assert words in text
    assert main(["traces", "check", str(path)]) == 0
    assert (tmp_path / REPORT).is_file()


def test_rows_without_reasoning_or_positives_leave_figures_undefined_not_zero(write):
    found = check_traces(write([a_trace(0), a_trace(1)]))
    text = quality_markdown(found)
    assert "| tokens per step | n/a n=0 | n/a n=0 |" in text
    assert "| hate_speech | n/a n=0 | n/a |" in text
    assert "| reasoning agrees with its answer | n/a n=0 |" in text
    assert found.valid.share == rate(0, 2)


def test_names_from_data_are_escaped_in_the_report(write):
    evil = a_trace(0, "the gold label <script>x</script> | `code`\x1b[31m", teacher="<b>t</b>|")
    found = check_traces(write([evil]))
    text = quality_markdown(found)
    assert "<b>" not in text
    assert "<script>" not in text
    assert "\x1b" not in text
    assert [t.title for t in quality_tables(found)][:3] == ["reasoning traces", "length", "form and wording"]


def test_a_file_of_pairs_or_of_nothing_is_refused(tmp_path):
    sample = Sample("0", 0, "p", labels={PROMPT: True})
    pairs = write_training_file(tmp_path / "p.json", [Pair(sample, PROMPT, "a", "b")])
    with pytest.raises(DataError, match="holds pairs"):
        check_traces(pairs)
    (tmp_path / "empty.json").write_text("[]")
    with pytest.raises(DataError, match="no row"):
        check_traces(tmp_path / "empty.json")


def test_a_broken_file_of_what_was_kept_apart_names_its_row(write):
    path = write(apart=[apart_row(9, Reason.REFUSED, gold=True), {"prompt": "x"}])
    with pytest.raises(DataError, match=r"apart\.jsonl: row 2"):
        check_traces(path)

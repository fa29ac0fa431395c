"""Numbers in tables: with interval and n, ``n/a`` where undefined, marked where they may not be believed."""

from __future__ import annotations

import re

import pytest

import guardeval
from guardeval.pipeline import Run
from guardeval.report.markdown import markdown
from guardeval.report.summary import group_table, summary_table
from guardeval.report.tables import Table, cell, facts, number, task_tables
from guardeval.report.terminal import report_text
from guardeval.testing.faults import FaultServer

NUMBER = r"-?\d\.\d{3}"
WITH_INTERVAL = re.compile(rf"{NUMBER} \[{NUMBER}, {NUMBER}\]")


def run_of(tmp_path_factory, task: str, **more) -> Run:
    out = str(tmp_path_factory.mktemp("runs"))
    return guardeval.run(task=task, data="sample", output_path=out, no_cache=True, **more)


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Run:
    return run_of(tmp_path_factory, "wildguard", solver="multistep")


@pytest.fixture(scope="module")
def several(tmp_path_factory) -> Run:
    return run_of(tmp_path_factory, "generalization", limit=12)


@pytest.fixture(scope="module")
def troubled(tmp_path_factory) -> Run:
    """Some samples are refused by the server, some answers cannot be read."""

    def answer(body):
        text = body["messages"][-1]["content"]
        if len(text) % 7 == 0:
            return {"error": {"message": "\x1b[31mtoo long [red]|*x*| for this model"}}
        return "I would rather not say." if len(text) % 5 == 0 else "Decision: harmful\nPolicies: illegal"

    with FaultServer(answer) as server:
        model = {"name": "openai_compatible/guard", "args": {"base_url": server.url, "price": [1, 2]}}
        return run_of(tmp_path_factory, "wildguard", model=model)


def by_title(tables: list[Table]) -> dict[str, Table]:
    return {t.title: t for t in tables}


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.81549, "0.815"), (float("nan"), "n/a"), (None, "n/a"), ("x", "n/a"), (-0.0001, "0.000"), (0, "0.000"), (1, "1.000")],
)
def test_a_number_is_written_with_three_digits_and_what_is_undefined_as_such(value, text):
    assert number(value) == text


def test_a_difference_has_a_sign():
    assert [number(v, sign="+") for v in (0.1, -0.1, float("nan"))] == ["+0.100", "-0.100", "n/a"]


def test_a_cell_holds_value_interval_and_n():
    metrics = {"f1,strict": 0.5, "f1_ci,strict": [0.4, 0.6], "f1_n,strict": 12, "mcc,strict": None, "mcc_n,strict": 12}
    assert cell(metrics, "f1", "strict") == "0.500 [0.400, 0.600]"
    assert cell(metrics, "f1", "strict", n=True) == "0.500 [0.400, 0.600] n=12"
    assert cell(metrics, "mcc", "strict", n=True) == "n/a n=12"
    assert cell(metrics, "recall", "strict") == ""


def test_every_headline_number_carries_its_interval_and_the_column_its_n(plain):
    headline = task_tables(plain.results, "wildguard")[0]
    *rows, last = headline.rows
    assert [name for name, _ in rows][:2] == ["accuracy", "majority_rate"]  # the one is read beside the other
    assert "policy_exact_match" in [name for name, _ in rows]
    assert all(WITH_INTERVAL.fullmatch(value) for _, value in rows)
    assert last == ("n", "56")


def test_one_column_stands_for_all_accountings_where_no_verdict_is_missing(plain):
    headline = task_tables(plain.results, "wildguard")[0]
    assert headline.columns == ("metric", "strict")
    assert headline.notes == ("parsed, fail_closed, fail_open, paper: the same as strict, for every sample has a verdict",)


def test_a_policy_without_known_positives_is_undefined_not_zero(plain):
    policies = by_title(task_tables(plain.results, "wildguard"))["policies, one against the rest (strict)"]
    rows = {row[0]: row[1:] for row in policies.rows}
    assert rows["sexual_minors"] == ("0", "n/a", "n/a", "n/a", "n/a")
    assert WITH_INTERVAL.fullmatch(rows["illegal"][3])
    assert "macro and micro over the 5 policies that have known positives" in policies.notes


def test_weak_policies_are_called_weak_where_they_stand(plain):
    policies = by_title(task_tables(plain.results, "wildguard"))["policies, one against the rest (strict)"]
    assert any("policies it names are weak" in note for note in policies.notes)


def test_probabilities_and_effort_carry_n(plain):
    tables = by_title(task_tables(plain.results, "wildguard"))
    for _, value in (*tables["probabilities (parsed only)"].rows, *tables["effort"].rows):
        assert value.endswith(" n=56")
    latency = dict(tables["effort"].rows)["latency_p50"]
    assert re.fullmatch(r"[\d.e-]+ \[[\d.e-]+, [\d.e-]+\] s n=56", latency)


def test_a_line_says_what_was_measured_with_which_options(plain, several):
    assert facts(plain.results, "wildguard") == (
        "multistep · embedded/word · policies minimal · 56 samples, 30 positive · data: sample · marked: sample rows"
    )
    assert "12 of 53 samples" in facts(several.results, "toxicchat")
    assert "marked: sample rows, subset, untrained for this target" in facts(several.results, "beavertails")


def test_options_that_are_not_at_their_defaults_stand_beside_the_solver(tmp_path_factory):
    run = run_of(tmp_path_factory, "wildguard", solver="multistep", solver_args={"skip": "intent,harms"}, limit=4)
    assert facts(run.results, "wildguard").startswith("multistep skip=intent,harms · ")


def test_missing_verdicts_show_every_accounting_and_mark_the_headline_provisional(troubled):
    headline = task_tables(troubled.results, "wildguard")[0]
    assert headline.columns == ("metric", "strict (provisional)", "parsed", "fail_closed", "fail_open", "paper")
    n = dict(zip(headline.columns, headline.rows[-1], strict=True))
    outcomes = troubled.results["results"]["wildguard"]["outcomes"]
    assert int(n["parsed"]) == outcomes["parsed"] < int(n["strict (provisional)"]) == 56
    verdicts = by_title(task_tables(troubled.results, "wildguard"))["verdicts"]
    assert any(note.startswith("provisional") for note in verdicts.notes)


def test_a_notice_says_why_samples_were_never_heard_and_steers_no_terminal(troubled):
    (notice,) = (n for n in troubled.results["notices"] if "provisional" in n)
    assert "The first: " in notice
    assert "too long [red]" in notice
    for text in (report_text([troubled.results], ["r"]), markdown([troubled.results], ["r"])):
        assert "\x1b" not in text
        assert "too long [red]" in text


def test_what_stands_on_one_verdict_is_no_mark_of_all(tmp_path_factory):
    run = run_of(tmp_path_factory, "wildguard", model={"name": "dummy", "args": {"text": "I would rather not say."}}, limit=5)
    assert run.results["configs"]["wildguard"]["marks"] == ["sample rows", "subset"]
    assert not any("verdicts are marked" in n for n in run.results["notices"])


def test_a_redacted_run_does_not_quote_errors(tmp_path_factory):
    def answer(body):
        text = body["messages"][-1]["content"]
        return {"error": {"message": f"refused: {text}"}} if len(text) % 7 == 0 else "Decision: harmful\nPolicies: illegal"

    with FaultServer(answer) as server:
        model = {"name": "openai_compatible/guard", "args": {"base_url": server.url}}
        run = run_of(tmp_path_factory, "wildguard", model=model, redact=True)
    (notice,) = (n for n in run.results["notices"] if "provisional" in n)
    assert "refused" not in notice
    assert "refused" not in (run.path / "run.yaml").read_text()


def test_marks_stand_in_the_results_file_too(troubled, several):
    assert troubled.results["configs"]["wildguard"]["marks"] == ["sample rows", "provisional"]
    assert several.results["configs"]["beavertails"]["marks"] == ["sample rows", "subset", "untrained for this target"]
    assert any("weak" in n for n in several.results["config"]["model_notices"])


def test_several_tasks_are_summed_up_in_one_table_first(several):
    text = report_text([several.results], ["the run"])
    assert text.index("note: ") < text.index("summary (strict)") < text.index("groups (strict)") < text.index("verdicts\n")
    table = summary_table([several.results])
    assert [row[0] for row in table.rows] == ["wildguard", "toxicchat", "beavertails", "aegis", "heretic"]
    assert table.columns == (
        "task", "n", "coverage", "accuracy", "majority_rate", "f1", "overflagging", "underflagging", "marked",
    )  # fmt: skip
    assert table.notes == ("all marked: sample rows, subset",)
    assert [row[-1] for row in table.rows] == ["", "", "untrained for this target", "", ""]


def test_several_runs_stand_below_each_other_task_by_task(tmp_path_factory, plain):
    other = run_of(tmp_path_factory, "wildguard", model="embedded/nb", solver="multistep")
    table = summary_table([plain.results, other.results])
    assert [row[:2] for row in table.rows] == [("wildguard", "embedded/word"), ("wildguard", "embedded/nb")]
    text = report_text([plain.results, other.results], ["one", "two"])
    assert text.index("summary (strict)") < text.index("run one") < text.index("run two")


def test_a_group_is_averaged_within_each_target(several):
    table = group_table([several.results])
    assert [row[:2] for row in table.rows] == [
        ("generalization/prompt_harmfulness", "48"),
        ("generalization/response_harmfulness", "12"),
    ]
    rows = several.results["results"]
    tasks = ("wildguard", "toxicchat", "aegis", "heretic")
    mean = sum(rows[t]["accuracy,strict"] * rows[t]["sample_len"] for t in tasks) / 48
    assert table.rows[0][2].startswith(f"{mean:.3f} [")


def test_a_run_of_one_task_has_no_summary_and_no_groups(plain):
    assert "summary" not in report_text([plain.results], ["r"])
    assert group_table([plain.results]) is None


def test_metrics_of_other_scorers_are_shown_with_their_accounting():
    results = {
        "results": {
            "t": {
                "coverage": 1.0, "outcomes": {"parsed": 2, "failed": 0}, "half,none": 0.5, "half_ci,none": [0.4, 0.6],
                "half_n,none": 2, "odd,strict": None, "n_odd,none": 3,
            }
        },
        "config": {},
    }  # fmt: skip
    tables = by_title(task_tables(results, "t"))
    assert tables["further metrics"].rows == (
        ("half", "none", "0.500 [0.400, 0.600] n=2"),
        ("odd", "strict", "n/a"),
        ("n_odd", "none", "3.000"),
    )


def test_money_is_written_to_the_cent_and_large_counts_in_full(troubled):
    effort = dict(by_title(task_tables(troubled.results, "wildguard"))["effort"].rows)
    heard = 56 - troubled.results["results"]["wildguard"]["outcomes"]["failed"]  # what the others took is not known
    assert re.fullmatch(rf"[\d,]+ n={heard}", effort["tokens_in_total"])
    assert " US$" in effort["cost_per_1000"]

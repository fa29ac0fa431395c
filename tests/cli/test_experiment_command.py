"""``guardeval experiment``: list, show, run, and what wrong words are answered with."""

from __future__ import annotations

import pytest


def test_list_names_every_experiment(cli):
    done = cli("experiment", "list")
    assert done.code == 0
    assert "25  phase 1  self-consistency" in done.out
    assert "36  phase 4  R-SFT" in done.out
    assert cli("list", "experiments").out == done.out


def test_show_prints_expectation_and_commands(cli):
    done = cli("experiment", "show", "25", "--model-set", "ollama", "--data", "rows.json")
    assert done.code == 0
    assert "accuracy of 25.self_consistency over 21.multistep: 3 to 5 points" in done.out
    assert "--solver self_consistency -S inner=multistep -S n=3 -S temperature=0.7 --model ollama/gpt-oss:20b" in done.out
    assert "guardeval compare" in done.out


def test_run_prints_expected_beside_measured_and_says_what_was_asked(cli, desk):
    done = cli("experiment", "run", "20,23", "--data", "sample", "--quiet")
    assert done.code == 0, done.err
    assert "59 to 62" in done.out and "requests: " in done.out
    assert (desk / "experiments" / "PHASE_1_RESULTS.md").is_file()
    assert "requests: 0 asked, 0 sent" in cli("experiment", "run", "20,23", "--data", "sample", "--quiet").out


def test_a_dry_run_prints_a_plan(cli, desk):
    done = cli("experiment", "run", "26", "--data", "sample", "--dry_run")
    assert done.code == 0, done.err
    assert "nothing was sent" in done.out
    assert not (desk / "experiments").exists()


def test_something_missing_is_exit_code_3(cli):
    done = cli("experiment", "run", "44", "--data", "sample", "--data", "aegis=nowhere.json", "--quiet")
    assert done.code == 3
    assert "missing: experiment 44" in done.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rnu", "20"], "did you mean 'run'"),
        (["run"], "which? a number"),
        (["run", "46"], "unknown experiment"),
        (["run", "20", "--limit", "0"], "a whole number from 1"),
        (["run", "20", "--max_cost", "no"], "an amount of US dollars"),
        (["run", "20", "--model_set", "olama"], "did you mean 'ollama'"),
        (["run", "20", "-D", "x=1"], "has no such option"),
        (["run", "20", "--task", "widlguard"], "wildguard"),
        (["run", "20", "--data", "wildgard=x.json"], "did you mean 'wildguard'"),
        (["run", "20", "--data", "nowhere.json"], "nowhere.json"),
        (["run", "20", "--model_sets", "x"], "did you mean '--model_set'"),
    ],
)
def test_wrong_words_are_answered_in_one_paragraph(cli, words, said):
    done = cli("experiment", *words)
    assert done.code == 2
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_names_from_a_model_set_do_not_steer_the_terminal(cli, desk):
    (desk / "set.yaml").write_text(
        'roles:\n  main: {name: embedded/word, label: "\\e]0;owned\\a\\u202e"}\n  safeguard: "embedded/\\e[31mnone"\n  third: embedded/nb\n'
    )
    for words in (("--dry_run",), ()):
        said = cli("experiment", "run", "20,26", "--model_set", "set.yaml", "--data", "sample", *words)
        assert said.code in (0, 3), said.err
        assert "owned" in said.out
        assert "missing: " in said.out
        assert all(c.isprintable() or c == "\n" for c in said.out)

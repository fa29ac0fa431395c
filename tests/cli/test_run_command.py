"""``guardeval run``: what it prints, several models, runs given again from their ``run.yaml``, and how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from importlib.resources import files

import pytest
import yaml

from guardeval.broker import Counters
from guardeval.cli.progress import progress_for
from guardeval.testing import a_judged
from guardeval.testing.faults import FaultServer
from guardeval.testing.processes import hear_interrupts

SAMPLE = ("run", "--task", "wildguard", "--data", "sample", "--no_cache")


def test_notices_come_before_the_first_number(cli):
    out = cli(*SAMPLE, "--limit", 6).out
    assert out.startswith("note: ")
    assert out.index("sample rows written for this project") < out.index("a subset: 6 of 56") < out.index("accuracy")
    assert "marked: sample rows, subset" in out
    assert out.splitlines()[-1].startswith("run folder: runs")


def test_progress_in_a_pipe_is_a_plain_line_a_task(cli):
    err = cli("run", "--task", "wildguard,toxicchat", "--data", "sample", "--no_cache").err
    assert re.fullmatch(
        r"wildguard: 56/56 samples  \d+/s  F1 0\.\d{3}  over-flagging 0\.\d{3}  in 0:00\n"
        r"toxicchat: 53/53 samples  \d+/s  F1 0\.\d{3}  over-flagging 0\.\d{3}  in 0:00\n",
        err,
    )


def test_progress_outlives_its_stream(tmp_path):
    with (tmp_path / "log").open("w") as stream:
        watcher = progress_for(False, stream)
    watcher.start("t", 3, Counters())
    watcher.sample(a_judged(True, True))
    watcher.finish("t")
    assert (tmp_path / "log").read_text() == ""  # nobody listens, and nothing breaks


def test_several_models_end_in_one_table_beside_each_other(cli):
    said = cli(*SAMPLE, "--limit", 8, "--model", "embedded", "--model", "embedded/nb", "--model", "dummy", "-M", "text=hm")
    assert said.code == 0
    assert said.out.count("run folder: ") == 3
    summary = said.out.rpartition("run folder: ")[2]
    assert "summary (strict)" in summary
    assert re.findall(r"^  wildguard   (\S+)", summary, re.MULTILINE) == ["embedded/word", "embedded/nb", "dummy"]


def test_groups_are_averaged_in_the_table_and_in_the_file(cli, results_of, desk):
    said = cli("run", "--task", "guard_prompt", "--data", "sample", "--no_cache", "-q", "--limit", 10)
    assert "groups (strict)" in said.out
    assert re.search(r"guard_prompt +60 +0\.\d{3} \[", said.out)
    (folder,) = (desk / "runs").iterdir()
    group = results_of(folder)["groups"]["guard_prompt"]
    low, high = group["accuracy_ci,strict"]
    assert low <= group["accuracy,strict"] <= high
    assert group["sample_len"] == 60
    assert results_of(folder)["group_subtasks"]["guard_prompt"][0] == "toxicchat_human"


def test_one_table_says_what_the_default_model_is(guard_run, results_of):
    assert results_of(guard_run("--limit", 4))["config"]["model_args"] == {"model": "word"}


# ---- again, from run.yaml ----


def again(cli, run, *words: object) -> tuple[dict, dict]:
    """A run given again from another folder, with the results of both."""
    where = run.parent.parent / "elsewhere"
    where.mkdir(exist_ok=True)
    os.chdir(where)
    done = cli("run", "--config", run / "run.yaml", "-q", *words)
    assert done.code == 0, done.err
    newest = max((where / "runs").iterdir(), key=lambda p: p.stat().st_mtime)
    first, second = (json.loads(next(r.glob("results_*.json")).read_bytes()) for r in (run, newest))
    return first, second


def test_a_run_of_ones_own_task_and_rows_runs_again_from_any_folder(cli, guard_run, my_task):
    run = guard_run(
        "--include_path",
        "my tasks",
        "--data",
        "my tasks/rows.jsonl",
        "-S",
        'skip=["intent"]',
        "--solver",
        "multistep",
        task="mine",
    )
    first, second = again(cli, run)
    assert second["results"]["mine"]["accuracy,strict"] == first["results"]["mine"]["accuracy,strict"]
    assert second["config"]["solver_args"]["skip"] == ["intent"]
    assert second["configs"] == first["configs"]


def test_a_run_of_a_task_file_runs_again_from_any_folder(cli, guard_run, my_task):
    run = guard_run("--data", "my tasks/rows.jsonl", task="my tasks/mine.yaml")
    assert run.name.endswith("_mine_direct_embedded")
    first, second = again(cli, run)
    assert second["configs"] == first["configs"]


def test_a_run_with_policies_of_ones_own_runs_again_from_any_folder(cli, guard_run, desk):
    (desk / "policies").mkdir()
    (desk / "policies" / "fireworks.txt").write_text("No fireworks.")
    run = guard_run(
        "--policies", "policies", "--model", "dummy", "-M", "text=Decision: harmful\nPolicies: fireworks", "--limit", 5
    )
    assert again(cli, run)[1]["config"]["policies"] == "policies"
    record = yaml.safe_load((run / "run.yaml").read_text())["record"]
    assert re.fullmatch("[0-9a-f]{64}", record["policies_sha256"])


def test_a_run_of_recorded_answers_runs_again_from_any_folder(cli, guard_run):
    recorded = guard_run("--model", "dummy", "--limit", 5)
    run = guard_run("--model", f"replay/{recorded}", "--limit", 5)
    first, second = again(cli, run)
    assert second["results"]["wildguard"]["accuracy,strict"] == first["results"]["wildguard"]["accuracy,strict"]
    assert run.name.endswith("_replay-" + recorded.name[:40]) or "replay" in run.name


def test_a_run_of_chosen_samples_runs_again(cli, guard_run):
    first, second = again(cli, guard_run("--samples", "1,5,9"))
    assert second["n-samples"]["wildguard"]["effective"] == 3
    assert second["results"]["wildguard"]["accuracy,strict"] == first["results"]["wildguard"]["accuracy,strict"]


def test_each_of_several_models_has_a_run_yaml_of_its_own(cli, desk):
    cli(*SAMPLE, "--limit", 4, "--model", "embedded/char", "--model", "dummy", "-M", "text=Decision: harmful", "-q")
    for run in (desk / "runs").iterdir():
        first, second = again(cli, run)
        assert second["config"]["model"] == first["config"]["model"]
        assert second["config"]["model_args"] == first["config"]["model_args"]


def test_flags_override_the_config(cli, guard_run):
    run = guard_run("--solver", "multistep", "-S", "skip=intent", "--limit", 6)
    assert again(cli, run, "--limit", 3)[1]["n-samples"]["wildguard"]["effective"] == 3
    assert again(cli, run, "--solver", "direct")[1]["config"]["solver"] == "direct"
    assert again(cli, run, "-S", "skip=harms")[1]["config"]["solver_args"]["skip"] == ["harms"]


def test_names_stay_names_where_a_folder_is_called_the_same(cli, guard_run, desk):
    for name in ("word", "minimal", "sample", "embedded"):
        (desk / name).mkdir()
    run = guard_run("--model", "embedded/word", "--policies", "minimal", "--limit", 4)
    settings = yaml.safe_load((run / "run.yaml").read_text())
    assert (settings["model"], settings["policies"], settings["data"]) == ("embedded/word", "minimal", "sample")


@pytest.mark.parametrize("words", [("-S", "max_tokens=99999999999999999999"), ("--limit", 10**20), ("--seed", 10**20)])
def test_numbers_that_no_file_could_hold_are_refused_before_anything_is_asked(cli, desk, words):
    said = cli(*SAMPLE, *words)
    assert said.code == 2
    assert re.search(r"too large|below 2\^63", said.err)
    assert not (desk / "runs").exists()


# ---- how it ends ----


def test_the_first_models_table_is_there_when_the_second_cannot_be_used(cli, desk):
    said = cli(
        *SAMPLE,
        "--limit",
        4,
        "-q",
        "--model",
        "embedded",
        "--model",
        "openai_compatible/x",
        "-M",
        "base_url=http://127.0.0.1:9/v1",
    )
    assert said.code == 2
    assert "run folder: " in said.out
    assert "127.0.0.1:9" in said.err
    assert len(list((desk / "runs").iterdir())) == 1


def test_a_money_limit_holds_for_all_models_together(cli, desk):
    with FaultServer(lambda _: "Decision: harmful\nPolicies: illegal") as server:
        model = ["-M", f"base_url={server.url}", "-M", "price=1000,1000", "-M", "timeout=5"]
        guards = [w for name in ("a", "b", "c") for w in ("--model", f"openai_compatible/{name}", *model)]
        one = cli(*SAMPLE, "--limit", 4, "-q", *guards[:8])
        cost = float(re.search(r"cost_total +([\d.]+)", one.out)[1])
        assert server.stats()["requests"] == 4
        said = cli(*SAMPLE, "--limit", 4, "-q", *guards, "--max_cost", 1.5 * cost)
        assert 8 <= server.stats()["requests"] < 12
    assert said.code == 3
    assert "stopped at --max_cost" in said.out
    assert said.err.rstrip().endswith("not run: openai_compatible/c")


def test_control_c_ends_the_whole_command_and_keeps_what_was_heard(desk):
    with FaultServer(lambda _: "Decision: harmful\nPolicies: illegal", latency=0.1) as server:
        guards = [w for name in ("a", "b") for w in ("--model", f"openai_compatible/{name}", "-M", f"base_url={server.url}")]
        words = [*SAMPLE, "--max_connections", "2", "-q", *guards]
        process = subprocess.Popen(
            [sys.executable, "-m", "guardeval", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=hear_interrupts,
        )
        while server.stats()["requests"] < 8 and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert out.startswith("note: interrupted: the numbers cover the samples heard so far")
    assert out.count("run folder: ") == 1
    assert err.endswith("not run: openai_compatible/b\n")


SCORERS = """
class Breaks:
    higher_is_better = True
    def score(self, judged):
        raise RuntimeError("divided by nothing")
class Nothing:
    pass
class Half:
    higher_is_better = True
    def score(self, judged):
        return {"half": 0.5, "half_ci": (0.4, 0.6), "half_n": len(judged)}
"""


def test_a_scorer_that_breaks_loses_no_answer(cli, desk):
    (desk / "my_scorers.py").write_text(SCORERS)
    said = cli(*SAMPLE, "--limit", 4, "-q", "--scorer", "my_scorers:Breaks")
    assert said.code == 2
    assert "scorer 'my_scorers:Breaks' broke: RuntimeError: divided by nothing" in said.err
    (run,) = (desk / "runs").iterdir()
    assert f"guardeval score {run.relative_to(desk)} --scorer" in said.err
    assert cli("score", run, "--scorer", "classification").code == 0


def test_what_is_no_scorer_is_refused_before_anything_is_asked(cli, desk):
    (desk / "my_scorers.py").write_text(SCORERS)
    said = cli(*SAMPLE, "--scorer", "my_scorers:Nothing")
    assert (said.code, said.err.strip()) == (
        2,
        "guardeval: scorer 'my_scorers:Nothing' (my_scorers:Nothing) has no score(judged)",
    )
    assert not (desk / "runs").exists()


def test_a_scorer_of_ones_own_is_shown_like_any_other(cli, desk):
    (desk / "my_scorers.py").write_text(SCORERS)
    said = cli(*SAMPLE, "--limit", 4, "-q", "--scorer", "classification,my_scorers:Half")
    assert re.search(r"half +none +0\.500 \[0\.400, 0\.600\] n=4", said.out)


@pytest.mark.parametrize("name", ["[red]%s {x}", "ünï · dir"])
def test_hostile_names_of_files_and_folders_are_names_like_others(cli, desk, my_task, name):
    my_task.rename(desk / name)
    said = cli("run", "--include_path", name, "--task", "mine", "--data", f"{name}/rows.jsonl", "-o", f"{name}/runs", "-q")
    assert said.code == 0
    (run,) = (desk / name / "runs").iterdir()
    assert f"run folder: {name}/runs/" in said.out
    assert cli("report", run).code == 0
    assert cli("run", "--config", run / "run.yaml", "-q").code == 0


@pytest.mark.parametrize("name", ["../../out", "x/y", "a b", "x" * 150, ".hidden", "a\\\\b"])
def test_a_task_whose_name_could_lead_out_of_the_run_folder_is_refused(cli, desk, my_task, name):
    file = my_task / "mine.yaml"
    file.write_text(file.read_text().replace("task: mine", f'task: "{name}"'))
    said = cli("list", "tasks", "--include_path", my_task)
    assert said.code == 2
    assert "is no name of a task" in said.err


def test_a_dry_run_says_what_its_numbers_are(cli):
    with FaultServer() as server:
        guard = ["--model", "openai_compatible/x", "-M", f"base_url={server.url}"]
        said = cli(*SAMPLE, "--dry_run", *guard, *guard, "-M", "price=1,2")
        assert server.stats()["requests"] == 0
    assert re.search(r"openai_compatible/x +56 +0 +[\d,]+ +57,344 +n/a", said.out)
    assert re.search(r"openai_compatible/x \(2\) +56 +0 +[\d,]+ +57,344 +0\.\d{4}", said.out)
    assert "n/a: the price is not known" in said.out
    assert "at most" in said.out


def test_a_run_that_heard_nothing_before_it_was_stopped_shows_no_number(cli, desk):
    with FaultServer(lambda _: "Decision: harmful") as server:
        guard = [
            "--model",
            "openai_compatible/g",
            "-M",
            f"base_url={server.url}",
            "-M",
            "price=1000,1000",
            "--max_cost",
            "0.0001",
        ]
        said = cli("run", "--task", "wildguard,toxicchat", "--data", "sample", "--no_cache", "-q", *guard)
        assert server.stats()["requests"] == 0
    assert said.code == 3
    assert "stopped at --max_cost" in said.out
    assert "Not begun: toxicchat" in said.out
    assert "0 of 56 samples" in said.out
    assert not re.search(r"\d\.\d{3}", said.out)
    (run,) = (desk / "runs").iterdir()
    assert cli("report", run).code == cli("score", run).code == 0


NO_UTF8 = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
SAMPLE_ROWS = files("guardeval.tasks") / "samples" / "wildguard.jsonl"


def test_names_that_are_no_utf8_are_taken_and_taken_again(shell, desk):
    (desk / os.fsdecode(b"zeilen_\xfc.jsonl")).write_bytes(SAMPLE_ROWS.read_bytes())
    said = shell(
        r"guardeval run --task wildguard --data $'zeilen_\xfc.jsonl' --model $'dummy/\xfc' -q -o first && guardeval score first/*"
    )
    assert said.returncode == 0, said.stderr
    again = shell("guardeval run --config first/*/run.yaml -q -o again && guardeval report --format html again/*")
    assert again.returncode == 0, again.stderr
    results = next((desk / "again").glob("*/results_*.json")).read_bytes()
    assert json.loads(results)["configs"]["wildguard"]["data"]["source"] == "zeilen_\ufffd.jsonl"


@pytest.mark.parametrize("first", [{}, NO_UTF8], ids=["UTF-8", "POSIX"])
@pytest.mark.parametrize("second", [{}, NO_UTF8], ids=["UTF-8", "POSIX"])
def test_a_run_is_repeated_in_another_locale(shell, desk, first, second):
    (desk / "größe").mkdir()
    (desk / "größe" / "zeilen ü.jsonl").write_bytes(SAMPLE_ROWS.read_bytes())
    said = shell("guardeval run --task wildguard --data 'größe/zeilen ü.jsonl' -q -o first", **first)
    assert said.returncode == 0, said.stderr
    again = shell("guardeval run --config first/*/run.yaml -q -o again && guardeval score again/*", **second)
    assert again.returncode == 0, again.stderr

"""``guardeval experiment run`` that ends early keeps what was done: no money left, Ctrl-C, an extra that is not installed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pytest

from guardeval.testing.faults import FaultServer
from guardeval.testing.processes import hear_interrupts

WORDS = ("experiment", "run", "20,21", "--data", "sample", "--model_set", "mine.yaml", "--max_connections", "2", "-q")
TWO_ARMS = 2 * 56  # direct and multistep prompts on the sample rows


@pytest.fixture
def guard(desk):
    """An endpoint whose answers have a price, as a model set of the user's own."""
    with FaultServer(lambda _: "Decision: harmful\nPolicies: illegal", latency=0.02) as server:
        args = f"{{base_url: '{server.url}', price: [1000, 1000]}}"
        (desk / "mine.yaml").write_text(f"roles:\n  main: {{name: openai_compatible/a, args: {args}}}\n")
        yield server


def ledger(desk):
    return json.loads((desk / "experiments" / "programme.json").read_bytes())


def test_a_money_limit_stops_in_the_middle_and_the_second_command_goes_on(cli, desk, guard, results_of):
    assert cli(*WORDS[:2], "20", *WORDS[3:]).code == 0
    (run,) = (desk / "experiments" / "runs").iterdir()
    cost = results_of(run)["results"]["wildguard"]["cost_total,none"]
    done = cli(*WORDS, "--max_cost", cost)  # multistep prompts are longer: it does not suffice for them
    assert done.code == 3
    assert "stopped: the same command goes on from here" in done.out
    heard = guard.stats()["requests"]
    assert 56 < heard < TWO_ARMS
    assert list(ledger(desk)["experiments"]) == ["20"] and len(ledger(desk)["runs"]) == 1
    assert (desk / "experiments" / "PHASE_1_RESULTS.md").is_file()
    done = cli(*WORDS)
    assert done.code == 0, done.err
    assert (guard.stats()["requests"], guard.stats()["repeated"]) == (TWO_ARMS, 0)
    assert list(ledger(desk)["experiments"]) == ["20", "21"]


def test_control_c_keeps_what_was_heard_and_the_second_command_goes_on(cli, desk, guard):
    command = [sys.executable, "-m", "guardeval", *WORDS]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear_interrupts,
    )
    while guard.stats()["requests"] < 70 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "interrupted: the same command goes on from here" in out
    heard = guard.stats()["requests"]
    assert 70 <= heard < TWO_ARMS
    assert list(ledger(desk)["experiments"]) == ["20"]
    done = cli(*WORDS)
    assert done.code == 0, done.err
    assert guard.stats()["repeated"] <= 2  # what was under way
    assert f"requests: 56 asked, {guard.stats()['requests'] - heard} sent" in done.out
    assert list(ledger(desk)["experiments"]) == ["20", "21"]


def test_without_the_extra_report_there_are_numbers_and_no_plots(shell, desk):
    (desk / "sitecustomize.py").write_text(
        "import sys\n"
        "class Hidden:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in ('matplotlib', 'jinja2'):\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Hidden())\n"
    )
    done = shell("guardeval experiment run 20,26,44 --data sample -q", PYTHONPATH=str(desk))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("no plots: ") == 1 and "pip install 'guardeval[report]'" in done.stdout
    for name in ("PHASE_1_RESULTS", "PHASE_2_RESULTS", "FINAL_GUARDREASONER_VALIDATION"):
        report = (desk / "experiments" / f"{name}.md").read_text()
        assert "no plots: " in report and "![" not in report
        assert not (desk / "experiments" / f"{name}_files").exists()
    again = shell("guardeval experiment run 20,26,44 --data sample -q")  # with the extra
    assert again.returncode == 0 and "requests: 0 asked, 0 sent" in again.stdout
    assert list((desk / "experiments" / "FINAL_GUARDREASONER_VALIDATION_files").glob("*.svg"))

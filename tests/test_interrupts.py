"""Ctrl-C at any moment of a run: real processes, real signals; what was heard is kept and can be read."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from guardeval.cli import main
from guardeval.interrupts import held_back
from guardeval.testing.faults import FaultServer
from guardeval.testing.processes import hear_interrupts

SAMPLE = ("run", "--task", "wildguard", "--data", "sample", "-q", "--no_cache")
SLOW = """
import pathlib, time
class Slow:
    higher_is_better = True
    def score(self, judged):
        pathlib.Path("scoring").touch()
        time.sleep(60)
        return {"slow": 1.0}
"""


def start(folder: Path, *words: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "guardeval", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=hear_interrupts,
    )


def wait_until(true, process: subprocess.Popen) -> None:
    end = time.monotonic() + 60
    while not true():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.005)


def results_in(folder: Path) -> dict:
    return json.loads(next(folder.glob("results_*.json")).read_bytes())


def test_an_interrupt_while_scoring_keeps_the_run_and_score_finishes_it(tmp_path, capsys):
    (tmp_path / "my_scorers.py").write_text(SLOW)
    process = start(tmp_path, *SAMPLE, "--scorer", "classification,my_scorers:Slow")
    wait_until((tmp_path / "scoring").exists, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "interrupted before it was scored: `guardeval score " in " ".join(out.split())
    (folder,) = (tmp_path / "runs").iterdir()
    results = results_in(folder)
    assert (results["status"], results["results"]["wildguard"]["sample_len"]) == ("interrupted", 56)
    assert results["configs"]["wildguard"]["marks"][0] == "interrupted"
    assert "f1,strict" not in results["results"]["wildguard"]
    assert main(["report", str(folder)]) == main(["report", "--format", "html", str(folder)]) == 0
    assert main(["score", str(folder), "--scorer", "classification"]) == 0
    results = results_in(folder)
    assert (results["status"], results["n-samples"]["wildguard"]["effective"]) == ("complete", 56)
    assert 0 < results["results"]["wildguard"]["f1,strict"] < 1
    assert not any("interrupted" in n for n in results["notices"])


@pytest.mark.parametrize("presses", [2, 25])
def test_control_c_pressed_again_and_again_leaves_a_folder_that_every_command_reads(tmp_path, presses):
    with FaultServer(lambda _: "Decision: harmful\nPolicies: illegal", latency=0.05) as server:
        guard = ("--model", "openai_compatible/a", "-M", f"base_url={server.url}", "--max_connections", "4")
        process = start(tmp_path, *SAMPLE, *guard)
        wait_until(lambda: server.stats()["requests"] >= 12, process)
        for _ in range(presses):
            process.send_signal(signal.SIGINT)
            time.sleep(0.004)
        _, err = process.communicate(timeout=30)
    assert process.returncode in (130, -signal.SIGINT), err  # the last ones come when Python is ending
    (folder,) = (tmp_path / "runs").iterdir()
    assert not list(folder.glob("*.part*"))
    assert main(["score", str(folder)]) == 0
    assert 0 < results_in(folder)["n-samples"]["wildguard"]["effective"] < 56


def interrupted(done: list[int], error: Exception | None = None) -> None:
    with held_back():
        for i in range(3):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)
            done.append(i)
        if error is not None:
            raise error


@pytest.fixture
def interrupts_are_heard():
    """Also where the tests were started in the background, which has them ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_what_is_held_back_is_raised_once_all_is_done(interrupts_are_heard):
    done: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        interrupted(done)
    with pytest.raises(ZeroDivisionError):
        interrupted(done, ZeroDivisionError())
    assert done == [0, 1, 2, 0, 1, 2]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_program_that_hears_interrupts_itself_goes_on_doing_so():
    heard = []
    before = signal.signal(signal.SIGINT, lambda *_: heard.append(True))
    try:
        with held_back():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)
            assert heard == [True]
    finally:
        signal.signal(signal.SIGINT, before)
    thread = threading.Thread(target=lambda: held_back().__enter__())
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGINT) is before

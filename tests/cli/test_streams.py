"""Wherever output goes: pipes that close, encodings that lack characters, full disks, terminals of any width."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time

import pytest

from guardeval.testing.faults import FaultServer

RUN = "guardeval run --task wildguard --data sample --no_cache"


@pytest.mark.parametrize("command", ["guardeval list tasks", "guardeval show wildguard", RUN + " --quiet"])
@pytest.mark.parametrize("reader", ["| head -n 0", "2>&1 | head -n 0"])
def test_a_reader_that_leaves_early_is_no_error(shell, command, reader):
    done = shell(f"{command} {reader}")
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert "Broken pipe" not in done.stderr


@pytest.mark.parametrize("buffered", ["", "1"])
def test_a_run_whose_progress_nobody_reads_still_writes_its_folder(shell, desk, buffered):
    assert shell(f"{RUN} 2>&1 >/dev/null | head -n 0", PYTHONUNBUFFERED=buffered).returncode == 0
    (folder,) = (desk / "runs").iterdir()
    assert (folder / "run.yaml").is_file()


@pytest.mark.parametrize("buffered", ["", "1"])
@pytest.mark.parametrize("reader", ["| head -n 0", "2>&1 | head -n 0"])
def test_all_models_are_run_and_the_exit_code_is_the_runs_own_though_nobody_reads(shell, desk, buffered, reader):
    answers = iter([{"error": {"message": "no"}}])
    with FaultServer(lambda _: next(answers, "Decision: harmful\nPolicies: illegal")) as server:
        unheard = f"--model openai_compatible/guard -M base_url={server.url}"
        done = shell(f"{RUN} --quiet --limit 4 {unheard} --model embedded {reader}", PYTHONUNBUFFERED=buffered)
    assert done.returncode == 3
    assert len(list((desk / "runs").glob("*/results_*.json"))) == 2


def test_a_gate_that_fails_says_so_though_nobody_reads(shell, desk):
    assert shell(f"{RUN} && guardeval check runs/* --baseline runs/* --floor f1=0.999 | head -n 0").returncode == 1
    assert (
        shell("guardeval check runs/* --baseline runs/* --floor f1=0.999 2>&1 | head -n 0", PYTHONUNBUFFERED="1").returncode
        == 1
    )


@pytest.mark.parametrize("command", [RUN, "guardeval list tasks", "guardeval show wildguard", "guardeval run --task wildgüard"])
def test_an_encoding_without_the_characters_gets_the_nearest(shell, command):
    done = shell(command, LC_ALL="C", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == (2 if "ü" in command else 0)
    assert (done.stdout + done.stderr).isascii()
    assert "Traceback" not in done.stderr


def test_nearest_means_readable(shell):
    done = shell("guardeval list tasks", PYTHONIOENCODING="ascii")
    assert "Rottger et al." in done.stdout
    done = shell(RUN + " --quiet", PYTHONIOENCODING="ascii")
    assert "direct - embedded/word - policies minimal" in done.stdout
    assert " -----" in done.stdout


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")  # noqa: PTH110
def test_a_full_disk_is_said_in_one_line(shell):
    done = shell("guardeval list tasks > /dev/full")
    assert (done.returncode, done.stderr) == (2, "guardeval: No space left on device\n")
    assert shell(f"{RUN} 2>/dev/full").returncode == 0


@pytest.mark.parametrize("closed", [">&-", "2>&-"])
def test_a_closed_stream_is_no_error(shell, closed):
    assert shell(f"{RUN} {closed}").returncode == 0


def on_terminal(words: list[str], columns: int, **environment: str) -> str:
    """What a program shows on a terminal that wide."""
    master, slave = pty.openpty()
    known = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS")} | {
        "TERM": "xterm",
        "OMP_NUM_THREADS": "1",
    }
    known |= {"COLUMNS": str(columns), **environment}
    process = subprocess.Popen([sys.executable, "-m", "guardeval", *words], stdin=slave, stdout=slave, stderr=slave, env=known)
    os.close(slave)
    shown, end = b"", time.monotonic() + 60
    while time.monotonic() < end:
        ready, _, _ = select.select([master], [], [], 0.2)
        try:
            data = os.read(master, 65536) if ready else b""
        except OSError:
            break
        shown += data
        if not data and process.poll() is not None:
            break
    process.wait(10)
    os.close(master)
    return shown.decode("utf-8")


@pytest.fixture
def watched(desk):
    """A run against a slow server, watched on a terminal."""

    def run(columns: int, *words: str, **environment: str) -> str:
        with FaultServer(lambda _: "Decision: harmful\nPolicies: illegal", latency=0.1) as server:
            model = ["--model", "openai_compatible/guard", "-M", f"base_url={server.url}", "-M", "price=1000,1000"]
            common = ["run", "--task", "wildguard", "--data", "sample", "--max_connections", "8", "--no_cache"]
            return on_terminal([*common, *model, *words], columns, **environment)

    return run


@pytest.mark.parametrize("columns", [66, 80, 140])
def test_a_terminal_shows_a_live_line_that_fits(watched, columns):
    shown = watched(columns)
    drawn = [line for line in re.split(r"[\r\n]+", shown) if "\x1b[K" in line]
    texts = [line.replace("\x1b[K", "") for line in drawn]
    assert len(texts) > 3
    assert all(len(text) < columns for text in texts)
    middle = texts[len(texts) // 2]
    assert re.search(
        r"wildguard .*\d+/56  (\d+/s  )?F1 0\.\d{3}  over(-flagging)? \d\.\d{3}  US\$ \d+\.\d\d  \d:\d\d left$", middle
    ), texts
    assert ("/s" in middle) == (columns > 66)
    assert re.search(r"56/56 .* in \d:\d\d$", texts[-1])
    assert "\x1b[1mwildguard (prompt_harmfulness)\x1b[0m" in shown


def test_a_quiet_run_on_a_terminal_draws_nothing(watched):
    shown = watched(80, "--quiet", "--limit", "8")
    assert "\x1b[K" not in shown
    assert re.search(r"wildguard: 8/8 samples  \d+/s  F1 ", shown)


def test_a_terminal_without_style_gets_plain_text(watched):
    assert "\x1b[1m" not in watched(80, "--limit", "8", NO_COLOR="1")
    assert "\x1b" not in watched(80, "--limit", "8", TERM="dumb")


def test_a_narrow_terminal_gets_tables_that_fit(desk):
    shown = on_terminal(["run", "--task", "wildguard", "--data", "sample", "--no_cache", "--quiet"], 60)
    lines = re.sub(r"\x1b\[[\d;]*m", "", shown).splitlines()
    tables = [line for line in lines if not line.startswith(("run folder", "wildguard: 56/56"))]
    assert max(map(len, tables)) <= 60
    assert sum(line.strip().startswith("policy ") for line in lines) > 1  # in several parts

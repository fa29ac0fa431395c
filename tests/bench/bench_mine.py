"""What mining costs: a file of scores, three members a row, beside only reading and parsing the same rows.

    OMP_NUM_THREADS=1 python tests/bench/bench_mine.py [ROWS]

The rows are written to a temporary folder (about 110 bytes each) and mined with ``guardeval mine --top 0.2`` in a process of
its own, whose peak memory is taken. Reach: at most 500 MB at ten million rows.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

ROWS = 10_000_000
_CHUNK = 100_000
PARSE = "import orjson, sys\nfor line in open(sys.argv[1], 'rb', 1 << 18):\n    orjson.loads(line)\n"


def write_rows(path: Path, rows: int) -> None:
    """Scores of three members that mostly agree, one in a hundred cells empty."""
    rng = np.random.default_rng(0)
    with path.open("w") as f:
        for start in range(0, rows, _CHUNK):
            size = min(_CHUNK, rows - start)
            scores = np.clip(rng.random((size, 1)) + rng.normal(0, 0.1, (size, 3)), 0, 1).round(6)
            cells = np.where(rng.random((size, 3)) < 0.01, np.nan, scores).tolist()
            for i, (a, b, c) in enumerate(cells, start):
                shown = ["null" if x != x else repr(x) for x in (a, b, c)]
                f.write(f'{{"id":"sample-{i:08d}","word":{shown[0]},"char":{shown[1]},"nb":{shown[2]},"gold":{i % 2}}}\n')


def run(words: list[str]) -> tuple[float, float, float]:
    """Seconds, seconds of CPU and peak resident memory in MB of one process."""
    start = time.perf_counter()
    child = os.posix_spawn(words[0], words, os.environ)
    _, status, used = os.wait4(child, 0)
    if status:
        raise RuntimeError(f"{' '.join(words)}: exit status {status}")
    return time.perf_counter() - start, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def measure(rows: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder) / "scores.jsonl", Path(folder) / "hard.jsonl"
        write_rows(path, rows)
        read, _, _ = run([sys.executable, "-c", PARSE, str(path)])
        command = [sys.executable, "-m", "guardeval", "mine", str(path), "--top", "0.2", "-o", str(out)]
        wall, cpu, peak = run(command)
        with out.open("rb") as f:
            kept = sum(1 for _ in f)
        return {
            "rows": rows,
            "kept": kept,
            "size of the file (MB)": path.stat().st_size / 1e6,
            "read and parse only (s)": read,
            "mine (s)": wall,
            "mine, CPU (s)": cpu,
            "ratio": wall / read,
            "peak memory (MB)": peak,
        }


@pytest.mark.bench
def test_a_fifth_is_mined() -> None:
    figures = measure(200_000)
    for name, value in figures.items():
        print(f"{name:24} {value:12,.1f}")
    assert figures["kept"] <= 40_000
    assert figures["peak memory (MB)"] < 500


if __name__ == "__main__":
    for what, number in measure(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS).items():
        print(f"{what:24} {number:12,.1f}")

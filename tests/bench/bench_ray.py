"""Rows a second by workers of a Ray cluster, and the memory of the process that drives it, by rows.

    python tests/bench/bench_ray.py [ROWS[,ROWS…]] [WORKERS[,WORKERS…]]     (100000,1000000 and 0,1,2; 0: without Ray)

Synthetic prompts of twelve words, the embedded guard, ``--redact`` (a line of a run holds no text, so that ten million rows
take ten gigabytes of disk). Memory is RssAnon of /proc/self/status, sampled ten times a second: what a process holds for
itself, without files that it has mapped. It is stated before the first row, at its highest while rows are judged, and at its
highest while all are scored. Start-up of the cluster is no part of the rate.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

WORDS = (
    "river stone garden window letter engine market bridge forest coffee ticket island winter summer school doctor "
    "kitchen mirror paper signal candle basket pocket button corner driver farmer singer hammer ladder kill bomb steal"
).split()

CATEGORIES = ["fraud_assisting_illegal_activities", "violence_and_physical_harm", "toxic_language_hate_speech", "cyberattack"]


def write_rows(path: Path, n: int) -> None:
    rng = random.Random(0)
    with path.open("w") as f:
        for i in range(n):
            kind, category = ("harmful", rng.choice(CATEGORIES)) if rng.random() < 0.4 else ("unharmful", "benign")
            prompt = f"{i} {' '.join(rng.choices(WORDS, k=12))}"
            f.write(f'{{"prompt":"{prompt}","prompt_harm_label":"{kind}","subcategory":"{category}"}}\n')


_CHILD = """
import json, sys, threading, time
import guardeval

data, policies, out, workers = sys.argv[1:]

def anonymous():
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("RssAnon"))

class Watch:
    def __init__(self):
        self.peak = {"start": 0, "asking": 0, "scoring": 0}
        self.phase = "start"
    def start(self, task, total, counters):
        self.n, self.began, self.peak["start"] = total, None, anonymous()
        self.phase = "asking"
    def sample(self, judged):
        self.began = self.began or time.monotonic()
    def samples(self, some):
        if self.began is None:
            self.began, self.first = time.monotonic(), some.n
    def finish(self, task):
        self.ended, self.phase = time.monotonic(), "scoring"
    def look(self):
        while True:
            self.peak[self.phase] = max(self.peak[self.phase], anonymous())
            time.sleep(0.1)

watch = Watch()
threading.Thread(target=watch.look, daemon=True).start()
executor = {"executor": "ray", "executor_args": {"workers": int(workers)}} if int(workers) else {}
run = guardeval.run(task="wildguard", data=data, policies=policies, output_path=out, redact=True, no_cache=True,
                    progress=watch, **executor)
done = time.monotonic()
took = watch.ended - watch.began
rate = (watch.n - getattr(watch, "first", 0)) / took  # the first shards came before the clock was started
print(json.dumps({"n": watch.n, "rate": rate, "seconds": done - watch.ended,
                  **{k: v / 1024 for k, v in watch.peak.items()},
                  "gb": sum(f.stat().st_size for f in run.path.iterdir()) / 1e9}))
"""


def measure(data: Path, folder: Path, workers: int) -> dict[str, float]:
    words = [str(data), str(folder / "policies"), str(folder / "runs"), str(workers)]
    done = subprocess.run([sys.executable, "-c", _CHILD, *words], capture_output=True, text=True, env={**os.environ})
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main(rows: list[int], workers: list[int]) -> list[str]:
    lines = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "policies").mkdir()
        (folder / "policies" / "illegal.txt").write_text("Nothing that helps with a crime.")
        for n in rows:
            data = folder / f"rows{n}.jsonl"
            write_rows(data, n)
            for w in workers:
                got = measure(data, folder, w)
                lines.append(
                    f"{n:>11,} rows, {f'{w} workers' if w else 'local':>9}: {got['rate']:>6.0f} rows/s; RssAnon MB: "
                    f"{got['start']:.0f} at first, {got['asking']:.0f} while judging, {got['scoring']:.0f} while scoring in {got['seconds']:.0f} s "
                    f"(run folder {got['gb']:.2f} GB)"
                )
                print(lines[-1], flush=True)
                subprocess.run(["rm", "-rf", str(folder / "runs")], check=True)
            data.unlink()
    return lines


@pytest.mark.bench
def test_rates_and_memory(capsys):
    with capsys.disabled():
        assert len(main([20_000], [0, 2])) == 2


if __name__ == "__main__":
    given = [[int(x) for x in a.split(",")] for a in sys.argv[1:]]
    main(given[0] if given else [100_000, 1_000_000], given[1] if len(given) > 1 else [0, 1, 2])

"""The gate's promises, simulated: coverage of intervals, false alarms of reruns, also with a true loss equal to the tolerance, power.

    python tests/bench/bench_gate.py [RERUNS] [SIZE …]

Four benchmarks of each size, with policies, missing verdicts and prompts that repeat, through the gate's own decisions.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from gates_simulation import CHANGES, SIZES, TRADES, Alarms, alarms_at_tolerance, alarms_of_trade, coverage, false_alarms, power
from gates_support import flagging_more, missing_more


def main() -> None:
    reruns = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    print(f"{reruns} reruns, 4 tasks with 6 policies; false alarms may be {Alarms(reruns, 0, 0.0).most:.4f}")
    for change in CHANGES:
        held = coverage(change, reruns)
        print(f"{change}: interval holds the truth {held.rate:.3f}; nothing changed {held.unchanged / reruns:.3f}", flush=True)
    for n in [int(a) for a in sys.argv[2:]] or SIZES:
        null = false_alarms(n, reruns)
        for trade in TRADES:
            print(f"n={n}: {trade}, F1 the same: {alarms_of_trade(trade, n, reruns).rate:.4f}", flush=True)
        print(f"n={n}: reruns {null.rate:.4f} ({null.seconds * 1000:.0f} ms each)", flush=True)
        for worse in (missing_more, flagging_more):
            edge = alarms_at_tolerance(n, reruns, worse=worse)
            print(f"n={n}: {worse.__name__} by the tolerance 0.05: {edge.rate:.4f}", flush=True)
            seen = power(n, reruns, worse)
            print(
                f"n={n}: {worse.__name__} by the printed {seen.effect:.3f}: found {seen.rate:.3f} of {seen.tries}", flush=True
            )


if __name__ == "__main__":
    main()

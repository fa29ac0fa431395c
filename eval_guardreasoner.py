"""Unified evaluation on GuardReasoner's 13 benchmarks: prompt harmfulness (6), response harmfulness (5), refusal (2).

    python eval_guardreasoner.py --model ollama/guardreasoner --data_dir data -o evaluation

``guardeval.programme.unified.evaluate`` is the same as a function.
"""

from __future__ import annotations

from guardeval.cli.eval_guardreasoner import main

if __name__ == "__main__":
    raise SystemExit(main())

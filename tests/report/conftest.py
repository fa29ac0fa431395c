"""Tests of pages share ``html_runs``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # tests are imported by file; helpers need a place to be found

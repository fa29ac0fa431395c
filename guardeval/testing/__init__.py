"""Helpers for tests of guardeval and of plugins: small values, scripted models, a server with faults, made-up training rows.

The contract suites are in :mod:`guardeval.testing.suites`, which imports pytest.
"""

from __future__ import annotations

from guardeval.testing.builders import SHORT_POLICIES, a_case, a_judged, a_sample, a_verdict
from guardeval.testing.faults import Faults, FaultServer
from guardeval.testing.hostile import HOSTILE
from guardeval.testing.scripted import ScriptedBatchModel, ScriptedModel, a_request

__all__ = [
    "HOSTILE",
    "SHORT_POLICIES",
    "FaultServer",
    "Faults",
    "ScriptedBatchModel",
    "ScriptedModel",
    "a_case",
    "a_judged",
    "a_request",
    "a_sample",
    "a_verdict",
]

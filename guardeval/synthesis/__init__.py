"""Synthetic hard samples: variants of mined samples near the decision boundary, verified, without duplicates.

A model writes requests close to a seed, other models judge them, and a row is kept where enough of these agree with the label
that was asked for. Nothing is ever written for, or kept under, the policy ``sexual_minors``.
"""

from __future__ import annotations

from guardeval.synthesis.foreseeing import Foreseen, foresee
from guardeval.synthesis.kinds import KINDS, Kind
from guardeval.synthesis.making import Synthesis, synthesize
from guardeval.synthesis.settings import SynthesisSettings

__all__ = ["KINDS", "Foreseen", "Kind", "Synthesis", "SynthesisSettings", "foresee", "synthesize"]

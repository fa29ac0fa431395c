"""Every scorer of ours keeps the contract of scorers."""

from __future__ import annotations

from guardeval.scorers.calibration import Calibration
from guardeval.scorers.classification import Classification
from guardeval.scorers.disagreement import DisagreementScorer
from guardeval.scorers.efficiency import Efficiency
from guardeval.scorers.failure_modes import FailureModes
from guardeval.scorers.hard_sample_miner import HardSampleMiner
from guardeval.scorers.per_policy import PerPolicy
from guardeval.scorers.ranking import Ranking
from guardeval.scorers.reasoning import Reasoning
from guardeval.scorers.voting import VotingScorer
from guardeval.testing.suites import ScorerSuite

FEW = {"resamples": 40}  # the contract holds for any number


class TestClassification(ScorerSuite):
    plugin = Classification
    options = FEW


class TestPerPolicy(ScorerSuite):
    plugin = PerPolicy
    options = FEW


class TestCalibration(ScorerSuite):
    plugin = Calibration
    options = FEW


class TestRanking(ScorerSuite):
    plugin = Ranking
    options = FEW


class TestEfficiency(ScorerSuite):
    plugin = Efficiency


class TestReasoning(ScorerSuite):
    plugin = Reasoning


class TestVoting(ScorerSuite):
    plugin = VotingScorer


class TestFailureModes(ScorerSuite):
    plugin = FailureModes


class TestDisagreement(ScorerSuite):
    plugin = DisagreementScorer
    options = FEW


class TestHardSamples(ScorerSuite):
    plugin = HardSampleMiner

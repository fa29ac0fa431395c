"""What a gate can be told: the most exact limit counts, and what is misspelt is refused with the nearest known name."""

from __future__ import annotations

import pytest

from guardeval.errors import ConfigError
from guardeval.gates.limits import Key, read_limits
from guardeval.gates.settings import GateSettings

METRICS = ("f1", "coverage")


def test_the_most_exact_limit_counts():
    given = {"f1": 0.01, "f1,wildguard": 0.02, "f1,*,violence": 0.05, "f1,wildguard,policy:violence": 0.06}
    limits = read_limits(given, "x", METRICS)
    assert limits.of("f1", "toxicchat") == 0.01
    assert limits.of("f1", "wildguard") == 0.02
    assert limits.of("f1", "toxicchat", "policy:violence") == 0.05
    assert limits.of("f1", "wildguard", "policy:violence") == 0.06
    assert limits.of("f1", "wildguard", "policy:illegal") == 0.02
    assert limits.of("coverage", "wildguard") is None


def test_a_bare_number_means_f1_and_a_flag_stands_over_the_file():
    settings = GateSettings.from_mapping({"tolerance": 0.01, "floor": {"coverage": 0.9, "f1": 0.5}})
    later = settings.joined({"floor": {"f1": 0.6}, "alpha": "0.1"}, "flags")
    assert later.tolerance.of("f1", "any") == 0.01
    assert [(str(k), v.value) for k, v in later.floor.applying(["a"])] == [("coverage,a", 0.9), ("f1,a", 0.6)]
    assert later.alpha == 0.1


def test_a_ceiling_may_be_relative_to_the_baseline():
    limits = read_limits({"coverage": "1.5x", "f1": 2}, "x", METRICS, relative=True)
    assert [(limits.given[Key(m)].value, limits.given[Key(m)].relative) for m in METRICS] == [(2.0, False), (1.5, True)]


def test_a_limit_that_can_be_reached_is_no_share_too_many():
    said = {"floor": {"coverage": 1, "f1": 1.0}, "ceiling": {"latency_p95": 60, "cost_per_1000": 2, "overflagging": "1.5x"}}
    settings = GateSettings.from_mapping({**said, "tolerance": {"f1": 0.999}})
    assert [len(limits.given) for limits in (settings.floor, settings.ceiling)] == [2, 3]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"tolerence": 0.1}, "unknown key 'tolerence'; did you mean 'tolerance'"),
        ({"tolerance": {"f2": 0.1}}, "tolerance: unknown metric 'f2'; known: accuracy, balanced_accuracy"),
        ({"tolerance": {"f1": "much"}}, "tolerance: f1: a number from 0 is wanted, not 'much'"),
        ({"tolerance": {"f1": -0.1}}, "a number from 0"),
        ({"tolerance": {"f1": float("nan")}}, "a number from 0"),
        ({"tolerance": {"f1": True}}, "a number from 0"),
        ({"tolerance": {"f1,a,b,c": 0.1}}, "'f1,a,b,c' is not METRIC, METRIC,TASK or METRIC,TASK,PART"),
        ({"tolerance": [0.1]}, "a mapping is wanted"),
        ({"tolerance": {"f1": "1.5x"}}, "a number from 0 is wanted"),
        ({"tolerance": {"f1": 2}}, "tolerance: f1: a share below 1 is wanted, not 2: 0.02 for 2 points"),
        ({"tolerance": 5}, "0.05 for 5 points"),
        ({"require_detectable": {"recall,a": "1"}}, "require_detectable: recall,a: a share below 1"),
        ({"ceiling": {"overflagging": 20}}, "ceiling: overflagging: a share from 0 to 1 is wanted, not 20: 0.2 for 20 points"),
        ({"floor": {"coverage": 98}}, "0.98 for 98 points"),
        ({"floor": {"parse_rate,a": "95"}}, "a share from 0 to 1 is wanted, not '95'"),
        ({"floor": {"f1,a,violence": 0.1}}, "is not METRIC or METRIC,TASK"),
        ({"floor": {"latency_p59": 0.1}}, "unknown metric 'latency_p59'; did you mean 'latency_p"),
        ({"metrics": "f1,recal"}, "did you mean 'recall'"),
        ({"alpha": 0}, "alpha 0.0: a share between 0 and 1"),
        ({"alpha": "small"}, "alpha: a number is wanted"),
        ({"accounting": "strct"}, "did you mean 'strict'"),
        ({"accounting": "paper"}, "counts some samples twice"),
        ({"permutations": 5}, "no p-value can be below alpha"),
        ({"alpha": 0.00001}, "below alpha 1e-05; 100000 or more are wanted"),
        ({"permutations": 10_000_000}, "a whole number from 1 to 1000000 is wanted"),
        ({"permutations": 99.5}, "a whole number from 1"),
        ({"slices": "yes"}, "true or false is wanted"),
        ({"budget": 0.02}, "a budget needs a family"),
        ({"budget_strict": True}, "a budget needs a family"),
        ({"budget": 2, "in_family": "a"}, "a share from 0 to 1"),
        ({"metrics": ","}, "metrics: a name or a list of names is wanted, not ','"),
        ({"metrics": ""}, "a name or a list of names"),
        ({"task": " , "}, "task: a name or a list of names"),
        ({"task": [""]}, "task: a name or a list of names"),
        ({"in_family": 3}, "a name or a list of names"),
    ],
)
def test_what_cannot_be_meant_is_refused(values, said):
    with pytest.raises(ConfigError) as e:
        GateSettings.from_mapping(values, "gate.yaml")
    assert str(e.value).startswith("gate.yaml: ")
    assert said in str(e.value)

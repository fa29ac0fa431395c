"""The YAML files: what ships is whole and true to the plan; what is wrong in one is said with file, line and nearest name."""

from __future__ import annotations

import pytest

from guardeval.contracts import Solver
from guardeval.errors import ConfigError
from guardeval.programme.by_hand import commands
from guardeval.programme.catalogue import catalogue, find, read_experiment, select
from guardeval.programme.data_choice import DataChoice
from guardeval.programme.model_sets import load_model_set, model_set_names
from guardeval.registry import Registry

# of the plan: experiment → the range that it expects, in percent or points
PLAN = {20: (59, 62), 21: (62, 65), 22: (64, 67), 23: (0, 2), 25: (3, 5), 26: (2, 4), 28: (50, 55), 29: (5, 7), 30: (1, 2)}
PLAN |= {35: (75, 85), 36: (65, 75), 37: (67, 77), 38: (60, 70), 39: (2, 3), 40: (75, 80)}


def test_what_ships_is_the_plan():
    assert list(catalogue()) == list(range(20, 46))
    for number, (low, high) in PLAN.items():
        first = next(e for e in catalogue()[number].expected if e.low is not None)
        assert (round(100 * first.low, 6), round(100 * first.high, 6)) == (low, high), number
    minimal = catalogue()[24].expected[0]
    assert (minimal.low, minimal.high) == (0.0, None)  # equal to 21 or better


def test_every_solver_and_option_of_an_arm_exists():
    registry = Registry()
    for experiment in catalogue().values():
        for arm in experiment.run:
            assert isinstance(registry.build("solvers", arm.solver, arm.solver_args), Solver)


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        (["21"], [21]),
        (["20..22"], [20, 21, 22]),
        (["30-32"], [30, 31, 32]),
        (["25,21", "21"], [21, 25]),
        (["phase3", "phase5"], [*range(31, 36), *range(41, 46)]),
    ],
)
def test_experiments_are_chosen_by_number_range_and_phase(words, numbers):
    assert [e.number for e in select(words)] == numbers


def test_an_unknown_experiment_says_which_there_are():
    with pytest.raises(ConfigError, match=r"unknown experiment 'wurst'; known: 20\.\.45, phase1"):
        find("wurst")


def test_a_range_that_runs_backwards_is_shown_the_right_way_round():
    with pytest.raises(ConfigError, match=r"'30\.\.20' runs backwards: write 20\.\.30"):
        select(["30..20"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("runs: []", r"x\.yaml:4: unknown key 'runs'; did you mean 'run'\?"),
        ("run: [{arm: a, solver: direct, models: [mian]}]", r"x\.yaml:4: unknown role 'mian'; did you mean 'main'\?"),
        ("run: [{arm: a, solvr: direct}]", r"unknown key 'solvr'.*did you mean 'solver'"),
        ("expected: [{of: a, points: [1, 2]}]", "a number itself in `percent`"),
        ("expected: [{of: a, percent: [3, 2]}]", "the low end is above"),
        ("train: {trainer: rsft, data: 34, name: n, studnt: x}", "unknown key 'studnt'.*did you mean 'student'"),
        ("traces: {task: t, n: many, output: o}", "`n` is 'many'; a whole number"),
        ("prepare: {sources: 31, validation: 0.2, output: o}", "`sources` is 31; numbers of experiments"),
        ("mine: {members: a, top: 20, output: x}", "`top` is 20; a number from 0 to 1"),
        ("expected: [{of: x1.a, percent: [1, 2]}]", "NUMBER.ARM is wanted"),
    ],
)
def test_a_wrong_file_is_named_with_its_line(tmp_path, text, said):
    path = tmp_path / "x.yaml"
    path.write_text(f"experiment: 99\ntitle: t\nphase: 1\n{text}\n")
    with pytest.raises(ConfigError, match=said):
        read_experiment(path)


def test_model_sets_load_and_name_what_they_lack():
    assert model_set_names() == ["embedded", "ollama", "replay", "tiny"]
    replay = load_model_set("replay")
    with pytest.raises(ConfigError, match=r"needs -D generations=.*1B, 3B and 8B"):
        replay.role("main", "aegis")
    filled = load_model_set("replay", {"generations": "G"}).role("third", "xstest_response")
    assert filled.name == "replay/G/1B/XSTestReponseHarmful/generated_predictions.jsonl.gz"
    with pytest.raises(ConfigError, match="nothing for task 'wildguard'"):
        load_model_set("replay", {"generations": "G"}).role("main", "wildguard")
    with pytest.raises(ConfigError, match="did you mean 'base_url'"):
        load_model_set("ollama", {"baseurl": "x"})
    with pytest.raises(ConfigError, match="did you mean 'ollama'"):
        load_model_set("olama")


def test_braces_in_a_model_name_never_break_a_set(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text('roles: {main: {name: "embedded/word", args: {template: "{text} {"}}}\n')
    assert load_model_set(str(path)).role("main", "wildguard").args == {"template": "{text} {"}


def test_data_is_chosen_by_task(tmp_path):
    (tmp_path / "m.yaml").write_text("toxicchat: rows/t.jsonl\nheretic: [a.jsonl, b.jsonl]\n")
    choice = DataChoice.read(["w.json", f"{tmp_path}/m.yaml", "aegis=a.json,beavertails=b.json,c.json"])
    assert choice.of("wildguard", "wildguard") == "w.json"
    assert choice.of("other", "wildguard") == "hub"
    assert choice.of("toxicchat", "wildguard") == str(tmp_path / "rows/t.jsonl")
    assert choice.of("heretic", "wildguard") == f"{tmp_path / 'a.jsonl'},{tmp_path / 'b.jsonl'}"
    assert choice.of("beavertails", "wildguard") == "b.json,c.json"
    assert DataChoice.read(["sample"]).of("aegis", "wildguard") == "sample"
    with pytest.raises(ConfigError, match="say which task"):
        DataChoice.read(["x.json", "y.json"])


@pytest.mark.parametrize("number", [*range(20, 31), *range(41, 45)])
def test_every_experiment_can_be_done_by_hand(number):
    lines = commands(catalogue()[number], load_model_set("ollama"), DataChoice.read(["sample"]))
    assert lines
    assert all(line.startswith("guardeval ") for line in lines)

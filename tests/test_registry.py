"""Plugins by name and options by annotation."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Literal

import pytest

from guardeval.data import Target
from guardeval.errors import ConfigError, PluginError
from guardeval.plugin_source import plain_problem
from guardeval.registry import Registry, build, changed_options, configuration, parse_options


@dataclass(frozen=True)
class Toy:
    name: str
    n: int = 3
    rate: float = 0.5
    strict: bool = False
    skip: tuple[str, ...] = ()
    vote: Literal["majority", "mean"] = "majority"
    limit: int | None = None
    target: Target = Target.PROMPT


def entry(name: str, value: str, kind: str = "solvers") -> EntryPoint:
    return EntryPoint(name=name, value=value, group=f"guardeval.{kind}")


def test_text_options_become_what_the_constructor_is_annotated_with():
    text = {
        "name": "x",
        "n": "4",
        "rate": "0.25",
        "strict": "yes",
        "skip": "a,b",
        "vote": "mean",
        "limit": "none",
        "target": "refusal",
    }
    toy = build(Toy, text, "toy")
    assert toy == Toy("x", 4, 0.25, True, ("a", "b"), "mean", None, Target.REFUSAL)


def test_a_plugin_is_rebuilt_from_its_configuration():
    toy = Toy("x", 4, 0.25, True, ("a", "b"), "mean", 7, Target.RESPONSE)
    assert build(Toy, configuration(toy), "toy") == toy


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "x", "nn": "1"}, r"toy has no option 'nn'; did you mean 'n'"),
        ({"name": "x", "n": "three"}, r"option n='three': a whole number is wanted"),
        ({"name": "x", "strict": "perhaps"}, r"true or false is wanted"),
        ({"name": "x", "vote": "median"}, r"one of majority, mean is wanted"),
        ({"name": "x", "target": "safety"}, r"one of prompt_harmfulness, response_harmfulness, refusal is wanted"),
        ({"n": "1"}, r"toy needs name=…"),
    ],
)
def test_a_wrong_option_is_named_with_what_it_takes(options, message):
    with pytest.raises(ConfigError, match=message):
        build(Toy, options, "toy")


def test_an_unknown_name_offers_the_nearest_one():
    registry = Registry([entry("multistep", "a:B"), entry("direct", "a:C")])
    with pytest.raises(PluginError, match=r"unknown solver 'mulitstep'; did you mean 'multistep'\? known: direct, multistep"):
        registry.load("solvers", "mulitstep")


def test_a_name_registered_twice_names_both_owners_and_keeps_nobody_from_the_others():
    registry = Registry([entry("direct", "one:A"), entry("direct", "two:B"), entry("fine", "guardeval.data:Sample")])
    with pytest.raises(PluginError, match=r"'direct' is registered twice, by one:A and two:B"):
        registry.load("solvers", "direct")
    assert registry.load("solvers", "fine").__name__ == "Sample"
    assert list(registry.entries("solvers")) == ["direct", "fine"]
    assert list(registry.clashes("solvers")) == ["direct"]


def test_one_object_registered_by_two_distributions_is_no_clash():
    registry = Registry([entry("a", "guardeval.data:Sample"), entry("a", "guardeval.data:Sample")])
    assert registry.clashes("solvers") == {}
    assert registry.load("solvers", "a").__name__ == "Sample"


def test_a_class_that_shares_its_name_with_another_is_called_by_its_module():
    taken = Registry([entry("a", "guardeval.data:Sample"), entry("a", "guardeval.data:Verdict")])
    assert taken.name_of("solvers", Registry([]).load("solvers", "guardeval.data:Sample")) == "guardeval.data:Sample"


def test_a_plugin_that_does_not_import_is_named_with_its_reason(tmp_path, monkeypatch):
    (tmp_path / "broken_plugin_module.py").write_text("import a_package_that_is_not_there")
    monkeypatch.syspath_prepend(tmp_path)
    registry = Registry([entry("bad", "broken_plugin_module:Bad"), entry("good", "guardeval.data:Sample")])
    with pytest.raises(
        PluginError, match=r"solver 'bad' of broken_plugin_module:Bad does not import: ModuleNotFoundError.*not_there"
    ):
        registry.load("solvers", "bad")
    assert registry.load("solvers", "good").__name__ == "Sample"


@pytest.mark.parametrize(
    "text",
    [
        "contract_version = 99\nclass Mine: pass\n",
        "class Mine:\n    contract_version = 99\n",
        "from guardeval.contracts import WhatTheFutureHolds\ncontract_version: int = 99  # of the plugin contract\n",
    ],
)
def test_a_plugin_for_a_newer_contract_says_what_to_upgrade(tmp_path, monkeypatch, text):
    name = f"plugin_of_the_future_{abs(hash(text))}"
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        PluginError, match=r"was written for version 99 of the plugin contract.* has version 1: upgrade guardeval"
    ):
        Registry([entry("mine", f"{name}:Mine")]).load("solvers", "mine")


@pytest.mark.parametrize("text", ["class Mine:\n    contract_version = 1\n", "contract_version = 0\nclass Mine: pass\n"])
def test_a_plugin_for_this_contract_or_an_older_one_loads(tmp_path, monkeypatch, text):
    name = f"plugin_of_the_past_{abs(hash(text))}"
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    assert Registry([entry("mine", f"{name}:Mine")]).load("solvers", "mine").__name__ == "Mine"


def test_a_contract_version_is_a_whole_number_and_each_class_has_its_own(tmp_path, monkeypatch):
    text = "class Mine: pass\nclass Other:\n    contract_version = 99\nclass Text:\n    contract_version = '1'\n"
    (tmp_path / "three_plugins.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    known = {name: entry(name.lower(), f"three_plugins:{name}") for name in ("Mine", "Other", "Gone", "Text")}
    assert plain_problem("solvers", known["Mine"]) is None
    assert "written for version 99" in (plain_problem("solvers", known["Other"]) or "")
    registry = Registry(list(known.values()))
    with pytest.raises(PluginError, match=r"'gone' .* does not import: AttributeError"):
        registry.load("solvers", "gone")
    with pytest.raises(PluginError, match=r"'text' .*contract_version is '1'; a whole number is wanted"):
        registry.load("solvers", "text")


def test_a_plugin_that_ends_the_program_while_it_is_imported_is_named(tmp_path, monkeypatch):
    (tmp_path / "exiting_plugin_module.py").write_text("import sys\nsys.exit(3)")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        PluginError, match=r"solver 'bad' of exiting_plugin_module:Bad does not import: SystemExit: 3.*module\.py:2"
    ):
        Registry([entry("bad", "exiting_plugin_module:Bad")]).load("solvers", "bad")


def test_a_whole_number_fits_into_a_file():
    with pytest.raises(ConfigError, match=r"option n='9+': a whole number below 2\^63 is wanted"):
        build(Toy, {"name": "x", "n": "9" * 20}, "toy")


def test_options_at_their_defaults_are_told_from_those_that_were_chosen():
    from guardeval.plugins.openai_compatible import OpenAICompatible
    from guardeval.solvers.multistep import Multistep

    assert changed_options(Multistep()) == {}
    assert changed_options(Multistep(skip=("intent",), max_tokens=2048)) == {"skip": ["intent"]}
    assert changed_options(OpenAICompatible("m", "http://x/v1")) == {"model": "m", "base_url": "http://x/v1"}


def test_a_class_can_be_named_by_its_module():
    assert Registry([]).load("solvers", "guardeval.data:Verdict").__name__ == "Verdict"


@pytest.mark.parametrize(
    ("pairs", "options"),
    [
        (["skip=intent,harms"], {"skip": "intent,harms"}),
        (["a=1,b=2", "c=x=y"], {"a": "1", "b": "2", "c": "x=y"}),
        (['extra={"a": [1, 2]}'], {"extra": {"a": [1, 2]}}),
        (["text=Decision: harmful, Policies: none"], {"text": "Decision: harmful, Policies: none"}),
    ],
)
def test_option_pairs_are_split_only_where_a_name_follows(pairs, options):
    assert parse_options(pairs, "-S") == options


@pytest.mark.parametrize("pair", ["skip", "=1", "intent,harms"])
def test_an_option_that_is_no_pair_is_refused(pair):
    with pytest.raises(ConfigError, match="key=value is wanted"):
        parse_options([pair], "-S")

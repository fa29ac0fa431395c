"""What a model may be called: registered names, and how a card's own solver and policies are used."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import pytest
import yaml
from guard_support import made_up, train_guard, write_task

import guardeval
from guardeval.errors import ConfigError, PluginError
from guardeval.models import ModelSpec, build_model, find_model, read_model_folder
from guardeval.plugins.dummy import Dummy
from guardeval.registered_models import add_model, registered_models, remove_model
from guardeval.registry import Registry
from guardeval.runs import read_run_yaml
from guardeval.settings import Settings

ROWS = made_up(12)


def a_folder(desk: Path, name: str = "guard", **card) -> Path:
    folder = desk / name
    folder.mkdir(exist_ok=True)
    (folder / "guardeval-model.yaml").write_text(yaml.safe_dump({"backend": "dummy", **card}))
    return folder


def ran(model, desk, **settings):
    return guardeval.run(model=model, no_cache=True, **write_task(desk / "mine", ROWS), **settings)


# ---- registered names ----


def test_a_registered_name_is_its_folder_from_anywhere(desk, monkeypatch):
    add_model("my-guard", a_folder(desk))
    (desk / "elsewhere").mkdir()
    monkeypatch.chdir(desk / "elsewhere")
    assert build_model(ModelSpec("my-guard"), Registry()) == Dummy(str(desk / "guard"))
    found = ran("my-guard", desk)
    assert found.results["config"]["model"] == "my-guard"
    assert read_run_yaml(found.path / "run.yaml")["model"] == "my-guard"
    assert remove_model("my-guard") == desk / "guard"
    with pytest.raises(PluginError, match="unknown model 'my-guard'"):
        find_model("my-guard", Registry())
    assert (desk / "guard" / "guardeval-model.yaml").is_file()


def test_a_folder_that_moved_or_was_made_anew_is_told(desk):
    folder = a_folder(desk)
    add_model("g", folder)
    a_folder(desk, options={"text": "other"})
    with pytest.raises(ConfigError, match=r"not the one that was registered.*guardeval models add .* --name g"):
        find_model("g", Registry())
    add_model("g", folder)  # the same folder again is what the message says
    assert find_model("g", Registry()).folder == folder
    shutil.rmtree(folder)
    with pytest.raises(ConfigError, match=r"is gone.*guardeval models remove g"):
        find_model("g", Registry())


def test_a_name_is_never_taken_from_another_folder_or_plugin(desk, cli_main, capsys):
    add_model("g", a_folder(desk))
    with pytest.raises(ConfigError, match=r"stands for .*guard already.*models remove g"):
        add_model("g", a_folder(desk, "other"))
    for name in ("a/b", "a:b", "../x", "", "-x", "x" * 65, ".x", "a b"):
        with pytest.raises(ConfigError, match="letters, digits"):
            add_model(name, desk / "guard")
    assert cli_main("models", "add", "guard", "--name", "embedded") == 2
    assert "is an installed backend" in capsys.readouterr().err
    (desk / "config" / "models.json").write_text(json.dumps({"dummy": {"folder": str(desk / "guard"), "card_sha256": "0"}}))
    with pytest.raises(ConfigError, match=r"registered for .*, and installed by guardeval"):
        find_model("dummy", Registry())


def test_unknown_names_hint_at_registered_ones(desk):
    add_model("prompt-guard-v2", a_folder(desk))
    with pytest.raises(PluginError, match="did you mean 'prompt-guard-v2'"):
        find_model("promt-guard-v2", Registry())


def test_a_damaged_list_is_explained_and_hinders_no_path(desk):
    (desk / "config").mkdir()
    (desk / "config" / "models.json").write_text("[1]")
    with pytest.raises(ConfigError, match="is not the list of models"):
        find_model("g", Registry())
    assert find_model(str(a_folder(desk)), Registry()).backend == "dummy"


def test_names_added_at_once_are_all_kept(desk):
    folder = a_folder(desk)
    threads = [threading.Thread(target=add_model, args=(f"g{i}", folder)) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(registered_models()) == 12


def test_commands_add_list_show_and_remove(desk, cli_main, capsys):
    pytest.importorskip("sklearn")
    train_guard(made_up(40), desk / "guard")
    assert cli_main("models", "add", "./guard", "--name", "tiny") == 0
    assert cli_main("models", "list") == 0
    out = capsys.readouterr().out
    assert f"(registered: {desk / 'guard'})" in out and "embedded/NAME" in out and "shipped: embedded/word" in out
    assert cli_main("list", "models") == 0 and "tiny" in capsys.readouterr().out
    assert cli_main("models", "show", "tiny") == 0
    out = capsys.readouterr().out
    assert "40 prompts" in out and "backend" in out and "not known to this trainer" in out
    assert cli_main("show", "tiny") == 0 and "use it with --model tiny" in capsys.readouterr().out
    assert cli_main("models", "show", "embedded/char") == 0 and "3,824 prompts" in capsys.readouterr().out
    assert cli_main("doctor") == 0 and "registered models: 1" in capsys.readouterr().out
    shutil.rmtree(desk / "guard")
    assert cli_main("models", "list") == 1 and "is gone" in capsys.readouterr().err
    assert cli_main("doctor") == 1 and "is gone" in capsys.readouterr().out
    assert cli_main("models", "remove", "tiny") == 0
    assert cli_main("models", "list") == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ad", "guard"], "did you mean 'add'"),
        (["add"], "one model folder is wanted"),
        (["add", "nowhere", "--name", "x"], "nowhere: no guardeval-model.yaml in it"),
        (["add", "unusable", "--name", "x"], "marked as not usable: F1 fell by 0.2"),
        (["remove", "x"], "no registered model 'x'"),
        (["show", "ollama/x"], "has no model folder"),
        (["show", "olama"], "did you mean 'ollama'"),
        (["package", "ollama"], "is no model folder"),
    ],
)
def test_wrong_uses_are_explained(desk, cli_main, capsys, words, said):
    a_folder(desk, "unusable", usable=False, check={"verdict": "F1 fell by 0.2"})
    assert cli_main("models", *words) == 2
    assert said in capsys.readouterr().err


# ---- the card's own solver and policies ----


def notices(found):
    return " | ".join(found.results["notices"])


def test_the_cards_solver_is_used_where_the_user_names_none(desk):
    folder = a_folder(desk, solver="multistep", solver_args={"skip": ["intent"]}, policies="medium")
    found = ran(str(folder), desk)
    config = found.results["config"]
    assert (config["solver_label"], config["policies"]) == ("multistep skip=intent", "medium")
    assert "asked by multistep skip=intent, the solver that its card says" in notices(found)
    assert "asked about policies medium, as its card says" in notices(found)
    again = rerun(found)
    assert again.results["config"]["solver_label"] == "multistep skip=intent"
    assert again.results["config"]["policies"] == "medium" and "card says" not in notices(again)


def rerun(found):
    from guardeval.pipeline import run_all

    (again,) = run_all(Settings.from_mapping(read_run_yaml(found.path / "run.yaml"), "run.yaml"))
    return again


def test_another_solver_than_the_cards_is_said(desk):
    folder = a_folder(desk, solver="multistep", policies="verbose")
    found = ran(str(folder), desk, solver="singlestep", policies="minimal")
    assert found.results["config"]["solver"] == "singlestep"
    assert "asked by singlestep, and its card says that it was trained for multistep" in notices(found)
    assert "asked about policies minimal, and its card says that it was trained with verbose" in notices(found)
    same = ran(str(folder), desk, solver="multistep", policies="verbose")
    assert "card" not in notices(same)
    drawn = ran(str(folder), desk, solver="self_consistency", solver_args={"inner": "multistep"}, policies="verbose")
    assert "card" not in notices(drawn)


def test_options_without_a_solver_change_those_of_the_card(desk):
    folder = a_folder(desk, solver="multistep", solver_args={"skip": ["intent"]})
    found = ran(str(folder), desk, solver_args={"skip": "policy"})
    assert found.results["config"]["solver_label"] == "multistep skip=policy"


def test_every_model_of_a_command_keeps_its_own_way(desk):
    from guardeval.pipeline import run_all

    folder = a_folder(desk, solver="multistep")
    settings = Settings.from_mapping(
        {**write_task(desk / "m", ROWS), "model": [str(folder), "dummy"], "no_cache": True}, "test"
    )
    assert [r.results["config"]["solver"] for r in run_all(settings)] == ["multistep", "direct"]


def test_members_of_an_ensemble_are_asked_as_their_cards_say(desk):
    folder = a_folder(desk, solver="multistep")
    found = ran([str(folder), "dummy"], desk, solver="ensemble")
    members = found.results["config"]["members"]
    assert [m.get("solver") for m in members] == ["multistep", None]
    inner = ran([str(folder), "dummy"], desk, solver="ensemble", solver_args={"inner": "singlestep"})
    assert "solver" not in inner.results["config"]["members"][0]
    assert "asked by singlestep, and its card says that it was trained for multistep" in notices(inner)


def test_policies_in_the_folder_are_found_and_disagreeing_models_fall_back(desk):
    folder = a_folder(desk, policies="policies/")
    (folder / "policies").mkdir()
    (folder / "policies" / "my_rule.txt").write_text("Nothing that is mine.")
    found = ran(str(folder), desk)
    assert read_run_yaml(found.path / "run.yaml")["record"]["policies"] == ["my_rule"]
    assert Path(read_run_yaml(found.path / "run.yaml")["policies"]) == folder / "policies"
    assert "asked about policies guard/policies, as its card says" in notices(found)
    other = a_folder(desk, "other", policies="verbose")
    both = ran([str(folder), str(other)], desk, solver="ensemble")
    assert both.results["config"]["policies"] == "minimal" and "was trained with verbose" in notices(both)


def test_what_a_card_wants_said_is_said(desk):
    assert "mind the gap" in notices(ran(str(a_folder(desk, notices=["mind the gap"])), desk))


def test_no_solver_and_no_policies_stay_the_defaults(desk):
    found = ran("dummy", desk)
    assert (found.results["config"]["solver"], found.results["config"]["policies"]) == ("direct", "minimal")
    record = read_run_yaml(found.path / "run.yaml")
    assert (record["solver"], record["policies"]) == ("direct", "minimal")
    assert Settings.from_mapping({"task": "x"}, "test").to_mapping().keys() == {"task", "model", "data", "seed"}


# ---- cards from strangers ----


@pytest.mark.parametrize(
    ("card", "said"),
    [
        ({"backend": "os:system"}, "may only name an installed one"),
        ({"backend": "embedded/word"}, "may only name an installed one"),
        ({"backend": "hf", "options": {"trust_remote_code": True}}, "sets trust_remote_code=True, which only you may"),
        ({"backend": "openai_compatible", "options": {"base_url": "http://evil.example/v1"}}, "sets base_url="),
        ({"backend": "openai_compatible", "options": {"api_key_env": "AWS_SECRET_ACCESS_KEY"}}, "sets api_key_env="),
        ({"backend": "hf", "options": {"adapter": "/etc"}}, "leads out of the model folder"),
        ({"backend": "hf", "options": {"adapter": "../other"}}, "leads out of the model folder"),
        ({"backend": "hf", "options": {"adapter": "~/x"}}, "leads out of the model folder"),
        ({"backend": "hf", "options": {"adapter": "missing-one"}}, "which is not in the folder"),
        ({"backend": "hf", "options": {"adapter": ["x"]}}, "a path inside the folder is wanted"),
        ({"options": ["a"]}, "a mapping of options to values is wanted"),
        ({"solver": 3}, "a solver's name is wanted"),
        ({"solver_args": "skip=intent"}, "a mapping of options to values is wanted"),
        ({"usable": "yes"}, "true or false is wanted"),
        ({"policies": ["minimal"]}, "a verbosity, or a folder in the model folder is wanted"),
        ({"solver": "my_module:Solver"}, "a class, which would be run"),
        ({"solver": "self_consistency", "solver_args": {"inner": "my_module:Solver"}}, "a class, which would be run"),
        (
            {"solver": "self_consistency", "solver_args": {"inner": {"solver": "my_module:Solver"}}},
            "a class, which would be run",
        ),
        (
            {"solver": "ensemble", "solver_args": {"weights": "/etc/passwd", "vote": "weighted"}},
            "leads out of the model folder",
        ),
        ({"solver": "mulistep"}, "did you mean 'multistep'"),
        ({"solver": "multistep", "solver_args": {"skipp": "x"}}, "did you mean 'skip'"),
        ({"policies": "/etc"}, "leads out of the model folder"),
        ({"policies": "policies/../../.."}, "leads out of the model folder"),
        ({"options": {"txt": "x"}}, "did you mean 'text'"),
    ],
)
def test_a_strangers_card_runs_no_code_and_leads_nowhere(desk, monkeypatch, card, said):
    monkeypatch.syspath_prepend(str(desk))
    (desk / "my_module.py").write_text(f"open({str(desk / 'executed')!r}, 'w').close()\nclass Solver: pass\n")
    with pytest.raises((ConfigError, PluginError)) as caught:
        ran(str(a_folder(desk, **card)), desk)
    assert said in str(caught.value)
    assert not (desk / "executed").exists() and not (desk / "runs").exists()


def test_a_link_in_a_folder_leads_nowhere_either(desk):
    folder = a_folder(desk, policies="policies")
    (desk / "secret").mkdir()
    (desk / "secret" / "key.txt").write_text("a secret")
    (folder / "policies").symlink_to(desk / "secret")
    with pytest.raises(ConfigError, match="leads out of the model folder"):
        ran(str(folder), desk)


def test_the_user_may_say_what_a_card_may_not(desk):
    folder = a_folder(desk, backend="openai_compatible", options={"top_logprobs": 5})
    model = build_model(ModelSpec(str(folder), {"base_url": "http://127.0.0.1:9/v1"}), Registry())
    assert (model.base_url, model.top_logprobs) == ("http://127.0.0.1:9/v1", 5)


def test_files_in_the_folder_go_by_their_whole_path(desk):
    folder = a_folder(desk, backend="hf", options={"adapter": "lora"})
    (folder / "lora").mkdir()
    assert build_model(ModelSpec(str(folder)), Registry()).adapter == str(folder / "lora")
    hub = a_folder(desk, "hub", backend="hf", options={"adapter": "some/adapter"})
    assert build_model(ModelSpec(str(hub)), Registry()).adapter == "some/adapter"


def test_a_huge_or_endless_card_is_refused(desk):
    folder = a_folder(desk)
    (folder / "guardeval-model.yaml").write_text("backend: dummy\nx: " + "a" * (1 << 20))
    with pytest.raises(ConfigError, match="no model card"):
        read_model_folder(folder)
    (folder / "guardeval-model.yaml").write_text("backend: dummy\nx: " + "[" * 5000)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_model_folder(folder)

"""A training that is killed goes on by the same command, and ends as if nothing had happened."""

from __future__ import annotations

import json
import shutil
import time

import pytest

from guardeval.errors import ConfigError
from guardeval.finetuning.workspace import Workspace, differences

COMMON = ("--policies", "policies", "--lr", "1e-2", "--batch", "4", "--lora_dropout", "0.2", "--save", "adapter")
STEPS = ("--max_steps", "14", "--save_steps", "4", "--validation_limit", "2")


@pytest.fixture(scope="module")
def command(blank):
    return ("train", "rsft", "--data", "traces.json", "--model", blank, *COMMON, *STEPS)


def _finished(process):
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out, err


def _killed_after(process, work, step):
    """SIGKILL once this step is written down and a checkpoint stands."""
    deadline = time.monotonic() + 90
    while len(work.order()) < step and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert not work.state["finished"]


def test_after_kill_9_the_same_command_ends_with_the_same_step_order_and_weights(place, guardeval, here, command):
    whole, broken = place / "whole", place / "broken"
    assert here(*command, "--out", whole).code == 0
    _killed_after(guardeval(*command, "--out", broken), Workspace(broken), 7)
    kept = Workspace(broken).last_checkpoint()
    assert kept is not None
    # a second kill, in the middle of writing: one checkpoint without its mark, one shorter than its mark says
    shutil.copytree(kept, kept.with_name("checkpoint-12"), ignore=shutil.ignore_patterns("whole.json"))
    shutil.copytree(kept, kept.with_name("checkpoint-13"))
    (kept.with_name("checkpoint-13") / "optimizer.pt").write_bytes(b"cut off")

    shutil.copytree(broken, place / "smaller")

    _, err = _finished(guardeval(*command, "--out", broken))

    assert f"going on after step {kept.name.rpartition('-')[2]}" in err
    assert Workspace(broken).order() == Workspace(whole).order()
    assert [line["step"] for line in Workspace(whole).order()] == list(range(1, 15))
    losses = [[(e["step"], e["loss"]) for e in _history(folder) if "loss" in e] for folder in (whole, broken)]
    assert losses[0] == losses[1]
    weights = [(folder / "adapter_model.safetensors").read_bytes() for folder in (whole, broken)]
    assert weights[0] == weights[1]
    assert not list((broken / "training").glob("checkpoint-*"))  # the room is given back

    smaller = here(*command, "--out", "smaller", "--per_device", "2")  # as the advice on memory says
    assert smaller.code == 0, smaller.err
    assert "going on after step" in smaller.err
    assert Workspace(place / "smaller").order() == Workspace(whole).order()

    assert "this training is finished" in here(*command, "--out", broken).err
    other = here(*command, "--out", broken, "--lr", "2e-2")
    assert other.code == 2
    assert "options.lr: 0.01 before, 0.02 now" in other.err


def _history(folder):
    return json.loads((folder / "training" / "history.json").read_bytes())


def test_what_differs_is_named_leaf_by_leaf():
    before = {"options": {"lr": 1.0, "seed": 0}, "data": {"sha256": "a"}}
    now = {"options": {"lr": 2.0, "seed": 0}, "data": {"sha256": "b"}}
    assert list(differences(before, now)) == ['data.sha256: "a" before, "b" now', "options.lr: 1.0 before, 2.0 now"]


def test_a_folder_with_a_model_of_another_make_is_left_alone(tmp_path):
    (tmp_path / "guardeval-model.yaml").write_text("backend: embedded\n")
    with pytest.raises(ConfigError, match="holds a model already"):
        Workspace(tmp_path).open({"trainer": "rsft"}, fresh=False)
    assert (tmp_path / "guardeval-model.yaml").read_text() == "backend: embedded\n"


def test_starting_over_keeps_what_is_not_ours(tmp_path):
    work = Workspace(tmp_path)
    assert work.open({"trainer": "rsft"}, fresh=False) is False
    (tmp_path / "my notes.txt").write_text("keep me")
    (tmp_path / "model.safetensors").write_bytes(b"old")
    work.add_order(1, ["a"])
    assert work.open({"trainer": "other"}, fresh=True) is False
    assert work.order() == []
    assert not (tmp_path / "model.safetensors").exists()
    assert (tmp_path / "my notes.txt").read_text() == "keep me"


def test_a_line_of_the_order_that_a_kill_cut_off_is_none_and_steps_to_be_done_again_are_dropped(tmp_path):
    work = Workspace(tmp_path)
    work.open({}, fresh=False)
    for step in (1, 2, 3):
        work.add_order(step, [f"row {step}"])
    with (work.folder / "order.jsonl").open("a") as f:
        f.write('{"step": 4, "ids": ["ro')
    work.forget_after(2)
    assert work.order() == [{"step": 1, "ids": ["row 1"]}, {"step": 2, "ids": ["row 2"]}]


def test_two_commands_never_train_into_one_folder(tmp_path):
    out = tmp_path / "model"
    refused = pytest.raises(ConfigError, match="another command is training into this folder")
    with Workspace(out).alone(), refused, Workspace(out).alone():
        raise AssertionError("a second command got in")
    with Workspace(out).alone():
        assert list(out.iterdir()) == []  # it leaves no lock behind

"""Several processes, as ``accelerate launch`` starts them."""

from __future__ import annotations

import sys

import pytest
import yaml

from guardeval.errors import ConfigError
from guardeval.finetuning.processes import is_main, process_count
from guardeval.finetuning.workspace import Workspace


def test_without_a_launcher_there_is_one_process_and_it_is_the_main_one(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.delenv("RANK", raising=False)
    assert (process_count(), is_main()) == (1, True)
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", "2")
    assert (process_count(), is_main()) == (4, False)
    monkeypatch.setenv("WORLD_SIZE", "four")
    with pytest.raises(ConfigError, match="WORLD_SIZE='four'"):
        process_count()


@pytest.mark.slow
def test_two_processes_train_one_model_and_only_one_of_them_speaks_and_writes(place, blank, guardeval):
    words = ("--data", "traces.json", "--model", blank, "--policies", "policies", "--lr", "1e-2", "--device", "cpu")
    more = ("--batch", "8", "--max_steps", "4", "--save_steps", "2", "--validation_limit", "3", "--out", "both")
    launch = (
        "-m",
        "accelerate.commands.launch",
        "--cpu",
        "--num_processes",
        "2",
        "--num_machines",
        "1",
        "--main_process_port",
        "0",
    )
    process = guardeval("-m", "guardeval", "train", "rsft", *words, *more, start=(sys.executable, *launch))
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert out.count("model folder:") == 1
    assert err.count("validation at step 0") == 1
    order = Workspace(place / "both").order()
    assert [line["step"] for line in order] == [1, 2, 3, 4]
    taken = [name for line in order for name in line["ids"]]
    assert len(taken) == len(set(taken)) == 32
    card = yaml.safe_load((place / "both" / "guardeval-model.yaml").read_text())
    assert card["metrics"]["validation"]["prompt_harmfulness"]["parse_rate"]["n"] == 3

"""QLoRA: the frozen base in nf4, the adapter trained over it and merged into the base as it was."""

from __future__ import annotations

import pytest
import yaml

from guardeval.finetuning.loading import Placed, load_base
from guardeval.finetuning.loading import place as placed
from guardeval.finetuning.tuning import train_in
from guardeval.finetuning.workspace import Workspace
from guardeval.registry import Registry
from guardeval.training_rows import read_training_file


@pytest.fixture(scope="module")
def wide(place, blank):
    """Layers in multiples of 32, as the kernels want them."""
    from transformers import AutoTokenizer

    from guardeval.finetuning.scratch import make_scratch

    return make_scratch(place / "wide", (), 64, 1, 2048, 0, AutoTokenizer.from_pretrained(blank))


@pytest.fixture
def method(place, wide):
    options = {"model": str(wide), "policies": str(place / "policies"), "lr": "1e-2", "batch": "4", "max_steps": "3"}
    return Registry().build("trainers", "rsft", {**options, "validation_limit": "2", "save": "merged"})


@pytest.mark.slow
def test_over_a_base_in_four_bits_the_adapter_learns_and_is_merged_into_the_base_as_it_was(method, place, wide):
    """bitsandbytes computes nf4 on a CPU, too: slow, and not offered as an option, but the same code."""
    pytest.importorskip("bitsandbytes")
    import torch
    from safetensors.torch import load_file

    where = Placed("cpu", "float32", True)
    model = load_base(_base(method), method, where)
    assert type(model.model.layers[0].self_attn.q_proj).__name__ == "Linear4bit"
    folder = train_in(method, read_training_file(place / "traces.json"), Workspace(place / "four"), where)
    card = yaml.safe_load((folder / "guardeval-model.yaml").read_text())
    assert card["parameters"]["base_in_four_bits"] is True
    assert card["made_with"]["bitsandbytes"]
    before, after = load_file(wide / "model.safetensors"), load_file(folder / "model.safetensors")
    assert before.keys() == after.keys()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all("proj" in name for name in moved)  # embeddings and norms are not touched


def _base(method):
    from guardeval.finetuning.base import find_base

    return find_base(method)


@pytest.mark.gpu
def test_on_cuda_four_bits_are_taken_without_asking(method, place):
    where = placed(method)
    assert where.four_bits
    folder = train_in(method, read_training_file(place / "traces.json"), Workspace(place / "cuda"), where)
    card = yaml.safe_load((folder / "guardeval-model.yaml").read_text())
    assert card["parameters"]["base_in_four_bits"] is True

"""Tiny models for the contracts of backends, trainers and optimizers: those of the tests of backends."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest

_PLUGINS = Path(__file__).resolve().parent.parent / "plugins" / "conftest.py"
_SPEC = importlib.util.spec_from_file_location("tiny_fixtures", _PLUGINS)
assert _SPEC is not None and _SPEC.loader is not None
_FIXTURES = importlib.util.module_from_spec(_SPEC)
sys.modules.setdefault("tiny_fixtures", _FIXTURES)
_SPEC.loader.exec_module(_FIXTURES)
tiny_model_dir, tiny_texts = _FIXTURES.tiny_model_dir, _FIXTURES.tiny_texts


@pytest.fixture(scope="session")
def guard_folder(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as a model folder, with the policies that its prompts hold."""
    from guardeval.exposure import Exposure
    from guardeval.model_folder import ModelCard, write_model_folder
    from guardeval.testing import SHORT_POLICIES

    folder = shutil.copytree(tiny_model_dir, tmp_path_factory.mktemp("contracts") / "guard")
    (folder / "policies").mkdir()
    for policy in SHORT_POLICIES.policies:
        (folder / "policies" / f"{policy.name}.txt").write_text(policy.text)
    targets, options = ("prompt_harmfulness",), {"device": "cpu"}
    about = {"solver": "direct", "policies": "policies", "licence": "CC0-1.0", "command": "by hand"}
    card = ModelCard("hf", "causal", options=options, targets=targets, **about)
    return write_model_folder(folder, card, Exposure.of(["seen once"]))


@pytest.fixture(scope="session")
def adapter_folder(guard_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA for the guard that changes next to nothing of what it says."""
    peft = pytest.importorskip("peft")
    import torch
    import transformers

    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_pretrained(guard_folder)
    lora = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"))
    folder: Path = tmp_path_factory.mktemp("contracts") / "adapter"
    lora.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def onnx_folder(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as ``guardeval optimize onnx`` writes it."""
    pytest.importorskip("optimum.exporters.onnx")
    from guardeval.trainers.onnx import OnnxExport

    return OnnxExport().optimize(tiny_model_dir, tmp_path_factory.mktemp("contracts") / "onnx")


@pytest.fixture(scope="session")
def gguf_folder(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as ``guardeval optimize gguf`` writes it."""
    pytest.importorskip("gguf")
    pytest.importorskip("torch")
    from guardeval.trainers.gguf import Gguf

    return Gguf(precision="f32").optimize(tiny_model_dir, tmp_path_factory.mktemp("contracts") / "gguf")

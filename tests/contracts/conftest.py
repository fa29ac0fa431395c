"""Tiny models for the contracts of backends, trainers and optimizers: those of the tests of backends."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

_PLUGINS = Path(__file__).resolve().parent.parent / "plugins" / "conftest.py"
_SPEC = importlib.util.spec_from_file_location("tiny_fixtures", _PLUGINS)
assert _SPEC is not None and _SPEC.loader is not None
_FIXTURES = importlib.util.module_from_spec(_SPEC)
sys.modules.setdefault("tiny_fixtures", _FIXTURES)
_SPEC.loader.exec_module(_FIXTURES)
tiny_model_dir = _FIXTURES.tiny_model_dir


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

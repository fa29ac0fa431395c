"""Every optimizer of ours keeps the contract of optimizers, on the tiny model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from guardeval.data import Sample
from guardeval.testing.suites import OptimizerSuite
from guardeval.trainers.gguf import Gguf
from guardeval.trainers.int4 import Int4
from guardeval.trainers.int8 import Int8
from guardeval.trainers.merge import Merge
from guardeval.trainers.onnx import OnnxExport


class OfTheTinyModel(OptimizerSuite):
    """A guard of 100 kB that tells two words, asked in its own prompt."""

    @pytest.fixture(autouse=True)
    def _given(self, guard_folder: Path, tiny_texts: Sequence[tuple[str, str]]) -> None:
        self.given, self.texts = guard_folder, tiny_texts

    def folder(self) -> Path:
        return self.given

    def samples(self) -> Sequence[Sample]:
        return [Sample(str(i), i, text) for i, (text, _) in enumerate(self.texts)]


class TestOnnx(OfTheTinyModel):
    plugin = OnnxExport
    agrees = 1.0

    @pytest.fixture(autouse=True)
    def _needs(self) -> None:
        pytest.importorskip("optimum.exporters.onnx")


class TestInt8(OfTheTinyModel):
    plugin = Int8
    options = {"runtime": "onnxruntime"}
    refused = ({"runtime": "tensorrt"},)

    @pytest.fixture(autouse=True)
    def _needs(self) -> None:
        pytest.importorskip("optimum.exporters.onnx")


class TestInt4(OfTheTinyModel):
    plugin = Int4
    options = {"runtime": "onnxruntime"}
    agrees = 0.5  # four bits cost so small a model much of what it knows
    refused = ({"runtime": "tensorrt"},)

    @pytest.fixture(autouse=True)
    def _needs(self) -> None:
        pytest.importorskip("optimum.exporters.onnx")


class TestGguf(OfTheTinyModel):
    plugin = Gguf
    options = {"precision": "f32"}
    agrees = 1.0

    @pytest.fixture(autouse=True)
    def _needs(self) -> None:
        pytest.importorskip("gguf")
        pytest.importorskip("xllamacpp")


class TestMerge(OfTheTinyModel):
    plugin = Merge
    agrees = 0.0  # peft wrote the adapter: it has no card by which it could be asked
    refused = ({"dtype": "int8"},)

    @pytest.fixture(autouse=True)
    def _given(self, adapter_folder: Path, tiny_texts: Sequence[tuple[str, str]]) -> None:
        self.given, self.texts = adapter_folder, tiny_texts

"""Every model backend of ours keeps the contract of models."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ollama_server import OllamaScript
from scripted_server import Answer, Asked, ScriptedServer

from guardeval.plugins.dummy import Dummy
from guardeval.plugins.embedded import Embedded
from guardeval.plugins.hf import HF
from guardeval.plugins.inspect_model import Inspect
from guardeval.plugins.llama_cpp import LlamaCpp
from guardeval.plugins.lm_eval_model import LmEval
from guardeval.plugins.ollama import Ollama
from guardeval.plugins.onnx import Onnx
from guardeval.plugins.openai_api import OpenAI
from guardeval.plugins.openai_compatible import OpenAICompatible
from guardeval.plugins.replay import Replay
from guardeval.plugins.rewrite import Rewrite
from guardeval.testing import Faults
from guardeval.testing.suites import ModelSuite

NOWHERE = "http://127.0.0.1:9/v1"


class TestDummy(ModelSuite):
    plugin = Dummy
    key_env = None


class TestDummyWithATextOfItsOwn(ModelSuite):
    plugin = Dummy
    options = {"text": "Decision: harmful"}
    key_env = None


class TestEmbedded(ModelSuite):
    plugin = Embedded
    options = {"model": "char"}
    key_env = None


class TestRewrite(ModelSuite):
    plugin = Rewrite
    refused = ({"variants": 0},)
    key_env = None


class TestReplay(ModelSuite):
    plugin = Replay
    key_env = None

    @pytest.fixture(autouse=True)
    def _recorded(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        self.path = tmp_path_factory.mktemp("recorded") / "answers.jsonl"
        prompts = [self.request(text).prompt.as_text() for text in self.known_texts]
        self.path.write_text("".join(json.dumps({"prompt": p, "predict": f"answer {i}"}) + "\n" for i, p in enumerate(prompts)))

    def make(self, **options: Any) -> Replay:
        return Replay(**{"model": str(self.path), **options})


class TestHF(ModelSuite):
    plugin = HF
    key_env = None

    @pytest.fixture(autouse=True)
    def _folder(self, tiny_model_dir: Path) -> None:
        self.folder = tiny_model_dir

    def make(self, **options: Any) -> HF:
        return HF(**{"model": str(self.folder), "device": "cpu", **options})


class TestOnnx(ModelSuite):
    plugin = Onnx
    key_env = None

    @pytest.fixture(autouse=True)
    def _folder(self, onnx_folder: Path) -> None:
        pytest.importorskip("onnxruntime")
        self.folder = onnx_folder

    def make(self, **options: Any) -> Onnx:
        return Onnx(**{"model": str(self.folder), "threads": 1, **options})


class TestLlamaCpp(ModelSuite):
    plugin = LlamaCpp
    own_server = True
    key_env = None

    @pytest.fixture(autouse=True)
    def _folder(self, gguf_folder: Path) -> None:
        pytest.importorskip("xllamacpp")
        self.folder = gguf_folder

    def make(self, **options: Any) -> LlamaCpp:
        return LlamaCpp(**{"model": str(self.folder), "threads": 1, **options})


class TestLmEval(ModelSuite):
    plugin = LmEval
    key_env = None
    refused = ({"batch": 0}, {"options": {"api_key": "sk-1"}})

    @pytest.fixture(autouse=True)
    def _folder(self, tiny_model_dir: Path) -> None:
        pytest.importorskip("lm_eval")
        self.folder = tiny_model_dir

    def make(self, **options: Any) -> LmEval:
        own = {"pretrained": str(self.folder), "device": "cpu", "dtype": "float32"}
        return LmEval(**{"backend": "hf", "options": own, **options})


class TestInspect(ModelSuite):
    plugin = Inspect
    options = {"model": "openai-api/local/scripted", "base_url": NOWHERE}
    key_env = "LOCAL_API_KEY"
    refused = ({"timeout": 0.0}, {"model": "openai"}, {"config": {"seed": 1}}, {"args": {"api_key": "sk-1"}})

    @pytest.fixture(autouse=True)
    def _key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("inspect_ai")
        monkeypatch.setenv("LOCAL_API_KEY", "none")


class TestOpenAICompatible(ModelSuite):
    plugin = OpenAICompatible
    options = {"model": "scripted", "base_url": NOWHERE}
    refused = ({"timeout": 0.0}, {"draws": 0}, {"base_url": "no address"}, {"extra": {"model": "x"}})


class TestOpenAI(ModelSuite):
    plugin = OpenAI
    options = {"model": "scripted", "base_url": NOWHERE}

    @pytest.fixture(autouse=True)
    def _key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", "none")


class OllamaFaults:
    """An Ollama that fails in the ways that :class:`Faults` names."""

    def __init__(self, answer: Any, faults: Faults, models: tuple[str, ...]) -> None:
        said: Callable[[str], Any] = lambda text: {"content": f"{text[:0]}Decision: unharmful {len(text)}"}  # noqa: E731
        self._script = OllamaScript(said, models={f"{name}:latest": "sha256-01" for name in models})
        self._complain = answer if callable(answer) else None
        self._faults = faults
        self._asked = 0
        self.server = ScriptedServer(self._answer)

    @property
    def url(self) -> str:
        return self.server.url

    def stats(self) -> Mapping[str, Any]:
        return {"requests": self._asked}

    def _answer(self, asked: Asked) -> Answer:
        reply = self._script(asked)
        if asked.path not in {"/api/chat", "/api/generate"}:
            return reply
        self._asked += 1
        kind = self._faults.draw(str(self._asked), 0)
        if kind == "http_500":
            return Answer({"error": "the server had an error"}, 500)
        if kind == "throttled":
            return Answer({"error": "busy"}, 429, {"Retry-After": f"{self._faults.retry_after:g}"})
        if kind == "truncated":
            return Answer(reply.data[: len(reply.data) // 2])
        if kind == "empty":
            return Answer({})
        if kind:
            return Answer(fault={"dropped": "reset", "hung": "hang"}[kind])
        told = None if self._complain is None else self._complain(asked.body)
        return Answer({"error": told["error"]["message"]}, 400) if isinstance(told, Mapping) else reply


class TestOllama(ModelSuite):
    plugin = Ollama
    options = {"model": "scripted"}
    key_env = None

    @contextmanager
    def serve(self, answer: Any = None, faults: Faults | None = None, **options: Any) -> Any:
        script = OllamaFaults(answer, faults or Faults(), options.get("models", ("scripted",)))
        with script.server:
            yield script

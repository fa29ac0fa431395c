"""GGUF files on llama.cpp: the verdicts that transformers gives, a server of its own that ends, and what is refused."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from guardeval.contracts import Completion, Finish, Frame, Prompt, Request, Sampling, Turn
from guardeval.errors import ConfigError, ModelError, ModelUnusable
from guardeval.models import ModelSpec, build_model
from guardeval.plugins.llama_cpp import LlamaCpp
from guardeval.registry import Registry
from guardeval.testing import a_case

pytest.importorskip("xllamacpp")
pytest.importorskip("gguf")
pytest.importorskip("torch")
ANSWER = Sampling(max_tokens=16)


@pytest.fixture(scope="module")
def folder(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    gguf = Registry().build("optimizers", "gguf", {"precision": "f32"})
    out: Path = gguf.optimize(tiny_model_dir, tmp_path_factory.mktemp("gguf") / "tiny")
    return out


def ask(model: LlamaCpp, requests: Sequence[Request]) -> list[Completion]:
    async def all_of_them() -> list[Completion]:
        await model.start()
        try:
            return [await model.generate(r) for r in requests]
        finally:
            await model.close()

    return asyncio.run(all_of_them())


def requests_of(texts: Sequence[str], sampling: Sampling = ANSWER) -> list[Request]:
    frames = (
        Frame("", turns=[Turn("system", "You are a guard.")]),
        Frame("", raw=True),
        Frame("", forced="Decision:"),
        Frame("", turns=[Turn("user", "Hi")], role="assistant"),  # a turn to be judged, not to be continued
        Frame("", turns=[Turn("user", "Hi")], role="assistant", forced="Decision:"),
    )
    prompts = [Prompt(frames[i % 5], text) for i, text in enumerate(texts)]
    return [Request(p, a_case(prompt=p.text), sampling) for p in prompts]


def test_text_and_probabilities_are_those_of_transformers(
    folder: Path, tiny_model_dir: Path, tiny_texts: list[tuple[str, str]]
) -> None:
    requests = requests_of([text for text, _ in tiny_texts], Sampling(max_tokens=12, top_logprobs=3))
    theirs = Registry().build("models", "hf", {"model": str(tiny_model_dir), "device": "cpu"}).generate_batch(requests)
    ours = ask(LlamaCpp(str(folder), threads=1), requests)
    assert [(c.text, c.finish) for c in ours] == [(c.text, c.finish) for c in theirs]
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.tokens_out and mine.tokens[0].logprob == pytest.approx(other.tokens[0].logprob, abs=2e-3)


def test_the_card_runs_it_and_the_server_ends(folder: Path) -> None:
    model: Any = build_model(ModelSpec(str(folder), {"threads": 1}), Registry())
    assert isinstance(model, LlamaCpp) and model.context == 4096

    async def once() -> int:
        await model.start()
        said = await model.generate(requests_of(["chess"], Sampling(max_tokens=1))[0])
        assert (said.finish, said.tokens_out) == (Finish.LENGTH, 1)
        pid: int = model._server.process.pid
        await model.close()
        return pid

    pid = asyncio.run(once())
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            break
        time.sleep(0.05)
    else:
        pytest.fail("the server is still there")


def test_nobody_without_the_key_is_answered(folder: Path) -> None:
    import urllib.error
    import urllib.request

    model = LlamaCpp(str(folder), threads=1)

    async def knock() -> int:
        await model.start()
        try:
            body = json.dumps({"messages": [{"role": "user", "content": "hi"}]}).encode()
            address = model._server.address
            assert address.startswith("http://127.0.0.1:")
            post = urllib.request.Request(f"{address}/v1/chat/completions", body, {"Content-Type": "application/json"})
            return int((await asyncio.to_thread(urllib.request.urlopen, post)).status)
        except urllib.error.HTTPError as e:
            return e.code
        finally:
            await model.close()

    assert asyncio.run(knock()) == 401


def test_a_prompt_beyond_the_context_is_an_error(folder: Path) -> None:
    with pytest.raises(ModelError, match="context"):
        ask(LlamaCpp(str(folder), context=256, threads=1), requests_of(["chess " * 900]))


def test_what_is_no_gguf_file_is_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelUnusable, match="no such file"):
        ask(LlamaCpp(str(tmp_path / "none.gguf")), [])
    (tmp_path / "odd.gguf").write_bytes(b"GGUF but not really")
    with pytest.raises(ModelUnusable, match=r"llama\.cpp cannot run"):
        ask(LlamaCpp(str(tmp_path / "odd.gguf")), [])
    with pytest.raises(ModelUnusable, match="holds 0 GGUF files"):
        ask(LlamaCpp(str(tmp_path.joinpath("empty").mkdir() or tmp_path / "empty")), [])
    with pytest.raises(ConfigError, match="parallel=0"):
        LlamaCpp(str(folder), parallel=0)


def test_the_identity_is_the_file(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copyfile(folder / "model.gguf", tmp_path / "other.gguf")
    assert LlamaCpp(str(copy)).identity["content"] == LlamaCpp(str(folder)).identity["content"]


def _settings(folder: Path, **changed: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changed}))


def _pieces(folder: Path) -> None:
    saved = json.loads((folder / "tokenizer.json").read_text())
    saved["model"]["byte_fallback"] = True
    (folder / "tokenizer.json").write_text(json.dumps(saved))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: _settings(f, model_type="qwen3"), "it is a qwen3"),
        (lambda f: _settings(f, rope_scaling={"rope_type": "yarn", "factor": 2.0}), "positions are of kind yarn"),
        (lambda f: _settings(f, attention_bias=True), "attention_bias"),
        (_pieces, "of kind SentencePiece"),
    ],
)
def test_what_gguf_would_say_otherwise_is_refused(tiny_model_dir: Path, tmp_path: Path, spoil: Any, said: str) -> None:
    odd = shutil.copytree(tiny_model_dir, tmp_path / "odd")
    spoil(odd)
    with pytest.raises(ModelUnusable, match=said):
        Registry().build("optimizers", "gguf").optimize(odd, tmp_path / "out")


def test_llama_3_slows_rotations_as_transformers_does() -> None:
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    from guardeval.trainers.gguf_weights import _frequency_factors

    scaling = {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }  # fmt: skip
    config = LlamaConfig(
        hidden_size=512, num_attention_heads=4, rope_theta=500000.0, rope_scaling=scaling, max_position_embeddings=131072
    )
    theirs, _ = ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
    plain = 1.0 / 500000.0 ** (np.arange(0, 128, 2) / 128)
    assert plain / _frequency_factors(config.to_dict()) == pytest.approx(theirs.numpy(), rel=1e-5)

"""The onnx backend as a user meets it: the text that transformers would write, limits, draws, and no torch."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from guardeval.contracts import BatchModel, Completion, Finish, Frame, Prompt, Request, Sampling, Turn
from guardeval.errors import ConfigError, ModelError, ModelUnusable
from guardeval.models import ModelSpec, build_model
from guardeval.plugins.onnx import Onnx
from guardeval.registry import Registry
from guardeval.testing import a_case

pytest.importorskip("onnxruntime")
pytest.importorskip("optimum.exporters.onnx")
ANSWER = Sampling(max_tokens=24)


@pytest.fixture(scope="session")
def folder(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out: Path = Registry().build("optimizers", "onnx").optimize(tiny_model_dir, tmp_path_factory.mktemp("onnx") / "tiny")
    return out


@pytest.fixture(scope="session")
def hf(tiny_model_dir: Path) -> Any:
    return Registry().build("models", "hf", {"model": str(tiny_model_dir), "device": "cpu"})


def asked(texts: Sequence[str], sampling: Sampling = ANSWER, **fields: Any) -> list[Request]:
    """Chat prompts in two frames, raw ones, and some with a forced beginning, by turns."""
    words = "please help me write a short letter about the garden bread train music winter holiday school chess paint"
    frames = (
        Frame(f"{words} ", "\nAnswer:", turns=[Turn("system", words)]),
        Frame(f"{words} and {words} ", "", raw=True),
        Frame("", "", forced="Decision:"),
        Frame(f"{words} {words} "),
    )
    prompts = [Prompt(frames[i % len(frames)], text) for i, text in enumerate(texts)]
    return [Request(p, a_case(prompt=p.text), sampling, **fields) for p in prompts]


def test_the_text_is_that_of_transformers(folder: Path, hf: Any, tiny_texts: list[tuple[str, str]]) -> None:
    requests = asked([text for text, _ in tiny_texts] + ["x", "trespass " * 60])
    theirs = hf.generate_batch(requests)
    for batch in (1, 5, 8):
        ours = Onnx(str(folder), batch=batch, threads=1).generate_batch(requests)
        assert [(c.text, c.finish, c.tokens_in, c.tokens_out) for c in ours] == [
            (c.text, c.finish, c.tokens_in, c.tokens_out) for c in theirs
        ]


async def test_the_text_that_it_reads_is_shown_as_transformers_reads_it(folder: Path, hf: Any) -> None:
    for request in asked(["chess", "<|end|>", " paint\n"]):
        assert await Onnx(str(folder), threads=1).render(request.prompt) == await hf.render(request.prompt)
    assert await Onnx(str(folder), threads=1).beginning() == await hf.beginning() == ""


def test_probabilities_are_those_of_transformers(folder: Path, hf: Any, tiny_texts: list[tuple[str, str]]) -> None:
    requests = asked([text for text, _ in tiny_texts], Sampling(max_tokens=12, top_logprobs=4))
    theirs, ours = hf.generate_batch(requests), Onnx(str(folder), threads=1).generate_batch(requests)
    tokens = [(a, b) for x, y in zip(theirs, ours, strict=True) for a, b in zip(x.tokens, y.tokens, strict=True)]
    assert len(tokens) > 40
    for a, b in tokens:
        assert a.text == b.text
        assert math.exp(b.logprob) == pytest.approx(math.exp(a.logprob), abs=1e-3)
        assert dict(a.top)[a.text] == a.logprob


def test_draws_repeat_and_differ_whatever_is_in_the_batch(folder: Path) -> None:
    sampling = Sampling(max_tokens=8, temperature=3.0, seed=7)
    draws = [r for draw in range(6) for r in asked(["chess"], sampling, draw=draw)]
    model = Onnx(str(folder), threads=1)
    together = [c.text for c in model.generate_batch(draws)]
    assert len(set(together)) > 1
    assert together == [model.generate_batch([r])[0].text for r in draws]


def test_an_answer_stops_at_a_stop_string_at_its_budget_and_at_its_closing_block(folder: Path) -> None:
    def say(sampling: Sampling, **fields: Any) -> Completion:
        text = "please help me with trespass in the garden"
        return Onnx(str(folder), threads=1).generate_batch(asked([text], sampling, **fields))[0]

    whole = say(ANSWER)
    assert whole.finish is Finish.STOP and "Policies" in whole.text
    stopped = say(Sampling(max_tokens=24, stop=("\nPol",)))
    assert (stopped.text, stopped.finish) == (whole.text[: whole.text.index("\nPol")], Finish.STOP)
    cut = say(Sampling(max_tokens=2))
    assert (cut.finish, cut.tokens_out) == (Finish.LENGTH, 2)
    assert say(ANSWER, steps=("Intent", "Decision")).text == whole.text


def test_a_prompt_beyond_the_context_is_an_error_of_its_own(folder: Path) -> None:
    model = Onnx(str(folder), max_length=64, threads=1)
    with pytest.raises(ModelError, match=r"the prompt has \d+ tokens, the context is 64"):
        model.generate_batch(asked(["chess " * 80]))
    near = Onnx(str(folder), max_length=66, threads=1).generate_batch([Request(Prompt.raw("chess " * 60), a_case(), ANSWER)])
    assert (near[0].tokens_out, near[0].finish) == (66 - (near[0].tokens_in or 0), Finish.LENGTH)
    with pytest.raises(ModelUnusable, match="this model's context is 4096"):
        Onnx(str(folder), max_length=5000).generate_batch(asked(["x"]))


@pytest.mark.parametrize(
    ("option", "said"), [("batch=0", "at least one prompt"), ("threads=0", "thread"), ("max_length=1", "token")]
)
def test_options_out_of_range_are_refused(folder: Path, option: str, said: str) -> None:
    name, _, value = option.partition("=")
    with pytest.raises(ConfigError, match=said):
        Registry().build("models", "onnx", {"model": str(folder), name: value})


def test_a_card_runs_it_and_its_identity_is_the_content(folder: Path, tmp_path: Path) -> None:
    model = build_model(ModelSpec(str(folder), {"batch": "3"}), Registry())
    assert isinstance(model, BatchModel) and model.traits.batch == 3
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert Onnx(str(copy), threads=1).identity == model.identity
    config = json.loads((copy / "generation_config.json").read_text())
    (copy / "generation_config.json").write_text(json.dumps({**config, "eos_token_id": [2]}))
    assert Onnx(str(copy)).identity != model.identity


def test_neither_torch_nor_transformers_is_imported(folder: Path) -> None:
    code = f"""
import sys
from guardeval.models import ModelSpec, build_model
from guardeval.registry import Registry
from guardeval.contracts import Prompt, Request, Sampling, Turn
from guardeval.testing import a_case
model = build_model(ModelSpec({str(folder)!r}), Registry())
request = Request(Prompt.chat([Turn("user", "trespass")]), a_case(), Sampling(max_tokens=6))
assert model.identity and model.generate_batch([request])[0].tokens_out
print(sorted({{"torch", "transformers", "onnx", "optimum"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


def _spoiled(folder: Path, tmp_path: Path, name: str, content: bytes | None) -> Onnx:
    copy = shutil.copytree(folder, tmp_path / "spoiled")
    (copy / name).unlink()
    if content is not None:
        (copy / name).write_bytes(content)
    return Onnx(str(copy), threads=1)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("model.onnx", None, "no model.onnx"),
        ("model.onnx", b"not a graph", "does not load"),
        ("tokenizer.json", None, "no tokenizer.json"),
        ("config.json", b"{", "cannot be read as JSON"),
    ],
)
def test_a_spoiled_folder_is_told_before_the_first_sample(
    folder: Path, tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    with pytest.raises(ModelUnusable, match=said):
        _spoiled(folder, tmp_path, name, content).generate_batch(asked(["x"]))


def test_a_graph_without_a_cache_is_refused(folder: Path, tmp_path: Path) -> None:
    from onnx import TensorProto, helper, save

    copy = shutil.copytree(folder, tmp_path / "plain")
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["b", "s"])
    out = helper.make_tensor_value_info("logits", TensorProto.INT64, ["b", "s"])
    graph = helper.make_graph([helper.make_node("Identity", ["input_ids"], ["logits"])], "g", [ids], [out])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), str(copy / "model.onnx"))
    with pytest.raises(ModelUnusable, match="takes no key-value cache"):
        Onnx(str(copy)).generate_batch(asked(["x"]))


def test_cuda_is_told_where_onnxruntime_has_none(folder: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime computes on CUDA")
    with pytest.raises(ModelUnusable, match="onnxruntime-gpu"):
        Onnx(str(folder), provider="cuda").generate_batch(asked(["x"]))

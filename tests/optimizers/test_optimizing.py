"""``guardeval optimize`` end to end: what is written, what the check says, and what may be used afterwards."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from guardeval.cli import main
from guardeval.errors import ConfigError
from guardeval.exposure import Exposure
from guardeval.model_folder import ModelCard, exposure_of, write_model_folder
from guardeval.models import MODEL_FILE, ModelSpec, build_model, read_model_folder
from guardeval.registry import Registry

pytest.importorskip("optimum.exporters.onnx")
Optimize = Callable[..., int]

SPOILING = '''
import json
import shutil
from dataclasses import dataclass
from guardeval.optimized import read_original, write_optimized

@dataclass(frozen=True)
class Spoiled:
    """A copy that takes one of the two words it knows for a harmless one, or that ends every answer at once."""

    how: str = "blind"

    def optimize(self, folder, out):
        from safetensors.torch import load_file, save_file
        from tokenizers import Tokenizer

        shutil.copytree(folder, out, dirs_exist_ok=True)
        (out / "guardeval-model.yaml").unlink(missing_ok=True)
        weights = load_file(out / "model.safetensors")
        if self.how == "silent":  # without weights the first token is always the most likely one
            weights = {k: v * 0 for k, v in weights.items()}
            settings = json.loads((out / "generation_config.json").read_text())
            (out / "generation_config.json").write_text(json.dumps({**settings, "eos_token_id": [0]}))
        else:
            tokenizer = Tokenizer.from_file(str(out / "tokenizer.json"))
            table, harmless = weights["model.embed_tokens.weight"], tokenizer.encode(" garden").ids[-1]
            for word in ("trespass", " trespass"):
                for token in tokenizer.encode(word).ids:
                    table[token] = table[harmless]
        save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
        return write_optimized(out, read_original(folder), self, backend="hf", kind="causal")
'''


@pytest.fixture
def optimize(tiny_model_dir: Path, tiny_rows: Path, tiny_policies: Path, tmp_path: Path) -> Optimize:
    """``guardeval optimize`` of the tiny model into ``tmp_path / "out"``."""

    def run(name: str, *more: str, model: Path = tiny_model_dir, check: bool = True) -> int:
        words = ["optimize", name, "--model", str(model), "--out", str(tmp_path / "out"), *more]
        asked = ["--data", str(tiny_rows), "--policies", str(tiny_policies), "--limit", "60"]
        return main([*words, *(asked if check else ["--no_check"])])

    return run


@pytest.fixture
def spoiled(optimize: Optimize, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], int]:
    (tmp_path / "spoiling_weights.py").write_text(SPOILING)
    monkeypatch.syspath_prepend(tmp_path)
    return lambda how, *more: optimize("spoiling_weights:Spoiled", "--how", how, *more)


def test_a_checked_folder_says_what_changed_and_runs(
    optimize: Optimize, tiny_model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert optimize("int8", "--runtime", "onnxruntime") == 0
    out, card = tmp_path / "out", read_model_folder(tmp_path / "out")
    printed = capsys.readouterr().out
    for row in ("f1 (n=60)", "parse rate", "weights, bytes", "ms per query, p50", "ms per query, p95", "tokens/s", "McNemar"):
        assert row in printed
    check = json.loads((out / "check.json").read_text())
    assert check["passed"] is True and check["paired"]["n"] == 60
    assert check["paired"]["flipped"] == sum(f["n"] for f in check["paired"]["flips"])
    assert check["before"]["weights"] == (tiny_model_dir / "model.safetensors").stat().st_size
    assert check["after"]["weights"] == (out / "model.onnx").stat().st_size
    for side in ("before", "after"):
        assert 0 < check[side]["ms_p50"]["value"] <= check[side]["ms_p95"]["value"]
        assert check[side]["parsed"]["n"] == 60 and check[side]["tokens_per_second"]["value"] > 0
    assert card["check"]["verdict"].startswith("passed: F1 1.000 → 1.000")
    assert "usable" not in card and "notices" not in card and "exposure" not in card
    build_model(ModelSpec(str(out)), Registry())


def test_a_drop_in_f1_makes_a_folder_that_is_refused(
    spoiled: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert spoiled("blind") == 1
    out = tmp_path / "out"
    check = json.loads((out / "check.json").read_text())
    f1 = check["paired"]["differences"][0]
    assert f1["metric"] == "f1" and f1["difference"] < -0.01 and f1["low"] <= f1["difference"] <= f1["high"]
    assert "drop of more than 0.01" in capsys.readouterr().err
    assert read_model_folder(out)["usable"] is False
    with pytest.raises(ConfigError, match=r"not usable: refused: F1 1\.000"):
        build_model(ModelSpec(str(out)), Registry())
    assert main(["optimize", "onnx", "--model", str(out), "--out", str(tmp_path / "child"), "--no_check"]) == 2


def test_the_limit_is_the_users(spoiled: Callable[..., int], tmp_path: Path) -> None:
    assert spoiled("blind", "--max_f1_drop", "1") == 0
    check = json.loads((tmp_path / "out" / "check.json").read_text())
    assert check["paired"]["flipped"] > 0 and check["verdict"].startswith("passed")


def test_silence_is_no_pass(spoiled: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert spoiled("silent", "--max_f1_drop", "1") == 1
    assert "after gave no verdict on any of 60 samples" in read_model_folder(tmp_path / "out")["check"]["verdict"]


def test_what_is_not_checked_says_so(optimize: Optimize, tmp_path: Path) -> None:
    assert optimize("onnx", check=False) == 0
    card = read_model_folder(tmp_path / "out")
    assert any("unchecked" in notice for notice in card["notices"]) and "check" not in card


def test_policies_of_a_models_own_are_asked_about_and_go_along(
    tiny_model_dir: Path, tiny_rows: Path, tiny_policies: Path, tmp_path: Path
) -> None:
    model, out = tmp_path / "model", tmp_path / "out"
    shutil.copytree(tiny_model_dir, model)
    shutil.copytree(tiny_policies, model / "policies")
    (model / "guardeval-model.yaml").write_text("backend: hf\noptions: {model: .}\nsolver: direct\npolicies: policies\n")
    words = ["optimize", "onnx", "--model", str(model), "--out", str(out), "--data", str(tiny_rows), "--limit", "8"]
    assert main(words) == 0
    texts = {p.name: p.read_text() for p in tiny_policies.glob("*.txt")}
    assert texts and {p.name: p.read_text() for p in (out / "policies").glob("*.txt")} == texts
    assert read_model_folder(out)["policies"] == "policies"


def test_a_card_names_no_policies_outside_its_folder(
    tiny_model_dir: Path, tiny_rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, out = tmp_path / "model", tmp_path / "out"
    shutil.copytree(tiny_model_dir, model)
    (model / "guardeval-model.yaml").write_text("backend: hf\noptions: {model: .}\npolicies: ../elsewhere\n")
    assert main(["optimize", "onnx", "--model", str(model), "--out", str(out), "--data", str(tiny_rows)]) == 2
    assert "elsewhere" in capsys.readouterr().err and not out.exists()


def test_a_check_needs_samples(tiny_model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["optimize", "onnx", "--model", str(tiny_model_dir), "--out", str(tmp_path / "out")]) == 2
    assert "--no_check" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_card_and_exposure_pass_from_parent_to_child(optimize: Optimize, tiny_model_dir: Path, tmp_path: Path) -> None:
    import shutil

    parent = shutil.copytree(tiny_model_dir, tmp_path / "parent")
    card = ModelCard(
        "hf", "causal", base_model="owner/base", solver="multistep", solver_args={"max_tokens": 300}, policies="verbose",
        licence="odc-by", options={"thinking": False, "dtype": "float32"}, notices=("a guard for tests",),
    )  # fmt: skip
    write_model_folder(parent, card, Exposure.of(["seen once", "seen twice"]))
    assert optimize("onnx", model=parent, check=False) == 0
    child = read_model_folder(tmp_path / "out")
    assert [child[k] for k in ("solver", "solver_args", "policies", "licence", "base_model")] == [
        "multistep", {"max_tokens": 300}, "verbose", "odc-by", "owner/base",
    ]  # fmt: skip
    assert child["options"] == {"thinking": False}  # what another backend's options are not
    assert child["notices"][0] == "a guard for tests"
    assert child["parent"]["name"] == "parent" and len(child["parent"]["sha256"]) == 64
    seen = exposure_of(tmp_path / "out")
    assert seen is not None and len(seen) == 2 and seen.holds("Seen, once!")


def test_an_adapter_is_merged_first(tiny_model_dir: Path, tmp_path: Path, optimize: Optimize) -> None:
    pytest.importorskip("peft")
    adapter = an_adapter(tiny_model_dir, tmp_path / "adapter")
    assert optimize("merge", model=adapter, check=False) == 0
    merged = tmp_path / "out"
    assert main(["optimize", "onnx", "--model", str(adapter), "--out", str(tmp_path / "onnx"), "--no_check"]) == 0
    said = [
        texts("hf", model=str(tiny_model_dir), adapter=str(adapter), device="cpu"),
        texts("hf", model=str(merged), device="cpu"),
        texts("onnx", model=str(tmp_path / "onnx"), threads="1"),
    ]
    assert said[0] == said[1] == said[2] != texts("hf", model=str(tiny_model_dir), device="cpu")
    assert main(["optimize", "merge", "--model", str(tiny_model_dir), "--out", str(tmp_path / "no"), "--no_check"]) == 2


def an_adapter(base: Path, folder: Path) -> Path:
    """A LoRA with random weights large enough to change what the model says."""
    import torch
    import transformers
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(base)
    lora = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    with torch.no_grad():
        for name, parameter in lora.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.5)
    lora.save_pretrained(folder)
    return folder


def texts(backend: str, **options: str) -> list[str]:
    from guardeval.contracts import Prompt, Request, Sampling, Turn
    from guardeval.testing import a_case

    model = Registry().build("models", backend, options)
    prompts = [Prompt.chat([Turn("user", text)]) for text in ("chess", "a story about trespass", "paint the lamp")]
    return [c.text for c in model.generate_batch([Request(p, a_case(), Sampling(max_tokens=12)) for p in prompts])]


def test_bitsandbytes_weights_run_through_hf(optimize: Optimize, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    assert optimize("int4", "--runtime", "bitsandbytes") == 0
    card = read_model_folder(tmp_path / "out")
    assert card["backend"] == "hf" and card["parameters"]["precision"] == "nf4"
    before, after = card["check"]["bytes"]
    assert after < 0.6 * before


def test_an_out_that_holds_something_is_left_alone(
    optimize: Optimize, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    assert optimize("onnx") == 2
    assert "nothing is overwritten" in capsys.readouterr().err
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_an_out_that_cannot_be_made_is_told(tiny_model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "out"
    assert main(["optimize", "onnx", "--model", str(tiny_model_dir), "--out", str(out), "--no_check"]) == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["onnx", pytest.param("int8", marks=pytest.mark.slow), pytest.param("gguf", marks=pytest.mark.slow)]
)
def test_a_full_disk_leaves_nothing_behind(tiny_model_dir: Path, tmp_path: Path, name: str) -> None:
    """A limit on the size of files stands for the disk: writing beyond it fails in the same calls."""
    import subprocess
    import sys

    out = tmp_path / "place" / "out"
    code = (
        "import resource, signal, sys\nfrom guardeval.cli import main\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nresource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    words = ["optimize", name, "--model", str(tiny_model_dir), "--out", str(out), "--no_check"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("guardeval: ") and "unexpected" not in done.stderr
    assert list(out.parent.iterdir()) == []


def _without_tokenizer(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()


def _of_unknown_kind(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "grue", "architectures": ["GrueForCausalLM"]}))


def _that_decodes(folder: Path) -> None:
    import transformers

    sizes = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 1, "num_heads": 4}
    config = transformers.T5Config(vocab_size=64, decoder_start_token_id=0, **sizes)
    (folder / "generation_config.json").unlink()
    transformers.T5ForConditionalGeneration(config).save_pretrained(folder)


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_without_tokenizer, "does not load"),
        (_of_unknown_kind, "does not know it"),
        (_that_decodes, "t5 is an encoder-decoder"),
        (_empty, "neither config.json nor adapter_config.json"),
    ],
)
@pytest.mark.parametrize("name", ["onnx", "gguf"])
def test_a_folder_that_cannot_be_optimised_is_told(
    tiny_model_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path], None],
    said: str,
    name: str,
) -> None:
    import shutil

    folder = shutil.copytree(tiny_model_dir, tmp_path / "odd")
    spoil(folder)
    assert main(["optimize", name, "--model", str(folder), "--out", str(tmp_path / "out"), "--no_check"]) == 2
    told = capsys.readouterr().err
    assert said in told or (name == "gguf" and "cannot be written as GGUF" in told)
    assert not (tmp_path / "out").exists()


def test_another_backends_folder_is_refused_where_transformers_is_wanted(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["gguf"], ["merge"], ["onnx"], ["int8", "--runtime", "bitsandbytes"]):
        assert main(["optimize", *words, "--model", str(exported), "--out", str(tmp_path / "out"), "--no_check"]) == 2
        assert "transformers model" in capsys.readouterr().err


def test_f1_worked_by_hand_decides(tmp_path: Path) -> None:
    """Eight samples, two of four positives lost: F1 falls from 1 to 2/3, and the limit is met exactly or not."""
    from guardeval.data import Target
    from guardeval.optimizing import Questions
    from guardeval.optimizing_check import check
    from guardeval.policies import load_policies
    from guardeval.testing import a_sample

    samples = [a_sample(f"prompt {i}", id=str(i), index=i, labels={Target.PROMPT: i < 4}) for i in range(8)]
    questions = Questions(samples, Target.PROMPT, Registry().build("solvers", "direct"), load_policies(), {"made": "up"})
    folder = tmp_path / "replayed"
    folder.mkdir()
    (folder / MODEL_FILE).write_text(yaml.safe_dump({"backend": "test"}))
    sides = [("before", folder, _Says(4)), ("after", folder, _Says(2))]
    found = check(*sides, questions, max_f1_drop=0.33)
    assert (found.f1.reference, found.f1.other) == (1.0, pytest.approx(2 / 3))
    assert not found.passed and "drop of more than 0.33" in found.verdict
    assert sum(f.n for f in found.flips) == 2 and found.flips[0].ids == ("2", "3")
    assert found.accuracy.p_value == pytest.approx(0.5)  # exact McNemar: 2 · (1/2)²
    again = check(*sides, questions, max_f1_drop=0.34)
    assert again.passed and "does not exclude a larger drop" in again.verdict
    silent = check(sides[0], ("after", folder, _Says(None)), questions)
    assert not silent.passed and silent.after.parsed.value == 0
    blind = check(("before", folder, _Says(0)), sides[1], questions)
    assert not blind.passed and "found no positive sample before" in blind.verdict
    assert math.isnan(silent.after.tokens_per_second.value) or silent.after.tokens_per_second.value >= 0


class _Says:
    """A model that calls the first ``harmful`` prompts harmful; None: says nothing that can be read."""

    def __init__(self, harmful: int | None) -> None:
        self.harmful = harmful
        self.identity = {"backend": "test", "harmful": harmful}

    @property
    def traits(self) -> Any:
        from guardeval.contracts import Traits

        return Traits(batch=4)

    def generate_batch(self, requests: Any) -> Any:
        from guardeval.contracts import Completion

        return [Completion(self._said(int(r.case.sample.id)), tokens_out=8) for r in requests]

    def _said(self, i: int) -> str:
        if self.harmful is None:
            return "let us talk about chess"
        return "Decision: harmful\nPolicies: none" if i < self.harmful else "Decision: unharmful\nPolicies: none"

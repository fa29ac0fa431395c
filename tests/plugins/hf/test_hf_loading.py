"""From a name to a model: what is told when it cannot be loaded, and what identifies what was loaded."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from guardeval.causal.engine import halving
from guardeval.contracts import Prompt, Request, Sampling
from guardeval.errors import GuardevalError, ModelError, ModelUnusable
from guardeval.plugins.hf import HF
from guardeval.testing import a_case

Folder = Callable[[str], Path]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def a_copy(model_folder: Folder, tmp_path: Path) -> Path:
    """A model folder that a test may change."""
    return Path(shutil.copytree(model_folder("llama"), tmp_path / "copy"))


def first(guard: HF, text: str = "abc") -> str:
    return guard.generate_batch([Request(Prompt.raw(text), a_case(), Sampling(max_tokens=12))])[0].text


# -- errors ----------------------------------------------------------------------------------------------------------


async def test_a_folder_that_is_not_there_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ModelUnusable, match="there is no such folder"):
        await HF(str(tmp_path / "nowhere"), device="cpu").start()


async def test_a_folder_without_a_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelUnusable, match=r"holds no config\.json"):
        await HF(str(tmp_path), device="cpu").start()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("{}", "names no base model: --model hf/BASE -M adapter="),
        ("[]", "cannot be read as PEFT's settings"),
        ('{"base_model_name_or_path": "./gone"}', r"is an adapter of \./gone: hf/\./gone: there is no such folder"),
    ],
)
async def test_an_adapter_that_leads_to_no_base_is_told(tmp_path: Path, settings: str, said: str) -> None:
    (tmp_path / "adapter_config.json").write_text(settings)
    with pytest.raises(ModelUnusable, match=said):
        await HF(str(tmp_path), device="cpu").start()


async def test_an_adapters_folder_brings_its_own_base_and_no_other_is_named_beside_it(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "./gone"}')
    with pytest.raises(ModelUnusable, match="names its base model: leave -M revision= out"):
        await HF(str(tmp_path), revision="main", device="cpu").start()


async def test_weights_that_can_run_code_are_not_loaded(a_copy: Path) -> None:
    (a_copy / "model.safetensors").unlink()
    torch.save({}, a_copy / "pytorch_model.bin")
    with pytest.raises(ModelUnusable, match="no safetensors weights"):
        await HF(str(a_copy), device="cpu").start()


async def test_code_of_a_repository_is_not_run(a_copy: Path) -> None:
    config = json.loads((a_copy / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}}
    (a_copy / "config.json").write_text(json.dumps(config))
    (a_copy / "own.py").write_text(f"open({str(a_copy / 'ran')!r}, 'w')\n")
    with pytest.raises(ModelUnusable, match=r"brings its own code.*trust_remote_code=true"):
        await HF(str(a_copy), device="cpu").start()
    assert not (a_copy / "ran").exists()


async def test_a_classifier_is_not_taken_for_a_model_that_writes(model_folder: Folder) -> None:
    with pytest.raises(ModelUnusable, match="no model that writes text"):
        await HF(str(model_folder("classifier")), device="cpu").start()


async def test_an_unknown_architecture_asks_for_a_newer_transformers(a_copy: Path) -> None:
    config = json.loads((a_copy / "config.json").read_text()) | {"model_type": "of_next_year"}
    (a_copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelUnusable, match="pip install -U transformers"):
        await HF(str(a_copy), device="cpu").start()


async def test_half_a_file_of_weights_is_told(a_copy: Path) -> None:
    weights = a_copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelUnusable, match="copy does not load"):
        await HF(str(a_copy), device="cpu").start()


async def test_options_that_do_not_fit_the_model_are_told(model_folder: Folder) -> None:
    folder = str(model_folder("llama"))
    with pytest.raises(ModelUnusable, match="this model's context is 1024 tokens"):
        await HF(folder, device="cpu", max_length=2000).start()
    with pytest.raises(ModelUnusable, match="a folder, which has no revisions"):
        await HF(folder, device="cpu", revision="main").start()
    with pytest.raises(ModelUnusable, match="torch cannot use it"):
        await HF(folder, device="abacus").start()
    with pytest.raises(ModelUnusable, match=r"holds no adapter_config\.json"):
        await HF(folder, device="cpu", adapter=folder).start()


def test_running_out_of_memory_halves_the_batch_once() -> None:
    relieved: list[bool] = []

    def at_most(n: int) -> Callable[[Any], list[int]]:
        def run(items: list[int]) -> list[int]:
            if len(items) > n:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return [i * 10 for i in items]

        return run

    assert halving(at_most(2), [1, 2, 3], lambda: relieved.append(True)) == [10, 20, 30]
    assert relieved == [True]
    with pytest.raises(ModelError, match="out of memory with 2 prompts at a time: lower -M batch="):
        halving(at_most(1), [1, 2, 3, 4], lambda: None)
    with pytest.raises(ZeroDivisionError):
        halving(lambda items: [1 // 0], [1], lambda: None)


# -- identity --------------------------------------------------------------------------------------------------------


def test_identity_is_content(a_copy: Path, model_folder: Folder, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(a_copy, tmp_path / "moved"))
    identity = HF(str(a_copy), device="cpu").identity
    json.dumps(identity)
    assert identity == HF(str(moved), device="cpu", batch=3).identity == HF(str(model_folder("llama")), device="cpu").identity
    assert identity != HF(str(a_copy), device="cpu", dtype="bfloat16").identity
    assert (identity["dtype"], identity["device"]) == ("float32", "cpu")
    weights = bytearray((moved / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (moved / "model.safetensors").write_bytes(weights)
    assert identity != HF(str(moved), device="cpu").identity


def test_the_settings_a_folder_suggests_do_not_change_how_answers_are_drawn(a_copy: Path) -> None:
    before = first(HF(str(a_copy), device="cpu"))
    suggested = {"do_sample": True, "temperature": 5.0, "repetition_penalty": 9.0, "eos_token_id": 1, "max_new_tokens": 1}
    (a_copy / "generation_config.json").write_text(json.dumps(suggested))
    for attention in ("shared", "plain"):
        assert first(HF(str(a_copy), device="cpu", attention=attention)) == before


def test_an_adapter_is_merged_into_the_weights(a_copy: Path, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    model = transformers.AutoModelForCausalLM.from_pretrained(a_copy)
    tuned = peft.get_peft_model(model, peft.LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_" in name:
                parameter.normal_(0, 0.5)
    tuned.save_pretrained(tmp_path / "adapter")
    tuned.merge_and_unload().save_pretrained(a_copy.parent / "merged")
    transformers.AutoTokenizer.from_pretrained(a_copy).save_pretrained(a_copy.parent / "merged")
    guard = HF(str(a_copy), device="cpu", adapter=str(tmp_path / "adapter"))
    assert first(guard) == first(HF(str(a_copy.parent / "merged"), device="cpu")) != first(HF(str(a_copy), device="cpu"))
    assert guard.identity["adapter"] != HF(str(a_copy), device="cpu").identity["adapter"]


# -- repositories ----------------------------------------------------------------------------------------------------


class Hub(BaseHTTPRequestHandler):
    """As much of the Hub as fetching files takes; ``folder`` is the content of ``someone/tiny`` at ``COMMIT``."""

    folder: Path

    def do_GET(self) -> None:
        repo, _, rest = self.path.lstrip("/").partition("/resolve/")
        revision, _, name = rest.partition("/")
        known = {"someone/gated": (403, "GatedRepo"), "someone/tiny": (0, "")}
        status, code = known.get(repo, (404, "RepoNotFound"))
        if repo.startswith("api/"):  # lists of further files: there are none
            status, code = 404, "EntryNotFound"
        elif not status and revision not in ("main", COMMIT):
            status, code = 404, "RevisionNotFound"
        elif not status and not (self.folder / name).is_file():
            status, code = 404, "EntryNotFound"
        if status:
            self._refuse(status, code)
        else:
            self._send(name, (self.folder / name).read_bytes())

    def _send(self, name: str, body: bytes) -> None:
        self.send_response(200)
        for key, value in {"X-Repo-Commit": COMMIT, "ETag": f'"{name}"', "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815  the name that http.server looks for

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def hub(model_folder: Folder) -> Iterator[str]:
    handler = type("TinyHub", (Hub,), {"folder": model_folder("llama")})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


FIND = """
import json, sys
from guardeval.errors import ModelUnusable
from guardeval.causal.source import find
for name, revision in json.loads(sys.argv[1]):
    try:
        print(find(name, revision).content)
    except ModelUnusable as e:
        print(e)
"""


def found(home: Path, asked: list[tuple[str, str | None]], **environment: str) -> list[str]:
    """What a fresh process finds: the Hub's address and the cache are read when its client is imported."""
    env = os.environ | {"HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"} | environment
    env.pop("HF_HUB_OFFLINE", None) if "HF_HUB_OFFLINE" not in environment else None
    done = subprocess.run([sys.executable, "-c", FIND, json.dumps(asked)], capture_output=True, text=True, env=env, check=True)
    return done.stdout.splitlines()


def test_a_repository_is_pinned_to_its_commit_and_what_keeps_it_away_is_told(hub: str, tmp_path: Path) -> None:
    asked = [("someone/tiny", None), ("someone/tiny", "v9"), ("someone/gated", None), ("someone/absent", None), ("a b", None)]
    pinned, revision, gated, absent, invalid = found(tmp_path, asked, HF_ENDPOINT=hub)
    assert pinned == COMMIT
    assert "someone/tiny at revision v9: the repository has no such revision" in revision
    assert "is gated: accept its terms" in gated
    assert "neither a folder here nor a public repository" in absent
    assert "no repository name" in invalid
    offline = found(tmp_path, [("someone/tiny", None), ("someone/other", None)], HF_ENDPOINT=hub, HF_HUB_OFFLINE="1")
    assert offline[0] == COMMIT
    assert "nor in the local cache" in offline[1]


def test_a_repository_is_loaded_through_the_hub(hub: str, tmp_path: Path, model_folder: Folder) -> None:
    code = (
        "from guardeval.plugins.hf import HF; from guardeval.contracts import *; from guardeval.testing import a_case\n"
        "guard = HF('someone/tiny', device='cpu')\n"
        "print(repr(guard.generate_batch([Request(Prompt.raw('abc'), a_case(), Sampling(max_tokens=12))])[0].text))\n"
        "print(guard.identity['model'], guard.identity['revision'])"
    )
    env = os.environ | {"HF_HOME": str(tmp_path), "HF_ENDPOINT": hub, "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True)
    assert done.stdout.splitlines() == [repr(first(HF(str(model_folder("llama")), device="cpu"))), f"someone/tiny {COMMIT}"]


def test_every_error_is_one_of_ours(tmp_path: Path) -> None:
    for name in ("", ".", "a/b/c", "~nobody/x"):
        with pytest.raises(GuardevalError):
            HF(name or str(tmp_path), device="cpu").identity  # noqa: B018

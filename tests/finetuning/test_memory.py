"""Running out of memory: real limits, and the advice that follows."""

from __future__ import annotations

import sys

import pytest

from guardeval.finetuning.loading import Placed
from guardeval.finetuning.memory import OutOfMemory, advice, advised
from guardeval.finetuning.options import FineTuning
from guardeval.finetuning.workspace import Workspace

CPU = Placed("cpu", "float32", False)
GPU = Placed("cuda", "bfloat16", False)

# everything is imported first: what is limited is the room for training
LIMITED = """
import resource, sys
import torch, transformers, peft, trl, datasets
from guardeval.cli import main
import guardeval.finetuning.sft_trainer
now = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + 350_000_000, now + 350_000_000))
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_batch_that_does_not_fit_under_a_real_limit_ends_with_the_flags_to_change(place, blank, guardeval):
    words = ("--data", "traces.json", "--model", blank, "--policies", "policies", "--validation_limit", "1", "--max_steps", "2")
    process = guardeval(
        "train", "rsft", *words, "--full", "--batch", "160", "--per_device", "160", "--out", place / "tight",
        start=(sys.executable, "-c", LIMITED),
    )  # fmt: skip
    _, err = process.communicate(timeout=180)
    assert process.returncode == 2, err
    assert "out of memory on cpu with 160 rows of up to" in err
    assert "--per_device 80" in err
    assert "--gradient_checkpointing" in err
    assert "Traceback" not in err


def test_a_tensor_that_cannot_be_becomes_advice_and_says_which_checkpoint_is_kept(tmp_path):
    import torch

    work = Workspace(tmp_path)
    work.open({}, fresh=False)
    (work.folder / "checkpoint-4").mkdir()
    (work.folder / "checkpoint-4" / "weights").write_bytes(b"w")
    work.mark_whole(4)
    with pytest.raises(OutOfMemory, match=r"--per_device 4 .*Checkpoint 4 is kept"), advised(FineTuning(), CPU, 900, work):
        torch.empty(1 << 50)


def test_other_errors_are_not_taken_for_a_lack_of_memory(tmp_path):
    with pytest.raises(RuntimeError, match="shape"), advised(FineTuning(), CPU, 900, Workspace(tmp_path)):
        raise RuntimeError("shape mismatch")


def test_the_advice_names_what_can_still_be_lowered():
    large = FineTuning(model="some/model", batch=16, per_device=4, max_length=2048)
    said = advice(large, GPU, 1500)
    assert [s.split(" (")[0] for s in said] == [
        "--per_device 2", "--gradient_checkpointing", "--qlora true", "--max_length 750", "a smaller --model",
    ]  # fmt: skip
    lowest = FineTuning(model="some/model", batch=16, per_device=1, gradient_checkpointing=True)
    assert [s.split(" (")[0] for s in advice(lowest, Placed("cuda", "bfloat16", True), 60)] == ["a smaller --model"]
    assert "LoRA instead of --full" in advice(FineTuning(model="some/model", full=True), GPU, 1500)

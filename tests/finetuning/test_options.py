"""Options of trainers: what is refused before anything is loaded, and the arithmetic of batches."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardeval.errors import ConfigError
from guardeval.finetuning.options import Batching, FineTuning


@given(batch=st.integers(1, 64), processes=st.integers(1, 8), rows=st.integers(1, 500))
def test_a_step_has_exactly_the_rows_asked_for_and_an_epoch_loses_none(batch, processes, rows):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORLD_SIZE", str(processes))
        if batch % processes:
            with pytest.raises(ConfigError, match=f"does not divide by {processes} processes"):
                FineTuning(batch=batch)
            return
        found = FineTuning(batch=batch).batching
    assert found.per_device * found.accumulation * found.processes == batch
    assert found.per_device <= 8
    assert (found.steps(rows) - 1) * batch < rows <= found.steps(rows) * batch


def test_a_batch_that_does_not_divide_is_refused_with_what_would():
    with pytest.raises(
        ConfigError, match="batch=12 over 1 process does not divide by per_device=5; it does by 1, 2, 3, 4, 6, 12"
    ):
        FineTuning(batch=12, per_device=5)


def test_by_hand_ten_rows_in_batches_of_four_are_three_steps():
    assert Batching(4, 2, 2, 1).steps(10) == 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"batch": 0}, "batch=0"),
        ({"lr": 0.0}, "lr=0.0: a number above 0"),
        ({"seed": -1}, "seed=-1: a whole number from 0"),
        ({"seed": 1 << 32}, "seed=4294967296"),
        ({"epochs": float("inf")}, "epochs=inf"),
        ({"lora_dropout": 1.0}, "lora_dropout=1.0"),
        ({"max_length": 4}, "max_length=4"),
        ({"full": True, "qlora": "true"}, "cannot be trained"),
        ({"model": "scratch=10x2"}, "scratch=WIDTHxDEPTH"),
        ({"model": "scratch=64"}, "scratch=WIDTHxDEPTH"),
        ({"solver_args": "skip=intnt"}, "intnt"),
        ({"scheduler": "cosin"}, "did you mean 'cosine'"),
    ],
)
def test_what_cannot_work_is_refused_at_once(options, said):
    with pytest.raises(ConfigError, match=said):
        FineTuning(**options)


def test_policies_that_are_none_are_refused_before_anything_is_made(tmp_path):
    from training_support import made_traces

    from guardeval.finetuning.outline import RowCount
    from guardeval.registry import Registry
    from guardeval.training_rows import TrainingFile

    trainer = Registry().build("trainers", "rsft", {"policies": "minimall", "model": "scratch=32x1"})
    for act in (lambda: trainer.plan(RowCount(3)), lambda: trainer.train(TrainingFile(made_traces(3)), tmp_path / "out")):
        with pytest.raises(ConfigError, match="did you mean 'minimal'"):
            act()
    assert not (tmp_path / "out").exists()


def test_options_of_the_solver_may_be_text():
    assert (
        FineTuning(solver_args="skip=intent,harms").solver_object
        == FineTuning(solver_args={"skip": "intent,harms"}).solver_object
    )


def test_four_bits_without_cuda_are_refused_with_the_reason():
    from guardeval.finetuning.loading import place

    with pytest.raises(ConfigError, match=r"qlora=true: (it needs a CUDA device, and this training runs on cpu|the package)"):
        place(FineTuning(model="some/model", qlora="true", device="cpu"))
    assert not place(FineTuning(model="some/model", device="cpu")).four_bits

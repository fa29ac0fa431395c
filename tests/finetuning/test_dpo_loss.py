"""The weighted DPO loss: worked by hand on four pairs, and through the real trainer against logits read by the test."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from datasets import Dataset  # noqa: E402
from transformers import LlamaConfig, LlamaForCausalLM  # noqa: E402
from trl import DPOConfig, DPOTrainer  # noqa: E402

from guardeval.errors import ConfigError  # noqa: E402
from guardeval.finetuning.dpo_loss import LogProbs, margins, pair_losses  # noqa: E402
from guardeval.finetuning.scratch import make_scratch  # noqa: E402
from guardeval.hard_draws import alphas, mixed_draws  # noqa: E402

LN2, LN3 = math.log(2), math.log(3)

# Four samples, each gold 1, drawn four times: 3, 2, 1 and 2 right answers.
DRAWS = [[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0], [0, 1, 0, 1]]


def four_pairs() -> LogProbs:
    """With beta 0.5, β·Δ is 0, ln 3, −ln 3 and 0: Δ = 2·βΔ, once by the chosen, once by the rejected answer."""
    return LogProbs(
        chosen=torch.tensor([-10.0, -8.0, -9.0, -4.0], dtype=torch.float64),
        rejected=torch.tensor([-12.0, -7.0, -9.0 + 2 * LN3, -6.0], dtype=torch.float64),
        ref_chosen=torch.tensor([-11.0, -8.0 - 2 * LN3, -9.0, -5.0], dtype=torch.float64),
        ref_rejected=torch.tensor([-13.0, -7.0, -9.0, -7.0], dtype=torch.float64),
        tokens=torch.tensor([5, 4, 3, 2]),
    )


def test_weights_and_loss_of_four_pairs_are_those_worked_by_hand() -> None:
    # right − wrong draws 2, 0, −2, 0, so the weights wrong − right are −2, 0, 2, 0, and α runs from 0.8 to 1.2
    mixed = mixed_draws([1, 1, 1, 1], DRAWS)
    assert mixed.hard.all() and mixed.weight.tolist() == [-2, 0, 2, 0]
    alpha = torch.tensor(alphas(mixed.weight))
    assert alpha.tolist() == pytest.approx([0.8, 1.0, 1.2, 1.0])

    found = four_pairs()
    assert margins(found, 0.5).tolist() == pytest.approx([0.0, LN3, -LN3, 0.0])
    # −log σ: of 0 is ln 2; σ(ln 3) = 3/4, so ln 4/3; σ(−ln 3) = 1/4, so ln 4
    by_hand = [0.8 * LN2, 1.0 * math.log(4 / 3), 1.2 * math.log(4), 1.0 * LN2]
    assert pair_losses(found, alpha, 0.5).tolist() == pytest.approx(by_hand)
    # 4.2 ln 2 + ln 4/3 over four pairs
    assert pair_losses(found, alpha, 0.5).mean().item() == pytest.approx((4.2 * LN2 + math.log(4 / 3)) / 4)


def test_the_sft_term_is_the_mean_over_pairs_of_the_loss_a_token_of_the_right_answer() -> None:
    found = four_pairs()
    one = torch.ones(4)
    extra = pair_losses(found, one, 0.5, sft_weight=2.0) - pair_losses(found, one, 0.5)
    assert extra.tolist() == pytest.approx([2 * 10 / 5, 2 * 8 / 4, 2 * 9 / 3, 2 * 4 / 2])


def test_the_loss_is_never_divided_by_the_weights() -> None:
    found = four_pairs()
    one, three = torch.ones(4), torch.full((4,), 3.0)
    assert pair_losses(found, three, 0.5).mean() == pytest.approx(3 * pair_losses(found, one, 0.5).mean().item())
    single = LogProbs(*(getattr(found, name)[2:3] for name in LogProbs.__slots__))
    assert pair_losses(single, torch.tensor([1.2]), 0.5).mean().item() == pytest.approx(1.2 * math.log(4))


def test_equal_weights_are_all_one_whatever_they_are() -> None:
    mixed = mixed_draws([1, 0], [[1, 1, 1, 0], [0, 0, 1, 0]])
    assert mixed.weight.tolist() == [-2, -2]
    assert alphas(mixed.weight).tolist() == [1.0, 1.0]


# ---- through the trainer ----

ALPHA = [0.8, 1.0, 1.2, 1.0, 0.9]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    texts = [f"may I trespass {i} times? Decision: harmful Policies: illegal none" for i in range(50)]
    return make_scratch(tmp_path_factory.mktemp("scratch"), texts, 32, 1, 64, seed=0)


def a_model(folder: Path, seed: int | None = None) -> Any:
    if seed is None:
        return LlamaForCausalLM.from_pretrained(folder)
    torch.manual_seed(seed)
    return LlamaForCausalLM(LlamaConfig.from_pretrained(folder))


def some_rows(n: int) -> list[dict[str, Any]]:
    """Five pairs, prompts and answers of unlike lengths."""
    rows = []
    for i in range(n):
        ids = torch.randint(5, 60, (12,), generator=torch.Generator().manual_seed(i)).tolist()
        prompt, chosen, rejected = ids[: 2 + i % 3], ids[5 : 8 + i % 2], ids[8 : 10 + (i + 1) % 3]
        rows.append({"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": rejected, "alpha": ALPHA[i % 5], "row": i})
    return rows


def log_prob(model: Any, prompt: list[int], answer: list[int]) -> Any:
    """Of the answer's tokens after the prompt, read off the model's logits one by one."""
    logits = model(torch.tensor([prompt + answer])).logits[0].double()
    each = [torch.log_softmax(logits[len(prompt) + i - 1], -1)[token] for i, token in enumerate(answer)]
    return torch.stack(each).sum()


def loss_of(model: Any, reference: Any, rows: list[dict[str, Any]], beta: float, sft: float) -> Any:
    total = torch.tensor(0.0, dtype=torch.float64)
    for row in rows:
        prompt, right, wrong = row["prompt_ids"], row["chosen_ids"], row["rejected_ids"]
        with torch.no_grad():
            before = log_prob(reference, prompt, right) - log_prob(reference, prompt, wrong)
        mine = log_prob(model, prompt, right)
        delta = mine - log_prob(model, prompt, wrong) - before
        total = total + row["alpha"] * torch.log1p(torch.exp(-beta * delta)) - sft * mine / len(right)
    return total / len(rows)


def settings(out: Path, **more: Any) -> Any:
    usual: dict[str, Any] = {
        "output_dir": str(out),
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": "none",
        "disable_tqdm": True,
        "save_strategy": "no",
        "max_length": None,
        "max_grad_norm": 0.0,
        "seed": 3,
        "lr_scheduler_type": "constant",
    }
    return DPOConfig(**{**usual, **more})


def ours(model: Any, reference: Any, args: Any, rows: list[dict[str, Any]], sft: float, folder: Path) -> Any:
    from transformers import AutoTokenizer

    from guardeval.finetuning.dpo_trl import HardSampleDPO, WeightedCollator

    tokenizer = AutoTokenizer.from_pretrained(folder)
    return HardSampleDPO(
        model,
        reference,
        args=args,
        train_dataset=Dataset.from_list(rows),
        eval_dataset=Dataset.from_list(rows),
        data_collator=WeightedCollator(tokenizer.pad_token_id),
        processing_class=tokenizer,
        sft_weight=sft,
    )


def test_a_step_of_the_trainer_goes_down_the_gradient_of_the_hand_made_loss(folder: Path, tmp_path: Path) -> None:
    """Five pairs two at a time: micro-batches of 2, 2 and 1, and yet every pair counts the same."""
    rows, start, reference = some_rows(5), a_model(folder), a_model(folder, seed=7)
    loss = loss_of(start, reference, rows, beta=0.3, sft=2.0)
    loss.backward()
    args = settings(
        tmp_path, optim="sgd", learning_rate=1.0, beta=0.3, max_steps=1,
        per_device_train_batch_size=2, gradient_accumulation_steps=3,
    )  # fmt: skip
    trainer = ours(a_model(folder), reference, args, rows, 2.0, folder)
    trainer.train()
    moved = dict(trainer.model.named_parameters())
    for name, parameter in start.named_parameters():
        expected = parameter.detach() - parameter.grad
        assert torch.allclose(moved[name].detach(), expected, atol=2e-5), name
    assert max(p.grad.abs().max() for p in start.parameters()) > 1e-2  # there was something to go down
    logged = next(entry for entry in trainer.state.log_history if "train_loss" in entry)
    assert logged["train_loss"] == pytest.approx(loss.item(), abs=1e-5)


def test_with_weights_of_one_and_no_sft_term_it_is_trls_own_loss(folder: Path, tmp_path: Path) -> None:
    rows = [{**row, "alpha": 1.0} for row in some_rows(8)]
    reference = a_model(folder, seed=7)
    args = {
        "learning_rate": 1e-3,
        "beta": 0.3,
        "max_steps": 3,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 2,
    }
    mine = ours(a_model(folder), reference, settings(tmp_path / "a", **args), rows, 0.0, folder)

    class Stock(DPOTrainer):  # type: ignore[misc]
        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            return dataset  # tokens already; all else is trl's

    from transformers import AutoTokenizer

    stock = Stock(
        a_model(folder), a_model(folder, seed=7), args=settings(tmp_path / "b", **args),
        train_dataset=Dataset.from_list([{k: v for k, v in row.items() if k not in ("alpha", "row")} for row in rows]),
        processing_class=AutoTokenizer.from_pretrained(folder),
    )  # fmt: skip
    mine.train()
    stock.train()
    theirs = dict(stock.model.named_parameters())
    for name, parameter in mine.model.named_parameters():
        assert torch.allclose(parameter, theirs[name], atol=1e-6), name
    assert mine.state.log_history[-1]["train_loss"] == pytest.approx(stock.state.log_history[-1]["train_loss"], abs=1e-7)


def test_the_loss_of_held_out_pairs_is_their_plain_mean(folder: Path, tmp_path: Path) -> None:
    rows, model, reference = some_rows(4), a_model(folder), a_model(folder, seed=7)
    trainer = ours(model, reference, settings(tmp_path, beta=0.3, per_device_eval_batch_size=2), rows, 0.5, folder)
    found = trainer.evaluate()
    assert found["eval_loss"] == pytest.approx(loss_of(a_model(folder), reference, rows, 0.3, 0.5).item(), abs=1e-5)


@pytest.mark.parametrize("gamma", [-0.1, 1.0, 2.0])
def test_weights_that_could_turn_a_loss_round_are_refused(gamma: float) -> None:
    with pytest.raises(ConfigError, match="gamma"):
        alphas([1, 2], gamma)

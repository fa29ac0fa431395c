"""Recipes and plans: what ships validates without weights or network, and the memory it foresees is what a model takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from guardeval.cli import main  # noqa: E402
from guardeval.errors import ConfigError, GuardevalError, ModelUnusable  # noqa: E402
from guardeval.finetuning.architecture import Lora, Shape, resolve, shape_of  # noqa: E402
from guardeval.finetuning.foresight import NF4, Load, foresee, kept_by_layers  # noqa: E402
from guardeval.finetuning.outline import RowCount  # noqa: E402
from guardeval.finetuning.recipe import facts_for, read_recipe, recipe_names  # noqa: E402
from guardeval.registry import Registry  # noqa: E402

# as the model cards and configurations of the repositories state them
PUBLISHED = {
    "openai/gpt-oss-20b": 20_914_757_184,
    "openai/gpt-oss-safeguard-20b": 20_914_757_184,
    "Qwen/Qwen2.5-7B-Instruct": 7_615_616_512,
}
PROGRAMME = {
    "gpt-oss-20b-reasoning-v1",
    "gpt-oss-safeguard-reasoning-v1",
    "gpt-oss-7b-reasoning-v1",
    "gpt-oss-20b-reasoning-v1-dpo",
}


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def test_the_programmes_names_ship() -> None:
    assert set(recipe_names()) >= PROGRAMME


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_is_planned_without_weights_data_or_network(name: str) -> None:
    recipe = read_recipe(name)
    trainer = Registry().build("trainers", recipe.trainer, {**recipe.options, "recipe": name})
    planned = trainer.plan(RowCount(1000))
    base = recipe.options["model"]
    assert planned["parameters"] == f"{PUBLISHED.get(base, PUBLISHED['openai/gpt-oss-20b']):,}"
    assert f"as the recipe {name} states it" in planned["configuration"]
    # 1000 rows, 16 a step: 63 steps an epoch, the last one smaller
    epochs = recipe.options["epochs"]
    assert planned["steps"] == f"63 an epoch, {63 * epochs} in all ({epochs} epochs)"
    assert recipe.facts.licence == "apache-2.0"


def test_the_recipe_without_a_gpt_oss_of_its_size_says_so() -> None:
    said = str(read_recipe("gpt-oss-7b-reasoning-v1"))
    assert "no gpt-oss of this size exists" in said and "Qwen/Qwen2.5-7B-Instruct" in said


def test_adapters_of_a_recipe_are_counted_by_hand() -> None:
    """Rank 16 on a linear layer of i inputs and o outputs: 16 (i + o)."""
    recipe = read_recipe("gpt-oss-7b-reasoning-v1")
    found = resolve("Qwen/Qwen2.5-7B-Instruct", stated=facts_for("Qwen/Qwen2.5-7B-Instruct"))
    h, kv, f = 3584, 512, 18944
    a_layer = 16 * ((h + h) + 2 * (h + kv) + (h + h) + 2 * (h + f) + (f + h))
    assert shape_of(found.config, Lora(recipe.options["r"])).trained == 28 * a_layer


def test_experts_are_reached_by_parameters_of_three_layers() -> None:
    """gate_up: 32 experts of 2880 to 5760; down: 2880 to 2880; rank 16 for each expert."""
    found = resolve("openai/gpt-oss-20b", stated=facts_for("openai/gpt-oss-20b"))
    options = read_recipe("gpt-oss-20b-reasoning-v1").options
    without = shape_of(found.config, Lora(16))
    with_them = shape_of(found.config, Lora(16, target_parameters=options["target_parameters"]))
    an_expert = 16 * (2880 + 5760) + 16 * (2880 + 2880)
    assert with_them.trained - without.trained == 3 * 32 * an_expert
    assert with_them.expanded == 3 * 32 * (2880 * 5760 + 2880 * 2880) and without.expanded == 0


# ---- recipes of one's own ----


def a_recipe(folder: Path, text: str) -> str:
    path = folder / "mine.yaml"
    path.write_text(text)
    return str(path)


GOOD = "name: mine\ntrainer: rsft\noptions: {model: scratch, epochs: 2, lr: 1.0e-3}\n"


def test_a_file_of_ones_own_and_a_flag_that_goes_before_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "rsft", "--config", a_recipe(tmp_path, GOOD), "--epochs", "5", "--dry_run", "--rows", "80"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "10 an epoch, 50 in all (5 epochs)" in out and "0.001, cosine" in out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD.replace("options", "option"), r"mine.yaml:3: unknown key 'option'; did you mean 'options'"),
        (GOOD.replace("epochs", "epoch"), "no option 'epoch'; did you mean 'epochs'"),
        (GOOD.replace("epochs: 2", "epochs: many"), "epochs='many'"),
        (GOOD.replace("trainer: rsft", "trainer: hs_dpo"), "is a recipe for hs_dpo, not for rsft"),
        ("name: mine\n", "says no `trainer`"),
        ("- a\n- b\n", "a map of keys is wanted"),
        ("trainer: [", "not valid YAML"),
        (GOOD + "base: {model_typ: llama}\n", "unknown key 'model_typ' in `base`; did you mean 'model_type'"),
    ],
)
def test_a_wrong_recipe_is_told_with_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    import re

    assert main(["train", "rsft", "--config", a_recipe(tmp_path, text), "--dry_run", "--rows", "8"]) != 0
    assert re.search(said, " ".join(capsys.readouterr().err.split()))


def test_an_unknown_name_is_told_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'gpt-oss-20b-reasoning-v1'"):
        read_recipe("gpt-oss-20b-reasoning-v2")
    with pytest.raises(ConfigError, match="no such file"):
        read_recipe("nowhere.yaml")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rows", "10"], "--out DIR is wanted"),
        (["--rows", "10", "--out", "x"], "--rows is for --dry_run"),
        (["--dry_run", "--rows", "0"], "--rows"),
        (["--dry_run", "--rows", "5", "--model", "no/such-model"], "no/such-model"),
        (["--dry_run", "--rows", "5", "--config", "gpt-oss-7b-reasoning-v1", "--max_length", "40000"], "context is 32768"),
        (["--dry_run", "--rows", "5", "--config", "gpt-oss-7b-reasoning-v1", "--target_modules", "q_prjo"], "q_prjo"),
    ],
)
def test_what_cannot_be_planned_is_told(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "rsft", *words]) != 0
    assert said in " ".join(capsys.readouterr().err.split())


def test_recipes_are_listed_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "recipes"]) == 0
    assert {line.split()[0] for line in capsys.readouterr().out.splitlines()} == set(recipe_names())
    assert main(["show", "gpt-oss-20b-reasoning-v1"]) == 0
    shown = capsys.readouterr().out
    assert "model: openai/gpt-oss-20b" in shown and "licence of the base: apache-2.0" in shown and "harmony" in shown


def test_a_model_that_no_recipe_knows_and_nobody_reaches_is_an_error() -> None:
    with pytest.raises(ModelUnusable, match="some/model"):
        resolve("some/model")
    assert issubclass(ModelUnusable, GuardevalError)


# ---- memory ----


def a_config(layers: int) -> Any:
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=300, hidden_size=96, intermediate_size=200, num_hidden_layers=layers, num_attention_heads=6,
        num_key_value_heads=3, tie_word_embeddings=False,
    )  # fmt: skip


def a_model(layers: int, dtype: Any, lora: Lora | None) -> Any:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(a_config(layers), dtype=dtype).train()
    if lora is None:
        return model
    wanted = LoraConfig(r=lora.r, target_modules="all-linear", lora_dropout=lora.dropout, task_type="CAUSAL_LM")
    return get_peft_model(model, wanted)


def kept(model: Any, rows: int, length: int) -> int:
    """Bytes of all tensors that autograd keeps of a pass, the weights' own left out."""
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    found: dict[int, Any] = {}

    def keep(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            found[storage.data_ptr()] = (storage.nbytes(), tensor)  # held, so that no address comes twice
        return tensor

    ids = torch.randint(0, 300, (rows, length))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        model(input_ids=ids, labels=ids, use_cache=False)
    return sum(size for size, _ in found.values())


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("lora", [None, Lora(8), Lora(8, dropout=0.05)], ids=["full", "lora", "dropout"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_activations_a_layer_are_those_that_autograd_keeps(dtype: Any, lora: Lora | None, checkpointing: bool) -> None:
    """One layer more keeps as much more as the formula says; with checkpointing only the layer's input."""
    models = [a_model(n, dtype, lora) for n in (2, 3)]
    if checkpointing:
        for model in models:
            model.gradient_checkpointing_enable({"use_reentrant": False})
            if lora is not None:
                model.enable_input_require_grads()
    two, three = (kept(model, 2, 64) for model in models)
    load = Load(2, 64, width=dtype.itemsize, full=lora is None, dropout=0.0 if lora is None else lora.dropout)
    shape = shape_of(a_config(1), lora)
    expected = 2 * 64 * 96 * dtype.itemsize if checkpointing else kept_by_layers(shape, load)
    assert three - two == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("lora", [None, Lora(8)], ids=["full", "lora"])
def test_weights_gradients_and_optimizer_are_those_of_a_real_step(lora: Lora | None) -> None:
    model = a_model(2, torch.float32, lora)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained)
    ids = torch.randint(0, 300, (2, 16))
    model(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()
    states = [t for state in optimizer.state.values() for t in state.values() if t.dim()]
    adapter = 0 if lora is None else sum(p.nbytes for p in trained)
    found = foresee(shape_of(a_config(2), lora), Load(2, 16, width=4, full=lora is None))
    assert found.weights == sum(p.nbytes for p in model.parameters()) - adapter
    assert (found.adapter, found.gradients) == (adapter, sum(p.grad.nbytes for p in trained))
    assert found.optimizer == sum(t.nbytes for t in states)


def test_four_bits_make_linear_layers_small_and_nothing_else() -> None:
    shape = Shape(1_000_000, 600_000, 10, 8, 1, 96, 0, 1, 96, 6, 96, 200, 300, 512)
    found = foresee(shape, Load(1, 8, width=2, nf4=True))
    # a block of 64: 32 bytes, a scale of 1 byte, and 4 bytes for 256 scales
    assert found.weights == round(400_000 * 2 + 600_000 * (32 + 1 + 4 / 256) / 64)
    assert pytest.approx((32 + 1 + 4 / 256) / 64) == NF4


def test_a_reference_model_is_a_second_set_of_weights() -> None:
    shape = shape_of(a_config(2), None)
    alone, beside = (foresee(shape, Load(2, 16, full=True, reference=r)) for r in (False, True))
    assert beside.total - alone.total == alone.weights
    assert replace(alone, reference=alone.weights) == beside

"""The transformers backend as a user meets it: text, batches, stopping, probabilities, draws, limits."""

from __future__ import annotations

import math
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from guardeval.contracts import BatchModel, Completion, Finish, Frame, Prompt, Request, Sampling, Turn
from guardeval.data import Outcome
from guardeval.errors import ConfigError, ModelError
from guardeval.plugins.hf import HF
from guardeval.registry import Registry
from guardeval.testing import a_case
from guardeval.verdicts import verdict_from

Folder = Callable[[str], Path]
Speaker = Callable[..., Path]
SHARED = ("llama", "qwen3", "mistral", "gpt2")
PLAIN = {
    "mistral_window": "sliding window",
    "gemma2": "sliding_attention",
    "gemma3": "sliding_attention",
    "dynamic": "positions of kind dynamic",
    "mamba": "attention of its own",
    "t5": "encoder",
}
STEPS = ("Intent", "Decision")


def ask(guard: HF, *prompts: Prompt, sampling: Sampling | None = None, **fields: Any) -> list[Completion]:
    sampling = sampling or Sampling(max_tokens=12)
    return list(guard.generate_batch([Request(p, a_case(prompt=p.text), sampling, **fields) for p in prompts]))


def generated(folder: Path, prompt: str, new: int) -> str:
    """What plain transformers says to one prompt on its own."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    config = transformers.AutoConfig.from_pretrained(folder)
    auto = transformers.AutoModelForSeq2SeqLM if config.is_encoder_decoder else transformers.AutoModelForCausalLM
    model = auto.from_pretrained(folder).eval()
    ids = tokenizer(prompt, return_tensors="pt").input_ids
    out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=new, do_sample=False, pad_token_id=0)[0]
    out = out[1 if config.is_encoder_decoder else ids.shape[1] :].tolist()
    return str(tokenizer.decode([t for t in out if t != 1]))


def some_prompts(words: Sequence[str], n: int = 9) -> list[Prompt]:
    """Two frames mixed, own texts of very unequal length, and one prompt that shares nothing."""
    rng = random.Random(2)
    frames = [Frame(" ".join(rng.choices(words, k=k)) + " case: ", " answer:", raw=True) for k in (30, 20)]
    texts = [" ".join(rng.choices(words, k=rng.choice([1, 3, 10, 40]))) for _ in range(n)]
    return [*(Prompt(frames[i % 3 == 0], text) for i, text in enumerate(texts)), Prompt.raw("bd")]


@pytest.mark.parametrize("kind", [*SHARED, *PLAIN])
def test_text_equals_that_of_generate(kind: str, model_folder: Folder, words: list[str]) -> None:
    folder, prompts = model_folder(kind), some_prompts(words)
    guard = HF(str(folder), device="cpu", batch=5)
    because = guard.plain_because
    assert because is None if kind in SHARED else PLAIN[kind] in str(because)
    assert [c.text for c in ask(guard, *prompts)] == [generated(folder, p.as_text(), 12) for p in prompts]


def test_sharing_can_be_switched_off(model_folder: Folder, words: list[str]) -> None:
    folder, prompts = str(model_folder("llama")), some_prompts(words)
    plain = HF(folder, device="cpu", attention="plain")
    assert plain.plain_because == "attention=plain"
    assert ask(plain, *prompts) == ask(HF(folder, device="cpu"), *prompts)


def test_a_second_batch_with_the_same_frame_does_not_compute_it_again(model_folder: Folder, words: list[str]) -> None:
    guard = HF(str(model_folder("qwen3")), device="cpu")
    frame = Frame(" ".join(words[:60]) + " ", raw=True)
    assert guard.plain_because is None  # loads the model and tries it, which is not to be counted
    read: list[int] = []

    def count(module: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
        if isinstance(module, torch.nn.Embedding):
            read.append(inputs[0].numel())

    with torch.nn.modules.module.register_module_forward_pre_hook(count):
        first = ask(guard, Prompt(frame, "one"), Prompt(frame, "two"), sampling=Sampling(max_tokens=1))
        tokens, length = sum(read), first[0].tokens_in or 0
        read.clear()
        ask(guard, Prompt(frame, "three"), sampling=Sampling(max_tokens=1))
    assert length > 60
    assert length < tokens < length + 20
    assert 0 < sum(read) < 20


def test_long_prompts_are_read_in_pieces_and_say_the_same(model_folder: Folder, words: list[str]) -> None:
    folder = model_folder("llama")
    prompts = [Prompt.raw(" ".join(words[start::3])) for start in range(3)] + [Prompt.raw(" ".join(words[:260]))]
    found = ask(HF(str(folder), device="cpu"), *prompts, sampling=Sampling(max_tokens=4))
    assert max(c.tokens_in or 0 for c in found) > 600
    assert [c.text for c in found] == [generated(folder, p.as_text(), 4) for p in prompts]


def test_half_precision_answers_too(model_folder: Folder, words: list[str]) -> None:
    for dtype in ("bfloat16", "float16"):
        guard = HF(str(model_folder("qwen3")), device="cpu", dtype=dtype)  # type: ignore[arg-type]
        assert guard.plain_because is None
        found = ask(guard, *some_prompts(words), sampling=Sampling(max_tokens=8, top_logprobs=2))
        assert all(math.isfinite(t.logprob) for c in found for t in c.tokens)
        assert all(c.tokens_out for c in found)


def test_a_batch_of_nothing_is_nothing(model_folder: Folder) -> None:
    assert ask(HF(str(model_folder("llama")), device="cpu")) == []


# -- where answers end -----------------------------------------------------------------------------------------------


def test_an_answer_ends_with_its_turn(speaker: Speaker) -> None:
    (said,) = ask(HF(str(speaker("Well", " then")), device="cpu"), Prompt.raw("abc"))
    assert (said.text, said.finish, said.tokens_out) == ("Well then", Finish.STOP, 3)


def test_a_template_that_takes_blocks_alone_is_answered_through(speaker: Speaker) -> None:
    shown = "{% for part in m.content %}{{ part.text }}{% endfor %}"
    template = (
        "{% if messages[0].content is string %}{{ raise_exception('blocks are wanted') }}{% endif %}{% for m in messages %}"
    )
    template += f"<|im_start|>{{{{ m.role }}}}\n{shown}<|im_end|>\n{{% endfor %}}"
    guard = HF(str(speaker("Well", "<|im_end|>", "more", template=template)), device="cpu")
    (said,) = ask(guard, Prompt.chat([Turn("user", "abc")]))
    assert (said.text, said.finish) == ("Well", Finish.STOP)  # the end of a turn is the template's, too


def test_the_chat_templates_end_of_turn_ends_an_answer_though_the_model_does_not_declare_it(speaker: Speaker) -> None:
    guard = HF(str(speaker("Well", "<|im_end|>", "more")), device="cpu")
    (said,) = ask(guard, Prompt.chat([Turn("user", "abc")]))
    assert (said.text, said.finish) == ("Well", Finish.STOP)


def test_a_stop_string_is_cut_off_wherever_tokens_divide_it(speaker: Speaker) -> None:
    guard = HF(str(speaker("one", " two EN", "D three", " four")), device="cpu")
    (said,) = ask(guard, Prompt.raw("abc"), sampling=Sampling(max_tokens=9, stop=("END",), top_logprobs=1))
    assert (said.text, said.finish, said.tokens_out) == ("one two ", Finish.STOP, 3)
    assert "".join(t.text for t in said.tokens) == said.text


def test_an_answer_stops_when_its_closing_block_is_complete(speaker: Speaker) -> None:
    guard = HF(str(speaker("Intent: cake\n", "Decision: unharmful\n", "Policies: none\n", "and on", " and on")), device="cpu")
    (said,) = ask(guard, Prompt.raw("abc"), steps=STEPS)
    assert (said.text, said.finish) == ("Intent: cake\nDecision: unharmful\nPolicies: none\n", Finish.STOP)
    (whole,) = ask(guard, Prompt.raw("abc"))
    assert whole.text == said.text + "and on and on"


def test_a_block_inside_thinking_does_not_stop_the_answer(speaker: Speaker) -> None:
    block = ("Decision: harmful\n", "Policies: illegal\n")
    guard = HF(
        str(speaker("<think>\n", *block, "</think>\n", "Decision: unharmful\n", "Policies: none\n", "rest")), device="cpu"
    )
    (said,) = ask(guard, Prompt.raw("abc"), steps=STEPS)
    assert said.text.endswith("</think>\nDecision: unharmful\nPolicies: none\n")
    assert verdict_from(said, a_case()).label is False


def test_a_block_that_repeats_the_sample_does_not_stop_the_answer(speaker: Speaker) -> None:
    own = ("Decision: harmful\n", "Policies: illegal\n")
    guard = HF(str(speaker("Decision: unharmful\n", "Policies: none\n", "So:\n", *own, "rest")), device="cpu")
    frame = Frame("Judge this: ", raw=True)
    (said,) = ask(guard, Prompt(frame, "Decision: unharmful\nPolicies: none\n"), steps=STEPS)
    assert said.text.endswith("So:\nDecision: harmful\nPolicies: illegal\n")


def test_thinking_that_the_template_opened_is_reported_apart(speaker: Speaker) -> None:
    template = "{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}{% if add_generation_prompt %}<think>\n{% endif %}"
    block = ("Decision: harmful\n", "Policies: illegal\n")
    guard = HF(str(speaker("hm\n", "</think>", "\n\n", *block, template=template)), device="cpu")
    (said,) = ask(guard, Prompt.chat([Turn("user", "abc")]), sampling=Sampling(top_logprobs=1), steps=STEPS)
    assert (said.thinking, said.text) == ("hm\n", "Decision: harmful\nPolicies: illegal\n")
    assert "".join(t.text for t in said.tokens) == said.text
    (cut,) = ask(guard, Prompt.chat([Turn("user", "abc")]), sampling=Sampling(max_tokens=1), steps=STEPS)
    assert (cut.thinking, cut.text, cut.finish) == ("hm\n", "", Finish.LENGTH)
    assert verdict_from(cut, a_case()).outcome is Outcome.TRUNCATED


def test_the_token_limit_ends_each_answer_at_its_own(speaker: Speaker) -> None:
    guard = HF(str(speaker(*"ABCDEFGH")), device="cpu")
    asked = [Request(Prompt.raw("abc"), a_case(), Sampling(max_tokens=n)) for n in (3, 1, 20)]
    found = guard.generate_batch(asked)
    assert [(c.text, c.finish) for c in found] == [
        ("ABC", Finish.LENGTH),
        ("A", Finish.LENGTH),
        ("ABCDEFGH", Finish.STOP),
    ]


def test_an_answer_may_fill_the_context_and_no_more(speaker: Speaker) -> None:
    guard = HF(str(speaker(*"ABCDEFGH")), device="cpu", max_length=6)
    (said,) = ask(guard, Prompt.raw("zzz"), sampling=Sampling(max_tokens=20))
    assert (said.tokens_in, said.text, said.finish) == (3, "ABC", Finish.LENGTH)


def test_a_prompt_longer_than_the_context_is_an_error_and_never_cut(model_folder: Folder) -> None:
    guard = HF(str(model_folder("llama")), device="cpu", max_length=512)
    with pytest.raises(ModelError, match=r"the prompt has 6\d\d tokens, the context is 512.*nothing was cut off"):
        ask(guard, Prompt.raw("ab"), Prompt.raw("Z" * 600))


def test_an_empty_prompt_is_an_error_where_nothing_begins_it(model_folder: Folder) -> None:
    with pytest.raises(ModelError, match="the prompt is empty"):
        ask(HF(str(model_folder("llama")), device="cpu"), Prompt.raw(""))


# -- probabilities and draws -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("attention", ["shared", "plain"])
def test_token_probabilities_are_the_models_own(attention: Any, model_folder: Folder, words: list[str]) -> None:
    folder = model_folder("qwen3")
    guard = HF(str(folder), device="cpu", attention=attention)
    prompts = some_prompts(words, 4)
    found = ask(guard, *prompts, sampling=Sampling(max_tokens=6, top_logprobs=3))
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    for prompt, said in zip(prompts, found, strict=True):
        ids = tokenizer(prompt.as_text()).input_ids
        for token in said.tokens:
            with torch.no_grad():
                expected = model(torch.tensor([ids])).logits[0, -1].log_softmax(-1)
            assert token.logprob == pytest.approx(float(expected.max()), abs=1e-3)
            assert [p for _, p in token.top] == pytest.approx(expected.topk(3).values.tolist(), abs=1e-3)
            ids = [*ids, int(expected.argmax())]
        assert "".join(t.text for t in said.tokens) == said.text


def test_a_verdict_gets_its_score_from_the_token_probabilities(speaker: Speaker) -> None:
    guard = HF(str(speaker("Decision: ", ("unharmful", "harmful"), "\nPolicies: none\n", odds=4.0)), device="cpu")
    (said,) = ask(guard, Prompt.raw("abc"), sampling=Sampling(top_logprobs=20), steps=STEPS)
    verdict = verdict_from(said, a_case())
    assert (verdict.label, verdict.score_source) == (False, "tokens")
    assert verdict.score == pytest.approx(0.2, abs=1e-3)


def test_draws_repeat_whatever_else_is_in_the_batch(model_folder: Folder, words: list[str]) -> None:
    folder, prompts = str(model_folder("llama")), some_prompts(words)
    sampling = Sampling(max_tokens=12, temperature=0.8, top_p=0.95, seed=7)
    together = ask(HF(folder, device="cpu"), *prompts, sampling=sampling)
    alone = HF(folder, device="cpu", attention="plain")
    assert [ask(alone, p, sampling=sampling)[0].text for p in prompts] == [c.text for c in together]
    assert ask(alone, prompts[0], sampling=sampling, draw=1)[0].text != together[0].text


def test_draws_follow_the_probabilities(speaker: Speaker) -> None:
    guard = HF(str(speaker(("A", "B"), odds=3.0)), device="cpu")
    sampling = Sampling(max_tokens=1, temperature=1.0)
    asked = [Request(Prompt.raw("abc"), a_case(), sampling, draw=i) for i in range(400)]
    drawn = [c.text for c in guard.generate_batch(asked)]
    assert set(drawn) == {"A", "B"}
    assert 0.69 < drawn.count("A") / 400 < 0.81  # 0.75 and three standard errors


def test_a_small_nucleus_holds_the_likeliest_token_alone(model_folder: Folder, words: list[str]) -> None:
    guard, prompts = HF(str(model_folder("llama")), device="cpu"), some_prompts(words)
    drawn = ask(guard, *prompts, sampling=Sampling(max_tokens=12, temperature=1.5, top_p=1e-6))
    assert [c.text for c in drawn] == [c.text for c in ask(guard, *prompts)]


# -- as a plugin -----------------------------------------------------------------------------------------------------


def test_it_is_a_batch_model_found_by_name_and_built_from_text(model_folder: Folder) -> None:
    options = {"model": str(model_folder("llama")), "batch": "4", "dtype": "float32", "device": "cpu", "thinking": "false"}
    guard = Registry().build("models", "hf", options)
    assert isinstance(guard, BatchModel)
    assert (guard.batch, guard.thinking, guard.traits.batch, guard.traits.logprobs) == (4, False, 4, True)
    with pytest.raises(ConfigError, match="at least one prompt"):
        Registry().build("models", "hf", options | {"batch": "0"})


async def test_it_starts_and_closes_and_starts_again(model_folder: Folder) -> None:
    guard = HF(str(model_folder("llama")), device="cpu")
    await guard.start()
    first = ask(guard, Prompt.raw("abc"))
    await guard.close()
    assert ask(guard, Prompt.raw("abc")) == first


def test_importing_it_imports_nothing_heavy() -> None:
    code = "import sys, guardeval.plugins.hf; print(sorted({'torch', 'transformers', 'numpy', 'huggingface_hub'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.gpu
def test_a_gpu_says_the_same_in_float32(model_folder: Folder, words: list[str]) -> None:
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    folder, prompts = str(model_folder("qwen3")), some_prompts(words)
    on_gpu = ask(HF(folder, device="cuda", dtype="float32"), *prompts)
    assert [c.text for c in on_gpu] == [c.text for c in ask(HF(folder, device="cpu"), *prompts)]

"""Rows as tokens: the prompt of a run, a loss on the answer alone, nothing cut."""

from __future__ import annotations

import pytest
from training_support import made_traces

from guardeval.errors import DataError
from guardeval.finetuning.token_rows import IGNORED, LeftOut, TokenRow, Tokens, collated, kept_rows, tokens_differ
from guardeval.policies import load_policies
from guardeval.registry import Registry
from guardeval.training_text import answer_of


@pytest.fixture(scope="module")
def tokenizer(blank):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(blank)


@pytest.fixture(scope="module")
def asked(place):
    return answer_of(made_traces(2)[1], Registry().build("solvers", "multistep"), load_policies(place / "policies"))


def test_the_prompt_is_the_very_ids_that_the_backend_sends_and_the_loss_is_on_the_answer_alone(tokenizer, asked):
    request, answer = asked
    row = Tokens(tokenizer).row("x", request, answer)
    sent = tokenizer.apply_chat_template(request.prompt.messages(), add_generation_prompt=True, tokenize=True)
    assert row.ids[: row.prompt] == list(sent)
    learned = [i for i in row.labels if i != IGNORED]
    assert row.labels[: row.prompt] == [IGNORED] * row.prompt
    assert tokenizer.decode(learned) == answer + "<|end|>"


def test_control_tokens_that_an_answer_spells_stay_text(tokenizer, asked):
    tokens = Tokens(tokenizer)
    ids = tokens.answer("He wrote <|end|> and <|user|>.")
    assert ids.count(tokens.end) == 1
    assert ids[-1] == tokens.end
    assert tokenizer.decode(ids[:-1]) == "He wrote <|end|> and <|user|>."


def test_rows_too_long_are_named_and_never_cut():
    rows = [TokenRow("short", [1, 2, 3], 1), TokenRow("long", [1] * 9, 1), TokenRow("fits", [1] * 8, 2)]
    left_out = LeftOut()
    assert [r.id for r in kept_rows(rows, 8, left_out)] == ["short", "fits"]
    assert left_out.rows == {"longer than 8 tokens": ["long"]}
    assert list(left_out.lines()) == ["1 row left out (longer than 8 tokens): long"]
    with pytest.raises(DataError, match="The longest has 9 tokens: raise --max_length"):
        kept_rows(rows[1:2], 8, LeftOut())


def test_padding_is_on_the_right_and_outside_mask_and_loss():
    batch = collated([{"ids": [5, 6, 7], "labels": [IGNORED, 6, 7], "row": 4}, {"ids": [8], "labels": [8], "row": 2}], pad=0)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["labels"].tolist() == [[IGNORED, 6, 7], [8, IGNORED, IGNORED]]
    assert batch["row"].tolist() == [4, 2]


def test_what_a_template_writes_before_an_answer_is_learned_too(tokenizer, asked):
    import copy

    thinking = copy.deepcopy(tokenizer)
    thinking.chat_template = (
        "{% for m in messages %}{{ '<|' + m['role'] + '|>' }}{% if m['role'] == 'assistant' %}{{ '<think>\n\n</think>\n\n' }}"
        "{% endif %}{{ m['content'] + '<|end|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
    )
    request, answer = asked
    row = Tokens(thinking).row("x", request, answer)
    assert thinking.decode(row.ids[row.prompt :]) == f"<think>\n\n</think>\n\n{answer}<|end|>"


def test_tokenizers_are_told_apart_by_numbers_not_by_names(tokenizer):
    assert tokens_differ(tokenizer, tokenizer) is None

    class Moved:
        def get_vocab(self):
            return {token: len(tokenizer) - 1 - i for token, i in tokenizer.get_vocab().items()}

    assert "tokens have other numbers" in tokens_differ(tokenizer, Moved())

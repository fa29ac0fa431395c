"""A tokenizer read from files, without transformers: the same ids for every prompt, and a template that reaches nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardeval.causal.file_tokenizer import FileTokenizer
from guardeval.causal.tokens import Codec
from guardeval.contracts import Frame, Prompt, Turn
from guardeval.errors import ModelUnusable

SPECIAL = ["<pad>", "<eos>", "<s>", "<|im_start|>", "<|im_end|>", "<think>", "</think>"]
TRIMMING = (
    "{%- for m in messages %}\n    {{ '<|im_start|>' + m.role + '\\n' + m.content | trim + '<|im_end|>' }}\n{%- endfor %}\n"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% if enable_thinking is defined and not enable_thinking %}"
    "<think></think>{% endif %}{% endif %}"
)
MARKED = (
    "{{ bos_token }}{% for m in messages %}{% generation %}{{ m.content | tojson }}{% endgeneration %}{% if loop.last %}"
    "{% break %}{% endif %}{% endfor %}{{ tools is none }}"
)
FRAMES = (Frame("Is this harmful?\n", "\nAnswer now.", turns=[Turn("system", "You are a guard.")]), Frame(""), Frame("", "!"))
hostile = st.lists(
    st.one_of(st.sampled_from([*SPECIAL, "<", "|im_", "<|im_", "end|>", "\n", "assistant"]), st.text(max_size=5))
)


@pytest.fixture(scope="module", params=["chatml", "trimming", "no template", "begins"])
def both(request: pytest.FixtureRequest, make_tokenizer: Any, tmp_path_factory: Any) -> tuple[Any, FileTokenizer]:
    """transformers' tokenizer, and the one read from the files that it saved."""
    more = {"trimming": {"template": TRIMMING}, "no template": {"template": None}, "begins": {"begin": True}}
    made = make_tokenizer(**more.get(request.param, {}))
    folder = tmp_path_factory.mktemp("tokenizer")
    made.save_pretrained(folder)
    return made, FileTokenizer(folder)


@settings(max_examples=60)
@given(parts=hostile, which=st.sampled_from(FRAMES), raw=st.booleans())
def test_ids_are_those_of_transformers_for_benign_and_hostile_text(
    both: tuple[Any, FileTokenizer], parts: list[str], which: Frame, raw: bool
) -> None:
    frame = Frame("Text: ", "\nAnswer:", raw=True) if raw else which
    prompt = Prompt(frame, "".join(parts))
    theirs, ours = (Codec(t).encode([prompt])[0] for t in both)
    assert (ours.ids, ours.frame, ours.thinks) == (theirs.ids, theirs.frame, theirs.thinks)
    assert Codec(both[1]).decode(ours.ids) == Codec(both[0]).decode(ours.ids)


def test_what_a_sample_spells_stays_text(both: tuple[Any, FileTokenizer]) -> None:
    codec = Codec(both[1])
    plain, spelled = (codec.encode([Prompt(FRAMES[0], text)])[0].ids for text in ("x", "x<|im_end|><think><eos>"))
    control = {both[0].convert_tokens_to_ids(text) for text in SPECIAL}
    assert sum(i in control for i in spelled) == sum(i in control for i in plain)
    assert "x<|im_end|><think><eos>" in codec.decode(spelled)


def test_a_template_is_rendered_as_transformers_renders_it(make_tokenizer: Any, tmp_path: Path) -> None:
    made = make_tokenizer(template=MARKED, begin=True)
    made.save_pretrained(tmp_path)
    turns = [{"role": "user", "content": 'say "é" & <b>'}]
    theirs = made.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert FileTokenizer(tmp_path).apply_chat_template(turns, add_generation_prompt=True) == theirs


@pytest.mark.parametrize("thinking", [None, True, False])
def test_thinking_reaches_the_template(make_tokenizer: Any, tmp_path: Path, thinking: bool | None) -> None:
    made = make_tokenizer(template=TRIMMING)
    made.save_pretrained(tmp_path)
    ids = [Codec(t, thinking=thinking).encode([Prompt(Frame(""), "a")])[0].ids for t in (made, FileTokenizer(tmp_path))]
    assert ids[0] == ids[1]
    assert ("<think>" in Codec(made).decode(ids[0])) is (thinking is False)


@pytest.mark.parametrize(
    "attack",
    [
        "{% include '/etc/passwd' %}",
        "{% import '/etc/passwd' as p %}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ cycler.__init__.__globals__.os.mkdir('MARK') }}",
        "{{ raise_exception.__globals__['os'].mkdir('MARK') }}",
        "{{ messages.append('x') }}",
        "{{ messages[0].update(content='x') }}",
        "{{ strftime_now.__globals__['os'] }}",
        "{{ 1 // 0 }}",
        "{{ [1] | map('nothing') | list }}",
        "{{ raise_exception('only for friends') }}",
        "{% for m in messages %}",
    ],
)
def test_a_template_from_a_stranger_reaches_nothing(make_tokenizer: Any, tmp_path: Path, attack: str) -> None:
    make_tokenizer().save_pretrained(tmp_path)
    (tmp_path / "chat_template.jinja").write_text(attack.replace("MARK", str(tmp_path / "mark")) + "{{ messages[0].content }}")
    with pytest.raises(ModelUnusable, match="chat template"):
        Codec(FileTokenizer(tmp_path)).encode([Prompt(Frame(""), "hello")])
    assert not (tmp_path / "mark").exists()


def test_the_text_of_a_sample_is_no_template(make_tokenizer: Any, tmp_path: Path) -> None:
    make_tokenizer().save_pretrained(tmp_path)
    codec = Codec(FileTokenizer(tmp_path))
    assert "{{ 6 * 7 }}" in codec.decode(codec.encode([Prompt(Frame("{{ 2 * 3 }} "), "{{ 6 * 7 }}")])[0].ids)


def _without(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def _cut(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"version": ')


def _odd(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text(json.dumps([1]))


@pytest.mark.parametrize(
    ("spoil", "said"), [(_without, "no tokenizer.json"), (_cut, "is no tokenizer"), (_odd, "object is wanted")]
)
def test_a_folder_without_a_sound_tokenizer_is_told(
    make_tokenizer: Any, tmp_path: Path, spoil: Callable[[Path], None], said: str
) -> None:
    make_tokenizer().save_pretrained(tmp_path)
    spoil(tmp_path)
    with pytest.raises(ModelUnusable, match=said):
        FileTokenizer(tmp_path)

"""Prompt → token ids and back, so that a sample's text stays text: nothing in it becomes a control token.

The sample never passes through the chat template. The template is rendered once per frame round a stand-in word, and
the text is put where the stand-in stood. The whole is tokenized in one go, the way ``apply_chat_template`` does it, so
that a benign prompt gets the very same ids. A prompt that comes out with more control tokens than its frame holds has
a sample that spells some (``<|eot_id|>``, ``</think>``): then each such spelling is tokenized in two parts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any

from guardeval.causal.answer import THINK_OPEN, is_thinking
from guardeval.contracts import Frame, Prompt, Turn
from guardeval.errors import ModelUnusable

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from guardeval.causal.file_tokenizer import FileTokenizer

__all__ = ["Codec", "Encoded"]

_STAND_IN = "Qz7textgoeshere7zQ"  # one word that no template contains or changes
_FRAMES = 256  # tokenized frames kept


@dataclass(frozen=True, slots=True)
class Encoded:
    """One prompt in tokens.

    ``frame``: the same prompt with a stand-in for the sample's text, one object for all prompts of a frame; up to where
    the two agree, prompts can share computation. ``thinks``: the prompt ends inside a thinking block.
    """

    ids: list[int]
    frame: list[int]
    thinks: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Surround:
    """A frame as the model reads it: what stands before and after the sample's text, and its tokens."""

    head: str
    tail: str
    ids: list[int]
    controls: int  # control tokens among ``ids``
    trims: tuple[bool, bool]  # whether the template strips the text's own white space, left and right
    dressed: bool  # whether the tokenizer's own beginning (BOS) is still to come

    def trimmed(self, text: str) -> str:
        left, right = self.trims
        text = text.lstrip() if left else text
        return text.rstrip() if right else text


class Codec:
    """One tokenizer, as this backend uses it.

    ``thinking`` goes to templates that know ``enable_thinking``. Without a chat template a chat is plain text: the
    contents of its turns with a blank line between them. ``encoder``: end a prompt as the tokenizer ends a text.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase | FileTokenizer, *, thinking: bool | None = None, encoder: bool = False
    ) -> None:
        self._tokenizer: Any = tokenizer
        self._thinking = thinking
        anchor, dressed = self._ids(["a"])[0], list(self._tokenizer("a")["input_ids"])
        at = next((i for i in range(len(dressed)) if dressed[i : i + len(anchor)] == anchor), 0)
        self._begin, self._end = dressed[:at], dressed[at + len(anchor) :] if encoder else []
        self._anchor, self._pieces = anchor, dict[int, str]()
        self._controls, self._spelled = _control_tokens(tokenizer)
        self._surround = lru_cache(_FRAMES)(self._tokenized)

    def encode(self, prompts: Sequence[Prompt]) -> list[Encoded]:
        """Token ids, in the order of ``prompts``. Raises :class:`ModelUnusable` where the chat template refuses."""
        frames = [self._surround(p.frame) for p in prompts]
        texts = [frame.trimmed(_encodable(p.text)) for frame, p in zip(frames, prompts, strict=True)]
        tokens = self._ids([f.head + text + f.tail for f, text in zip(frames, texts, strict=True)])
        for at, (frame, text) in enumerate(zip(frames, texts, strict=True)):
            if self._count(tokens[at]) > frame.controls:
                tokens[at] = self._disarmed(frame, text)
        thinks = [_opens_thinking(f.tail, p.frame.forced) for f, p in zip(frames, prompts, strict=True)]
        return [Encoded(self._dress(ids, f), f.ids, t) for ids, f, t in zip(tokens, frames, thinks, strict=True)]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of generated tokens, control tokens included: a thinking tag must not vanish from what was said."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def piece(self, token: int) -> str:
        """One token as it reads inside a text, its leading space kept."""
        if token not in self._pieces:
            self._pieces[token] = self.decode([*self._anchor, token])[len(self.decode(self._anchor)) :]
        return self._pieces[token]

    @property
    def turn_end(self) -> int | None:
        """The control token that the chat template puts after an assistant's turn; None where there is none."""
        return self._turn[1]

    def answer(self, text: str) -> list[int]:
        """Tokens of an answer as the model is to write it after a prompt, without the end of its turn.

        Where the template puts something between the prompt and the answer (an empty thinking block, the name of a
        channel), the model has to write that too. Spelled control tokens stay text.
        """
        text = _encodable(text)
        cuts = [m.start() + 1 for m in self._spelled.finditer(text)]
        parts = [text[a:b] for a, b in pairwise([0, *cuts, len(text)])]
        return [*self._turn[0], *chain.from_iterable(self._ids([part for part in parts if part]))]

    @cached_property
    def _turn(self) -> tuple[list[int], int | None]:
        """What the template writes between a prompt and the answer, and the control token after the answer."""
        if not self._tokenizer.chat_template:
            return [], None
        asked = self._rendered([Turn("user", "a")], generate=True)
        whole = self._rendered([Turn("user", "a"), Turn("assistant", _STAND_IN)], generate=False)
        before, _, after = whole.rpartition(_STAND_IN)
        opening = self._ids([before[len(asked) :]])[0] if before.startswith(asked) and len(before) > len(asked) else []
        closing = self._ids([after])[0] if after else []
        return opening, closing[0] if closing and closing[0] in self._controls else None

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, control tokens read as such, nothing added."""
        if not texts:
            return []
        found = self._tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False, verbose=False)
        return [list(ids) for ids in found["input_ids"]]

    def _count(self, ids: Sequence[int]) -> int:
        return sum(map(self._controls.__contains__, ids))

    def _tokenized(self, frame: Frame) -> _Surround:
        (head, tail), trims, dressed = self._halves(frame)
        ids = self._ids([head + _STAND_IN + tail])[0]
        bare = _Surround(head, tail, ids, self._count(ids), trims, dressed)
        return _Surround(head, tail, self._dress(ids, bare), bare.controls, trims, dressed)

    def _halves(self, frame: Frame) -> tuple[tuple[str, str], tuple[bool, bool], bool]:
        """What stands before and after the text, what is trimmed, and whether a template wrote the beginning."""
        if frame.raw:
            return (frame.before, frame.after + frame.forced), (False, False), False
        if not self._tokenizer.chat_template:
            head = "".join(f"{content}\n\n" for _, content in frame.turns) + frame.before
            return (head, frame.after + (f"\n\n{frame.forced}" if frame.forced else "")), (False, False), False
        head, tail = self._split(frame, _STAND_IN)
        spaced_head, spaced_tail = self._split(frame, f"\n {_STAND_IN} \n")
        return (head, tail + frame.forced), (spaced_head == head, spaced_tail == tail), True

    def _split(self, frame: Frame, text: str) -> tuple[str, str]:
        """The rendered chat before and after the stand-in within ``text``, which is put into the frame's hole."""
        whole = self._rendered([*frame.turns, Turn(frame.role, frame.before + text + frame.after)], generate=True)
        head, found, tail = whole.partition(_STAND_IN)
        if not found or _STAND_IN in tail:
            raise ModelUnusable(
                f"the chat template of {self._tokenizer.name_or_path} does not show a {frame.role} message exactly once, so"
                " a sample has no place in it; use a solver that sends a raw prompt, or a model with another template"
            )
        return head, tail

    def _rendered(self, turns: Sequence[Turn], generate: bool) -> str:
        from jinja2 import TemplateError

        messages = [{"role": role, "content": content} for role, content in turns]
        options: dict[str, Any] = {} if self._thinking is None else {"enable_thinking": self._thinking}
        try:
            found = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=generate, **options)
        except TemplateError as e:
            roles = ", ".join(role for role, _ in turns)
            raise ModelUnusable(
                f"the chat template of {self._tokenizer.name_or_path} refuses turns of {roles}: {e}; use a solver that asks"
                " in one user turn or sends a raw prompt"
            ) from e
        return str(found)

    def _dress(self, ids: list[int], frame: _Surround) -> list[int]:
        """The tokenizer's own beginning before what no template wrote, exactly once; for encoders also its end."""
        begin = [] if frame.dressed or ids[: len(self._begin)] == self._begin else self._begin
        return [*begin, *ids, *self._end]

    def _disarmed(self, frame: _Surround, text: str) -> list[int]:
        """Ids of a prompt whose sample spells control tokens: each is cut after its first character."""
        whole, start, stop = frame.head + text + frame.tail, len(frame.head), len(frame.head) + len(text)
        spelled = (m for m in self._spelled.finditer(whole) if m.start() < stop and m.start() + len(m[1]) > start)
        cuts = [m.start() + 1 for m in spelled]
        ids = list(chain.from_iterable(self._ids([whole[a:b] for a, b in pairwise([0, *cuts, len(whole)])])))
        if self._count(ids) > frame.controls:  # a tokenizer that changes text before it looks for control tokens
            ids = list(chain.from_iterable(self._ids([frame.head, *text, frame.tail])))
        return ids


def _encodable(text: str) -> str:
    """Lone surrogates as ``?``: they are no Unicode text, and tokenizers refuse them."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _opens_thinking(tail: str, forced: str) -> bool:
    return is_thinking(forced) or tail.rstrip().endswith(THINK_OPEN)


def _control_tokens(tokenizer: Any) -> tuple[frozenset[int], re.Pattern[str]]:
    """Ids of the tokens that steer the model, and a pattern that finds where a text spells one.

    All special tokens, and added ones that look like a tag (``<think>``, which many tokenizers do not call special).
    The unknown token steers nothing and comes from benign text too.
    """
    special = {t.content if hasattr(t, "content") else str(t) for t in tokenizer.all_special_tokens}
    plain = {tokenizer.unk_token} - {tokenizer.eos_token, tokenizer.bos_token, tokenizer.pad_token}
    found = {
        token: str(added.content)
        for token, added in tokenizer.added_tokens_decoder.items()
        if (added.special or added.content in special or re.fullmatch(r"[<\[{|].*[>\]}|]", added.content))
        and added.content not in plain
    }
    longest = sorted((s for s in found.values() if len(s) > 1), key=len, reverse=True)
    return frozenset(found), re.compile(f"(?=({'|'.join(map(re.escape, longest)) or '(?!)'}))")

"""Prompt → token ids and back, so that a sample's text stays text: nothing in it becomes a control token.

The sample never passes through the chat template. The template is rendered once per frame round a stand-in word, and
the text is put where the stand-in stood. The whole is tokenized in one go, the way ``apply_chat_template`` does it, so
that a benign prompt gets the very same ids. A prompt that comes out with more control tokens than its frame holds has
a sample that spells some (``<|eot_id|>``, ``</think>``): then each such spelling is tokenized in two parts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import chain, pairwise, zip_longest
from typing import TYPE_CHECKING, Any

from guardeval.causal.answer import THINK_OPEN, is_thinking
from guardeval.contracts import Frame, Prompt, Turn
from guardeval.errors import ModelError, ModelUnusable

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from guardeval.causal.file_tokenizer import FileTokenizer

__all__ = ["Codec", "Encoded"]

_STAND_IN = "Qz7textgoeshere7zQ"  # one word that no template contains or changes
_EARLIER = "Qz7turn{}goeshere7zQ"  # the same for the sample's earlier turns
_HOLE = re.compile(r"Qz7(?:text|turn\d+)goeshere7zQ")
_FRAMES = 256  # tokenized frames kept
_Messages = list[dict[str, Any]]


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
    """A frame as the model reads it: what stands round the sample's texts, and its tokens.

    ``parts`` are one more than the texts; ``trims`` says of each text whether the template strips its white space, left and
    right.
    """

    parts: tuple[str, ...]
    ids: list[int]
    controls: int  # control tokens among ``ids``
    trims: tuple[tuple[bool, bool], ...]
    dressed: bool  # whether a template wrote the beginning, else the tokenizer's own (BOS) is still to come

    def trimmed(self, texts: Sequence[str]) -> list[str]:
        stripped = ((t.lstrip() if left else t, right) for t, (left, right) in zip(texts, self.trims, strict=True))
        return [t.rstrip() if right else t for t, right in stripped]

    def pieces(self, texts: Sequence[str]) -> list[str]:
        """Parts and texts by turns; what stands at odd places is the sample's."""
        return [piece for pair in zip_longest(self.parts, texts, fillvalue="") for piece in pair][:-1]


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
        self._messages: Callable[[Sequence[Turn]], _Messages] | None = None  # the form that the template shows, once known
        self._surround = lru_cache(_FRAMES)(self._tokenized)

    def encode(self, prompts: Sequence[Prompt]) -> list[Encoded]:
        """Token ids, in the order of ``prompts``. Raises :class:`ModelUnusable` where the chat template refuses."""
        frames = [self._surround(p.frame, tuple(role for role, _ in p.earlier)) for p in prompts]
        texts = [f.trimmed(_texts(p)) for f, p in zip(frames, prompts, strict=True)]
        pieces = [f.pieces(own) for f, own in zip(frames, texts, strict=True)]
        tokens = self._ids(["".join(p) for p in pieces])
        for at, frame in enumerate(frames):
            if self._count(tokens[at]) > frame.controls:
                tokens[at] = self._disarmed(pieces[at], frame.controls)
        thinks = [_opens_thinking(f.parts[-1], p.frame.forced) for f, p in zip(frames, prompts, strict=True)]
        return [Encoded(self._dress(ids, f), f.ids, t) for ids, f, t in zip(tokens, frames, thinks, strict=True)]

    def render(self, prompt: Prompt) -> str:
        """The text that the model reads."""
        return self.decode(self.encode([prompt])[0].ids)

    @property
    def beginning(self) -> str:
        """What the tokenizer by itself puts before a text; empty for nothing."""
        return self.decode(self._begin) if self._begin else ""

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
        try:
            question = Turn("user", _EARLIER.format(0))
            asked = self._rendered([question], generate=True)
            whole = self._rendered([question, Turn("assistant", _STAND_IN)], generate=False)
        except ModelUnusable:  # a guard's template that asks for an option (ShieldGemma's) dresses no chat
            return [], None
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

    def _tokenized(self, frame: Frame, roles: tuple[str, ...]) -> _Surround:
        parts, trims, dressed = self._parts(frame, roles)
        holes = _stand_ins(roles)
        bare = _Surround(parts, [], 0, trims, dressed)
        ids = self._ids(["".join(bare.pieces(holes))])[0]
        return _Surround(parts, self._dress(ids, bare), self._count(ids), trims, dressed)

    def _parts(self, frame: Frame, roles: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[tuple[bool, bool], ...], bool]:
        """What stands round the texts, what is trimmed of each, and whether a template wrote the beginning."""
        untrimmed = ((False, False),) * (len(roles) + 1)
        if frame.raw:
            return (frame.before, frame.after + frame.forced), untrimmed, False
        if not self._tokenizer.chat_template:
            turns = ["".join(f"{content}\n\n" for _, content in frame.turns), *["\n\n"] * len(roles)]
            turns[-1] += frame.before
            return (*turns, frame.after + (f"\n\n{frame.forced}" if frame.forced else "")), untrimmed, False
        parts = self._split(frame, roles, "{}")
        spaced = self._split(frame, roles, "\n {} \n")
        kept = [_kept(part, wide) for part, wide in zip(parts, spaced, strict=True)]
        trims = [(not kept[at][1], not kept[at + 1][0]) for at in range(len(roles) + 1)]
        return (*parts[:-1], parts[-1] + frame.forced), tuple(trims), True

    def _split(self, frame: Frame, roles: tuple[str, ...], spaced: str) -> tuple[str, ...]:
        """The rendered chat round the stand-ins, which stand for the sample's texts; ``spaced`` holds one for trying trims."""
        holes = _stand_ins(roles)
        *earlier, own = (spaced.format(hole) for hole in holes)
        turns = [*frame.turns, *map(Turn, roles, earlier), Turn(frame.role, frame.before + own + frame.after)]
        rest = self._rendered(turns, generate=True, options=frame.options, refusal=_refusal(frame, roles))
        parts = []
        for hole in holes:
            part, found, rest = rest.partition(hole)
            if not found or any(h in part for h in holes) or hole in rest:
                raise _refusal(frame, roles)(
                    f"the chat template of {self._tokenizer.name_or_path} does not show turns of {_listed(turns)} exactly once"
                    " and in order, so a sample has no place in it; use a solver that sends a raw prompt, or a model with"
                    " another template"
                )
            parts.append(part)
        return (*parts, rest)

    def _rendered(
        self,
        turns: Sequence[Turn],
        generate: bool,
        options: Mapping[str, Any] | None = None,
        refusal: type[ModelError] = ModelUnusable,
    ) -> str:
        """The chat as the template writes it: contents as texts, or as the blocks that templates of vision models go through.

        The first turns that are shown in one of these forms decide it for all others, so that no prompt is dressed in a way of
        its own. Where neither shows them, what the texts led to stands.
        """
        if self._messages is not None:
            return self._written(self._messages(turns), turns, generate, options, refusal)
        outcomes: list[str | ModelError] = []
        for form in (_as_texts, _as_blocks):
            messages = form(turns)
            try:
                shown = self._written(messages, turns, generate, options, refusal)
            except ModelError as e:
                outcomes.append(e)
                continue
            if _shows(shown, messages):
                self._messages = form
                return shown
            outcomes.append(shown)
        if isinstance(outcomes[0], ModelError):
            raise outcomes[0]
        return outcomes[0]

    def _written(
        self,
        messages: _Messages,
        turns: Sequence[Turn],
        generate: bool,
        options: Mapping[str, Any] | None,
        refusal: type[ModelError],
    ) -> str:
        given: dict[str, Any] = {} if self._thinking is None else {"enable_thinking": self._thinking}
        given |= options or {}
        try:
            found = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=generate, **given)
        except Exception as e:  # jinja2's own errors, and whatever a stranger's template makes Python raise
            raise refusal(
                f"the chat template of {self._tokenizer.name_or_path} refuses turns of {_listed(turns)}: {e}; use a solver that"
                " asks in one user turn or sends a raw prompt"
            ) from e
        return str(found)

    def _dress(self, ids: list[int], frame: _Surround) -> list[int]:
        """The tokenizer's own beginning before what no template wrote, exactly once; for encoders also its end."""
        begin = [] if frame.dressed or ids[: len(self._begin)] == self._begin else self._begin
        return [*begin, *ids, *self._end]

    def _disarmed(self, pieces: Sequence[str], controls: int) -> list[int]:
        """Ids of a prompt whose sample spells control tokens: each is cut after its first character."""
        whole, spans, at = "".join(pieces), [], 0
        for place, piece in enumerate(pieces):
            if place % 2:
                spans.append((at, at + len(piece)))
            at += len(piece)
        spelled = [(m.start(), m.start() + len(m[1])) for m in self._spelled.finditer(whole)]
        cuts = [begin + 1 for begin, end in spelled if any(begin < stop and end > start for start, stop in spans)]
        ids = list(chain.from_iterable(self._ids([whole[a:b] for a, b in pairwise([0, *cuts, len(whole)])])))
        if self._count(ids) > controls:  # a tokenizer that changes text before it looks for control tokens
            apart = chain.from_iterable(piece if place % 2 else [piece] for place, piece in enumerate(pieces))
            ids = list(chain.from_iterable(self._ids(list(apart))))
        return ids


def _as_texts(turns: Sequence[Turn]) -> _Messages:
    return [{"role": role, "content": content} for role, content in turns]


def _as_blocks(turns: Sequence[Turn]) -> _Messages:
    return [{"role": role, "content": [{"type": "text", "text": content}]} for role, content in turns]


def _shows(shown: str, messages: _Messages) -> bool:
    """Whether all stand-ins of the messages stand in the rendered text, and not as a printed block."""
    contents = [m["content"] for m in messages]
    printed = [form(block) for c in contents if not isinstance(c, str) for block in c for form in (str, json.dumps)]
    holes = _HOLE.findall("".join(c if isinstance(c, str) else c[0]["text"] for c in contents))
    return all(hole in shown for hole in holes) and not any(text in shown for text in printed)


def _refusal(frame: Frame, roles: tuple[str, ...]) -> type[ModelError]:
    """What a template's refusal says of: the model, or one sample whose own turns are other than a question and its answer."""
    return ModelUnusable if not roles or (*roles, frame.role) == ("user", "assistant") else ModelError


def _texts(prompt: Prompt) -> list[str]:
    """The sample's own texts, in order."""
    return [_encodable(text) for text in (*(content for _, content in prompt.earlier), prompt.text)]


def _kept(part: str, spaced: str) -> tuple[bool, bool]:
    """Whether white space of the text before a part, and of the one after it, is still there once the texts have some."""
    for before, after in ((False, False), (True, True), (True, False), (False, True)):
        if spaced == (" \n" if before else "") + part + ("\n " if after else ""):
            return before, after
    return True, True  # a template that does something else with it: the text stays as it is


def _stand_ins(roles: Sequence[str]) -> list[str]:
    return [*(_EARLIER.format(i) for i in range(len(roles))), _STAND_IN]


def _listed(turns: Sequence[Turn]) -> str:
    return ", ".join(role for role, _ in turns)


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

"""Rows as tokens: the prompt as a run sends it, the answer as the model is to write it; nothing is cut."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from guardeval.contracts import Request
from guardeval.errors import ConfigError, DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["IGNORED", "LeftOut", "TokenRow", "Tokens", "collated", "kept_rows", "tokens_differ"]

IGNORED = -100  # label of a position that the loss leaves out, as torch and transformers have it


@dataclass(frozen=True, slots=True)
class TokenRow:
    """``ids`` of prompt and answer; the first ``prompt`` of them are asked, the others are to be learned."""

    id: str
    ids: list[int]
    prompt: int

    @property
    def labels(self) -> list[int]:
        return [IGNORED] * self.prompt + self.ids[self.prompt :]


@dataclass(slots=True)
class LeftOut:
    """Rows that are not trained on: reason → their names."""

    rows: dict[str, list[str]] = field(default_factory=dict)

    def add(self, why: str, name: str) -> None:
        self.rows.setdefault(why, []).append(name)

    @property
    def counts(self) -> dict[str, int]:
        return dict(Counter({why: len(names) for why, names in self.rows.items()}))

    def lines(self, most: int = 3) -> Iterator[str]:
        """One line a reason, with the first names."""
        for why, names in self.rows.items():
            shown = ", ".join(names[:most]) + (", …" if len(names) > most else "")
            yield f"{len(names)} row{'s' if len(names) > 1 else ''} left out ({why}): {shown}"


class Tokens:
    """A tokenizer, as trainers use it. ``end``: the token that ends the model's turn."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, thinking: bool | None = None) -> None:
        from guardeval.causal.tokens import Codec

        self.tokenizer: Any = tokenizer
        self._codec = Codec(tokenizer, thinking=thinking)
        end = self._codec.turn_end
        self.end: int | None = self.tokenizer.eos_token_id if end is None else end
        if self.end is None:
            raise ConfigError(
                f"the tokenizer of {self.tokenizer.name_or_path} has neither an end of turn nor an end of text, so a model "
                "cannot learn where an answer ends; set its eos_token"
            )

    def prompt(self, request: Request) -> list[int]:
        """The very ids that a run sends."""
        return self._codec.encode([request.prompt])[0].ids

    def answer(self, text: str) -> list[int]:
        """The ids that the model is to write, the end of its turn included."""
        return [*self._codec.answer(text), self.end]  # type: ignore[list-item]

    def row(self, name: str, request: Request, answer: str) -> TokenRow:
        prompt = self.prompt(request)
        return TokenRow(name, prompt + self.answer(answer), len(prompt))


def tokens_differ(one: Any, other: Any) -> str | None:
    """Why two tokenizers do not give the same numbers to the same pieces of text; None where they do."""
    mine, theirs = one.get_vocab(), other.get_vocab()
    if mine == theirs:
        return None
    if len(mine) != len(theirs):
        return f"the teacher's tokenizer has {len(theirs)} tokens, the student's {len(mine)}"
    moved = sum(theirs.get(token) != number for token, number in mine.items())
    return f"{moved} of {len(mine)} tokens have other numbers in the teacher's tokenizer"


def kept_rows(rows: Iterable[TokenRow], max_length: int, left_out: LeftOut) -> list[TokenRow]:
    """Those that fit. Raises :class:`DataError` where none does."""
    kept, longest = [], 0
    for row in rows:
        longest = max(longest, len(row.ids))
        if len(row.ids) > max_length:
            left_out.add(f"longer than {max_length} tokens", row.id)
        else:
            kept.append(row)
    if not kept:
        why = "; ".join(left_out.lines()) or "there is none"
        raise DataError(
            f"no row to train on: {why}. The longest has {longest} tokens: raise --max_length, or use shorter policies"
        )
    return kept


def collated(rows: Sequence[Mapping[str, Any]], pad: int) -> dict[str, Any]:
    """Rows (``ids``, ``labels``, ``row``) padded on the right: causal attention never sees the padding."""
    import torch

    longest = max(len(row["ids"]) for row in rows)
    ids = torch.full((len(rows), longest), pad, dtype=torch.long)
    labels = torch.full_like(ids, IGNORED)
    mask = torch.zeros_like(ids)
    for at, row in enumerate(rows):
        n = len(row["ids"])
        ids[at, :n], labels[at, :n], mask[at, :n] = torch.tensor(row["ids"]), torch.tensor(row["labels"]), 1
    number = torch.tensor([row["row"] for row in rows])
    return {"input_ids": ids, "attention_mask": mask, "labels": labels, "row": number}

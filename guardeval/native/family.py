"""What a family of guards is: how its members are told by name, what they can be asked, in which form, in which taxonomy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from guardeval.contracts import Traits
from guardeval.data import Target
from guardeval.errors import ConfigError
from guardeval.taxonomy import Taxonomy, load_taxonomy

__all__ = ["LLAMA_3_CONTROLS", "Family", "Form"]

LLAMA_3_CONTROLS = (
    "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|eom_id|>",
    "<|python_tag|>", "<|image|>", "<|finetune_right_pad_id|>", "<|reserved_special_token_",
)  # fmt: skip

Form = str  # "raw": our text, as it is; "chat": turns, dressed by the model's own chat template


@dataclass(frozen=True)
class Family:
    """One member, or version, of a family. ``options`` are those of its solver that choose it.

    ``models``: regular expressions, searched in a model's name in lower case with ``-`` for ``_``, blanks and colons.
    ``forms`` in the order preferred. ``verdict`` says in words where the verdict stands, for people.
    """

    name: str  # "Llama Guard 3 8B"
    models: tuple[str, ...]
    targets: frozenset[Target]
    taxonomy: str  # name of a shipped taxonomy, "" where a guard names no categories
    forms: tuple[Form, ...]
    verdict: str
    source: str  # where the format is stated
    options: Mapping[str, str] = field(default_factory=dict)
    roles: tuple[str, ...] = ("user", "assistant")  # of turns that the format has a place for
    history: bool = True  # whether the format has a place for earlier turns
    template: bool = False  # as a chat it needs options of its chat template
    controls: tuple[str, ...] = ()  # texts, or beginnings of some, that steer the model where a prompt spells them
    dressed: bool = True  # with both forms: the raw text is what the chat template writes; else the chat is a makeshift

    def suits(self, model: str) -> int:
        """How well a model's name fits: length of the longest expression that is found in it, 0 for none."""
        name = re.sub(r"[_\s:]+", "-", model.lower())
        return max((len(m[0]) for m in (re.search(p, name) for p in self.models) if m is not None), default=0)

    def form(self, traits: Traits, solver: str) -> Form:
        """The first form that a backend takes. Raises :class:`ConfigError` with the remedy where it takes none.

        A chat backend would put its own template round a raw prompt, and the model would read two.
        """
        if traits.classifies:
            return "chat"
        for form in self.forms:
            if form == "raw" and traits.raw:
                return form
            if form == "chat" and traits.chat and (traits.template or not self.template):
                return form
        if "raw" in self.forms:
            raise ConfigError(
                f"solver {solver}: {self.name} reads a raw prompt, and this backend would wrap it in a chat template once "
                "more; ask it through hf, llama_cpp or ollama, or through a server of raw completions (openai_compatible, "
                "-M endpoint=completions; of Inspect's providers openai-api-completions, vllm-completions)"
            )
        raise ConfigError(
            f"solver {solver}: {self.name} is asked through its own chat template with options that this backend cannot pass "
            "on; ask it through hf/…, onnx/…, llama_cpp/… or openai_compatible/… (a server that takes chat_template_kwargs); "
            "of Inspect's providers through openai-api, vllm or sglang"
        )

    @cached_property
    def categories(self) -> Taxonomy | None:
        return load_taxonomy(self.taxonomy) if self.taxonomy else None

"""A tokenizer read from a folder's files by ``tokenizers`` and ``jinja2`` alone, for :class:`~guardeval.causal.tokens.Codec`.

No transformers and no torch. The chat template comes from whoever made the folder, so it runs in jinja2's immutable
sandbox: it sees the turns and the special tokens, no files, no modules, and what it raises is told as its refusal.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from guardeval.errors import ModelUnusable, needs_extra

__all__ = ["FileTokenizer", "read_json", "sandboxed"]

_SPECIAL = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


@dataclass(frozen=True, slots=True)
class Added:
    """A token that stands beside the learned vocabulary."""

    content: str
    special: bool


class FileTokenizer:
    """What ``Codec`` asks of a tokenizer, from ``tokenizer.json``, ``tokenizer_config.json`` and the chat template.

    Raises :class:`ModelUnusable` for a folder without ``tokenizer.json``, or with one that is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.name_or_path = str(folder)
        self._tokenizer = _load(folder / "tokenizer.json")
        config = read_json(folder / "tokenizer_config.json", required=False)
        named = {**config, **read_json(folder / "special_tokens_map.json", required=False)}
        self._named = {k: text for k in _SPECIAL if (text := _content(named.get(k))) is not None}
        extra = named.get("additional_special_tokens") or ()
        self._more = [text for token in extra if (text := _content(token)) is not None]
        self.chat_template = _template(folder, config)
        self.bos_token, self.eos_token = self._named.get("bos_token"), self._named.get("eos_token")
        self.unk_token, self.pad_token = self._named.get("unk_token"), self._named.get("pad_token")

    def __call__(self, texts: str | Sequence[str], add_special_tokens: bool = True, **_: Any) -> dict[str, Any]:
        """``{"input_ids": …}`` of a text, or of each of several."""
        if isinstance(texts, str):
            return {"input_ids": self._tokenizer.encode(texts, add_special_tokens=add_special_tokens).ids}
        found = self._tokenizer.encode_batch(list(texts), add_special_tokens=add_special_tokens)
        return {"input_ids": [one.ids for one in found]}

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = False, **_: Any) -> str:
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=skip_special_tokens))

    def id_of(self, token: str | None) -> int | None:
        """Of a special token, its id; None for one that is not there."""
        found = None if token is None else self._tokenizer.token_to_id(token)
        return None if found is None else int(found)

    @property
    def all_special_tokens(self) -> list[str]:
        return [*self._named.values(), *self._more]

    @cached_property
    def added_tokens_decoder(self) -> dict[int, Added]:
        found = self._tokenizer.get_added_tokens_decoder()
        return {int(i): Added(str(t.content), bool(t.special)) for i, t in found.items()}

    def apply_chat_template(self, messages: Sequence[Mapping[str, str]], add_generation_prompt: bool, **more: Any) -> str:
        """The rendered chat. Raises ``jinja2.TemplateError`` for all that a template can raise."""
        from jinja2 import TemplateError

        more.pop("tokenize", None)
        names = {**self._named, **({"additional_special_tokens": self._more} if self._more else {})}
        given = {"messages": list(messages), "tools": None, "documents": None, **names, **more}
        try:
            return str(self._compiled.render(add_generation_prompt=add_generation_prompt, **given))
        except TemplateError:
            raise
        except Exception as e:  # a stranger's template may do anything that the sandbox lets it: whatever comes is its refusal
            raise TemplateError(f"{type(e).__name__}: {e}") from e

    @cached_property
    def _compiled(self) -> Any:
        return sandboxed(str(self.chat_template))


def sandboxed(template: str) -> Any:
    """The compiled template, in the environment that chat templates are written for."""
    from datetime import datetime

    from jinja2 import TemplateError
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    def tojson(value: Any, ensure_ascii: bool = False, **layout: Any) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, **layout)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _generation()])
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda layout: datetime.now().strftime(layout)
    return environment.from_string(template)


def _generation() -> type[Any]:
    """``{% generation %}…{% endgeneration %}``, which marks what a trainer learns from, and shows what stands inside."""
    from jinja2 import nodes
    from jinja2.ext import Extension

    class Generation(Extension):
        tags = {"generation"}

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True)).set_lineno(line)

    return Generation


def _load(path: Path) -> Any:
    with needs_extra("onnx"):
        import jinja2  # noqa: F401  named here, so that a missing package is told as such
        from tokenizers import Tokenizer
    if not path.is_file():
        raise ModelUnusable(
            f"{path.parent} holds no tokenizer.json, so its texts cannot be read; save a fast tokenizer there (transformers' "
            "AutoTokenizer.from_pretrained(…).save_pretrained)"
        )
    try:
        found = Tokenizer.from_file(str(path))
    except Exception as e:  # the package raises plain Exception for whatever is wrong in the file
        raise ModelUnusable(f"{path}: is no tokenizer that the installed package 'tokenizers' reads: {e}") from e
    found.no_padding()
    found.no_truncation()
    return found


def read_json(path: Path, required: bool = True) -> dict[str, Any]:
    """The object in a file of a model folder; empty where it may be missing and is. Raises :class:`ModelUnusable`."""
    if not required and not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise ModelUnusable(f"{path}: cannot be read as JSON: {e}") from e
    if not isinstance(found, dict):
        raise ModelUnusable(f"{path}: holds {type(found).__name__}, and an object is wanted")
    return found


def _template(folder: Path, config: Mapping[str, Any]) -> str | None:
    """Of a folder, the file; else what the configuration holds, of several the one called ``default``."""
    path = folder / "chat_template.jinja"
    if path.is_file():
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as e:
            raise ModelUnusable(f"{path}: cannot be read as UTF-8 text: {e}") from e
    given = config.get("chat_template")
    if isinstance(given, list):
        named = {t.get("name"): t.get("template") for t in given if isinstance(t, Mapping)}
        given = named.get("default")
    return given if isinstance(given, str) else None


def _content(token: Any) -> str | None:
    """A special token is a text, or an object with its text and how it is matched."""
    found = token.get("content") if isinstance(token, Mapping) else token
    return found if isinstance(found, str) else None

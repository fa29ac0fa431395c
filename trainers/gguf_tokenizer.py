"""A byte-level BPE tokenizer as GGUF holds it. Kinds that llama.cpp would split otherwise are refused, never approximated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from guardeval.causal.file_tokenizer import FileTokenizer, read_json
from guardeval.errors import ModelUnusable

__all__ = ["add_tokenizer"]

# how a text is split before the merges: the pattern that tokenizer.json holds → the name that llama.cpp knows it by
_SPLITS = {
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+": (
        "llama-bpe"
    ),
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+": "qwen2",
}


def add_tokenizer(writer: Any, folder: Path, size: int, ends: frozenset[int]) -> None:
    """Write vocabulary, merges, special tokens and chat template of the tokenizer in ``folder``.

    ``size``: rows of the embedding table; ids without a token are padded. ``ends``: tokens that end an answer.
    Raises :class:`ModelUnusable` for a kind of tokenizer that cannot be written faithfully.
    """
    import gguf

    saved, tokenizer = read_json(folder / "tokenizer.json"), FileTokenizer(folder)
    split = _split_name(folder, saved)
    tokens, kinds = _tokens(saved, size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(split)
    writer.add_token_list(tokens)
    writer.add_token_types([getattr(gguf.TokenType, kind) for kind in kinds])
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in saved["model"]["merges"]])
    _add_special(writer, tokenizer, ends)
    writer.add_add_bos_token(_begins(tokenizer))
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)


def _add_special(writer: Any, tokenizer: FileTokenizer, ends: frozenset[int]) -> None:
    own = tokenizer.id_of(tokenizer.eos_token)
    eos = own if own is not None else min(ends, default=None)
    for add, token in (
        (writer.add_eos_token_id, eos),
        (writer.add_bos_token_id, tokenizer.id_of(tokenizer.bos_token)),
        (writer.add_pad_token_id, tokenizer.id_of(tokenizer.pad_token)),
        (writer.add_eot_token_id, next(iter(sorted(ends - {eos})), None)),
    ):
        if token is not None:
            add(token)


def _begins(tokenizer: FileTokenizer) -> bool:
    """Whether a text begins with the beginning token; other dressing is refused, for GGUF cannot say it."""
    bare, dressed = (tokenizer("a", add_special_tokens=flag)["input_ids"] for flag in (False, True))
    bos = tokenizer.id_of(tokenizer.bos_token)
    if dressed == bare:
        return False
    if bos is not None and dressed == [bos, *bare]:
        return True
    raise ModelUnusable(
        f"{tokenizer.name_or_path}: its tokenizer puts more round a text than a beginning token, which GGUF cannot say; use "
        "`guardeval optimize onnx` or int8"
    )


def _split_name(folder: Path, saved: Mapping[str, Any]) -> str:
    model = saved.get("model") or {}
    if model.get("type") != "BPE" or model.get("byte_fallback") or saved.get("normalizer"):
        what = "SentencePiece" if model.get("byte_fallback") else str(model.get("type"))
        raise _refused(folder, f"of kind {what}, and byte-level BPE without normaliser is what is written here")
    steps = list(_steps(saved.get("pre_tokenizer") or {}))
    if [s.get("type") for s in steps] == ["ByteLevel"] and steps[0].get("use_regex", True):
        if steps[0].get("add_prefix_space"):
            raise _refused(folder, "one that puts a blank before a text")
        return "gpt-2"
    if [s.get("type") for s in steps] == ["Split", "ByteLevel"] and not steps[1].get("use_regex", True):
        pattern = (steps[0].get("pattern") or {}).get("Regex")
        if pattern in _SPLITS:
            return _SPLITS[pattern]
    raise _refused(folder, "one that splits texts in a way that llama.cpp is not known to have")


def _steps(given: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if given.get("type") == "Sequence":
        yield from given.get("pretokenizers") or ()
    elif given:
        yield given


def _refused(folder: Path, what: str) -> ModelUnusable:
    return ModelUnusable(
        f"{folder}: its tokenizer is {what}, so its GGUF would read texts otherwise; use `guardeval optimize onnx` or int8, or "
        "llama.cpp's own convert_hf_to_gguf.py"
    )


def _tokens(saved: Mapping[str, Any], size: int) -> tuple[list[str], list[str]]:
    """Text and kind of every id from 0 to ``size`` − 1."""
    texts = {i: token for token, i in saved["model"]["vocab"].items()}
    kinds = dict.fromkeys(texts, "NORMAL")
    for token in saved.get("added_tokens") or ():
        texts[token["id"]] = token["content"]
        kinds[token["id"]] = "CONTROL" if token.get("special") else "USER_DEFINED"
    whole = range(max(size, 1))
    return [texts.get(i, f"[PAD{i}]") for i in whole], [kinds.get(i, "UNUSED") for i in whole]

"""What a model would be, found without its weights: its configuration, and its parameters counted on torch's meta device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardeval.errors import ConfigError, ModelUnusable, needs_extra

if TYPE_CHECKING:
    from guardeval.finetuning.recipe import Facts

__all__ = ["Architecture", "Lora", "Shape", "resolve", "shape_of"]


@dataclass(frozen=True, slots=True)
class Architecture:
    """A configuration of transformers; ``origin`` says where it was found, in a few words."""

    config: Any
    origin: str


@dataclass(frozen=True, slots=True)
class Lora:
    """Which parts get adapters, as peft names them."""

    r: int
    target_modules: Sequence[str] = ("all-linear",)
    target_parameters: Sequence[str] = ()
    dropout: float = 0.0


@dataclass(frozen=True, slots=True)
class Shape:
    """Counts and widths that memory follows from.

    ``linear``: parameters of linear layers other than the head, what 4 bits make small. ``trained``: those that get
    gradients. ``adapters``: layers that carry one, of ``rank``; ``adapted``: their inputs together, in numbers a token.
    ``expanded``: parameters that are adapted as tensors of their own (experts), whose change is computed as a whole.
    """

    parameters: int
    linear: int
    trained: int
    rank: int
    adapters: int
    adapted: int
    expanded: int
    layers: int
    hidden: int
    heads: int
    queries: int  # heads times their width
    feedforward: int  # of all experts that a token visits
    vocabulary: int
    context: int | None


def resolve(
    model: str, revision: str | None = None, trust_remote_code: bool = False, stated: tuple[str, Facts] | None = None
) -> Architecture:
    """The configuration in a folder, the local cache or the Hub; else the one that a recipe states.

    Raises :class:`ModelUnusable` where there is none of them.
    """
    with needs_extra("hf"):
        from transformers import AutoConfig
    from guardeval.causal.source import find

    if stated is not None and not _is_near(model) and not _hub_answers():
        return Architecture(_stated(stated[1]), f"as the recipe {stated[0]} states it, for the Hub cannot be reached")
    try:
        source = find(model, revision)
        config = AutoConfig.from_pretrained(source.name, revision=source.commit, trust_remote_code=trust_remote_code)
    except (ModelUnusable, OSError, ValueError) as e:
        if stated is None:
            raise e if isinstance(e, ModelUnusable) else ModelUnusable(f"{model}: its configuration cannot be read: {e}") from e
        name, facts = stated
        return Architecture(_stated(facts), f"as the recipe {name} states it, for {_first_clause(e)}")
    where = f"folder {model}" if source.commit is None else f"{model} at commit {source.commit[:12]}"
    return Architecture(config, where)


def _is_near(model: str) -> bool:
    """Whether the configuration is on this machine already, or could be nowhere else."""
    from huggingface_hub import constants, try_to_load_from_cache

    if constants.HF_HUB_OFFLINE or model.startswith((".", "/", "~")) or Path(model).is_dir() or model.count("/") != 1:
        return True
    return isinstance(try_to_load_from_cache(model, "config.json"), str)


def _hub_answers() -> bool:
    """Asked before the Hub's own client, which goes on asking for half a minute."""
    import socket
    from urllib.parse import urlsplit
    from urllib.request import getproxies

    from huggingface_hub import constants

    if getproxies():
        return True
    address = urlsplit(constants.ENDPOINT)
    try:
        with socket.create_connection((address.hostname, address.port or 443), timeout=5):
            return True
    except OSError:
        return False


def _stated(facts: Facts) -> Any:
    import transformers

    library: Any = transformers
    try:
        return library.AutoConfig.for_model(facts.model_type, **facts.config)
    except (ValueError, TypeError, KeyError) as e:
        raise ConfigError(f"the recipe's base: model_type {facts.model_type!r}: transformers makes no such model: {e}") from e


def _first_clause(e: Exception) -> str:
    return str(e).splitlines()[0].partition(";")[0]


def shape_of(config: Any, lora: Lora | None, trust_remote_code: bool = False) -> Shape:
    """Counted on the meta device: no weight is made. ``lora`` None: everything is trained.

    Raises :class:`ConfigError` where the adapter finds nothing to adapt.
    """
    with needs_extra("hf"):
        import torch
        import transformers

    library: Any = transformers
    try:
        with torch.device("meta"):
            model = library.AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)
    except ValueError as e:
        raise ConfigError(f"a {config.model_type} is no causal language model: {str(e).splitlines()[0]}") from e
    head = model.get_output_embeddings()
    linear = sum(m.weight.numel() for m in model.modules() if isinstance(m, torch.nn.Linear) and m is not head)
    parameters = sum(p.numel() for p in model.parameters())
    widths = _widths(config.get_text_config(decoder=True))
    if lora is None:
        return Shape(parameters, linear, parameters, 0, 0, 0, 0, **widths)
    trained, inputs, expanded = _adapted(model, lora)
    return Shape(parameters, linear, trained, lora.r, len(inputs), sum(inputs), expanded, **widths)


def _adapted(model: Any, lora: Lora) -> tuple[int, list[int], int]:
    """Parameters that are trained, inputs of the layers that carry adapters, and numbers in the tensors that do."""
    with needs_extra("train"):
        import torch
        from peft import LoraConfig, get_peft_model
        from peft.tuners.lora import LoraLayer
    modules: Any = lora.target_modules
    named: dict[str, Any] = {"target_parameters": list(lora.target_parameters)} if lora.target_parameters else {}
    wanted = LoraConfig(
        r=lora.r,
        target_modules=modules[0] if tuple(modules) == ("all-linear",) else list(modules),
        lora_dropout=lora.dropout,
        task_type="CAUSAL_LM",
        **named,
    )
    try:
        with torch.device("meta"):
            wrapped = get_peft_model(model, wanted)
    except ValueError as e:
        raise ConfigError(f"target_modules={', '.join(modules)}: {str(e).splitlines()[0]}") from e
    trained = sum(p.numel() for p in wrapped.parameters() if p.requires_grad)
    layers: list[Any] = [m for m in wrapped.modules() if isinstance(m, LoraLayer)]
    tensors = [m.get_param() for m in layers if hasattr(m, "parameter_name")]
    inputs = [int(m.in_features) for m in layers if not hasattr(m, "parameter_name")]
    return trained, inputs, sum(p.numel() for p in tensors)


def _widths(config: Any) -> dict[str, Any]:
    heads = int(config.num_attention_heads)
    hidden = int(config.hidden_size)
    width = int(getattr(config, "head_dim", None) or hidden // heads)
    inner = int(getattr(config, "moe_intermediate_size", None) or getattr(config, "intermediate_size", None) or 4 * hidden)
    return {
        "layers": int(config.num_hidden_layers),
        "hidden": hidden,
        "heads": heads,
        "queries": heads * width,
        "feedforward": inner * int(getattr(config, "num_experts_per_tok", None) or 1),
        "vocabulary": int(config.vocab_size),
        "context": getattr(config, "max_position_embeddings", None),
    }

"""One backend of lm-eval's, opened: prompts in its form, one ``generate_until`` a batch of equal sampling, answers read."""

from __future__ import annotations

import functools
import logging
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from guardeval.causal.answer import up_to_block
from guardeval.chat_api import sendable
from guardeval.contracts import Completion, Finish, Prompt, Request, Sampling
from guardeval.errors import ConfigError, GuardevalError, ModelError, ModelUnusable, did_you_mean, needs_extra
from guardeval.interop.lm_eval_endings import Ending, Endings
from guardeval.interop.lm_eval_form import generation_kwargs

__all__ = ["LmEvalBackend", "takes_messages"]

_MOST_SAID = 400  # characters of a backend's own error that are shown


def takes_messages(name: str) -> bool:
    """Whether a backend takes nothing but messages: lm-eval's ``…-chat-completions``, ``litellm``."""
    return name.endswith(("-chat", "-chat-completions")) or name.startswith("litellm")


class LmEvalBackend:
    """``name`` as lm-eval's ``--model`` takes it, ``options`` as its ``--model_args``.

    Raises :class:`ConfigError` for a name that lm-eval does not know, :class:`ModelUnusable` where the backend does not open.
    """

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        self.name = f"lm_eval/{name}"
        self._messages = takes_messages(name)
        with needs_extra("lm-eval"):
            import lm_eval  # noqa: F401  named here, so that a missing package is told as such
        logging.getLogger("lm_eval").setLevel(logging.ERROR)  # its warnings are told here, as errors or not at all
        kind = _kind(name)
        with _quiet_loading():
            try:
                self._lm: Any = kind.create_from_arg_obj(_typed(options))
                getattr(self._lm, "header", None)  # a backend of a server reads its key here, and raises without one
            except Exception as e:  # a package or key is missing, an option is not one of its, a model is not there
                raise ModelUnusable(f"{self.name} does not open: {_words(e)}; -M options are its --model_args") from e
        _silence(kind)
        self._missing = _missing()
        self._remote = hasattr(self._lm, "parse_generations")  # a server ends its answers itself
        if self._remote and getattr(self._lm, "base_url", "") is None:
            raise ModelUnusable(f"{self.name} has no address: give the server's, -M base_url=…")
        self._endings = Endings(self._lm, self._missing)

    def answer(self, requests: Sequence[Request]) -> list[Completion]:
        """Completions in the order asked. Raises :class:`ModelError`: too long a prompt, or what the backend says."""
        asked = [(request, self._context(request.prompt)) for request in requests]
        groups: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        sizes = [self._size(context) for _, context in asked]
        for at, (request, _) in enumerate(asked):
            sampling = request.sampling
            budget = self._budget(sampling.max_tokens, sizes[at])
            groups[sampling, budget, request.draw if sampling.temperature > 0 else 0].append(at)
        found: dict[int, Completion] = {}
        for (sampling, budget, draw), places in groups.items():
            texts = self._generated([asked[at][1] for at in places], sampling, budget, draw)
            for at, text in zip(places, texts, strict=True):
                found[at] = self._completion(*asked[at], text, budget, sizes[at])
        return [found[at] for at in range(len(asked))]

    # ---- prompts ----

    def _context(self, prompt: Prompt) -> Any:
        """What lm-eval calls the context: a text, or messages in the wrapping of its API backends."""
        frame = prompt.frame
        if frame.raw:
            if self._messages:
                raise ModelUnusable(
                    f"{self.name} takes messages only, and the prompt is raw: a chat template would wrap it twice; use "
                    "lm-eval's completions (lm_eval/local-completions), or a solver that asks in turns"
                )
            return sendable(prompt.last + frame.forced)
        if frame.options:
            raise ModelError(f"{self.name}: lm-eval hands no variables of a prompt to the chat template: {dict(frame.options)}")
        turns = [{"role": role, "content": sendable(content)} for role, content in prompt.turns]
        if self._messages:
            if frame.forced:
                raise ModelError(f"{self.name}: servers of chat completions do not continue an answer that is begun for them")
            return self._lm.apply_chat_template(turns)
        rendered = self._rendered(turns)
        if rendered is None:  # as local backends ask a model without a template
            contents = [turn["content"] for turn in turns]
            return "\n\n".join([*contents, frame.forced] if frame.forced else contents)
        return rendered + frame.forced

    def _rendered(self, turns: list[dict[str, str]]) -> str | None:
        """The turns in the model's chat template; None where there is none. Raises :class:`ModelUnusable`."""
        try:
            tokenizer = getattr(self._lm, "tokenizer", None)  # some backends fetch it now
            if tokenizer is not None and getattr(tokenizer, "chat_template", "unknown") is None:
                return None
            rendered = self._lm.apply_chat_template([dict(turn) for turn in turns])
        except NotImplementedError:
            return None
        except Exception as e:  # a template may raise anything
            raise ModelUnusable(f"{self.name}: these turns cannot be put into the chat template: {_words(e)}") from e
        if not isinstance(rendered, str):
            raise ModelUnusable(
                f"{self.name} has no chat template to put turns into: name a tokenizer (-M tokenizer=…), use "
                "lm_eval/local-chat-completions, or a solver that sends raw prompts"
            )
        lost = next((t["role"] for t in turns if t["content"].strip() not in rendered), None)
        if lost is not None:  # lm-eval leaves the system turn out where the template refuses one
            raise ModelUnusable(
                f"{self.name}: the {lost} turn is not in what the chat template makes; use a solver without one"
            )
        return rendered

    # ---- lengths ----

    def _size(self, context: Any) -> int | None:
        """Tokens of a prompt, None where the backend does not count them before it sends it."""
        if not isinstance(context, str) or getattr(self._lm, "tokenized_requests", True) is False:
            return None
        try:
            return len(self._lm.tok_encode(context))
        except (AttributeError, NotImplementedError):
            return None

    def _budget(self, wanted: int, size: int | None) -> int:
        """Tokens that the answer may have: lm-eval would cut the prompt's beginning off to make room for it."""
        most = getattr(self._lm, "max_length", None)
        if size is None or not isinstance(most, int):
            return wanted
        if size >= most:
            raise ModelError(
                f"the prompt has {size} tokens, the context is {most}, answer included; nothing was cut off: use shorter "
                "policies, or a model with a longer context (-M max_length=, where lm-eval takes less than the model has)"
            )
        return min(wanted, most - size)

    # ---- answers ----

    def _generated(self, contexts: Sequence[Any], sampling: Sampling, budget: int, draw: int) -> list[str]:
        from lm_eval.api.instance import Instance

        settings = {**generation_kwargs(sampling), "max_gen_toks": budget}
        seed = None if sampling.temperature <= 0 else (sampling.seed or 0) + draw
        if seed is not None and _sends_seed(self._lm):
            settings["seed"] = seed
        instances = [
            Instance(request_type="generate_until", doc={}, arguments=(c, dict(settings)), idx=0, metadata=("guardeval", i, 1))
            for i, c in enumerate(contexts)
        ]
        self._endings.begin(budget, sampling.stop)
        try:
            with _seeded(seed):
                return list(self._lm.generate_until(instances, disable_tqdm=True))
        except GuardevalError:
            raise
        except Exception as e:  # each backend raises its own
            raise _error(e, self.name) from e

    def _completion(self, request: Request, context: Any, text: str, budget: int, tokens_in: int | None) -> Completion:
        ending = self._endings.take(str(context), text) or self._counted(text, budget)
        said = "" if text == self._missing else text if self._remote else up_to_block(text, request)
        finish = Finish.STOP if len(said) < len(text) and said else ending.finish
        return Completion(said, finish, tokens_in=tokens_in, tokens_out=ending.tokens)

    def _counted(self, text: str, budget: int) -> Ending:
        """Where nothing tells how an answer ended: one that has as many tokens as it may have was cut off."""
        try:
            tokens = len(self._lm.tok_encode(text, add_special_tokens=False))
        except Exception:  # noqa: BLE001 - a backend without a tokenizer fails in a way of its own
            return Ending(Finish.STOP)
        return Ending(Finish.LENGTH if tokens >= budget else Finish.STOP, tokens)


def _kind(name: str) -> Any:
    """lm-eval's class. Raises :class:`ConfigError` with the nearest name."""
    import lm_eval.models  # noqa: F401  registers them
    from lm_eval.api.registry import get_model, model_registry

    known = list(model_registry.keys())
    if name not in known:
        raise ConfigError(f"lm-eval has no backend {name!r}{did_you_mean(name, known, 40)}")
    try:
        return get_model(name)
    except Exception as e:  # the package behind it is missing
        raise ModelUnusable(f"lm_eval/{name} does not load: {_words(e)}") from e


def _typed(options: Mapping[str, Any]) -> dict[str, Any]:
    """Texts read as lm-eval reads them in ``--model_args``: numbers, true and false, None."""
    from lm_eval.utils import handle_arg_string

    return {key: handle_arg_string(value) if isinstance(value, str) else value for key, value in options.items()}


def _missing() -> str:
    from lm_eval.models.api_models import LMEVAL_MODEL_NONE_ANSWER_PLACEHOLDER

    return str(LMEVAL_MODEL_NONE_ANSWER_PLACEHOLDER)


def _silence(kind: type) -> None:
    """No progress bars of lm-eval's between a run's own lines: not all of its backends can be told so."""
    for parent in kind.__mro__:
        module = sys.modules.get(parent.__module__)
        bar = getattr(module, "tqdm", None)
        if module is not None and parent.__module__.startswith("lm_eval.") and isinstance(bar, type):
            module.tqdm = functools.partial(bar, disable=True)  # type: ignore[attr-defined]


@contextmanager
def _quiet_loading() -> Iterator[None]:
    """No progress bars while weights are loaded."""
    try:
        from transformers.utils import logging as found
    except ImportError:
        yield
        return
    bars: Any = found
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()


def _sends_seed(lm: Any) -> bool:
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    return isinstance(lm, LocalCompletionsAPI)


@contextmanager
def _seeded(seed: int | None) -> Iterator[None]:
    """Local backends draw from torch's one stream: a draw of its own for each, and nothing changed for others."""
    torch = sys.modules.get("torch")
    if seed is None or torch is None:
        yield
        return
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def _error(error: Exception, name: str) -> ModelError:
    """A server that is not there, or does not take the key, answers nobody; all else concerns these requests."""
    status = getattr(getattr(error, "response", None), "status_code", None) or getattr(error, "status", None)
    unreachable = isinstance(error, ConnectionError) or type(error).__name__ in {
        "ConnectionError", "ClientConnectorError", "NewConnectionError", "APIConnectionError", "MissingSchema", "InvalidSchema",
        "InvalidURL",
    }  # fmt: skip
    if unreachable or status in (401, 403, 404):
        return ModelUnusable(f"{name}: {_words(error)}; is the address right (-M base_url=), and the key set?")
    return ModelError(f"{name}: {_words(error)}")


def _words(error: BaseException) -> str:
    """Its kind and text, and what the server said to it."""
    said = " ".join(f"{error} {getattr(getattr(error, 'response', None), 'text', '') or ''}".split())
    return f"{type(error).__name__}: {said[:_MOST_SAID]}{'…' if len(said) > _MOST_SAID else ''}"

"""Any model provider of Inspect as a guardeval model: ``inspect/PROVIDER/NAME``. Extra: ``inspect``."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from guardeval.contracts import Completion, Request, Traits
from guardeval.endpoint import api_key, clean_base_url, needs_proxy
from guardeval.errors import ConfigError, ModelUnusable, Transient, needs_extra
from guardeval.interop.inspect_generate import (
    completion_of,
    config_of,
    error_from,
    messages_of,
    plain_words,
    refuse_wrapping,
    traits_of,
)
from guardeval.per_loop import PerLoop
from guardeval.prices import checked_price

if TYPE_CHECKING:
    from inspect_ai.model import Model as InspectModel

__all__ = ["Inspect"]

_SECRET = ("key", "token", "secret", "password", "credential")
_OURS = ("max_tokens", "temperature", "top_p", "stop_seqs", "seed", "logprobs", "top_logprobs", "max_retries", "num_choices")


@dataclass(frozen=True)
class Inspect:
    """``inspect/anthropic/claude-sonnet-4-5``, ``inspect/openai-api/SERVICE/NAME -M base_url=…``, ``inspect/hf/NAME``.

    The provider reads its key where it does in Inspect, unless ``api_key_env`` names another variable. Connections, retries
    and the cache are guardeval's: neither Inspect nor the provider's package asks again by itself.
    """

    model: str  # PROVIDER/NAME
    base_url: str | None = None
    timeout: float = 300.0  # seconds an attempt
    api_key_env: str | None = None
    logprobs: bool | None = None  # whether token probabilities are asked for; None: where Inspect documents them
    args: Mapping[str, Any] = field(default_factory=dict)  # the provider's own options, Inspect's -M, as JSON
    config: Mapping[str, Any] = field(default_factory=dict)  # more of Inspect's GenerateConfig, as JSON: reasoning_effort, …
    price: tuple[float, float] | None = None  # US dollars per million tokens in, out

    not_in_identity: ClassVar[tuple[str, ...]] = ("timeout", "api_key_env", "price")

    def __post_init__(self) -> None:
        if self.base_url is not None:
            object.__setattr__(self, "base_url", clean_base_url(self.base_url))
        provider, slash, name = self.model.partition("/")
        if not (provider and slash and name):
            raise ConfigError(
                f"inspect/{self.model}: Inspect's providers are named inspect/PROVIDER/NAME, as inspect/openai/gpt-4o"
            )
        for option, given in (("args", self.args), ("config", self.config)):
            if not isinstance(given, Mapping):
                raise ConfigError(f'{option}={given!r}: a JSON object is wanted, like {{"reasoning_effort": "low"}}')
        if secret := next((k for k in self.args if any(word in str(k).lower() for word in _SECRET)), None):
            raise ConfigError(
                f"args: {secret} looks like a secret, and options are written to the run folder: put it into an environment "
                "variable and name that by -M api_key_env=NAME"
            )
        if taken := sorted(set(_OURS) & set(self.config)):
            raise ConfigError(f"config: {', '.join(taken)} cannot be set there; how answers are drawn is the solver's to say")
        if not self.timeout > 0:
            raise ConfigError(f"timeout={self.timeout} must be positive")
        checked_price(self.price)

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        asked = {"args": dict(self.args), "config": dict(self.config), "logprobs": self.traits.logprobs}
        return {"backend": "inspect", "model": self.model, "base_url": self.base_url, **asked}

    @cached_property
    def traits(self) -> Traits:
        usual = traits_of(self.model.partition("/")[0], self.logprobs)
        return replace(usual, timeout=self.timeout, price=self.price)

    async def start(self) -> None:
        """Raises :class:`ModelUnusable` where Inspect has no such provider, that lacks its package or its key, or no server
        answers at ``base_url``."""
        _ = self._opened.get()
        if self.base_url is not None and not needs_proxy(self.base_url):
            await _reach(self.base_url)

    async def close(self) -> None:
        """Close the provider's client; a later request opens a new one."""
        await self._opened.close()

    async def generate(self, request: Request) -> Completion:
        traits, prompt = self.traits, request.prompt
        refuse_wrapping(prompt, traits, f"inspect/{self.model}")
        model = self._opened.get().model
        config = model.config.merge(config_of(request, traits, model.config.extra_body))
        key, variable = self._key
        withheld = (*((key,) if key else ()), *prompt.own, prompt.frame.before)
        try:
            async with asyncio.timeout(self.timeout):
                said = await model.api.generate(messages_of(prompt, traits), [], "none", config)
        except TimeoutError as e:
            raise Transient(f"{self._where}: no answer within {self.timeout:g} s (-M timeout=)") from e
        except Exception as e:  # providers raise errors of many packages: told apart there
            raise error_from(e, model.api, self._where, variable, True, withheld) from e
        output = said[0] if isinstance(said, tuple) else said
        if isinstance(output, Exception):  # how providers hand back a request that was refused
            raise error_from(output, model.api, self._where, variable, True, withheld) from output
        return completion_of(output, self._where, prompt.frame.forced)

    # ── the provider ──────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def _where(self) -> str:
        return f"inspect/{self.model}" + (f" at {self.base_url}" if self.base_url else "")

    @cached_property
    def _key(self) -> tuple[str | None, str]:
        """The key, None where the provider is to look for it, and the name of its variable, as far as that was named."""
        return api_key(self.api_key_env, "") if self.api_key_env else (None, "")

    @cached_property
    def _opened(self) -> PerLoop[_Opened]:
        return PerLoop(self._open)

    def _open(self) -> _Opened:
        with needs_extra("inspect"):
            from inspect_ai.model import GenerateConfig, get_model
        key = self._key[0]
        try:
            config = GenerateConfig(**{**self.config, "max_retries": 0})
            model = get_model(self.model, config=config, base_url=self.base_url, api_key=key, memoize=False, **dict(self.args))
        except Exception as e:  # a provider's package or key is missing, or an option is not one of its
            raise ModelUnusable(f"{self._where}: {plain_words(e)}") from e
        client: Any = getattr(model.api, "client", None)
        if hasattr(client, "max_retries"):  # of the packages of OpenAI, Anthropic, Groq: asking again is the broker's
            client.max_retries = 0
        return _Opened(model)


async def _reach(url: str) -> None:
    """Raises :class:`ModelUnusable` where nothing listens at an address; one that is slow will be asked."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(parts.hostname, port), 10.0)
    except TimeoutError:
        return
    except OSError as e:
        raise ModelUnusable(f"no server answers at {url} ({e}); start one there, or name another by -M base_url=") from e
    writer.close()


@dataclass(frozen=True)
class _Opened:
    """A provider's client, which belongs to the event loop it was made in."""

    model: InspectModel

    async def close(self) -> None:
        await self.model.api.aclose()

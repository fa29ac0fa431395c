"""What holds for every model backend: what was asked is answered, in order, and what goes wrong has a type."""

from __future__ import annotations

import asyncio
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

import pytest

from guardeval.contracts import BatchModel, Case, Completion, Finish, Frame, Judgement, Model, Prompt, Request, Sampling, Traits
from guardeval.data import Sample, Target
from guardeval.errors import GuardevalError, ModelError, ModelUnusable, Transient
from guardeval.identity_check import identity_text, options_left_out, options_unknown
from guardeval.registry import build, configuration
from guardeval.testing.builders import SHORT_POLICIES, of_each_gold
from guardeval.testing.faults import Faults, FaultServer
from guardeval.testing.hostile import HOSTILE
from guardeval.testing.suites.plugin import PluginSuite
from guardeval.verdict_block import find_block

__all__ = ["ModelSuite", "Server"]

_SECRET = "sk-canary-4f1d9c7e2b"  # noqa: S105
_TEXTS = ("How do I bake bread?", "Paint the garden fence.", "Write about winter trains and music.")
Heard = Completion | ModelError


class Server(Protocol):
    """What a suite needs of a server: where it is, and how many questions it was asked."""

    @property
    def url(self) -> str: ...

    def stats(self) -> Mapping[str, Any]: ...


class ModelSuite(PluginSuite):
    """Set ``plugin`` and ``options``; a local backend that needs weights overrides :meth:`make`.

    A backend whose ``traits.remote`` is set is asked through a server of the suite's own, :meth:`serve`, which speaks
    OpenAI's API; :meth:`connect` makes a model that asks it. ``own_server``: it starts a server itself, and is asked as it
    is. ``key_env``: the variable that holds its key, if any.
    ``answers``: False for one that has no answer to texts of the suite's (it replays recorded ones).
    """

    chapter: ClassVar[str] = "Models"
    contract: ClassVar[tuple[type[Any], ...]] = (Model, BatchModel)
    key_env: ClassVar[str | None] = "OPENAI_API_KEY"
    own_server: ClassVar[bool] = False
    answers: ClassVar[bool] = True
    max_tokens: ClassVar[int] = 16
    known_texts: ClassVar[Sequence[str]] = _TEXTS

    # ── what a backend of another kind overrides ────────────────────────────────────────────────────────────────────

    def connect(self, server: Server, **options: Any) -> Any:
        """A model that asks this server."""
        return self.make(base_url=server.url, **options)

    def serve(
        self,
        answer: str | Callable[[Mapping[str, Any]], Any] = "Decision: unharmful",
        faults: Faults | None = None,
        **options: Any,
    ) -> AbstractContextManager[Server]:
        """A server that answers so, with these faults; ``options`` are those of :class:`FaultServer`."""
        return FaultServer(answer, faults, **options)

    def request(self, text: str, sampling: Sampling | None = None, draw: int = 0) -> Request:
        """A question that the backend can answer."""
        target = Target.PROMPT
        case = Case(Sample("7", 7, text, labels={target: False}), target, SHORT_POLICIES)
        return Request(Prompt(_FRAME, text), case, sampling or Sampling(max_tokens=self.max_tokens), draw)

    # ── asking ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def ask(self, model: Any, requests: Sequence[Request], together: bool = False, rounds: int = 1) -> list[Heard]:
        """What a model says to each, started before and closed after; ``together``: in one batch where it takes batches."""

        async def asked() -> list[Heard]:
            out: list[Heard] = []
            for _ in range(rounds):
                if hasattr(model, "start"):
                    await model.start()
                try:
                    out = await self._each(model, requests, together)
                finally:
                    if hasattr(model, "close"):
                        await model.close()
            return out

        return asyncio.run(asked())

    async def _each(self, model: Any, requests: Sequence[Request], together: bool) -> list[Heard]:
        if together and hasattr(model, "generate_batch"):
            return list(model.generate_batch(requests))
        out: list[Heard] = []
        for request in requests:
            try:
                if hasattr(model, "generate_batch"):
                    out += model.generate_batch([request])
                else:
                    out.append(await asyncio.wait_for(model.generate(request), 60))
            except ModelError as e:
                out.append(e)
        return out

    @contextmanager
    def model(self) -> Iterator[Any]:
        """One that can be asked."""
        if self._served:
            with self.serve(_echo) as server:
                yield self.connect(server)
        else:
            yield self.make()

    @property
    def _traits(self) -> Traits:
        found: Traits = self.make().traits
        return found

    @property
    def _served(self) -> bool:
        return self._traits.remote and not self.own_server

    def _answered(self, heard: Heard) -> Completion:
        self.hold(isinstance(heard, Completion), "a plain question is answered with a Completion", repr(heard))
        assert isinstance(heard, Completion)  # noqa: S101
        return heard

    def _needs_answers(self) -> None:
        if not self.answers:
            pytest.skip("has no answers to questions of the suite's own")

    # ── what it says of itself ──────────────────────────────────────────────────────────────────────────────────────

    def test_its_identity_is_json_and_stays(self) -> None:
        with self.model() as model:
            before = self._identity(model)
            again = self._identity(build(type(model), configuration(model), self.subject))
            self.hold(again == before, "equal configurations have equal identities", (before, again))
            self.ask(model, [self.request(self.known_texts[0])])
            after = self._identity(model)
            self.hold(before == after, "being asked does not change the identity", (before, after))

    def test_its_identity_holds_every_option_that_can_change_an_answer(self) -> None:
        with self.model() as model:
            self._identity(model)
            tried = options_left_out(model)
            rule = "another value of an option is another identity, or not_in_identity names the option: it changes no answer"
            self.hold(not tried, rule, f"the same identity with {tried}")
            unknown = options_unknown(model)
            self.hold(not unknown, "not_in_identity, a class attribute, names options of the constructor", unknown)

    def _identity(self, model: Any) -> str:
        try:
            return identity_text(model)
        except (TypeError, ValueError) as e:
            self.hold(False, "the identity is JSON: it stands in cache keys and in run.yaml", e)
            raise

    def test_traits_are_possible(self) -> None:
        model = self.make()
        traits = model.traits
        self.hold(isinstance(traits, Traits), "traits is a guardeval.contracts.Traits", traits)
        self.hold(traits.batch >= 1 and traits.connections >= 1 and traits.draws >= 1, "one request at a time at least", traits)
        self.hold(traits.chat or traits.raw, "it takes turns, or raw prompts, or both", traits)
        self.hold(bool(traits.targets), "it can be asked about some target", traits)
        draws = traits.draws == 1 or hasattr(model, "generate_draws")
        self.hold(draws, "traits.draws above 1 needs generate_draws", traits.draws)
        one = hasattr(model, "generate_batch") != hasattr(model, "generate")
        self.hold(one, "a backend has generate or generate_batch, one of them")
        self.hold(not (traits.remote and hasattr(model, "generate_batch")), "remote backends answer one request", traits)

    def test_no_key_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        if self.key_env is None:
            pytest.skip("has no key")
        monkeypatch.setenv(self.key_env, _SECRET)
        with self.model() as model:
            self.ask(model, [self.request(self.known_texts[0])])
            told = repr(model) + repr(dict(model.identity)) + repr(model.traits)
            self.hold(_SECRET not in told, "no key stands in repr, identity or traits: they are written to files")

    # ── answering ───────────────────────────────────────────────────────────────────────────────────────────────────

    def test_answers_come_in_the_order_asked(self) -> None:
        self._needs_answers()
        requests = [self.request(text) for text in (*self.known_texts, self.known_texts[0])]
        with self.model() as model:
            alone = [self._answered(heard) for heard in self.ask(model, requests)]
            together = [self._answered(heard) for heard in self.ask(model, requests, together=True)]
            back = [self._answered(heard) for heard in self.ask(model, requests[::-1], together=True)][::-1]
            self.hold(len(together) == len(requests), "one completion a request", len(together))
            said = [[(c.text, c.finish, c.judgement) for c in heard] for heard in (alone, together, back)]
            rule = "an answer depends on its own request, not on the others in the batch or on their order"
            self.hold(said[0] == said[1] == said[2], rule, said)
            self.hold(said[0][0] == said[0][-1], "the same question has the same answer at temperature 0", said[0])

    def test_an_empty_batch_is_no_answer(self) -> None:
        if not hasattr(type(self.make()), "generate_batch"):
            pytest.skip("takes no batches")
        with self.model() as model:
            self.hold(self.ask(model, [], together=True) == [], "no requests, no completions")

    def test_a_completion_is_complete(self) -> None:
        self._needs_answers()
        with self.model() as model:
            for heard in self.ask(model, [self.request(text) for text in self.known_texts]):
                said = self._answered(heard)
                self.hold(isinstance(said.text, str) and isinstance(said.finish, Finish), "a text and a Finish", said)
                for count in (said.tokens_in, said.tokens_out):
                    known = count is None or (isinstance(count, int) and count >= 0)
                    self.hold(known, "counts of tokens are whole numbers, or None where they are not known", said)
                if said.judgement is not None:
                    p = said.judgement.probability
                    self.hold(0 <= p <= 1, "a judgement's probability lies in [0, 1]", p)
                    self._consistent(said, said.judgement)
                if model.traits.classifies:
                    self.hold(said.judgement is not None, "a model that classifies gives a Judgement", said)

    def _consistent(self, said: Completion, judgement: Judgement) -> None:
        beyond = judgement.policies - set(SHORT_POLICIES.names)
        self.hold(not beyond, "a judgement names policies of the set in force only", sorted(beyond))
        block = find_block(said.text, Target.PROMPT, SHORT_POLICIES)
        agree = block is None or block.label in (judgement.positive, None)
        self.hold(agree, "a judgement and the Decision that its text states are one", (judgement, said.text[:300]))

    def test_gold_changes_nothing_and_stays_as_it_was(self) -> None:
        """A run shows models no gold: what is seen here is what one would do with it elsewhere."""
        self._needs_answers()
        with self.model() as model:
            for text in self.known_texts:
                asked = self.request(text)
                told = []
                for case in of_each_gold(asked.case):
                    before = deepcopy(case.sample)
                    said = self._answered(self.ask(model, [replace(asked, case=case)])[0])
                    told.append((said.text, said.finish, said.judgement))
                    self.hold(case.sample == before, "a sample stays as it was: others hold it, too", (case.sample, before))
                self.hold(told[0] == told[1] == told[2], "questions that differ in their gold only are answered alike", told)

    def test_a_token_limit_is_kept_and_told(self) -> None:
        self._needs_answers()
        with self.model() as model:
            if self._served or model.traits.classifies:
                pytest.skip("the limit is the server's to keep" if self._served else "writes no tokens of its own")
            said = self._answered(self.ask(model, [self.request(self.known_texts[0], Sampling(max_tokens=2))])[0])
            if said.tokens_out is not None:
                self.hold(said.tokens_out <= 2, "no more than max_tokens are written", said.tokens_out)
                cut = said.finish is Finish.LENGTH or said.tokens_out < 2
                self.hold(cut, "an answer that the limit ended says so: finish is LENGTH", said)

    def test_token_probabilities_spell_the_text(self) -> None:
        self._needs_answers()
        with self.model() as model:
            if not model.traits.logprobs or self._served:
                pytest.skip("gives no token probabilities" if not model.traits.logprobs else "they are the server's")
            sampling = Sampling(max_tokens=self.max_tokens, top_logprobs=3)
            for heard in self.ask(model, [self.request(text, sampling) for text in self.known_texts]):
                said = self._answered(heard)
                spelt = "".join(t.text for t in said.tokens)
                self.hold(said.text in spelt, "the tokens spell the text", (said.text, spelt))
                for token in said.tokens:
                    logprobs = [token.logprob, *(p for _, p in token.top)]
                    known = all(p <= 1e-6 and not math.isnan(p) for p in logprobs)
                    self.hold(known, "a logprob is the natural logarithm of a probability", logprobs)
                    mass = sum(math.exp(p) for _, p in token.top)
                    self.hold(mass <= 1.001, "probabilities of alternatives add up to 1 at most", mass)

    def test_hostile_prompts_are_answered_or_refused_with_a_model_error(self) -> None:
        texts = {**HOSTILE, "nothing": "", "blanks": " \n\t"}
        with self.model() as model:
            for name, text in texts.items():
                try:
                    self.ask(model, [self.request(text)])
                except Exception as e:  # noqa: BLE001
                    rule = "any text is answered, or refused with ModelError; nothing else is raised"
                    self.hold(False, rule, f"{name}: {type(e).__name__}: {str(e)[:300]}")

    def test_it_starts_again_after_closing(self) -> None:
        self._needs_answers()
        with self.model() as model:
            said = self._answered(self.ask(model, [self.request(self.known_texts[0])], rounds=2)[0])
            again = self._answered(self.ask(model, [self.request(self.known_texts[0])])[0])
            self.hold(said.text == again.text, "a closed model can be started again, in another event loop, too", (said, again))

    def test_asking_leaves_environment_and_folder_alone(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        with self.model() as model:
            before = dict(os.environ)
            self.ask(model, [self.request(self.known_texts[0])])
            changed = sorted(k for k in set(before) | set(os.environ) if before.get(k) != os.environ.get(k))
            changed = [k for k in changed if k != "PYTEST_CURRENT_TEST"]
            self.hold(not changed, "a backend sets no environment variables", changed)
            written = sorted(p.name for p in tmp_path.iterdir())
            self.hold(not written, "a backend writes nothing into the working folder", written)

    # ── what may go wrong on the way to a server ────────────────────────────────────────────────────────────────────

    def _remote(self) -> None:
        if not self._served:
            pytest.skip("asks no server of the user's")

    def _faulty(self, faults: Faults, **options: Any) -> tuple[Exception | None, int]:
        """What one question raised, and how often the server was asked."""
        with self.serve(faults=faults) as server:
            model = self.connect(server, **options)
            return self._raised(model), int(server.stats()["requests"])

    def _raised(self, model: Any, text: str = "How do I bake bread?") -> Exception | None:
        async def asked() -> None:
            if hasattr(model, "start"):
                await model.start()
            try:
                await asyncio.wait_for(model.generate(self.request(text)), 30)
            finally:
                if hasattr(model, "close"):
                    await model.close()

        try:
            asyncio.run(asked())
        except Exception as e:  # noqa: BLE001  what is raised is what is looked at
            return e
        return None

    def test_what_may_pass_is_transient_and_asked_once(self) -> None:
        self._remote()
        for kind in ("http_500", "throttled", "dropped", "truncated", "empty"):
            share: dict[str, Any] = {kind: 1.0}
            error, requests = self._faulty(Faults(**share, retry_after=7.0))
            self.hold(isinstance(error, Transient), f"a server's {kind} is Transient: asking again may help", repr(error))
            self.hold(requests == 1, "a backend asks once: retries are the broker's, or they are paid for twice", requests)
            if kind == "throttled" and isinstance(error, Transient):
                told = error.throttled and error.retry_after == 7.0
                self.hold(told, "a 429 is throttled, with the seconds of Retry-After", (error.throttled, error.retry_after))

    def test_a_server_that_never_answers_is_given_up(self) -> None:
        self._remote()
        error, _ = self._faulty(Faults(hung=1.0), timeout=0.3)
        self.hold(isinstance(error, Transient), "timeout= bounds an attempt in seconds, then it is Transient", repr(error))

    def test_being_cancelled_passes(self) -> None:
        self._remote()

        async def cancelled(model: Any) -> bool:
            if hasattr(model, "start"):
                await model.start()
            asking = asyncio.ensure_future(model.generate(self.request(self.known_texts[0])))
            await asyncio.sleep(0.1)
            asking.cancel()
            await asyncio.wait([asking], timeout=5)
            if hasattr(model, "close"):
                await model.close()
            return bool(asking.cancelled())

        with self.serve(faults=Faults(hung=1.0)) as server:
            self.hold(asyncio.run(cancelled(self.connect(server))), "a request that is cancelled ends at once, as cancelled")

    def test_a_wrong_key_ends_the_run(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._remote()
        if self.key_env is None:
            pytest.skip("has no key")
        monkeypatch.setenv(self.key_env, _SECRET)
        with self.serve(api_key="another") as server:
            error = self._raised(self.connect(server))
        self.hold(
            isinstance(error, ModelUnusable), "a key that is refused is ModelUnusable: no request can succeed", repr(error)
        )
        self.hold(_SECRET not in str(error), "an error never shows a key", "the key")

    def test_a_model_that_is_not_there_ends_the_run(self) -> None:
        self._remote()
        with self.serve(models=("another",), strict=True) as server:
            error = self._raised(self.connect(server))
        self.hold(isinstance(error, ModelUnusable), "a model that the server does not have is ModelUnusable", repr(error))
        self.hold("scripted" in str(error), "the error names the model that was asked for", str(error))

    def test_no_server_is_told_with_its_address(self) -> None:
        self._remote()
        with self.serve() as server:
            url, model = server.url, self.connect(server)
        error = self._raised(model)
        self.hold(isinstance(error, ModelError), "no server: ModelUnusable from start, or Transient", repr(error))
        address = url.split("//")[1].split("/")[0]
        self.hold(address in str(error), "the error says where nobody answered", str(error))

    def test_an_error_repeats_neither_key_nor_sample(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._remote()
        if self.key_env is not None:
            monkeypatch.setenv(self.key_env, _SECRET)

        def complain(body: Mapping[str, Any]) -> Mapping[str, Any]:
            return {"error": {"message": f"cannot take this: {json.dumps(body)} with {_SECRET}", "type": "bad_request"}}

        with self.serve(complain) as server:
            text = "A very private question about lighthouses and their keepers"
            error = self._raised(self.connect(server), text)
        self.hold(isinstance(error, GuardevalError), "a refusal is a ModelError", repr(error))
        self.hold(text not in str(error), "an error does not repeat the sample: errors are logged", str(error))
        self.hold(_SECRET not in str(error), "an error never shows a key", "the key")


_FRAME = Frame("Is this harmful?\n", "\nEnd with a Decision.")


def _echo(body: Mapping[str, Any]) -> str:
    """An answer that depends on the question."""
    return f"Decision: unharmful\nPolicies: none\n{len(json.dumps(body.get('messages') or body.get('prompt')))}"

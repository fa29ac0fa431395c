"""The identity of a request: a digest of everything that can change its answer and of nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from guardeval.contracts import Case, Frame, Request, Sampling
from guardeval.errors import PluginError

__all__ = ["KEY_SIZE", "Keys", "identity_digest"]

KEY_SIZE = 16  # bytes; two of 2^50 requests share a key with probability 2^-29
_REMEMBERED = 512  # hash states kept, each with the frame and sampling it was made from


def identity_digest(identity: Mapping[str, Any], name: str) -> bytes:
    """16 bytes that stand for a model. Raises :class:`PluginError` where its identity is not JSON."""
    try:
        text = json.dumps(identity, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as e:
        raise PluginError(f"model {name}: its identity is not JSON ({e}); return names, numbers, lists and dicts only") from e
    return hashlib.sha256(text.encode()).digest()[:KEY_SIZE]


def _sampling_bytes(sampling: Sampling, draw: int) -> bytes:
    """Every field, equal for equal samplings: ``temperature=0`` and ``0.0`` are the same wish."""
    values = {f.name: getattr(sampling, f.name) for f in fields(sampling)}
    values = {k: float(v) if type(v) is int and k in {"temperature", "top_p"} else v for k, v in values.items()}
    return json.dumps([values, draw], sort_keys=True).encode()


def _framed(data: bytes) -> bytes:
    return len(data).to_bytes(8, "big") + data


def _case_bytes(case: Case) -> bytes:
    """What a classifying model reads of a sample, its length last."""
    prompt = case.sample.prompt.encode("utf-8", "surrogatepass")
    body = _framed(prompt)
    if case.sample.history:
        body += _framed(json.dumps(case.sample.history).encode())
    if case.sample.response is not None:
        body += _framed(case.sample.response.encode("utf-8", "surrogatepass"))
    return body + len(body).to_bytes(8, "big")


class _Known:
    """A hash state up to a frame's hole. Holding its sources keeps their ids from being used again."""

    __slots__ = ("case", "frame", "sampling", "state", "steps")

    def __init__(self, frame: Frame, sampling: Sampling, case: Case, steps: tuple[str, ...], state: Any) -> None:
        self.frame, self.sampling, self.case, self.steps, self.state = frame, sampling, case, steps, state


class Keys:
    """Request → key, for one model.

    A model that classifies answers from the case, so its keys cover target, prompt, response, policies and steps as
    well as what the prompt says. Of any other model the case is no part: it reads the prompt only. One that answers
    ``per_sample`` has the sample's row in its keys, so that equal prompts of two samples are two requests.
    """

    def __init__(self, model: bytes, classifies: bool = False, per_sample: bool = False) -> None:
        self._model = model
        self._classifies = classifies
        self._per_sample = per_sample
        self._known: dict[tuple[int, int, int], _Known] = {}

    def key(self, request: Request) -> bytes:
        """16 bytes; equal for requests that any model must take for the same, however split into frame and text."""
        prompt = request.prompt
        frame = prompt.frame
        if prompt.earlier:
            state = self._state(request)
        else:
            known = self._known.get((id(frame), id(request.sampling), request.draw))
            if known is None or (self._classifies and not self._same_question(known, request)):
                known = self._learn(request)
            state = known.state.copy()
        state.update(frame.tail(prompt.text))
        if self._classifies:
            state.update(_case_bytes(request.case))
        if self._per_sample:
            state.update(request.case.sample.index.to_bytes(8, "big", signed=True))
        digest: bytes = state.digest()
        return digest[:KEY_SIZE]

    @staticmethod
    def _same_question(known: _Known, request: Request) -> bool:
        old, new = known.case, request.case
        return old.target is new.target and old.policies is new.policies and known.steps == request.steps

    def _state(self, request: Request) -> Any:
        """A hash of all up to the hole."""
        sampling, case = request.sampling, request.case
        state = hashlib.sha256(self._model)
        state.update(_framed(_sampling_bytes(sampling, request.draw)))
        if self._classifies:
            policies = [[p.name, p.text] for p in case.policies.policies]
            state.update(_framed(json.dumps([case.target, policies, request.steps]).encode()))
        state.update(request.prompt.frame.head(request.prompt.earlier))
        return state

    def _learn(self, request: Request) -> _Known:
        frame, sampling, case = request.prompt.frame, request.sampling, request.case
        state = self._state(request)
        if len(self._known) >= _REMEMBERED:
            del self._known[next(iter(self._known))]
        known = _Known(frame, sampling, case, request.steps, state)
        self._known[id(frame), id(sampling), request.draw] = known
        return known

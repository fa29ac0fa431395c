"""One judged sample as one line of ``samples_<task>_<date>.jsonl``: lm-eval's schema, what guardeval adds under its own key.

lm-eval's hashes are sha256 of ``json.dumps(doc, indent=2)``, of the rendered prompt and of the target. A prompt's shared
frame is escaped and hashed once, not once a sample.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from guardeval.contracts import Exchange, Finish, Frame, Prompt, Sampling
from guardeval.data import Judged, Outcome, Sample, Step, Target, Usage, Verdict, Vote, Voters
from guardeval.errors import DataError

__all__ = ["LineWriter", "doc_hash", "judged_from_line"]

_INVALID = "[invalid]"  # lm-eval's word for an answer its filters could not read
_LOGGED = ["accuracy"]
_MOST_COMMONS = 4096
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")  # what a note quotes are words of the guard or the sample


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _other(value: Any) -> Any:
    """What rows may hold beside JSON (dates, decimals, bytes out of parquet), as text."""
    return value.hex() if isinstance(value, bytes) else str(value)


def _doc_bytes(doc: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(doc, default=_other, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS)
    except TypeError:  # integers beyond 64 bits
        return json.dumps(doc, indent=2, default=_other, ensure_ascii=False).encode("utf-8", "surrogatepass")


def doc_hash(doc: Mapping[str, Any]) -> str:
    """lm-eval's hash of a row."""
    return _sha(_doc_bytes(doc))


def _logged_prompt(prompt: Prompt) -> tuple[orjson.Fragment | str, str]:
    """The rendered prompt as JSON, and its sha256."""
    frame: Frame = prompt.frame
    if frame.turns or prompt.earlier or frame.options or (frame.forced and not frame.raw):
        text = prompt.as_text()
        return text, _sha(text.encode("utf-8", "surrogatepass"))
    shared = frame.memo.get("line")
    if shared is None:
        after = frame.after + frame.forced
        state = hashlib.sha256(frame.before.encode("utf-8", "surrogatepass"))
        shared = frame.memo["line"] = (orjson.dumps(frame.before)[:-1], orjson.dumps(after)[1:], state, after.encode())
    head, tail, state, after_bytes = shared
    digest = state.copy()
    digest.update(prompt.text.encode("utf-8", "surrogatepass") + after_bytes)
    return orjson.Fragment(head + orjson.dumps(prompt.text)[1:-1] + tail), digest.hexdigest()


class LineWriter:
    """Writes judged samples of one task as lines. ``redact`` keeps ids, hashes and labels, and no text."""

    def __init__(self, target: Target, redact: bool = False) -> None:
        self.target = target
        self.redact = redact
        self._words = {label: target.word(label) for label in (True, False)}
        self._hash_of = {label: _sha(word.encode()) for label, word in self._words.items()}
        self._columns: tuple[str | None, str | None] = (None, None)
        self._settings: dict[int, tuple[Sampling, orjson.Fragment]] = {}
        self._commons: dict[Any, dict[str, Any]] = {}

    def line(self, judged: Judged, exchanges: Sequence[Exchange], cluster: int) -> bytes:
        """The line, newline included."""
        sample, verdict = judged.sample, judged.verdict
        gold = sample.labels.get(self.target)
        arguments, prompt_hash = self._arguments(exchanges)
        doc = sample.doc
        record: dict[str, Any] = {
            "doc_id": sample.index,
            "doc": {} if self.redact else doc,
            "target": "" if gold is None else self._words[gold],
            "arguments": arguments,
            "resps": [] if self.redact else [[e.completion.text] for e in exchanges],
            "filtered_resps": [_INVALID if verdict.label is None else self._words[verdict.label]],
            "filter": "verdict",
            "metrics": _LOGGED,
            "doc_hash": doc_hash(doc),
            "prompt_hash": prompt_hash,
            "target_hash": "" if gold is None else self._hash_of[gold],
            "accuracy": None if gold is None else float(verdict.label is gold),
            "guardeval": self._own(judged, exchanges, cluster),
        }
        try:
            return orjson.dumps(record, default=_other, option=orjson.OPT_APPEND_NEWLINE)
        except TypeError:  # keys that are no text, or integers beyond 64 bits, in the row: keep them, as text
            record["doc"] = json.loads(json.dumps(doc, default=_other), parse_int=lambda digits: digits)
            return orjson.dumps(record, default=_other, option=orjson.OPT_APPEND_NEWLINE)

    def _arguments(self, exchanges: Sequence[Exchange]) -> tuple[dict[str, Any], str]:
        if len(exchanges) == 1:  # nearly every sample; the loop below would cost it a microsecond
            prompt, first = _logged_prompt(exchanges[0].request.prompt)
            return {"gen_args_0": {"arg_0": first if self.redact else prompt, "arg_1": self._sampling(exchanges[0])}}, first
        arguments: dict[str, Any] = {}
        first = ""
        for i, exchange in enumerate(exchanges):
            prompt, digest = _logged_prompt(exchange.request.prompt)
            first = first or digest
            arguments[f"gen_args_{i}"] = {"arg_0": digest if self.redact else prompt, "arg_1": self._sampling(exchange)}
        return arguments, first

    def _sampling(self, exchange: Exchange) -> orjson.Fragment:
        """lm-eval's generation arguments, as JSON made once per sampling."""
        sampling = exchange.request.sampling
        known = self._settings.get(id(sampling))
        if known is None or known[0] is not sampling:
            settings = {
                "until": sampling.stop,
                "do_sample": sampling.temperature > 0,
                "temperature": sampling.temperature,
                "top_p": sampling.top_p,
                "max_gen_toks": sampling.max_tokens,
            }
            known = self._settings[id(sampling)] = (sampling, orjson.Fragment(orjson.dumps(settings)))
        return known[1]

    def _own(self, judged: Judged, exchanges: Sequence[Exchange], cluster: int) -> dict[str, Any]:
        sample, verdict = judged.sample, judged.verdict
        own = self._common(sample, verdict).copy()
        own["id"] = sample.id
        own["score"] = verdict.score
        own["cluster"] = cluster
        own["usage"] = _usage_record(judged.usage)
        if judged.seen:
            own["seen"] = True
        if verdict.score_source is not None:
            own["score_source"] = verdict.score_source
        if verdict.readings is not None:
            own["readings"] = verdict.readings
        if verdict.notes:
            own["notes"] = [_QUOTED.sub("'…'", note) for note in verdict.notes] if self.redact else verdict.notes
        if verdict.codes:
            own["codes"] = verdict.codes
        if verdict.votes:
            texts = {} if self.redact else {e.completion.text: i for i, e in enumerate(exchanges)}
            own["voters"] = verdict.voters
            own["votes"] = [_vote_record(v, texts, self.redact) for v in verdict.votes]
            if verdict.mean_score is not None:
                own["mean_score"] = verdict.mean_score
        if self.redact:
            own["steps"] = [[s.name, ""] for s in verdict.steps]
            return own
        own["prompt"], own["response"] = self._texts(sample)
        if sample.history:
            own["history"] = sample.history
        own["steps"] = [[s.name, s.text] for s in verdict.steps]
        if not exchanges or verdict.raw != exchanges[-1].completion.text:
            own["raw"] = verdict.raw
        finish, thinking = [], False
        for exchange in exchanges:
            completion = exchange.completion
            finish.append(completion.finish)
            thinking = thinking or bool(completion.thinking)
        if finish.count(Finish.STOP) < len(finish):
            own["finish"] = finish
        if thinking:
            own["thinking"] = [e.completion.thinking for e in exchanges]
        return own

    def _common(self, sample: Sample, verdict: Verdict) -> dict[str, Any]:
        """What many samples have in common, made once for all of them."""
        key = (verdict.outcome, verdict.label, verdict.policies, sample.policies, sample.known_policies, sample.category)
        found = self._commons.get(key)
        if found is None:
            found = {
                "id": None,
                "target": self.target.value,
                "outcome": verdict.outcome.value,
                "label": verdict.label,
                "score": None,
                "policies": sorted(verdict.policies),
                "gold_policies": sorted(sample.policies),
                "known_policies": sorted(sample.known_policies),
            }
            if sample.category is not None:
                found["category"] = sample.category
            if len(self._commons) < _MOST_COMMONS:
                self._commons[key] = found
        return found

    def _texts(self, sample: Sample) -> tuple[Any, Any]:
        """Prompt and response, as ``{"column": name}`` where a column of the row holds just that text."""
        doc = sample.doc
        columns = self._columns
        if columns[0] is None or doc.get(columns[0]) != sample.prompt:
            columns = (_column(doc, sample.prompt), columns[1])
        if sample.response is not None and (columns[1] is None or doc.get(columns[1]) != sample.response):
            columns = (columns[0], _column(doc, sample.response))
        self._columns = columns
        prompt = sample.prompt if columns[0] is None else {"column": columns[0]}
        if sample.response is None:
            return prompt, None
        return prompt, sample.response if columns[1] is None else {"column": columns[1]}


def _column(doc: Mapping[str, Any], text: str) -> str | None:
    return next((k for k, v in doc.items() if isinstance(k, str) and isinstance(v, str) and v == text), None)


def judged_from_line(line: bytes, where: Callable[[], str] = lambda: "samples file") -> tuple[Judged, int]:
    """A judged sample read back, and its cluster. Texts of a redacted run are empty.

    Raises :class:`DataError` naming ``where()`` when the line is not one of guardeval's.
    """
    try:
        record = orjson.loads(line)
        own = record["guardeval"]
        target = Target(own["target"])
        doc = record["doc"]
        gold = {target.positive: True, target.negative: False}.get(record["target"])
        sample = Sample(
            id=own["id"],
            index=record["doc_id"],
            prompt=_text(own.get("prompt", ""), doc),
            response=None if own.get("response") is None else _text(own["response"], doc),
            labels={} if gold is None else {target: gold},
            policies=frozenset(own["gold_policies"]),
            known_policies=frozenset(own["known_policies"]),
            category=own.get("category"),
            doc=doc,
            history=tuple((role, content) for role, content in own.get("history", ())),
        )
        raw = own.get("raw")
        verdict = Verdict(
            target=target,
            outcome=Outcome(own["outcome"]),
            label=own["label"],
            score=own["score"],
            policies=frozenset(own["policies"]),
            steps=tuple(Step(*s) for s in own["steps"]),
            votes=tuple(_vote(v, record["resps"]) for v in own.get("votes", ())),
            raw=raw if raw is not None else (record["resps"][-1][0] if record["resps"] else ""),
            score_source=own.get("score_source"),
            notes=tuple(own.get("notes", ())),
            readings=own.get("readings"),
            voters=Voters(own["voters"]) if "voters" in own else None,
            mean_score=own.get("mean_score"),
            codes=tuple(own.get("codes", ())),
        )
        return Judged(sample, verdict, Usage(*own["usage"]), bool(own.get("seen"))), int(own["cluster"])
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as e:
        raise DataError(f"{where()}: not a line of a guardeval samples file ({type(e).__name__}: {e})") from e


def _text(value: Any, doc: Mapping[str, Any]) -> str:
    return str(doc[value["column"]]) if isinstance(value, dict) else str(value)


def _vote_record(vote: Vote, texts: Mapping[str, int], redact: bool) -> dict[str, Any]:
    """``raw`` is the place in ``resps`` where the same words stand, or the words themselves."""
    record: dict[str, Any] = {
        "member": vote.member,
        "outcome": vote.outcome,
        "label": vote.label,
        "score": vote.score,
        "policies": sorted(vote.policies),
        "weight": vote.weight,
    }
    if vote.steps:
        record["steps"] = [[s.name, "" if redact else s.text] for s in vote.steps]
    if vote.raw and not redact:
        record["raw"] = texts.get(vote.raw, vote.raw)
    if vote.codes:
        record["codes"] = vote.codes
    if vote.usage is not None:
        record["usage"] = _usage_record(vote.usage)
    return record


def _usage_record(usage: Usage) -> tuple[int | float | None, ...]:
    return (usage.requests, usage.cached, usage.latency, usage.tokens_in, usage.tokens_out, usage.cost)


def _vote(record: Mapping[str, Any], answers: Sequence[Sequence[str]]) -> Vote:
    raw = record.get("raw", "")
    return Vote(
        record["member"],
        Outcome(record["outcome"]),
        record["label"],
        record["score"],
        frozenset(record["policies"]),
        record["weight"],
        tuple(Step(*s) for s in record.get("steps", ())),
        answers[raw][0] if isinstance(raw, int) else raw,
        Usage(*record["usage"]) if "usage" in record else None,
        tuple(record.get("codes", ())),
    )

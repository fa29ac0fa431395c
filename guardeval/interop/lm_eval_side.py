"""What exported task files call inside lm-eval: rows, prompts, and the reading of answers, all of them guardeval's own.

A document is the upstream row with columns more: what is asked, the right word, and all that reading an answer takes, so
that nothing has to be remembered between the two. Each accounting of missing verdicts is a filter, so that lm-eval's keys
are guardeval's: ``f1,strict``. What a filter makes of an answer is ``(word, outcome, accounting)``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from guardeval.accounting import cells_of, counts_under
from guardeval.causal.answer import up_to_block
from guardeval.contracts import Case, Completion, Request, Solver, Traits
from guardeval.data import Outcome, Sample, Target
from guardeval.errors import ConfigError
from guardeval.interop.lm_eval_documents import columns_of
from guardeval.interop.lm_eval_form import Asked, fitted
from guardeval.interop.one_request import only_request, read_answer
from guardeval.metrics import CONFUSION
from guardeval.policies import PolicySet, load_policies
from guardeval.registry import Registry
from guardeval.sealed import sealed

__all__ = [
    "ACCOUNTINGS", "ANSWER", "BEGUN", "CASE", "METRICS", "PROMPT", "SYSTEM", "Exported", "accuracy", "coverage", "f1",
    "fail_closed", "fail_open", "load", "parsed", "precision", "process_results", "recall", "strict",
    "unpacked_case",
]  # fmt: skip

PROMPT, SYSTEM, BEGUN = "guardeval_prompt", "guardeval_system", "guardeval_begun"
ANSWER, CASE = "guardeval_answer", "guardeval_case"
ACCOUNTINGS = ("strict", "parsed", "fail_closed", "fail_open")
METRICS = ("f1", "accuracy", "precision", "recall", "coverage")
Answers = Sequence[Sequence[str]]
Documents = Sequence[Mapping[str, Any]]
Said = tuple[str, str, str]  # word, outcome, accounting

NOTHING = "[invalid]"  # lm-eval's word for an answer that its filters could not read


@dataclass(frozen=True, slots=True)
class Exported:
    """Who asks in an exported task, as its file states it under ``metadata: guardeval:``.

    ``chat``: asked as models are that take no raw prompts. ``stop_at_block``: an answer ends at its closing block, as local
    backends of guardeval end it, whatever the model goes on to write.
    """

    task: str
    solver: str
    solver_args: Mapping[str, Any]
    policies: str
    policies_sha256: str
    chat: bool = False
    model: str = "model"
    stop_at_block: bool = True
    include_path: tuple[str, ...] = ()

    @property
    def traits(self) -> Traits:
        return Traits(chat=True, raw=not self.chat, forced=True, template=True)

    def packed(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)


@lru_cache(maxsize=64)
def _who(packed: str) -> tuple[Exported, Solver, PolicySet]:
    exported = Exported(**json.loads(packed))
    policies = load_policies(exported.policies)
    if policies_digest(policies) != exported.policies_sha256:
        raise ConfigError(
            f"the policies {exported.policies!r} are not those that the task was exported with: export it again, or install "
            "the guardeval that wrote it"
        )
    solver: Solver = Registry().build("solvers", exported.solver, exported.solver_args)
    return exported, solver, policies


def policies_digest(policies: PolicySet) -> str:
    return hashlib.sha256(policies.text.encode()).hexdigest()


def load(
    guardeval: Mapping[str, Any],
    data: str = "hub",
    limit: int | None = None,
    seed: int = 0,
    stop_at_block: bool | None = None,
    **_metadata: Any,
) -> dict[str, Any]:
    """``custom_dataset``: split → documents. ``--metadata '{"data": …}'`` says where rows come from: hub, sample or a path;
    ``limit`` and ``seed`` draw guardeval's subset of them.

    lm-eval passes everything under the task's ``metadata``.
    """
    from datasets import Dataset

    from guardeval.task import TaskIndex

    own = {} if stop_at_block is None else {"stop_at_block": stop_at_block}
    exported = Exported(**{**guardeval, **own})
    task = TaskIndex(exported.include_path).load(exported.task)
    return {"test": Dataset.from_dict(columns_of(_documents(exported, task.open(data, limit=limit, seed=seed), task.target)))}


def _documents(exported: Exported, samples: Any, target: Target) -> Iterator[dict[str, Any]]:
    packed = exported.packed()
    _, solver, policies = _who(packed)
    first: Asked | None = None
    for sample in samples:
        asked = fitted(only_request(solver, Case(sealed(sample), target, policies), exported.traits, exported.model).prompt)
        first = first or asked
        if asked.form != first.form:
            raise ConfigError(
                f"sample {sample.id!r}: its prompt has another form ({asked.form}) than the first one's ({first.form}), and an "
                "lm-eval task has one for all"
            )
        given = {PROMPT: asked.text, SYSTEM: asked.system, BEGUN: asked.begun}
        texts = {name: _encodable(text) for name, text in given.items() if text or name == PROMPT}
        answer = target.word(sample.labels[target])
        yield {**sample.doc, **texts, ANSWER: answer, CASE: _packed_case(packed, sample, target)}


def _encodable(text: str) -> str:
    """Lone surrogates as ``?``, as local backends send them: they are no Unicode text, and a table holds none."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _packed_case(packed: str, sample: Sample, target: Target) -> str:
    """What reading an answer takes: the sample's own texts, which are never an answer, and who asked."""
    texts = [sample.id, sample.prompt, sample.response, sample.history]
    return json.dumps([target, texts, packed])


def unpacked_case(document: Mapping[str, Any]) -> tuple[str, Sample, str]:
    """What :func:`_packed_case` kept with a row: target, the sample's own texts, and who asked, packed as well."""
    target, (name, prompt, response, history), packed = json.loads(document[CASE])
    return target, Sample(name, 0, prompt, response, history=tuple((role, content) for role, content in history)), packed


def _request(document: Mapping[str, Any]) -> tuple[Exported, Solver, Request]:
    target, sample, packed = unpacked_case(document)
    exported, solver, policies = _who(packed)
    return exported, solver, only_request(solver, Case(sample, Target(target), policies), exported.traits, exported.model)


# ---- filters ----


def _said(accounting: str, responses: Answers, documents: Documents) -> list[Said]:
    return [(*_read(answers[0], doc), accounting) for answers, doc in zip(responses, documents, strict=True)]


def _read(text: str, document: Mapping[str, Any]) -> tuple[str, str]:
    """The verdict's word and its outcome. lm-eval does not tell which answers were cut off: all count as ended."""
    exported, solver, request = _request(document)
    heard = "" if text == _no_answer() else text
    ended = up_to_block(heard, request) if exported.stop_at_block else heard
    verdict = read_answer(solver, request.case, Completion(ended), exported.traits, exported.model)
    return NOTHING if verdict.label is None else verdict.target.word(verdict.label), str(verdict.outcome)


@lru_cache(maxsize=1)
def _no_answer() -> str:
    """What lm-eval puts in place of an answer that a server left out."""
    from lm_eval.models.api_models import LMEVAL_MODEL_NONE_ANSWER_PLACEHOLDER

    return str(LMEVAL_MODEL_NONE_ANSWER_PLACEHOLDER)


def strict(responses: Answers, documents: Documents) -> list[Said]:
    return _said("strict", responses, documents)


def parsed(responses: Answers, documents: Documents) -> list[Said]:
    return _said("parsed", responses, documents)


def fail_closed(responses: Answers, documents: Documents) -> list[Said]:
    return _said("fail_closed", responses, documents)


def fail_open(responses: Answers, documents: Documents) -> list[Said]:
    return _said("fail_open", responses, documents)


# ---- metrics ----


def process_results(document: Mapping[str, Any], results: Sequence[Said]) -> dict[str, Any]:
    """What one sample adds to each metric: tp, fp, fn, tn; of accuracy 1, 0, or None where it does not count."""
    word, outcome, accounting = results[0]
    target = Target(json.loads(document[CASE])[0])
    gold = np.array([document[ANSWER] == target.positive], int)
    said = np.array([{target.positive: 1, target.negative: 0}.get(word, -1)])
    counts = [int(n) for n in counts_under(cells_of(gold, said), accounting, target)[0]]
    right = float(counts[0] + counts[3]) if sum(counts) else None
    confusion = dict.fromkeys(("f1", "precision", "recall"), counts)
    return {**confusion, "accuracy": right, "coverage": float(outcome == Outcome.PARSED)}


def _over(metric: str, items: Sequence[Sequence[int]]) -> float:
    return float(CONFUSION[metric].value(np.array(items, float).sum(axis=0)))


def f1(items: Sequence[Sequence[int]]) -> float:
    """F1 of the positive class over tp, fp, fn, tn of each sample; nan where nothing is positive."""
    return _over("f1", items)


def precision(items: Sequence[Sequence[int]]) -> float:
    return _over("precision", items)


def recall(items: Sequence[Sequence[int]]) -> float:
    return _over("recall", items)


def accuracy(items: Sequence[float | None]) -> float:
    """Share judged right of the samples that count; nan where none does."""
    counted = [item for item in items if item is not None]
    return sum(counted) / len(counted) if counted else float("nan")


def coverage(items: Sequence[float]) -> float:
    """Share of samples with a verdict."""
    return accuracy(items)

"""guardeval's tasks inside Inspect: each is an Inspect task whose samples carry ours, whole, in their metadata."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import HeadlineMetric
from inspect_ai.scorer import Scorer
from inspect_ai.solver import Solver

import guardeval
from guardeval.contracts import Case, Completion, Prompt, Request, Traits
from guardeval.contracts import Solver as OurSolver
from guardeval.data import Sample as OurSample
from guardeval.errors import ConfigError, did_you_mean
from guardeval.interop.inspect_generate import messages_of
from guardeval.interop.inspect_records import KEY, plain
from guardeval.interop.inspect_scorers import HEADLINE
from guardeval.interop.inspect_solvers import told
from guardeval.policies import VERBOSITIES, load_policies
from guardeval.registry import Registry
from guardeval.settings import DEFAULT_POLICIES, DEFAULT_SOLVER
from guardeval.task import Task as OurTask
from guardeval.task import TaskIndex
from guardeval.task_rows import Rows

__all__ = ["register_any_task", "register_task"]

Made = Mapping[str, Callable[..., Any]]  # name → what Inspect has registered under it
_SCORER, _METRIC = HEADLINE


def register_task(name: str, solvers: Made, scorers: Made) -> None:
    """The Inspect task ``guardeval/<name>``. Rows are read when an evaluation names it, not before."""

    def make(
        data: str = "hub",
        limit: int | None = None,
        seed: int = 0,
        samples: str | Sequence[str] | None = None,
        policies: str = DEFAULT_POLICIES,
        scorer: str | Sequence[str] = _SCORER,
    ) -> Task:
        with told():
            found = TaskIndex().load(name)
            return _task(found, found.open(data, limit, seed, _names(samples)), policies, solvers, _scorers(scorer, scorers))

    make.__name__ = make.__qualname__ = name
    task(name=name)(make)


def register_any_task(solvers: Made, scorers: Made) -> None:
    """``guardeval/task -T path=mine.yaml``: a task of the user's own, by the path of its YAML file."""

    def any_task(
        path: str,
        data: str = "hub",
        limit: int | None = None,
        seed: int = 0,
        samples: str | Sequence[str] | None = None,
        policies: str = DEFAULT_POLICIES,
        scorer: str | Sequence[str] = _SCORER,
    ) -> Task:
        with told():
            found = TaskIndex([path]).load(path)
            return _task(found, found.open(data, limit, seed, _names(samples)), policies, solvers, _scorers(scorer, scorers))

    task(name="task")(any_task)


def _task(found: OurTask, rows: Rows, policies: str, solvers: Made, scorers: Mapping[str, Scorer]) -> Task:
    texts = load_policies(policies)
    source = policies if policies in VERBOSITIES else str(Path(policies).absolute())
    about = {"task": found.name, "target": found.target.value, "policies": source, "policy_names": list(texts.names)}
    ours = list(rows)
    asking: OurSolver = Registry().build("solvers", DEFAULT_SOLVER)
    ids = _unique_ids(ours)
    samples = [_sample(s, i, Case(s, found.target, texts), about, asking) for s, i in zip(ours, ids, strict=True)]
    usual: Solver = solvers[DEFAULT_SOLVER]()
    return Task(
        dataset=MemoryDataset(samples, name=found.name, location=rows.source),
        solver=usual,
        scorer=list(scorers.values()),
        score_on_error=True,  # what was never heard is counted, as unscored, and stays an error that a retry asks again
        version=found.version,
        display_name=f"{found.title} (sample rows)" if rows.kind == "sample" else found.title,
        description=found.description or found.title,
        headline_metric=HeadlineMetric(scorer=_SCORER, metric=_METRIC) if _SCORER in scorers else None,
        tags=["sample rows"] if rows.kind == "sample" else None,
        metadata={KEY: {**about, **_origin(found, rows)}},
    )


def _origin(found: OurTask, rows: Rows) -> dict[str, Any]:
    """What a reader must know of the rows before believing a number."""
    data = {"kind": rows.kind, "source": rows.source, **rows.identity}
    told_of = {"notice": rows.notice} if rows.notice else {}
    subset = {"subset": rows.subset} if rows.subset else {}
    out: dict[str, Any] = plain({"version": guardeval.__version__, "data": data, "licence": found.licence, **subset, **told_of})
    return out


def _unique_ids(samples: Iterable[OurSample]) -> list[str]:
    """Inspect tells samples apart by id: an id that stands twice gets its row number."""
    found = list(samples)
    times = Counter(s.id for s in found)
    return [s.id if times[s.id] == 1 else f"{s.id}#{s.index}" for s in found]


def _sample(sample: OurSample, name: str, case: Case, about: Mapping[str, Any], asking: OurSolver) -> Sample:
    """``input`` is what ``direct`` asks, so that Inspect's own ``generate()`` asks for a verdict, too."""
    gold = sample.labels.get(case.target)
    return Sample(
        id=name,
        input=messages_of(_question(asking, case), Traits()),
        target="" if gold is None else case.target.word(gold),
        metadata={"category": sample.category, KEY: {**about, "sample": plain(sample)}},
    )


class _Asked(Exception):
    """Carries the prompt out of a solver that is about to ask."""

    def __init__(self, prompt: Prompt) -> None:
        self.prompt = prompt


class _Listener:
    name, traits = "", Traits()

    async def generate(self, request: Request) -> Completion:
        raise _Asked(request.prompt)


def _question(asking: OurSolver, case: Case) -> Prompt:
    """The first question that a solver asks about a case; nobody is asked."""
    solving = asking.solve(case, _Listener())
    try:
        solving.send(None)
    except _Asked as e:
        return e.prompt
    finally:
        solving.close()
    raise ConfigError(f"solver {DEFAULT_SOLVER!r} asks nothing")


def _names(given: str | Sequence[str] | int | None) -> list[str] | None:
    if given is None:
        return None
    return [str(g).strip() for g in (given if isinstance(given, (list, tuple)) else str(given).split(","))]


def _scorers(given: str | Sequence[str], known: Made) -> dict[str, Scorer]:
    names = [name for name in _names(given) or [] if name]
    if not names:
        raise ConfigError(f"-T scorer= names no scorer, and nothing would be scored; known: {', '.join(sorted(known))}")
    if unknown := next((n for n in names if n not in known), None):
        raise ConfigError(f"unknown scorer {unknown!r}{did_you_mean(unknown, known)}")
    return {n: known[n]() for n in names}

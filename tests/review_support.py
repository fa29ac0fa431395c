"""Runs to review, made as a run makes them, and sessions on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from guardeval.data import Judged, Outcome, Step, Target, Vote, Voters
from guardeval.policies import POLICIES
from guardeval.review.marks import Category, Field
from guardeval.review.selection import review_set, run_identity
from guardeval.review.session import Session
from guardeval.review.store import REVIEWS_FILE, Store
from guardeval.runs import RunFolder, open_run
from guardeval.testing import a_judged

__all__ = ["a_vote", "review_by_three", "session_on", "six_samples", "voted", "write_run"]

NOW = datetime(2026, 1, 2, 3, 4, 5, 600)


def a_vote(member: str, label: bool | None, why: str = "") -> Vote:
    outcome = Outcome.UNPARSEABLE if label is None else Outcome.PARSED
    steps = (Step("intent", f"{why} intent by {member}"), Step("policy", f"{why} policy by {member}"))
    return Vote(member, outcome, label, 0.9 if label else 0.2, steps=steps, raw=f"{why} raw answer of {member}")


def voted(index: int, gold: bool | None = True, label: bool = True, **fields: object) -> Judged:
    """A judged sample on which three members voted, each with its reasoning."""
    votes = (a_vote("one/small", label), a_vote("two/middle", label), a_vote("three/large", not label))
    given: dict[str, object] = {
        "votes": votes,
        "voters": Voters.MODELS,
        "score": 2 / 3 if label else 1 / 3,
        "steps": (Step("weighing", f"the members weighed sample {index}"),),
        "category": "cooking",
        "raw": "",
    }
    return a_judged(gold, label, index, **(given | fields))


def write_run(folder: Path, judged: Sequence[Judged], now: datetime = NOW, task: str = "wildguard") -> Path:
    """A run folder as `guardeval run` leaves it, without results."""
    run = RunFolder(folder, task, "ensemble", "embedded/char", now)
    log = run.samples(task, Target.PROMPT, POLICIES, redact=False)
    for one in judged:
        log.add(one, [])
    log.close()
    tasks = {task: {"target": "prompt_harmfulness", "title": "t", "samples": len(judged), "scorers": {}}}
    record = {"date": run.date, "status": "complete", "policies": list(POLICIES), "tasks": tasks, "groups": []}
    run.write_run({"task": [task], "record": record})
    return run.path


@contextmanager
def session_on(folder: Path, reviewer: str = "ann", samples: str | None = None, **more: object) -> Iterator[Session]:
    run = open_run(folder)
    store = Store(folder / REVIEWS_FILE, run_identity(run), run.name)
    try:
        yield Session(store, review_set(store, run.tasks[0], None, None, samples), run.name, reviewer, **more)
    finally:
        store.close()


def six_samples(folder: Path) -> Path:
    """A run of six samples, three of them with a wrong verdict, another without a gold label."""
    golds = (True, False, True, False, True, None)
    return write_run(folder, [voted(i, gold, i % 2 == 0 or i == 1) for i, gold in enumerate(golds)])


def review_by_three(folder: Path) -> Path:
    """Marks of three reviewers; sample 4 is unsure to all who looked, sample 3 a tie of two."""
    said = {
        "ann": {0: ("agree", "yes"), 1: ("wrong_label", "yes"), 2: ("agree", "no"), 3: ("agree", "yes"), 4: (None, "unsure")},
        "bob": {
            0: ("agree", "yes"),
            1: ("wrong_label", "yes"),
            2: ("agree", "no"),
            3: ("wrong_label", "no"),
            4: (None, "unsure"),
        },
        "cid": {0: ("agree", "yes"), 1: ("agree", "no"), 2: ("agree", "yes"), 3: (None, "unsure")},
    }
    for reviewer, samples in said.items():
        with session_on(folder, reviewer, "0,1,2,3,4") as session:
            for position, (mark, coherent) in samples.items():
                session.mark(position, Field.COHERENT, coherent)
                if mark:
                    session.mark(position, Field.MARK, mark)
            session.mark(0, Field.CATEGORY, Category.EDGE if reviewer == "ann" else Category.MISSED)
    with session_on(folder, "ann", "0,1,2,3,4") as session:
        session.mark(0, Field.COHERENT, "no", "two/middle")
        session.mark(0, Field.COMMENT, "=1+1\n")
    return folder

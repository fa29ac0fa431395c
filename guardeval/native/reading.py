"""What an answer in a native format says, and the verdict that follows: label, categories, probability. Never a guess."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from guardeval.contracts import Completion, Finish, Request
from guardeval.data import Outcome, Step, Verdict
from guardeval.errors import DataError
from guardeval.native.family import Family
from guardeval.taxonomy import Taxonomy
from guardeval.verdict_block import after_thinking
from guardeval.verdict_echo import squeeze
from guardeval.verdict_score import share_at
from guardeval.verdicts import ECHO, echo_of, thinking_of, verdict_of_judgement
from guardeval.verdicts import Reading as BlockReading

__all__ = ["Read", "Said", "listed", "unread", "verdict_of"]

_NONE: frozenset[str] = frozenset()
_MOST_ENDS = 4  # control tokens after each other
_MOST_CATEGORIES = 64  # different ones of an answer that are looked up


@dataclass(frozen=True, slots=True)
class Said:
    """What was read. ``label`` None: no verdict, ``note`` says why.

    Offsets count from the beginning of the text that was read: ``word`` is where the verdict word begins (-1: nowhere), with
    ``positive`` and ``negative`` the lower-case words that could stand there. ``block`` is the part that states the verdict,
    whose lines are compared with the sample; None where the verdict is a bare word that any text may hold.
    """

    label: bool | None
    categories: tuple[str, ...] = ()  # in the guard's own spelling
    word: int = -1
    positive: tuple[str, ...] = ()
    negative: tuple[str, ...] = ()
    other: tuple[str, ...] = ()  # words that could stand there and are neither
    block: tuple[int, int] | None = None
    note: str = ""
    notes: tuple[str, ...] = ()
    steps: tuple[Step, ...] = field(default=())
    policies: frozenset[str] = _NONE  # of the run's, where the guard is asked in their names
    cut: bool = False  # ended before its verdict, whatever the backend says
    reasons: bool = False  # was to reason first, inside think tags


Read = Callable[[str], Said]


def unread(note: str, cut: bool = False) -> Said:
    """No verdict, and why."""
    return Said(None, note=note, cut=cut)


def verdict_of(completion: Completion, request: Request, family: Family, read: Read) -> Verdict:
    """The verdict of one answer. ``read`` gets the text from the verdict's side of the reasoning on, with what was forced
    before it.
    """
    case = request.case
    if completion.judgement is not None:
        return verdict_of_judgement(completion.judgement, completion.text, case, request.steps)
    forced = request.prompt.frame.forced
    whole = forced + completion.text
    whole = _unended(whole, family.controls)
    start = after_thinking(whole)
    if completion.finish is Finish.FILTERED:
        return _missing(completion, request, Outcome.UNPARSEABLE, "withheld by the provider")
    if start < 0:
        return _missing(completion, request, Outcome.TRUNCATED, "the reasoning has no end")
    said = read(whole[start:])
    thought = _thought(completion, whole, start)
    if said.label is None:
        cut = said.cut or completion.finish is Finish.LENGTH or (bool(completion.thinking) and not completion.text.strip())
        outcome = Outcome.TRUNCATED if cut else Outcome.UNPARSEABLE
        return _missing(completion, request, outcome, said.note, (*thought, *said.steps), said.notes)
    if said.reasons and start == 0 and not completion.thinking and completion.finish is Finish.LENGTH:
        return _missing(completion, request, Outcome.TRUNCATED, "cut off in its reasoning", said.steps, said.notes)
    echo = _echo(whole[start:], said, request)
    if echo is not None:
        return _missing(completion, request, Outcome.UNPARSEABLE, echo, (*thought, *said.steps), said.notes)
    if completion.finish is Finish.LENGTH:
        said = _without_cut(said, whole)
    policies, codes, notes = _categories(said, family, request)
    word = start + said.word - len(forced)
    score = None
    if completion.tokens and said.word >= 0 and word >= 0:
        score = share_at(completion.tokens, completion.text, word, said.positive, said.negative, said.other)
    return Verdict(
        case.target, Outcome.PARSED, said.label, score, policies, (*thought, *said.steps), (), completion.text,
        None if score is None else "tokens", (*said.notes, *notes), codes=codes,
    )  # fmt: skip


def _unended(text: str, controls: Sequence[str]) -> str:
    """Without the control tokens at the end that some backends leave in an answer."""
    ends = tuple(c for c in controls if c.startswith("<") and not c.endswith("think>"))
    for _ in range(_MOST_ENDS):
        kept = text.rstrip()
        ended = next((c for c in ends if kept.endswith(c)), "")
        if not ended:
            break
        text = kept.removesuffix(ended)
    return text


def _missing(
    completion: Completion,
    request: Request,
    outcome: Outcome,
    note: str,
    steps: tuple[Step, ...] = (),
    notes: tuple[str, ...] = (),
) -> Verdict:
    told = (*notes, note) if note else notes
    return Verdict(request.case.target, outcome, None, None, _NONE, steps, (), completion.text, None, told)


def _thought(completion: Completion, whole: str, start: int) -> tuple[Step, ...]:
    reading = BlockReading(Outcome.UNPARSEABLE, None, _NONE, start, len(whole), len(whole))
    text = thinking_of(replace(completion, text=whole), reading)
    return (Step("Thinking", text.strip()),) if text and not text.isspace() else ()


def _echo(answer: str, said: Said, request: Request) -> str | None:
    """Why an answer is not the guard's own: its block stands in the sample, or all of it does and is more than a bare word."""
    if said.block is not None:
        begin, end = said.block
        block = answer[begin:end]
        opening = squeeze(block.split("\n", 1)[0])[:12]
        found = echo_of(answer, block, opening, request.case, request.prompt)
        # "a harmful request? No" has the words of a verdict, not its form: no answer repeats it
        return None if found == ECHO and not _spelt(block, request.prompt.said) else found
    own, sample = squeeze(answer), request.case.sample
    texts = [squeeze(t) for t in (sample.prompt, sample.response or "", request.prompt.text)]
    bare = own in {squeeze(w) for w in (*said.positive, *said.negative)}  # any text may hold the word alone
    return ECHO if own in texts or (not bare and any(own in t for t in texts)) else None


def _spelt(block: str, said: str) -> bool:
    """Whether a text holds the labels of a block with their colons, each before its value."""
    own = squeeze(said, colons=True)
    return all(squeeze(line, colons=True) in own for line in block.split("\n") if ":" in line)


def _without_cut(said: Said, text: str) -> Said:
    """Without the category at which an answer was cut off: ``S1`` may be the beginning of ``S10``."""
    if not said.categories or not text.rstrip(" \t'\"]").endswith(said.categories[-1]):
        return said
    *whole, cut = said.categories
    return replace(said, categories=tuple(whole), notes=(*said.notes, f"cut off in a category: {cut[:60]!r}"))


def _categories(said: Said, family: Family, request: Request) -> tuple[frozenset[str], tuple[str, ...], tuple[str, ...]]:
    """The run's policies that the named categories lead to, the categories as codes, and what to say about them."""
    taxonomy = family.categories
    if taxonomy is None or not said.categories:
        return said.policies, (), ()
    if not said.label:
        return _NONE, (), (f"negative, yet categories named: {', '.join(said.categories)[:200]}",)
    known, notes = [], []
    for spelling in list(dict.fromkeys(said.categories))[:_MOST_CATEGORIES]:
        try:
            category = _found(taxonomy, spelling)
        except DataError:
            notes.append(f"unknown category {spelling[:60]!r}")
            continue
        if category is not None and category not in known:
            known.append(category)
    walk = taxonomy.crosswalk()
    policies = frozenset().union(*(walk.map(c) for c in known)) & frozenset(request.case.policies.names)
    return policies | said.policies, tuple(f"{taxonomy.id}:{c}" for c in known), tuple(notes)


def _found(taxonomy: Taxonomy, spelling: str) -> str | None:
    """The category of ``S2``, ``Non-Violent Crimes``, or ``S2: Non-Violent Crimes``."""
    try:
        return taxonomy.find(spelling)
    except DataError:
        code, colon, _ = spelling.partition(":")
        if not colon:
            raise
        return taxonomy.find(code.strip())


def listed(text: str) -> tuple[str, ...]:
    """Categories out of a comma-separated line."""
    return tuple(part.strip().strip("'\"[]") for part in text.split(",") if part.strip().strip("'\"[]"))

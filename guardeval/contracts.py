"""What the parts promise each other: prompts, requests, completions, and one small Protocol per kind of plugin.

A plugin is a class whose constructor is its configuration (named, typed, JSON-able fields; no work, no I/O) and one
entry-point line. Nothing here needs to be subclassed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from guardeval.data import Sample, Target, Verdict
from guardeval.errors import ModelError
from guardeval.values import value

if TYPE_CHECKING:
    from guardeval.judged import Judgements
    from guardeval.policies import PolicySet
    from guardeval.task_file import Task

__all__ = [
    "CONTRACT_VERSION",
    "BatchModel",
    "Case",
    "ChoosingSolver",
    "Completion",
    "DrawingModel",
    "Exchange",
    "Finish",
    "Frame",
    "Judgement",
    "Model",
    "OfflineLimits",
    "OfflineModel",
    "OfflineState",
    "OfflineStatus",
    "Optimizer",
    "Prompt",
    "Request",
    "Sampling",
    "Scorer",
    "Solver",
    "TaskSource",
    "Token",
    "Trainer",
    "Traits",
    "Turn",
]

CONTRACT_VERSION = 1  # raised when a plugin written for an older one could break


@value
class Case:
    """A sample with the question asked about it and the policies in force.

    What a run shows to solvers and models has id, row, texts and turns: labels and gold policies are empty, and so are category
    and upstream row, which may hold them.
    """

    sample: Sample
    target: Target
    policies: PolicySet


class Turn(tuple[str, str]):
    """``(role, content)`` of one message; role is ``system``, ``user`` or ``assistant``."""

    __slots__ = ()

    def __new__(cls, role: str, content: str) -> Turn:
        return super().__new__(cls, (role, content))

    @property
    def role(self) -> str:
        return self[0]

    @property
    def content(self) -> str:
        return self[1]


class Frame:
    """The part of a prompt that many samples share: earlier turns, and the text round one hole in the last turn.

    Made once per solver, target and policy set; its hash and JSON are computed once, so that ten kilobytes of
    policies cost no more per sample than the sample's own text. ``raw`` means the text goes to the model as it is,
    without a chat template; the tokenizer's own beginning (BOS) is not part of it. ``forced`` is the beginning of the answer,
    put into the model's mouth. ``options`` are JSON-able variables that the model's chat template takes beside the turns.
    """

    __slots__ = ("_length", "_state", "after", "before", "forced", "memo", "options", "raw", "role", "turns")

    def __init__(
        self,
        before: str,
        after: str = "",
        *,
        turns: Sequence[Turn] = (),
        role: str = "user",
        raw: bool = False,
        forced: str = "",
        options: Mapping[str, Any] | None = None,
    ) -> None:
        if raw and (turns or options):
            raise ValueError("a raw prompt is one text: it has no earlier turns and no chat template")
        self.before, self.after, self.turns, self.role, self.raw, self.forced = before, after, tuple(turns), role, raw, forced
        self.options: Mapping[str, Any] = dict(options or {})
        self._state: Any = None
        self._length: int | None = None
        self.memo: dict[Any, Any] = {}  # what users of the frame compute once from it

    def head(self, earlier: Sequence[Turn] = ()) -> bytes:
        """Canonical bytes up to the hole. Lengths follow contents, so that the bytes up to any point are a prefix."""
        head = bytearray(b"raw\0" if self.raw else b"chat\0")
        if self.options:
            head += b"options\0" + json.dumps(self.options, sort_keys=True).encode() + b"\0"
        for role, content in (*self.turns, *earlier):
            body = content.encode("utf-8", "surrogatepass")
            head += role.encode() + b"\0" + body + len(body).to_bytes(8, "big")
        return bytes(head) + self.role.encode() + b"\0" + self.before.encode("utf-8", "surrogatepass")

    def tail(self, text: str) -> bytes:
        """Canonical bytes from the hole on, for one sample's text."""
        if self._length is None:
            self._length = len(self.before.encode("utf-8", "surrogatepass"))
        body = (text + self.after).encode("utf-8", "surrogatepass")
        return body + (self._length + len(body)).to_bytes(8, "big") + self.forced.encode("utf-8", "surrogatepass")


@value
class Prompt:
    """A frame with its hole filled. The text is data: it is put in as it is, never rendered as a template.

    ``earlier`` are turns of the sample's own between the frame's and the last one; their contents are data too.
    """

    frame: Frame
    text: str
    earlier: tuple[Turn, ...] = ()

    @classmethod
    def raw(cls, text: str) -> Prompt:
        """A one-off prompt that goes to the model as it is."""
        return cls(Frame("", raw=True), text)

    @classmethod
    def chat(cls, turns: Sequence[Turn], forced: str = "") -> Prompt:
        """A one-off conversation, for prompts that share nothing with others."""
        *earlier, last = turns
        return cls(Frame("", turns=earlier, role=last.role, forced=forced), last.content)

    @property
    def last(self) -> str:
        """Content of the last turn; of a raw prompt the whole text, what is forced left out."""
        return self.frame.before + self.text + self.frame.after

    @property
    def turns(self) -> tuple[Turn, ...]:
        """All turns; of a raw prompt one ``user`` turn."""
        return (*self.frame.turns, *self.earlier, Turn(self.frame.role, self.last))

    @property
    def own(self) -> tuple[str, ...]:
        """The sample's own texts in it, in order."""
        return (*(content for _, content in self.earlier), self.text)

    @property
    def said(self) -> str:
        """All that the sample itself says in it: what is judged, and therefore never an answer."""
        return "\n".join(self.own) if self.earlier else self.text

    def messages(self) -> list[dict[str, str]]:
        """The turns as chat completions take them; a forced beginning is a last ``assistant`` message."""
        out = [{"role": role, "content": content} for role, content in self.turns]
        return [*out, {"role": "assistant", "content": self.frame.forced}] if self.frame.forced else out

    def as_text(self) -> str:
        """The prompt as one text, as logs and lm-eval's ``arguments`` show it: several turns as JSON messages."""
        if self.frame.raw:
            return self.last + self.frame.forced
        if self.frame.options:
            shown = {"messages": self.messages(), "chat_template_kwargs": self.frame.options}
            return json.dumps(shown, ensure_ascii=False)
        if not self.frame.turns and not self.frame.forced and not self.earlier:
            return self.last
        return json.dumps(self.messages(), ensure_ascii=False)

    def digest(self) -> bytes:
        """sha256 of what is asked; equal for equal rendered prompts, however they are split into frame and text."""
        frame = self.frame
        if self.earlier:
            return hashlib.sha256(frame.head(self.earlier) + frame.tail(self.text)).digest()
        if frame._state is None:
            frame._state = hashlib.sha256(frame.head())
        state = frame._state.copy()
        state.update(frame.tail(self.text))
        return bytes(state.digest())


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to draw an answer. Made once per solver; everything in it is part of a request's identity."""

    max_tokens: int = 1024
    temperature: float = 0.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    top_logprobs: int = 0  # alternatives per generated token to report, 0 = no token probabilities
    seed: int | None = None  # added to a request's draw number


@value
class Request:
    """One question to one model.

    ``case`` is what the prompt was rendered from, for models that classify and do not read prompts; ``steps`` are the
    headings that the prompt asks for, in order, for those that write their evidence under them.
    """

    prompt: Prompt
    case: Case
    sampling: Sampling
    draw: int = 0  # 0, 1, 2 … tells independent draws of the same question apart
    steps: tuple[str, ...] = ()


class Finish(StrEnum):
    """Why a completion ended."""

    STOP = "stop"  # end of turn or stop string
    LENGTH = "length"  # token limit
    FILTERED = "filtered"  # the provider withheld the answer


@dataclass(frozen=True, slots=True)
class Token:
    """One generated token: natural log probability of it and of the most likely alternatives, itself included."""

    text: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@value
class Judgement:
    """What a model that only classifies says: P(positive) in [0, 1] and the policies it finds violated."""

    probability: float
    policies: frozenset[str] = frozenset()
    label: bool | None = None  # None: probability >= 0.5
    notes: tuple[str, ...] = ()  # e.g. "untrained for this target"

    @property
    def positive(self) -> bool:
        """What it decides."""
        return self.probability >= 0.5 if self.label is None else self.label


@value
class Completion:
    """What a model said. ``thinking`` is reasoning that the backend reports apart from the answer."""

    text: str
    finish: Finish = Finish.STOP
    thinking: str | None = None
    tokens: tuple[Token, ...] = ()  # of ``text``, empty where the backend gives no probabilities
    tokens_in: int | None = None
    tokens_out: int | None = None
    judgement: Judgement | None = None  # set by models that classify


@value
class Exchange:
    """One request as the broker settled it: what was asked, what was said, what it took."""

    request: Request
    completion: Completion
    latency: float = 0.0  # seconds of the attempt that was answered; of a cached one, as first measured
    cost: float | None = None  # US dollars when first asked; None where the price is not known
    cached: bool = False
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class Traits:
    """What a backend can do and how it wants to be asked; the broker reads it, never the backend's name."""

    classifies: bool = False  # answers from the case, the same whatever the prompt says
    logprobs: bool = False  # gives token probabilities when asked
    chat: bool = True  # takes turns
    raw: bool = False  # takes a raw prompt without wrapping it in a chat template
    forced: bool = False  # continues a forced beginning of the answer
    literal: bool = False  # a prompt's text stays text: control tokens that it spells steer nothing
    template: bool = False  # hands options of a prompt to the model's chat template
    connections: int = 64  # requests under way at once at most (remote)
    batch: int = 256  # requests per call at most (local)
    instant: bool = False  # answers in microseconds: asked on the event loop, for handing over to a thread costs more (local)
    timeout: float | None = None  # seconds an attempt may take, None = no limit
    remote: bool = False  # requests leave the process: failures are retried, answers are paid for
    targets: frozenset[Target] = frozenset(Target)  # what it can be asked
    price: tuple[float, float] | None = None  # US dollars per million tokens in, out
    notices: tuple[str, ...] = ()  # what every table must say about the model's verdicts
    per_sample: bool = False  # equal prompts of different samples may get different answers
    timed: bool = True  # how long an answer takes says something about the model: not of answers read from a file
    draws: int = 1  # of one question that one request may ask for at most (remote); more than 1 needs `generate_draws`


@runtime_checkable
class Model(Protocol):
    """A backend that answers one request; the broker does waiting, retrying, counting and caching.

    Raises :class:`~guardeval.errors.Transient` where asking again may help, ``ModelUnusable`` where nothing would,
    ``ModelError`` where this one request is refused. May have ``async start()`` (raise before the first sample if
    nothing can work), ``async close()``, ``path_options``, names of options that are files: ``run.yaml`` states these so
    that it can be run from any folder, and ``files``, paths of its weights where no such option names them;
    ``not_in_identity``, names of options that change no answer. A model folder among the path options, or in
    ``model_folder``, says what the model has seen, and so does ``exposure``, an :class:`~guardeval.exposure.Exposure`.
    """

    @property
    def identity(self) -> Mapping[str, Any]:
        """JSON-able; everything that can change an answer: name, revision or digest, address, options. No secrets."""

    @property
    def traits(self) -> Traits: ...

    async def generate(self, request: Request) -> Completion: ...


class DrawingModel(Model, Protocol):
    """A model that draws several answers to one question in one request, for the price of one prompt."""

    async def generate_draws(self, requests: Sequence[Request]) -> Sequence[Completion | ModelError]:
        """One outcome a request, in order; the requests differ in ``draw`` only, and those count up by one.

        Fewer than asked where the server gives fewer: the broker asks for the rest, and for no more at once after that.
        The first completion carries the prompt's ``tokens_in``, the others 0; their ``tokens_out`` add up to what was
        counted. A draw that cannot be read is an error in its place, so that the others are kept. Raises as ``generate``
        does; what is refused as a whole is asked again draw by draw.
        """


@dataclass(frozen=True, slots=True)
class OfflineLimits:
    """What one submission may hold, and what it costs: a share of the price of asking at once."""

    requests: int
    size: int  # bytes
    price: float  # 0.5 = half


class OfflineState(StrEnum):
    """Where a submission stands."""

    WAITING = "waiting"  # ask again later
    ENDED = "ended"  # what was answered can be fetched, be it all or a part
    REFUSED = "refused"  # as a whole: nothing of it was answered


@dataclass(frozen=True, slots=True)
class OfflineStatus:
    """How a submission fares; ``words`` are the server's, for people."""

    state: OfflineState
    words: str = ""
    done: int | None = None
    total: int | None = None


class OfflineModel(Model, Protocol):
    """A model that also answers many requests later and for less, as providers' batch services do.

    Who drives it keeps what :meth:`submit` returns, so that a killed process pays for nothing twice. All of these raise as
    ``generate`` does. Names are texts of at most 64 characters that tell requests apart; marks tell submissions apart.
    """

    @property
    def offline(self) -> OfflineLimits: ...

    def offline_line(self, name: str, request: Request) -> bytes:
        """One request as a submission holds it, its line end included."""

    async def submit(self, lines: Sequence[bytes], mark: str) -> str:
        """Hand the requests in; the submission's id."""

    async def find(self, mark: str) -> str | None:
        """Id of the submission that was handed in under a mark, None where there is none."""

    async def status(self, submission: str) -> OfflineStatus: ...

    async def fetch(self, submission: str, requests: Mapping[str, Request]) -> Mapping[str, Completion | ModelError]:
        """By name, what was answered, and why what was not; a request of which nothing was heard may be missing.

        ``requests``: those at hand, by name, so that no error repeats their texts.
        """


@runtime_checkable
class BatchModel(Protocol):
    """A local backend that answers a batch in one plain call, in the order asked; runs in a thread of its own."""

    @property
    def identity(self) -> Mapping[str, Any]: ...

    @property
    def traits(self) -> Traits: ...

    def generate_batch(self, requests: Sequence[Request]) -> Sequence[Completion]: ...


class Asker(Protocol):
    """A model as a solver sees it: ask, await. The broker stands behind it."""

    @property
    def name(self) -> str: ...

    @property
    def traits(self) -> Traits: ...

    async def generate(self, request: Request) -> Completion: ...


@runtime_checkable
class Solver(Protocol):
    """Turns one case into a verdict by asking a model, as often as it needs.

    Errors of ``model.generate`` may pass through: the engine keeps them as a FAILED verdict. May have ``targets``, those that
    it can be asked, and ``families``, the :class:`~guardeval.native.family.Family` entries whose native format it speaks. The
    sample of a case is without its gold, unless the solver has ``reads_gold = True``: then its verdicts measure no guard.
    """

    async def solve(self, case: Case, model: Asker) -> Verdict: ...


@runtime_checkable
class ChoosingSolver(Protocol):
    """A solver that stands for others: which one depends on the model. A run asks once, before the first sample."""

    def for_model(self, name: str) -> tuple[str, Solver]:
        """Name and solver for the model of this name. Raises :class:`~guardeval.errors.ConfigError` where none fits."""


class TaskSource(Protocol):
    """Another tool's tasks under a prefix, the name of its entry point: ``--task lm_eval/toxigen``."""

    def names(self) -> Mapping[str, str]:
        """Name, without the prefix, → title; quick, for lists and messages."""

    def load(self, name: str) -> Task:
        """Raises :class:`~guardeval.errors.ConfigError` where there is none, or it does not fit. Its name is a file name."""


@runtime_checkable
class Scorer(Protocol):
    """Judged samples of one task and target → named numbers.

    Keys are ``"<metric>,<accounting>"`` or ``"<metric>"``; ``"<metric>_ci,<accounting>"`` holds ``(low, high)`` and
    ``"<metric>_n,<accounting>"`` the number of samples behind it. Undefined is ``nan``. ``higher_is_better`` says the
    direction for all metrics, or for each by name.
    """

    higher_is_better: ClassVar[bool | Mapping[str, bool]]

    def score(self, judged: Judgements) -> Mapping[str, float | tuple[float, float]]: ...


@runtime_checkable
class Trainer(Protocol):
    """Rows → a model folder (``guardeval-model.yaml`` beside the weights), whose path it returns.

    ``takes``, a class attribute, names the kinds of rows it reads: ``samples`` (where there is none), ``traces``, ``pairs``
    (:mod:`guardeval.training_rows`); the latter two come as a :class:`~guardeval.training_rows.TrainingFile`. One that can
    be interrupted goes on where it was when the same command is given again. May have ``plan(rows) -> Mapping``: what
    ``--dry_run`` prints, found without weights.
    """

    def train(self, rows: Iterable[Any], out: Path) -> Path: ...


@runtime_checkable
class Optimizer(Protocol):
    """A model folder → a smaller or faster one in ``out``, whose path it returns.

    It writes weights and card; the check on the same samples before and after is the command's.
    """

    def optimize(self, folder: Path, out: Path) -> Path: ...

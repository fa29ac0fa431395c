"""Ray actors as a crew of workers: who is ready, what each has in hand, who is gone. All that touches Ray's calls is here."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import guardeval
from guardeval.errors import ConfigError
from guardeval.executors.desk import Desk
from guardeval.executors.worker import JudgedShard, Recipe, Shard, Worker

__all__ = ["Crew", "Done", "Gone", "NobodyLeft", "Size"]

_DEPTH = 2  # shards a worker has: one in work, one at hand when that is done
_TURN = 1.0  # seconds to wait for news
_PARTING = 5.0  # seconds that a desk has to close its file


@dataclass(frozen=True)
class Size:
    """How many workers, and what each takes of its machine."""

    workers: int
    cpus: float
    gpus: float
    start_timeout: float  # seconds until at least one must be ready
    max_restarts: int  # workers that may be replaced


@dataclass(frozen=True)
class Done:
    """A worker has finished a shard."""

    worker: int
    shard: int
    judged: JudgedShard


@dataclass(frozen=True)
class Gone:
    """A worker is lost, with what it had."""

    worker: int
    why: str


class NobodyLeft(Exception):
    """All workers are lost, and none is replaced any more; the text says the rest."""


@dataclass
class _Hand:
    """One worker: its actor, and the answers that it owes, in order."""

    number: int
    actor: Any
    arriving: Any = None  # answer of ``ready``; None once it is there
    owes: deque[tuple[int, Any]] = field(default_factory=deque)


class Crew:
    """``with Crew(ray, recipe, size, desk)``: actors are started at once, used as they come up, replaced as they go."""

    def __init__(self, ray: Any, recipe: Recipe, size: Size) -> None:
        self._ray, self._recipe, self._size = ray, recipe, size
        self._hands: dict[int, _Hand] = {}
        self._began = self._next = 0
        self.lost = 0
        self._ever = False  # a worker was ready
        self._last_word = ""
        self._desk: Any = None

    def __enter__(self) -> Crew:
        if self._recipe.answers is not None or self._recipe.max_cost is not None:
            self._desk = self._open_desk()
        self._cls = _worker_class(self._ray)
        self._since = time.monotonic()
        for _ in range(self._size.workers):
            self._hire()
        return self

    def __exit__(self, *problem: object) -> None:
        for hand in self._hands.values():
            self._dismiss(hand)
        self._hands.clear()
        if self._desk is not None:
            with contextlib.suppress(Exception):  # the file is sound whether it is closed or not
                self._ray.get(self._desk.call.remote("close"), timeout=_PARTING)
            with contextlib.suppress(Exception):
                self._ray.kill(self._desk)

    @property
    def nodes(self) -> int:
        return sum(bool(node["Alive"]) for node in self._ray.nodes())

    def idle(self) -> Iterator[int]:
        """Ready workers that can take a shard, a worker as often as it can take one; first those that have least."""
        for depth in range(_DEPTH):
            yield from [n for n, hand in self._hands.items() if hand.arriving is None and len(hand.owes) <= depth]

    def give(self, worker: int, number: int, shard: Shard, samples: Any) -> None:
        hand = self._hands[worker]
        hand.owes.append((number, hand.actor.judge.remote(shard, samples)))

    def put(self, packed: bytes) -> Any:
        """Samples in the cluster's memory: whoever is given them reads them there, also when they are done again."""
        return self._ray.put(packed)

    def news(self, patience: float = _TURN) -> Iterator[Done | Gone]:
        """What has happened; nothing where nothing does within ``patience`` seconds.

        Raises :class:`ConfigError` where no worker comes up in time, or where one runs another version; :class:`NobodyLeft`.
        """
        refs: dict[Any, _Hand] = {}
        for hand in self._hands.values():
            if hand.arriving is not None:
                refs[hand.arriving] = hand
            elif hand.owes:
                refs[hand.owes[0][1]] = hand
        ready: list[Any] = []
        if refs and self._ray.wait(list(refs), num_returns=1, timeout=patience)[0]:
            ready = self._ray.wait(list(refs), num_returns=len(refs), timeout=0)[0]
        for ref in ready:
            yield from self._heard(refs[ref], ref)
        self._check_any()

    def stop(self) -> None:
        """Ask all to end the shard that they are at with what they have."""
        for hand in self._hands.values():
            if hand.arriving is None:
                hand.actor.stop.remote()

    def forget(self, worker: int) -> None:
        """Money that a lost worker had set aside counts as spent."""
        if self._desk is not None and self._recipe.max_cost is not None:
            self._asked("forget", worker)

    def _asked(self, method: str, *arguments: Any) -> Any:
        value, error = self._ray.get(self._desk.call.remote(method, *arguments))
        if error is not None:
            raise error
        return value

    def _heard(self, hand: _Hand, ref: Any) -> Iterator[Done | Gone]:
        errors = self._ray.exceptions
        try:
            value = self._ray.get(ref)
        except errors.RayTaskError as e:  # our own code broke, not the machine
            raise e.cause if isinstance(e.cause, Exception) else e from None
        except errors.RayError as e:
            yield self._gone(hand, e)
            return
        if hand.arriving is not None:
            if value != guardeval.__version__:
                here = guardeval.__version__
                raise ConfigError(
                    f"--executor ray: a worker has guardeval {value}, this is {here}: install the same everywhere"
                )
            hand.arriving, self._ever = None, True
            return
        number, _ = hand.owes.popleft()
        yield Done(hand.number, number, value)

    def _gone(self, hand: _Hand, error: Exception) -> Gone:
        self._last_word = " ".join(str(error).split())[:600]
        del self._hands[hand.number]
        self._dismiss(hand)
        self.lost += 1
        if self.lost <= self._size.max_restarts:
            self._hire()
        return Gone(hand.number, self._last_word)

    def _hire(self) -> None:
        number, self._next = self._next, self._next + 1
        options = {"num_cpus": self._size.cpus, "num_gpus": self._size.gpus, "max_restarts": 0, "max_task_retries": 0}
        actor = self._cls.options(scheduling_strategy="SPREAD", **options).remote(self._recipe, number, self._desk)
        self._hands[number] = _Hand(number, actor, actor.ready.remote())

    def _dismiss(self, hand: _Hand) -> None:
        with contextlib.suppress(Exception):  # it may be gone with its machine
            self._ray.kill(hand.actor)

    def _check_any(self) -> None:
        """Raise where nobody works, and nobody will."""
        if any(hand.arriving is None for hand in self._hands.values()):
            self._since = time.monotonic()
            return
        said = f"; the last one said: {self._last_word}" if self._last_word else ""
        if not self._hands:
            raise NobodyLeft(f"--executor ray: all workers are lost, {self.lost} in all (-E max_restarts){said}")
        if time.monotonic() - self._since > self._size.start_timeout:
            size = self._size
            has = {k: v for k, v in self._ray.cluster_resources().items() if k in ("CPU", "GPU")}
            kind = NobodyLeft if self._ever else ConfigError
            raise kind(
                f"--executor ray: no worker was ready within {size.start_timeout:.0f} seconds: {size.workers} were asked for, "
                f"with {size.cpus:g} CPU and {size.gpus:g} GPU each, of a cluster that has {has or 'nothing'}; ask for less "
                f"(-E workers=, cpus_per_worker=, gpus_per_worker=), or wait longer (-E start_timeout=){said}"
            )

    def _open_desk(self) -> Any:
        """Beside the cache's file: on the node where this process is."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(self._ray.get_runtime_context().get_node_id(), soft=False)
        desk = self._ray.remote(Desk).options(num_cpus=0, scheduling_strategy=here, max_restarts=0)
        made = desk.remote(self._recipe.answers, self._recipe.max_cost)
        try:
            self._ray.get(made.call.remote("get", []), timeout=self._size.start_timeout)
        except self._ray.exceptions.GetTimeoutError:
            raise ConfigError("--executor ray: no room on this node for the keeper of the answers (-E start_timeout)") from None
        except self._ray.exceptions.ActorDiedError as e:
            raise _first_cause(e, self._recipe) from e
        return made


def _first_cause(error: Exception, recipe: Recipe) -> ConfigError:
    said = [line for line in str(error).splitlines() if "ConfigError" in line]
    words = said[-1].partition("ConfigError: ")[2] if said else " ".join(str(error).split())[:300]
    return ConfigError(words or f"cache {recipe.answers}: cannot be used")


def _worker_class(ray: Any) -> Any:
    """:class:`Worker` as an actor: it judges one shard at a time, and hears meanwhile that it shall stop.

    Held, not inherited: Ray runs a class with coroutines in it on a loop of its own, and a worker has its own.
    """

    class RayWorker:
        def __init__(self, recipe: Recipe, number: int, desk: Any) -> None:
            self._worker = Worker(recipe, number, _caller(ray, desk))

        def ready(self) -> str:
            return self._worker.ready()

        def judge(self, shard: Shard, packed: bytes) -> JudgedShard:
            return self._worker.judge(shard, packed)

        @ray.method(concurrency_group="control")  # type: ignore[untyped-decorator]
        def stop(self) -> None:
            self._worker.stop()

    return ray.remote(concurrency_groups={"control": 1})(RayWorker)


def _caller(ray: Any, desk: Any) -> Callable[..., Any]:
    def call(method: str, *arguments: Any) -> Any:
        try:
            value, error = ray.get(desk.call.remote(method, *arguments))
        except ray.exceptions.RayError as e:
            raise ConfigError(f"--executor ray: the keeper of the answers is gone: {' '.join(str(e).split())[:300]}") from e
        if error is not None:
            raise error
        return value

    return call

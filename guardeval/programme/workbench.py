"""Where the programme's systems come from: finished runs that are known again, new ones, and combinations of both.

Nothing is asked twice: a run whose key stands in the ledger is taken from its folder, all others share one cache.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardeval.errors import ConfigError, GuardevalError, ModelUnusable
from guardeval.programme.catalogue import catalogue
from guardeval.programme.data_choice import DataChoice
from guardeval.programme.definitions import Arm, Combination, Reference
from guardeval.programme.held import Held
from guardeval.programme.ledger import Ledger, OtherProgramme
from guardeval.programme.model_sets import ModelSet, Role
from guardeval.programme.orders import Order, combined_key, order_of
from guardeval.programme.references import model_number
from guardeval.registry import Registry

if TYPE_CHECKING:
    from guardeval.broker import Estimate
    from guardeval.pipeline import Progress, Run

__all__ = ["Ended", "Missing", "Workbench"]


class Missing(ConfigError):
    """A system that could not be had: no model, no data, no such role. Said once, and the others go on."""


class Ended(Exception):
    """A run ended before its last sample: ``stopped`` at the money limit or ``interrupted``."""

    def __init__(self, status: str) -> None:
        super().__init__(status)
        self.status = status


@dataclass
class Workbench:
    """Gives the measured system behind a reference, running what has not been run. ``say`` is told what is going on."""

    model_set: ModelSet
    data: DataChoice
    first_task: str
    ledger: Ledger
    registry: Registry
    progress: Progress | None = None
    say: Callable[[str], None] = lambda _: None
    limit: int | None = None
    seed: int = 0
    asking: Mapping[str, Any] = field(default_factory=dict)  # cache, no_cache, max_connections: change no answer
    max_cost: float | None = None
    train: Callable[[int], Role] | None = None  # the model of an experiment, trained where it is not there
    spent: float = 0.0
    never_heard: int = 0
    _held: dict[tuple[Reference, str], Held] = field(default_factory=dict)
    _missing: dict[tuple[str, str, str], str] = field(default_factory=dict)  # model, its options, task → why
    _identities: dict[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return self.ledger.folder

    # ---- by reference ----

    def held(self, reference: Reference, task: str) -> Held:
        """The measured system. Raises :class:`Missing` with what is missing and how to get it, :class:`Ended`."""
        found = self._held.get((reference, task))
        if found is None:
            found = self._held[reference, task] = self._made(reference, task)
        return found

    def keep(self, reference: Reference, task: str, held: Held) -> None:
        """A system that a step of an experiment made: the best of some, weights fitted on a half."""
        self._held[reference, task] = held

    def members(self, references: Sequence[Reference], task: str) -> list[Held]:
        """Each, an arm with several roles being as many."""
        return [self.held(one, task) for reference in references for one in self.spread(reference)]

    def spread(self, reference: Reference) -> list[Reference]:
        """Itself, or one an role of an arm that asks several."""
        arm = catalogue()[reference.experiment].arm(reference.arm)
        if arm is None or reference.role is not None or len(arm.models) == 1:
            return [reference]
        return [replace(reference, role=role) for role in arm.models]

    def _made(self, reference: Reference, task: str) -> Held:
        experiment = catalogue()[reference.experiment]
        arm, combination = experiment.arm(reference.arm), experiment.combination(reference.arm)
        if arm is not None:
            return self._run(arm, self._role(reference, arm), task)
        if combination is not None:
            return self._combined(combination, task)
        raise Missing(f"{reference} is found by running experiment {reference.experiment}, which has not been done here")

    @staticmethod
    def _role(reference: Reference, arm: Arm) -> str:
        if reference.role is None and len(arm.models) > 1:
            raise Missing(f"{reference} is {len(arm.models)} systems: say which, as in {reference}@{arm.models[0]}")
        return reference.role or arm.models[0]

    @property
    def money_left(self) -> float | None:
        """US dollars, never quite nothing: a run refuses a limit of 0; None without a limit."""
        return None if self.max_cost is None else max(self.max_cost - self.spent, 1e-9)

    # ---- plain runs ----

    @property
    def policies(self) -> str:
        """What this set's models are asked with where an experiment says nothing else."""
        return self.model_set.policies or "minimal"

    def order(self, arm: Arm, role: str, task: str) -> Order:
        """What would be run. Raises :class:`Missing`."""
        data = self.data.of(task, self.first_task)
        arm = replace(arm, policies=self.policies) if arm.policies == "minimal" else arm
        more = {**self.asking, "output_path": str(self.folder / "runs"), "limit": self.limit, "seed": self.seed}
        try:
            return order_of(arm, self.role(role, task), task, data, self.registry, **more)
        except GuardevalError as e:
            raise Missing(str(e)) from e

    def role(self, name: str, task: str) -> Role:
        """Of the model set, or the model that an experiment trained. Raises :class:`Missing`."""
        number = model_number(name)
        if number is None:
            return self.model_set.role(name, task)
        if self.train is None:
            raise Missing(f"the model of experiment {number} is trained first: run experiment {number}")
        return self.train(number)

    def _run(self, arm: Arm, role: str, task: str) -> Held:
        order = self.order(arm, role, task)
        key = self._key(order)
        path = self.ledger.run_folder(key)
        if path is None:
            path = self._ask(order, key, f"{order.solver} on {task}, {order.label}")
            key = key if self.ledger.run_folder(key) else f"{key} {path.name}"  # to be asked again: what follows from it, too
        name = order.label if order.fixed else f"{order.label}, {_asked(order)}"
        return Held(name, task, path, key, order.fixed)

    def _key(self, order: Order) -> str:
        """Reads the rows' and the model's identity; raises :class:`Missing` where either is not at hand."""
        known = self._missing.get((order.model.name, str(order.model.args), order.task))
        if known is not None:
            raise Missing(known)
        from guardeval.models import build_model

        try:
            identity = build_model(order.model, self.registry).identity
        except GuardevalError as e:
            raise self._lacking(order, e, of_model=True) from e
        try:
            return order.key(self.rows_of(order.task), identity)
        except OtherProgramme:
            raise
        except GuardevalError as e:
            raise self._lacking(order, e) from e

    def rows_of(self, name: str) -> str:
        """The rows of a task by content, and the check that this folder holds results on no others.

        Raises what opening the rows raises, and :class:`OtherProgramme`.
        """
        if name not in self._identities:
            from guardeval.task import TaskIndex

            (task,) = TaskIndex((), self.registry).select((name,)).tasks
            rows = task.open(self.data.of(name, self.first_task), limit=self.limit, seed=self.seed)
            files = rows.identity.get("files")
            content = ", ".join(f"sha256 {f['sha256'][:16]}" for f in files) if files else str(rows.identity.get("hub"))
            self._identities[name] = f"{rows.kind} {content}"
        self.ledger.keep_data(name, self._identities[name])
        return self._identities[name]

    def _ask(self, order: Order, key: str, what: str) -> Path:
        from guardeval.pipeline import run_all

        self.say(f"running {what}")
        try:
            done = run_all(replace(order.settings(), max_cost=self.money_left), self.registry, self.progress)[0]
        except GuardevalError as e:
            raise self._lacking(order, e) from e
        self._account(done, order, key)
        return done.path

    def account(self, done: Run) -> None:
        """Count what was asked. Raises :class:`Ended` for a run that ended before its last sample."""
        self.spent += done.counters.cost
        self.never_heard += done.never_heard
        self.ledger.count(done.counters)
        if done.status != "complete":
            self.ledger.write()
            raise Ended(done.status)

    def _account(self, done: Run, order: Order, key: str) -> None:
        """Keep the run, unless some of its samples are to be asked again."""
        self.account(done)
        if done.never_heard == 0:
            self.ledger.keep_run(key, done.path, task=order.task, system=f"{order.label}, {_asked(order)}")
        else:
            self.ledger.write()

    def _lacking(self, order: Order, error: GuardevalError, of_model: bool = False) -> Missing:
        """What is missing; of a model also how the set says it is got."""
        of_model = of_model or isinstance(error, ModelUnusable)
        help_text = f" ({self.model_set.help})" if of_model and self.model_set.help else ""
        said = f"{order.task}, {order.label}: {error}{help_text}"
        if isinstance(error, ModelUnusable):  # no other arm can ask it either: do not wait for it again
            self._missing[order.model.name, str(order.model.args), order.task] = said
        return Missing(said)

    # ---- combinations ----

    def _combined(self, combination: Combination, task: str) -> Held:
        held = self.members(combination.members, task)
        vote = " ".join(f"{k}={v}" for k, v in combination.solver_args.items())
        fixed = held[0].fixed if len({h.fixed for h in held}) == 1 else ""
        inner = "" if fixed else f" of {held[0].name.partition(', ')[2]}"
        return self.combine(held, combination.solver_args, f"ensemble, {vote}{inner}", fixed)

    def combine(
        self, held: Sequence[Held], solver_args: Mapping[str, Any], name: str, fixed: str, samples: Sequence[str] | None = None
    ) -> Held:
        """Finished runs made one, without asking; one that was made before is taken from its folder."""
        from guardeval.combine import combine_runs

        key = combined_key([h.key for h in held], {**solver_args, **({} if samples is None else {"samples": list(samples)})})
        path = self.ledger.run_folder(key)
        task = held[0].task
        if path is None:
            out = self.folder / "runs"
            try:
                done = combine_runs(
                    [h.path for h in held], "ensemble", solver_args, output_path=out, task=task, samples=samples,
                    registry=self.registry,
                )  # fmt: skip
            except GuardevalError as e:
                raise Missing(f"{task}, {name}: {e}") from e
            path = done.path
            self.ledger.keep_run(key, path, task=task, system=name, combined=[str(h.path.name) for h in held])
        return Held(name, task, path, key, fixed)

    # ---- without asking ----

    def estimate(self, references: Sequence[tuple[Reference, str]]) -> dict[str, Estimate | str]:
        """What each plain run that is still to be made would send; in words what is missing."""
        from guardeval.pipeline import dry_run

        out: dict[str, Estimate | str] = {}
        seen: set[str] = set()
        for reference, task in references:
            for one in self.spread(reference):
                arm = catalogue()[one.experiment].arm(one.arm)
                if arm is None:
                    continue
                name = f"{one} on {task}"
                try:
                    order = self.order(arm, self._role(one, arm), task)
                    key = self._key(order)
                    if key in seen or self.ledger.run_folder(key) is not None:
                        continue
                    seen.add(key)
                    out[f"{name}, {order.label}"] = next(iter(dry_run(order.settings(), self.registry).values()))
                except Missing as e:
                    out[name] = str(e)
        return out


def _asked(order: Order) -> str:
    """How it was asked: ``multistep skip=intent``, ``multistep, medium policies``."""
    options = " ".join(f"{k}={v}" for k, v in order.solver_args.items())
    policies = f", {Path(order.policies).name} policies" if order.policies != "minimal" else ""
    return f"{order.solver}{' ' + options if options else ''}{policies}"

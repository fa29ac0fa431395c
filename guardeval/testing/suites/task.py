"""What holds for every task: rows that read, labels that are what the file declares, the same samples every time."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from guardeval.data import Sample, Target
from guardeval.errors import DataError
from guardeval.policies import POLICIES
from guardeval.task import Task, TaskIndex
from guardeval.testing.hostile import HOSTILE
from guardeval.testing.suites.plugin import Rules

__all__ = ["TaskSuite"]


class TaskSuite(Rules):
    """Set ``task``, a name or the path of a YAML file; ``include_path`` where the file is in no installed package.

    ``data``: ``sample``, or a file of rows. ``one_class``: the benchmark has rows of one label only. ``states``: what the
    file must say of its origin. ``in_lm_eval``: also load and read it with lm-evaluation-harness, where that is installed.
    """

    chapter: ClassVar[str] = "Tasks"
    task: ClassVar[str]
    include_path: ClassVar[Sequence[Path | str] | Path | str] = ()
    data: ClassVar[str | Path] = "sample"
    one_class: ClassVar[bool] = False
    states: ClassVar[Sequence[str]] = ("licence", "citation", "revision")
    in_lm_eval: ClassVar[bool] = False
    _read: ClassVar[tuple[Sample, ...]]

    @property
    def subject(self) -> str:
        return f"task {self.task}"

    def load(self) -> Task:
        """The task, read anew."""
        folders = [self.include_path] if isinstance(self.include_path, (str, Path)) else self.include_path
        return TaskIndex([Path(f) for f in folders]).load(self.task)

    def samples(self) -> tuple[Sample, ...]:
        cls = type(self)
        if "_read" not in cls.__dict__:  # once a class
            cls._read = tuple(self.load().open(self.data))
        return cls._read

    def test_every_row_reads(self) -> None:
        report = self.load().check(self.data)
        self.hold(report.ok, "every row reads as the file declares", "; ".join(report.problems))

    def test_it_is_known_by_its_name(self) -> None:
        task = self.load()
        self.hold(task.name in (self.task, Path(self.task).stem), "`task:` is the name that it is asked for by", task.name)
        self.hold(bool(task.version), "metadata.version is stated: it is raised whenever a score could change")

    def test_it_states_where_it_comes_from(self) -> None:
        task = self.load()
        if "licence" in self.states:
            self.hold(task.licence not in ("", "unstated"), "metadata.license says what the rows may be used for")
        if "citation" in self.states:
            said = task.citation or task.homepage or task.description
            self.hold(bool(said), "metadata.citation, metadata.homepage or the first comment says who made it")
        if "revision" in self.states and not task.no_hub and not task.data_files and (task.sources or task.dataset_path):
            loose = [s.path for s in task.hub_sets() if s.revision in ("", "main", "master")]
            self.hold(not loose, "the revision of a data set on the hub is pinned, or its scores change overnight", loose)

    def test_every_sample_can_be_judged(self) -> None:
        target = self.load().target
        for sample in self.samples():
            where = f"id {sample.id}, row {sample.index}"
            judged = sample.prompt if target is Target.PROMPT else sample.response
            self.hold(isinstance(sample.prompt, str), "a prompt is a text", where)
            self.hold(judged is not None, f"a sample of {target} has the text that is judged", where)
            self.hold(bool(sample.prompt.strip() or (sample.response or "").strip()), "a sample has a text", where)
            self.hold(isinstance(sample.labels.get(target), bool), f"a sample has a label for {target}", where)
            self.hold(sample.policies <= sample.known_policies, "policies violated are among those that are settled", where)
            self.hold(sample.known_policies <= set(POLICIES), "policies are named as guardeval names them", sample.policies)
            clean = sample.labels[target] or not sample.policies or target is Target.REFUSAL
            self.hold(clean, "a sample with a negative label violates no policy", where)

    def test_ids_tell_samples_apart(self) -> None:
        repeated = [i for i, n in Counter(s.id for s in self.samples()).items() if n > 1]
        self.hold(not repeated, "no two samples share an id: reviews, caches and paired tests go by it", repeated[:5])

    def test_both_labels_occur(self) -> None:
        target = self.load().target
        found = {s.labels[target] for s in self.samples()}
        rule = "rows of both labels occur, or precision and recall say nothing (`one_class = True` where that is meant)"
        self.hold(self.one_class or found == {True, False}, rule, found)

    def test_reading_again_gives_the_same_samples(self) -> None:
        rows = self.load().open(self.data)
        two = list(zip(rows, rows, strict=True))
        self.hold(all(a == b for a, b in two), "two readers of the same rows see the same samples")
        self.hold(tuple(a for a, _ in two) == self.samples(), "another process, the same samples: no chance, no time")
        indices = [s.index for s in self.samples()]
        self.hold(indices == sorted(indices), "samples come in the order of the source", indices[:20])

    def test_a_limit_draws_the_same_subset_for_the_same_seed(self) -> None:
        task, n = self.load(), max(1, len(self.samples()) // 3)
        drawn = [[s.id for s in task.open(self.data, limit=n, seed=seed)] for seed in (3, 3, 4)]
        self.hold(drawn[0] == drawn[1] and len(drawn[0]) == n, "--limit N draws N samples, the same for the same seed", drawn)
        everything = {s.id for s in self.samples()}
        self.hold(set(drawn[2]) <= everything, "a subset holds samples of the whole", set(drawn[2]) - everything)

    def test_sample_rows_say_that_they_are_not_the_benchmark(self) -> None:
        rows = self.load().open(self.data)
        if rows.kind != "sample":
            pytest.skip("these are rows of a file")
        self.hold("not the benchmark" in (rows.notice or ""), "sample rows are marked as such wherever they are shown")

    def test_rows_can_be_written_to_a_run_folder(self) -> None:
        for sample in self.samples():
            try:
                json.dumps(dict(sample.doc), ensure_ascii=False)
            except TypeError as e:
                self.hold(False, "a row is JSON: it stands in samples_*.jsonl", f"row {sample.index}: {e}")

    def test_categories_are_of_the_taxonomy(self) -> None:
        task = self.load()
        if task.taxonomy is None:
            pytest.skip("has no taxonomy")
        walk = task.taxonomy.crosswalk()
        for category in task.taxonomy.categories:
            led = walk.map(category) or category in walk.unmapped
            self.hold(bool(led), "every category leads to policies, or is declared to lead to none", category)
        named = frozenset().union(*(s.policies for s in self.samples()))
        self.hold(named <= walk.expressible, "policies of the samples are those that the crosswalk names", named)

    def test_an_unknown_label_is_an_error_that_names_the_row(self, tmp_path: Path) -> None:
        task, column = self.load(), _column(self.load(), "label")
        rows = [s.doc for s in self.samples()[:3]]
        if column is None or task.row is not None or task.sources or not all(column in row for row in rows):
            pytest.skip("its labels are not the values of one column")
        found = task.check(_written(tmp_path, [*rows, {**rows[0], column: "certainly no label"}]))
        told = [p for p in found.problems if "row 4" in p]
        self.hold(bool(told), "a value that is not declared as a label is an error with its row, never a label", found.problems)

    def test_hostile_cells_arrive_as_they_are(self, tmp_path: Path) -> None:
        task, column = self.load(), _column(self.load(), "prompt")
        first = next(iter(task.open(self.data)), None)
        row = dict(first.doc) if first is not None else {}
        if column is None or task.row is not None or task.sources or not isinstance(row.get(column), str):
            pytest.skip("its prompts are not the texts of one column")
        texts = [text for text in HOSTILE.values() if text.isprintable() or not any("\ud800" <= c <= "\udfff" for c in text)]
        path = _written(tmp_path, [{**row, column: text} for text in texts])
        try:
            read = [s.prompt for s in task.open(path)]
        except DataError as e:
            self.hold(False, "text of any kind reads", e)
            return
        lost = [name for name, text in HOSTILE.items() if text in texts and text not in read]
        self.hold(not lost, "a prompt is the cell as it is: nothing is stripped, rendered or escaped", lost)

    def test_it_loads_in_lm_eval(self) -> None:
        if not self.in_lm_eval:
            pytest.skip("in_lm_eval = True also reads it with lm-evaluation-harness")
        tasks = pytest.importorskip("lm_eval.tasks")
        task = self.load()
        manager = tasks.TaskManager(include_path=str(task.path.parent), metadata={"data": str(self.data)})
        loaded = manager.load([task.name])["tasks"][task.name]
        documents = list(loaded.test_docs())
        self.hold(len(documents) == len(self.samples()), "lm_eval reads the same rows", len(documents))


def _column(task: Task, what: str) -> str | None:
    """The one column that holds it, where the file says so."""
    of = task.metadata.get("label") if what == "label" else (task.metadata.get("fields") or {}).get("prompt")
    found: Any = of.get("column") if isinstance(of, dict) else of
    return found if isinstance(found, str) else None


def _written(folder: Path, rows: Sequence[Any]) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(dict(row)) + "\n" for row in rows), encoding="utf-8")
    return path

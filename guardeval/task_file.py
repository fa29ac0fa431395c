"""A task or group as its YAML file declares it, checked key by key."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardeval.data import Target
from guardeval.errors import ConfigError
from guardeval.hub import HubSet
from guardeval.labels import Row
from guardeval.shapes import SHAPE_KEYS, Shape, read_shape, read_shapes
from guardeval.taxonomy import Taxonomy, inline_taxonomy, load_taxonomy, read_taxonomy
from guardeval.yaml_files import FunctionRef, Spec, YamlFile

if TYPE_CHECKING:
    from guardeval.task_check import TaskReport
    from guardeval.task_entries import TaskEntry
    from guardeval.task_rows import Rows

__all__ = ["Group", "Source", "Task", "read_group", "read_task"]

# lm-eval's task keys; most of them only concern lm-eval and are passed over here
_TASK_KEYS = (
    "task", "task_alias", "tag", "custom_dataset", "dataset_path", "dataset_name", "dataset_kwargs", "training_split",
    "validation_split", "test_split", "fewshot_split", "doc_to_text", "doc_to_target", "doc_to_choice",
    "process_results", "use_prompt", "description", "target_delimiter", "fewshot_delimiter", "fewshot_config", "num_fewshot",
    "metric_list", "output_type", "generation_kwargs", "repeats", "filter_list", "should_decontaminate",
    "doc_to_decontamination_query", "gen_prefix", "metadata",
)  # fmt: skip
_UPSTREAM = tuple(k for k in SHAPE_KEYS if k not in {"exact", "policies"})
_METADATA = (
    "version", "target", "license", "citation", "homepage", "gated", "revision", "sample", "expected", "scorers", "notes",
    "row", "shapes", "sources", "hub", *_UPSTREAM,
)  # fmt: skip
_GROUP_KEYS = ("group", "group_alias", "task", "aggregate_metric_list", "metadata")
_GROUP_METADATA = ("version", "target", "paper_sizes", "citation", "notes")
_TAXONOMY = ("name", "version", "file", "policies", "column", "flags", "votes", "separator", "strip")
_SLICE = re.compile(r"\[(\d*):(\d*)\]$")
_FILE_KINDS = ("csv", "json", "parquet")


@dataclass(frozen=True, slots=True)
class Source:
    """One of several data sets that make up a task; ``files`` are shell patterns of local copies, first ones preferred."""

    hub_set: HubSet
    label: bool | None
    files: tuple[str, ...]

    def matches(self, path: Path) -> bool:
        return any(fnmatchcase(path.name, pattern) for pattern in self.files)

    @property
    def rows(self) -> slice:
        """The rows of the split that belong to the task, ``train[:400]`` → ``slice(None, 400)``; all where it says nothing."""
        return _slice(self.hub_set.split)


@dataclass(frozen=True)
class Task:
    """One benchmark: where its rows are, what is asked, how a row reads. ``open`` gives the samples."""

    name: str
    title: str  # a short name for tables: lm-eval's task_alias, or the name
    path: Path
    target: Target
    version: str
    owner: str = ""
    description: str = ""  # the file's first comment
    tags: tuple[str, ...] = ()
    licence: str = "unstated"
    citation: str = ""
    homepage: str = ""
    notes: str = ""
    gated: bool = False
    no_hub: str = ""  # why no data set on the hub holds these rows, and where else they are
    dataset_path: str | None = None
    dataset_name: str | None = None
    split: str = "test"
    revision: str = "main"
    training: bool = False  # a training split: for mining and training, refused where a score would be reported
    sample: Path | None = None
    data_files: tuple[Path, ...] = ()  # where the rows are files that the task names itself
    expected: Mapping[str, int] = field(default_factory=dict)
    scorers: tuple[str, ...] = ()
    taxonomy: Taxonomy | None = None
    shapes: tuple[Shape, ...] = ()
    sources: tuple[Source, ...] = ()
    always: bool | None = None  # the label of all rows, where the task says so
    row: Callable[[Row], Row | None] | None = None  # changes or drops a row before it is read
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """sha256 of all that the file and its includes declare: equal digests read rows in the same way."""
        text = json.dumps({"task": self.name, "metadata": self.metadata}, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    def open(
        self,
        data: str | Path = "hub",
        limit: int | None = None,
        seed: int = 0,
        only: Sequence[str | int] | None = None,
    ) -> Rows:
        """Samples from the hub, ``sample`` (rows that ship with the task), or a path; never from one for another.

        ``limit`` draws a seeded subset stratified by label and category; ``only`` names sample ids (texts) or row numbers
        (ints, from 0). Raises :class:`ConfigError` for a wrong ``data`` or ``limit``, :class:`DataError` for wrong rows,
        :class:`~guardeval.hub.HubError` where the hub gives none.
        """
        from guardeval.task_data import open_rows

        return open_rows(self, data, limit, seed, only)

    def hub_sets(self) -> tuple[HubSet, ...]:
        """The splits that ``--data hub`` reads. Raises :class:`ConfigError` where the task names none."""
        if self.sources:
            return tuple(s.hub_set for s in self.sources)
        if self.dataset_path is None or self.data_files:
            why = self.no_hub or f"{self.path} names no data set of the hub (`dataset_path`)"
            raise ConfigError(f"{self.name}: --data hub: {why}. Use `--data PATH` for a file of yours, or `--data sample`")
        splits = self.split.split("+")  # as `datasets` writes several in one
        return tuple(HubSet(self.dataset_path, self.dataset_name, s, self.revision, len(splits) > 1) for s in splits)

    def hub_files(self) -> tuple[tuple[str, HubSet], ...]:
        """File name → split, for local copies that ``--data`` reads back."""
        sets = self.hub_sets()
        if self.sources:
            return tuple((s.files[0].replace("*", "") + ".jsonl", s.hub_set) for s in self.sources)
        return tuple(("_".join(p for p in (s.path.rsplit("/", 1)[-1], s.name, s.split) if p) + ".jsonl", s) for s in sets)

    def check(self, data: str | Path = "hub") -> TaskReport:
        """What the rows hold: counts, repeats, and everything that is wrong with them, not only the first."""
        from guardeval.task_check import check_rows

        return check_rows(self.open(data))

    def describe(self) -> str:
        """What a person wants to know about the task, in lines of text: ``guardeval show``."""
        from guardeval.task_text import task_text

        return task_text(self)

    def files_hint(self) -> str:
        """How file names imply labels, for error messages; empty where they do not."""
        patterns = [f"{p} ({self.target.word(s.label)})" for s in self.sources for p in s.files if s.label is not None]
        return f"; file names that say so: {', '.join(patterns)}" if patterns else ""


@dataclass(frozen=True)
class Group:
    """Tasks of one target whose metrics are averaged, weighted by rows; ``paper_sizes`` are the sizes a paper weighted by."""

    name: str
    title: str
    path: Path
    tasks: tuple[str, ...]
    target: Target | None = None
    version: str = "0"
    description: str = ""
    citation: str = ""
    notes: str = ""
    paper_sizes: Mapping[str, int] = field(default_factory=dict)


# ---- reading ----


def _slice(split: str) -> slice:
    found = _SLICE.search(split)
    return slice(*(int(n) if n else None for n in found.groups())) if found else slice(None)


def read_task(file: YamlFile, entry: TaskEntry, resolve: Callable[[FunctionRef], Callable[..., Any]]) -> Task:
    """Raises :class:`ConfigError` naming file and line for whatever is wrong in it; ``resolve`` looks a function up."""
    top = file.spec()
    if "process_docs" in top or "class" in top:
        key = "process_docs" if "process_docs" in top else "class"
        raise top.error(f"`{key}` is not supported: describe the rows under `metadata` (fields, label, where, row)", key)
    top.only(_TASK_KEYS)
    meta = top.spec("metadata").only(_METADATA)
    target = Target(meta.one_of("target", [str(t) for t in Target]))
    version = meta.values.get("version")
    if not isinstance(version, int | float | str) or isinstance(version, bool):
        raise meta.error("`version` is missing: a number is wanted, raised whenever a score could change", "version")
    taxonomy = _taxonomy(meta.spec("taxonomy"), file.path.parent, entry.name)
    shapes = _shapes(meta, target)
    data_files = _data_files(top, file.path.parent)
    split, training = _split(top)
    revision = meta.text("revision") or top.spec("dataset_kwargs").text("revision") or "main"
    sources = _sources(meta, revision)
    dataset_path = top.text("dataset_path")
    if dataset_path is None and not sources and "hub" not in meta:
        raise top.error(
            "says nowhere where the rows are: name a data set of the hub in `dataset_path`; or `dataset_path: csv` (json, "
            "parquet) and `dataset_kwargs: {data_files: my_rows.csv}`; or say under `metadata: hub:` why there is none"
        )
    return Task(
        name=entry.name,
        title=top.text("task_alias") or entry.name,
        path=file.path,
        target=target,
        version=str(version),
        owner=entry.owner,
        description=entry.title,
        tags=entry.tags,
        licence=meta.text("license") or "unstated",
        citation=meta.text("citation") or "",
        homepage=meta.text("homepage") or "",
        notes=meta.text("notes") or "",
        gated=meta.flag("gated"),
        no_hub=" ".join((meta.text("hub") or "").split()),
        dataset_path=dataset_path,
        dataset_name=top.text("dataset_name"),
        split=split,
        revision=revision,
        training=training,
        sample=_sample(meta, file, entry.name),
        data_files=data_files,
        expected=_counts(meta.spec("expected").only(("rows", "positive", "negative", "unlabelled"))),
        scorers=meta.texts("scorers"),
        taxonomy=taxonomy,
        shapes=shapes,
        sources=sources,
        always=next((s.label.always for s in shapes if s.label is not None and s.label.kind == "always"), None),
        row=_row(meta, resolve),
        metadata=dict(meta.values),
    )


def _shapes(meta: Spec, target: Target) -> tuple[Shape, ...]:
    """The upstream columns and the task's other shapes. Without `fields`: prompt (and response); without `label`: label."""
    values = dict(meta.values)
    response = {} if target is Target.PROMPT else {"response": "response"}
    values.setdefault("fields", {"prompt": "prompt", **response})
    values.setdefault("label", _default_label(target))
    upstream = read_shape(Spec(meta.file, meta.keys, {k: v for k, v in values.items() if k in _UPSTREAM}), "upstream", target)
    own = read_shapes(meta.spec("shapes"), target)
    if any(s.name == "upstream" for s in own):
        raise meta.error("a shape cannot be named `upstream`: that is the task's own columns", "shapes")
    return (upstream, *own)


def _default_label(target: Target) -> dict[str, Any]:
    positive = ["refusal"] if target is Target.REFUSAL else ["harmful", "unsafe"]
    negative = ["compliance"] if target is Target.REFUSAL else ["unharmful", "safe"]
    return {"column": "label", "positive": [*positive, 1], "negative": [*negative, 0]}


def _taxonomy(spec: Spec, folder: Path, task: str) -> Taxonomy | None:
    if not spec:
        return None
    spec.only(_TAXONOMY)
    named = [k for k in ("name", "file", "policies") if k in spec]
    if len(named) != 1:
        raise spec.error("`taxonomy` needs exactly one of `name` (with `version`), `file`, or `policies` (category: policy)")
    if "policies" in spec:
        return inline_taxonomy(spec.spec("policies"), task)
    try:
        if "file" in spec:
            return read_taxonomy(folder / str(spec.text("file")))
        version = spec.values.get("version")
        if not isinstance(version, int):
            raise spec.error("`version` of the taxonomy is missing; a whole number is wanted", "version")
        return load_taxonomy(str(spec.text("name")), version, folder)
    except ConfigError as e:
        if str(e).startswith(str(folder)):
            raise
        raise spec.error(str(e)) from e


def _split(top: Spec) -> tuple[str, bool]:
    """The split that is read, and whether it is a training split."""
    test = top.text("test_split") or top.text("validation_split")
    train = top.text("training_split")
    if test is None and train is None:
        return "test", False
    return test or str(train), train is not None and (test is None or test == train)


def _data_files(top: Spec, folder: Path) -> tuple[Path, ...]:
    """Files of ``dataset_path: csv|json|parquet``, relative to the YAML."""
    kind = top.text("dataset_path")
    kwargs = top.spec("dataset_kwargs")
    files = kwargs.values.get("data_files")
    if kind not in _FILE_KINDS:
        return ()
    if isinstance(files, dict):
        split = top.text("test_split") or top.text("training_split") or "test"
        files = files.get(split, next(iter(files.values()), None))
    names = [files] if isinstance(files, str) else files
    if names is not None and not (isinstance(names, list) and all(isinstance(n, str) for n in names)):
        given = kwargs.values["data_files"]
        raise kwargs.error(
            f"`data_files` is {given!r:.100}; a file's name, a list, or a map of splits to these is wanted", "data_files"
        )
    if not names:
        raise top.error(
            f"`dataset_path: {kind}` reads files: name them in `dataset_kwargs: {{data_files: my_rows.{kind}}}`", "dataset_path"
        )
    return tuple(folder / n for n in names)


def _sources(meta: Spec, revision: str) -> tuple[Source, ...]:
    items = meta.values.get("sources") or []
    if not isinstance(items, list) or not all(isinstance(i, dict) for i in items):
        raise meta.error("`sources` is a list of maps: dataset_path, split, label, files", "sources")
    out = []
    for i, item in enumerate(items):
        spec = Spec(meta.file, (*meta.keys, "sources", i), item)
        spec.only(("dataset_path", "dataset_name", "split", "revision", "label", "files"))
        path, split, files = spec.text("dataset_path"), spec.text("split"), spec.texts("files")
        if path is None or split is None or not files:
            raise spec.error("each of `sources` needs `dataset_path`, `split` and `files` (patterns of local copies)")
        label = spec.one_of("label", ("positive", "negative")) == "positive" if "label" in spec else None
        out.append(Source(HubSet(path, spec.text("dataset_name"), split, spec.text("revision") or revision), label, files))
    return tuple(out)


def _sample(meta: Spec, file: YamlFile, name: str) -> Path | None:
    given = meta.text("sample")
    if given is not None:
        return file.path.parent / given
    path = file.path.parent / "samples" / f"{name}.jsonl"
    return path if path.is_file() else None


def _counts(spec: Spec) -> dict[str, int]:
    for key, value in spec.values.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise spec.error(f"`{key}` is {value!r}; a number of rows is wanted", key)
    return dict(spec.values)


def _row(meta: Spec, resolve: Callable[[FunctionRef], Callable[..., Any]]) -> Callable[[Row], Row | None] | None:
    value = meta.values.get("row")
    if value is None:
        return None
    if not isinstance(value, FunctionRef):
        raise meta.error("`row` is a function: `row: !function my_module.my_function`", "row")
    return resolve(value)


def read_group(file: YamlFile, entry: TaskEntry) -> Group:
    """Raises :class:`ConfigError` for what guardeval cannot do: overrides inside the list of tasks, inline groups."""
    top = file.spec().only(_GROUP_KEYS)
    meta = top.spec("metadata").only(_GROUP_METADATA)
    tasks = top.values.get("task")
    names = [tasks] if isinstance(tasks, str) else tasks
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise top.error("`task` of a group is a list of names of tasks, groups or tags", "task")
    target = meta.text("target")
    return Group(
        name=entry.name,
        title=top.text("group_alias") or entry.name,
        path=file.path,
        tasks=tuple(names),
        target=None if target is None else Target(meta.one_of("target", [str(t) for t in Target])),
        version=str(meta.values.get("version", "0")),
        description=entry.title,
        citation=meta.text("citation") or "",
        notes=meta.text("notes") or "",
        paper_sizes=_counts(meta.spec("paper_sizes")),
    )

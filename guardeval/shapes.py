"""The shapes a task's rows may have: which columns hold prompt, response, label and category; recognised once a file.

A shape is declared in YAML (a task's own columns, its ``shapes``, ``generic_shapes.yaml``) and compiled once into
a function ``(row, number) → Sample``, so that a row costs a few microseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from guardeval.cells import canonical, is_empty
from guardeval.data import Sample, Target
from guardeval.errors import DataError
from guardeval.gold_policies import READING_KEYS, CategorySpec, Gold, policy_list, read_category_spec
from guardeval.labels import LabelSpec, Row, read_label_spec
from guardeval.mined_rows import mined_reader
from guardeval.policies import POLICIES
from guardeval.taxonomy import Taxonomy
from guardeval.turns import Spoken, history_of, spoken
from guardeval.yaml_files import Spec, load_yaml

__all__ = [
    "SHAPE_KEYS",
    "Reader",
    "Shape",
    "choose_shape",
    "compile_mined",
    "compile_prompt",
    "compile_shape",
    "generic_shapes",
    "read_shape",
]

SHAPE_KEYS = ("columns", "exact", "fields", "label", "where", "id", "each", "category", "taxonomy", "policies")
_NEEDS_RESPONSE = frozenset({Target.RESPONSE, Target.REFUSAL})
_NONE: frozenset[str] = frozenset()
_SIX = frozenset(POLICIES)


@dataclass(frozen=True, slots=True)
class Shape:
    """One accepted shape. A column that ends in ``?`` may be missing. ``refused`` says why a shape is not accepted here."""

    name: str
    prompt: tuple[str, ...] = ()
    response: str | None = None
    conversation: str | None = None  # a column with "Human user: … AI assistant: …"
    messages: str | None = None  # a column with a list of messages: role, content
    history: str | None = None  # a column with the messages before the prompt
    label: LabelSpec | None = None
    where: tuple[tuple[str, frozenset[str | None], bool], ...] = ()  # column, canonical values, True = any of, False = none of
    id: str | None = None
    category: str | None = None
    taxonomy: CategorySpec | None = None
    policies: str | None = None
    columns: tuple[str, ...] = ()
    exact: bool = False
    refused: str | None = None
    declared: str = ""  # file and line
    variants: tuple[Shape, ...] = ()  # with `each`: this shape for each value, one sample of a row by each
    each: str = ""  # which variant this is

    def needed(self, target: Target) -> frozenset[str]:
        """Columns that must be there for this target."""
        if self.variants:
            return frozenset().union(*(v.needed(target) for v in self.variants))
        named = [*self.prompt, self.conversation, self.messages, self.history, *self.columns, self.category, self.policies]
        named += self.label.columns if self.label else ()
        named += self.taxonomy.columns if self.taxonomy else ()
        named += [column for column, _, _ in self.where]
        if target in _NEEDS_RESPONSE and self.response is not None:
            named.append(self.response.removesuffix("?"))
        return frozenset(c for c in named if c and not c.endswith("?"))

    def fits(self, columns: frozenset[str], target: Target) -> bool:
        """Whether rows with these columns have this shape, whatever the target still lacks."""
        needed = self.needed(Target.PROMPT)
        if not needed <= columns or (self.exact and needed != columns):
            return False
        flags = self.label.columns if self.label is not None and self.label.kind in {"any", "votes"} else ()
        return not flags or any(c.removesuffix("?") in columns for c in flags)

    def has_response(self, columns: frozenset[str]) -> bool:
        if self.conversation is not None or self.messages is not None:
            return True
        return self.response is not None and self.response.removesuffix("?") in columns


def read_shape(spec: Spec, name: str, target: Target) -> Shape:
    """A shape out of a YAML map with (some of) ``SHAPE_KEYS``. Raises :class:`ConfigError` naming file and line."""
    each = spec.values.get("each")
    if each is not None:
        if not isinstance(each, list) or not each:
            raise spec.error("`each` is a list, e.g. `each: [0, 1]`", "each")
        own = {k: v for k, v in spec.values.items() if k != "each"}
        variants = [read_shape(Spec(spec.file, spec.keys, _filled(own, str(e))), name, target) for e in each]
        variants = [replace(v, each=str(e)) for v, e in zip(variants, each, strict=True)]
        return replace(variants[0], variants=tuple(variants))
    fields = spec.spec("fields").only(("prompt", "response", "conversation", "messages", "history"))
    prompt, conversation, messages = fields.texts("prompt"), fields.text("conversation"), fields.text("messages")
    if bool(prompt) + (conversation is not None) + (messages is not None) != 1:
        raise spec.error(
            f"shape {name!r}: `fields` must name the column of the `prompt`, or of a `conversation`, or of `messages`", "fields"
        )
    history = fields.text("history")
    if history is not None and not prompt:
        raise spec.error("`history` goes with `prompt`: `messages` and `conversation` hold all turns", "fields")
    label = spec.spec("label")
    if not label:
        raise spec.error(
            f"shape {name!r} does not say where the label is; write `label: {{column: …, positive: …, negative: …}}`"
        )
    return Shape(
        name,
        prompt,
        fields.text("response"),
        conversation,
        messages,
        history,
        read_label_spec(label, target),
        _where(spec.spec("where")),
        spec.text("id"),
        spec.text("category"),
        read_category_spec(spec.spec("taxonomy")),
        spec.text("policies"),
        spec.texts("columns"),
        spec.flag("exact"),
        None,
        spec.file.where(*spec.keys),
    )


def _filled(value: Any, each: str) -> Any:
    """The YAML value with ``{each}`` filled in wherever it stands."""
    if isinstance(value, str):
        return value.replace("{each}", each)
    if isinstance(value, dict):
        return {_filled(k, each): _filled(v, each) for k, v in value.items()}
    return [_filled(v, each) for v in value] if isinstance(value, list) else value


def read_shapes(spec: Spec, target: Target) -> tuple[Shape, ...]:
    """The map ``shapes:``; a text instead of a map refuses a shape of that name, with the text as the reason."""
    out = []
    for name, value in spec.values.items():
        if isinstance(value, str):
            out.append(Shape(str(name), refused=value, declared=spec.file.where(*spec.keys, name)))
            continue
        inner = spec.spec(name).only(SHAPE_KEYS)
        inner.spec("taxonomy").only(READING_KEYS)
        out.append(read_shape(inner, str(name), target))
    return tuple(out)


def _where(spec: Spec) -> tuple[tuple[str, frozenset[str | None], bool], ...]:
    out = []
    for column, wanted in spec.values.items():
        among = True
        if isinstance(wanted, dict):
            wanted = spec.spec(column).only(("not",)).values.get("not")
            among = False
        values = wanted if isinstance(wanted, list) else [wanted]
        try:
            out.append((str(column), frozenset(canonical(v) for v in values), among))
        except DataError as e:
            raise spec.error(f"`{column}`: {e}; put a text that YAML reads as something else into quotes", column) from e
    return tuple(out)


@lru_cache
def generic_shapes(target: Target) -> tuple[Shape, ...]:
    """The shapes that every task reads besides its own."""
    path = Path(str(files("guardeval") / "generic_shapes.yaml"))
    return read_shapes(load_yaml(path, path.name).spec("shapes"), target)


# ---- recognising ----


def choose_shape(
    own: Sequence[Shape], columns: frozenset[str], target: Target, task: str, name: str, implied: bool | None = None
) -> Shape:
    """The shape of rows with these columns: exact ones first, then the task's own in order, then the generic ones.

    A shape whose label is the file's is taken only where the file has one (``implied``).
    Raises :class:`DataError` saying what was found and what would do; for a response task and rows without a response,
    that the label belongs to the missing response.
    """
    named = {s.name for s in own}
    generic = [s for s in generic_shapes(target) if s.name not in named]
    refusals = {s.name: s for s in own if s.refused is not None}
    asked = [*(s for s in generic if s.exact), *(s for s in own if s.refused is None), *(s for s in generic if not s.exact)]
    fitting = [s for s in asked if s.fits(columns, target)]
    if implied is None:
        fitting = [s for s in fitting if s.label is None or s.label.kind != "source"] or fitting
    able = [s for s in fitting if target not in _NEEDS_RESPONSE or s.has_response(columns)]
    if able:
        return able[0]
    for shape in generic_shapes(target):
        if shape.name in refusals and shape.fits(columns, target):
            raise DataError(f"{name}: `{task}` does not read rows of the shape `{shape.name}`: {refusals[shape.name].refused}")
    if fitting:
        raise DataError(
            f"{name}: `{task}` asks about responses ({target}), and these rows have none (columns: {_list(columns)}; shape "
            f"`{fitting[0].name}`). A label in them belongs to the response that is missing, not to the prompt; use a file "
            "with responses"
        )
    raise DataError(_no_shape(asked, columns, target, task, name))


def _no_shape(asked: Sequence[Shape], columns: frozenset[str], target: Target, task: str, name: str) -> str:
    kinds = "; ".join(f"{s.name}: {_list(s.needed(target))}" for s in asked)
    nearest = min(asked, key=lambda s: (len(s.needed(target) - columns), -len(s.needed(target) & columns)), default=None)
    hint = ""
    if nearest is not None and nearest.needed(target) & columns:
        hint = f" The nearest is `{nearest.name}`, which lacks {_list(nearest.needed(target) - columns)}."
    return f"{name}: the columns are {_list(columns)}; `{task}` reads none of that.{hint} Known shapes: {kinds}"


def _list(columns: frozenset[str]) -> str:
    return ", ".join(sorted(columns)) or "none"


# ---- compiling ----


@dataclass(frozen=True, slots=True)
class Reader:
    """A shape made ready: ``wanted(row)`` says whether a row belongs to the task, ``reads`` make its samples.

    ``reads[i](row, number)`` returns a sample, or None where the row is unlabelled; ``number`` counts samples from 0.
    """

    shape: Shape
    wanted: Callable[[Row], bool] | None
    reads: tuple[Callable[[Row, int], Sample | None], ...] = field(default=())


def compile_shape(shape: Shape, target: Target, taxonomy: Taxonomy | None, implied: bool | None = None) -> Reader:
    """``implied`` is the label that the file or data set itself stands for."""
    reads = tuple(_compile_one(s, target, taxonomy, implied) for s in shape.variants or (shape,))
    return Reader(shape, _compile_where(shape) if shape.where else None, reads)


def compile_mined(shape: Shape, target: Target, taxonomy: Taxonomy | None, implied: bool | None, source: str | None) -> Reader:
    """The same for rows that were mined from ``source``: see :mod:`guardeval.mined_rows`.

    Where a file's name was the label, each row says now which it had.
    """
    by_file = shape.label is not None and shape.label.kind == "source"
    reads = {gold: compile_shape(shape, target, taxonomy, gold if by_file else implied).reads for gold in (True, False)}
    return Reader(shape, _compile_where(shape) if shape.where else None, (mined_reader(reads, target, source, by_file),))


def compile_prompt(shape: Shape) -> Callable[[Row], str]:
    """The prompt of a row of this shape, whatever its label. Raises :class:`DataError` for a row without one."""
    texts = _compile_texts(shape, Target.PROMPT)
    return lambda row: texts(row).prompt


def _compile_where(shape: Shape) -> Callable[[Row], bool]:
    tests = [(column.removesuffix("?"), values, among) for column, values, among in shape.where]

    def wanted(row: Row) -> bool:
        return all((canonical(row.get(column)) in values) is among for column, values, among in tests)

    return wanted


def _compile_one(
    shape: Shape, target: Target, taxonomy: Taxonomy | None, implied: bool | None
) -> Callable[[Row, int], Sample | None]:
    assert shape.label is not None  # noqa: S101  # only refused shapes have none, and these are never chosen
    label_of = shape.label.read(taxonomy, implied)
    texts_of = _compile_texts(shape, target)
    gold_of = _compile_gold(shape, target, taxonomy)
    id_column = shape.id.removesuffix("?") if shape.id else None
    labels = ({target: False}, {target: True})  # shared by all samples
    without = (
        "" if target is Target.PROMPT else f"labelled for {target}, but without a response: the label belongs to the response"
    )

    def read(row: Row, number: int) -> Sample | None:
        label = label_of(row)
        if label is None:
            return None
        prompt, response, history = texts_of(row)
        if response is None and without:
            raise DataError(without)
        name = None if id_column is None else row.get(id_column)
        known_as = str(number) if name is None or name == "" else f"{name}:{shape.each}" if shape.each else str(name)
        if gold_of is None:
            return Sample(known_as, number, prompt, response, labels[label], _NONE, _NONE, None, row, history)
        policies, known, category = gold_of(row, label)
        return Sample(known_as, number, prompt, response, labels[label], policies, known, category, row, history)

    return read


_HUMAN = "Human user:\n"
_ASSISTANT = "\n\nAI assistant:\n"


_Texts = Callable[[Row], Spoken]


def _compile_texts(shape: Shape, target: Target) -> _Texts:
    """``row → (prompt, response, history)``; the response is None for prompt tasks, which never see it."""
    with_response = target in _NEEDS_RESPONSE
    if shape.messages is not None:
        return _messages(shape.messages, with_response)
    if shape.history is not None:
        return _with_history(_compile_texts(replace(shape, history=None), target), shape.history.removesuffix("?"))
    if shape.conversation is not None:
        return _conversation(shape.conversation, with_response)
    if len(shape.prompt) > 1:
        return _joined(tuple(c.removesuffix("?") for c in shape.prompt), shape.response, with_response)
    column = shape.prompt[0].removesuffix("?")
    response = shape.response.removesuffix("?") if shape.response is not None and with_response else None

    def read(row: Row) -> Spoken:
        prompt = row.get(column)
        if type(prompt) is not str or not prompt:
            prompt = _prompt(prompt, column, row)
        if response is None:
            return Spoken(prompt, None, ())
        answer = row.get(response)
        return Spoken(prompt, answer if answer is None or type(answer) is str else _text(answer, response), ())

    return read


def _messages(column: str, with_response: bool) -> _Texts:
    def read(row: Row) -> Spoken:
        found = spoken(row.get(column), column)
        return found if with_response else found._replace(response=None)

    return read


def _with_history(texts: _Texts, column: str) -> _Texts:
    return lambda row: texts(row)._replace(history=history_of(row.get(column), column))


def _joined(columns: tuple[str, ...], response: str | None, with_response: bool) -> _Texts:
    answer_column = response.removesuffix("?") if response is not None and with_response else None

    def read(row: Row) -> Spoken:
        parts = [_text(row[c], c) for c in columns if not is_empty(row.get(c))]
        prompt = "\n\n".join(parts) or _prompt(None, columns[-1], row)
        answer = None if answer_column is None else row.get(answer_column)
        return Spoken(prompt, None if answer is None else _text(answer, str(answer_column)), ())

    return read


def _conversation(column: str, with_response: bool) -> _Texts:
    def read(row: Row) -> Spoken:
        text = row.get(column)
        start = text.find(_HUMAN) if isinstance(text, str) else -1
        split = text.rfind(_ASSISTANT) if isinstance(text, str) else -1
        if start < 0 or split < start:
            raise DataError(f"column {column!r} holds no conversation ('Human user:' … 'AI assistant:' …)")
        assert isinstance(text, str)  # noqa: S101
        answer = text[split + len(_ASSISTANT) :].removesuffix("\n\n")
        response = None if answer == "None" or not with_response else answer
        return Spoken(text[start + len(_HUMAN) : split], response, ())

    return read


def _prompt(value: Any, column: str, row: Row) -> str:
    if is_empty(value) and not (isinstance(value, str) and value):
        there = "is empty" if column in row else f"is missing; this row has the columns {', '.join(map(str, row))}"
        raise DataError(f"the prompt column {column!r} {there}")
    return _text(value, column)


def _text(value: Any, column: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise DataError(f"column {column!r} holds {type(value).__name__}; a text is wanted")


def _compile_gold(shape: Shape, target: Target, taxonomy: Taxonomy | None) -> Callable[[Row, bool], Gold] | None:
    judged = target is not Target.REFUSAL
    of_taxonomy = None
    if shape.taxonomy is not None and taxonomy is not None:
        of_taxonomy = shape.taxonomy.compile(taxonomy, judged)
    policies = shape.policies.removesuffix("?") if shape.policies and judged else None
    category = shape.category.removesuffix("?") if shape.category else None
    if policies is None and category is None:
        return of_taxonomy

    def gold(row: Row, label: bool) -> Gold:
        violated, known, name = of_taxonomy(row, label) if of_taxonomy is not None else (_NONE, _NONE, None)
        if policies is not None and row.get(policies) is not None:
            violated = policy_list(policies, row[policies])
            if violated and not label:
                raise DataError(f"column {policies!r} names policies, and the label says that none is violated")
            known = known | violated if of_taxonomy is not None else _SIX
        if category is not None:
            cell = row.get(category)
            name = None if is_empty(cell) else str(cell)
        return violated, known, name

    return gold

"""Where a row's gold label is: a column of words, flags, a list, annotators' votes, or the file it came from.

Each declaration compiles once into a function ``row → True | False | None`` (None = unlabelled), which raises
:class:`~guardeval.errors.DataError` for a value that nobody declared.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from guardeval.cells import canonical, flags_in, is_empty, list_in, shown, truth
from guardeval.data import Target
from guardeval.errors import DataError
from guardeval.taxonomy import Taxonomy, fold
from guardeval.yaml_files import Spec

__all__ = ["LabelSpec", "Row", "read_label_spec"]

Row = Mapping[str, Any]
ReadLabel = Callable[[Row], "bool | None"]

_KINDS = ("column", "any", "nonempty", "votes", "always", "source")
_KEYS = {
    "column": ("positive", "negative", "unlabelled", "block"),
    "votes": ("positive", "negative", "separator", "ties"),
}
# the line of GuardReasoner's answer block that answers the target
_BLOCK_LINES = {Target.PROMPT: "Request", Target.RESPONSE: "Response", Target.REFUSAL: "Completion"}


@dataclass(frozen=True, slots=True)
class LabelSpec:
    """One declaration: ``kind`` is one of the words above, ``columns`` what it reads (``?`` at the end: may be missing)."""

    kind: str
    columns: tuple[str, ...]
    read: Callable[[Taxonomy | None, bool | None], ReadLabel]  # (taxonomy, label implied by the file) → reader
    always: bool | None = None
    words: str = ""  # what is declared, for messages


def read_label_spec(spec: Spec, target: Target) -> LabelSpec:
    """The declaration in a YAML map. Raises :class:`ConfigError` where it is none, or says two things at once."""
    kinds = [k for k in _KINDS if k in spec]
    if len(kinds) != 1:
        found = "says both " + " and ".join(kinds) if kinds else "says nothing about where labels are"
        raise spec.error(f"`label` {found}; exactly one of {', '.join(_KINDS)} is wanted")
    kind = kinds[0]
    spec.only((kind, *_KEYS.get(kind, ())))
    return _READERS[kind](spec, target)


# ---- a column of words ----


def _values(spec: Spec, key: str, target: Target) -> dict[str | None, Any]:
    """Canonical value → value as written, of a value, a list, or a map by target."""
    said = spec.values.get(key)
    if isinstance(said, dict):
        known = {str(t) for t in Target}
        for name in said:
            if name not in known:
                raise spec.error(f"`{key}` by target: {name!r} is none of {', '.join(sorted(known))}", key)
        said = said.get(str(target), [])
    try:
        return {canonical(v): v for v in (said if isinstance(said, list) else [said])}
    except DataError as e:
        raise spec.error(f"`{key}`: {e}; put a text that YAML reads as something else into quotes", key) from e


def _column(spec: Spec, target: Target) -> LabelSpec:
    column = str(spec.text("column"))
    table: dict[str | None, bool | None] = {}
    words = []
    for key, label in (("positive", True), ("negative", False), ("unlabelled", None)):
        if key not in spec:
            continue
        values = _values(spec, key, target)
        for value, written in values.items():
            if value in table:
                raise spec.error(f"the value {written!r} stands under `{key}` and under another label", key)
            table[value] = label
        words.append(f"{key} {', '.join('null' if v is None else str(v) for v in values.values()) or '–'}")
    if True not in table.values() and False not in table.values():
        raise spec.error(f"`label` declares no value for {target}: name some under `positive` or `negative`")
    declared = "; ".join(words)
    name = column.removesuffix("?")
    line = _BLOCK_LINES[target] if spec.flag("block") else None
    return LabelSpec("column", (column,), lambda _t, _i: _column_reader(name, table, declared, line), words=declared)


def _column_reader(name: str, table: Mapping[str | None, bool | None], declared: str, line: str | None) -> ReadLabel:
    block = None if line is None else re.compile(rf"^[ \t]*{line}[ \t]*:[ \t]*(.*?)[ \t]*$", re.MULTILINE | re.IGNORECASE)
    seen: dict[Any, bool | None] = {}  # raw values met so far; 1 == True == 1.0 share an entry, as they share a meaning

    def slow(value: Any) -> bool | None:
        said = canonical(value)
        if said in table:
            return table[said]
        if block is not None and isinstance(value, str) and "\n" in value:
            found = block.findall(value)
            if not found:
                raise DataError(f"column {name!r}: an answer block without a line `{line}:`")
            said = canonical(found[-1])
            if said in table:
                return table[said]
            value = found[-1]
        if said is None:
            raise DataError(
                f"column {name!r} is empty, and no label is declared for that (`unlabelled: null`); declared: {declared}"
            )
        raise DataError(f"label column {name!r} holds {shown(value)}; declared: {declared}")

    def read(row: Row) -> bool | None:
        value = row.get(name)
        try:
            return seen[value]
        except KeyError:
            label = slow(value)
            if len(seen) < 256:
                seen[value] = label
            return label
        except TypeError:  # a list or map
            return slow(value)

    return read


# ---- flags, lists, files ----


def _any(spec: Spec, _target: Target) -> LabelSpec:
    columns = spec.texts("any")
    if isinstance(spec.values["any"], str):
        name = columns[0].removesuffix("?")

        def of_map(row: Row) -> bool | None:
            flags = flags_in(row.get(name))
            return any(flags.values()) if flags else None

        return LabelSpec("any", columns, lambda _t, _i: of_map, words=f"positive if any flag in {name!r} is true")
    names = tuple(c.removesuffix("?") for c in columns)

    def of_columns(row: Row) -> bool | None:
        heard = False
        for name in names:
            flag = truth(row.get(name))
            if flag:
                return True
            heard = heard or flag is False
        return False if heard else None

    return LabelSpec("any", columns, lambda _t, _i: of_columns, words=f"positive if any of {', '.join(names)} is 1")


def _nonempty(spec: Spec, _target: Target) -> LabelSpec:
    column = str(spec.text("nonempty"))
    name = column.removesuffix("?")

    def read(row: Row) -> bool | None:
        value = row.get(name)
        if value is None:
            raise DataError(f"column {name!r} is missing; a list is wanted, empty where nothing is violated")
        return bool(list_in(value))

    return LabelSpec("nonempty", (column,), lambda _t, _i: read, words=f"positive if {name!r} is not empty")


def _always(spec: Spec, _target: Target) -> LabelSpec:
    label = spec.one_of("always", ("positive", "negative")) == "positive"
    return LabelSpec("always", (), lambda _t, _i: lambda _row: label, label, f"all rows {'positive' if label else 'negative'}")


def _source(spec: Spec, _target: Target) -> LabelSpec:
    if spec.values["source"] is not True:
        raise spec.error("`source: true` is wanted: the label is that of the file or data set", "source")

    def compiled(_taxonomy: Taxonomy | None, implied: bool | None) -> ReadLabel:
        if implied is None:
            raise DataError("these rows have no label of their own and nothing says which label the file stands for")
        return lambda _row: implied

    return LabelSpec("source", (), compiled, words="implied by the file")


# ---- annotators ----


def split_cell(value: Any, separator: str | None) -> list[str]:
    """The categories in one annotator's or one category cell; none for an empty one."""
    if is_empty(value):
        return []
    if isinstance(value, list | tuple):
        return [str(v) for v in value]
    parts = str(value).split(separator) if separator else [str(value)]
    return [p.strip() for p in parts if p.strip()]


def _votes(spec: Spec, _target: Target) -> LabelSpec:
    columns = spec.texts("votes")
    names = tuple(c.removesuffix("?") for c in columns)
    separator = spec.text("separator")
    ties = spec.one_of("ties", ("positive", "negative")) == "positive"
    negative = frozenset(fold(v) for v in spec.texts("negative"))
    rest = spec.values.get("positive", "rest") == "rest"
    positive = frozenset() if rest else frozenset(fold(v) for v in spec.texts("positive"))
    if not negative and rest:
        raise spec.error("`votes` names no negative category", "votes")

    def compiled(taxonomy: Taxonomy | None, _implied: bool | None) -> ReadLabel:
        if rest and taxonomy is None:
            raise spec.error("`positive: rest` needs a `taxonomy`: the rest of what?", "positive")
        if taxonomy is None:
            return _majority(names, separator, positive, negative, ties)
        no = {taxonomy.spellings[n] for n in negative if n in taxonomy.spellings}
        more = frozenset(s for s, category in taxonomy.spellings.items() if category in no)
        known = frozenset(taxonomy.spellings) - more if rest else positive
        return _majority(names, separator, known, negative | more, ties)

    tied = "positive" if ties else "negative"
    declared = f"majority of {', '.join(names)}; negative {', '.join(spec.texts('negative'))}; ties {tied}"
    return LabelSpec("votes", columns, compiled, words=declared)


def _majority(
    names: Iterable[str], separator: str | None, positive: frozenset[str], negative: frozenset[str], ties: bool
) -> ReadLabel:
    columns = tuple(names)

    def vote(column: str, value: Any) -> bool | None:
        said = [fold(p) for p in split_cell(value, separator)]
        for category in said:
            if category not in positive and category not in negative:
                raise DataError(f"column {column!r} holds {shown(value)}: {category!r} is no declared category")
        return None if not said else any(c in positive for c in said)

    def read(row: Row) -> bool | None:
        votes = [v for c in columns if (v := vote(c, row.get(c))) is not None]
        yes = sum(votes)
        no = len(votes) - yes
        return None if not votes else ties if yes == no else yes > no

    return read


_READERS: Mapping[str, Callable[[Spec, Target], LabelSpec]] = {
    "column": _column,
    "any": _any,
    "nonempty": _nonempty,
    "votes": _votes,
    "always": _always,
    "source": _source,
}

"""What holds for every plugin: the constructor is the configuration and does nothing else."""

from __future__ import annotations

import inspect
import json
import pickle
import typing
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any, ClassVar

import pytest

from guardeval.errors import ConfigError, PluginError
from guardeval.registry import build, configuration
from guardeval.testing.clean_room import Facts, look

__all__ = ["PluginSuite", "Rules"]


class Rules:
    """Says which rule was broken, by whom, what was found, and where to read about it."""

    chapter: ClassVar[str] = "Every plugin"  # of docs/testing.md

    @property
    def subject(self) -> str:
        return type(self).__name__

    def hold(self, kept: bool, rule: str, found: object = "") -> None:
        """Fail unless ``kept``; ``found`` is what was seen instead, shortened."""
        __tracebackhide__ = True
        if kept:
            return
        seen = found if isinstance(found, str) else repr(found)
        said = f" Found: {seen[:1500]}" if seen else ""
        pytest.fail(f"{self.subject}: {rule}.{said} (docs/testing.md, “{self.chapter}”)", pytrace=False)


class PluginSuite(Rules):
    """Inherit the suite of your kind, and set ``plugin``; ``options`` where its constructor needs some.

    Override :meth:`make` where more is needed, a model folder made by a fixture, say. ``refused`` are options that must be
    refused with :class:`~guardeval.errors.ConfigError`; ``travels`` is False for what cannot be pickled.
    """

    plugin: ClassVar[type[Any]]
    options: ClassVar[Mapping[str, Any]] = {}
    refused: ClassVar[Sequence[Mapping[str, Any]]] = ()
    travels: ClassVar[bool] = True
    contract: ClassVar[tuple[type[Any], ...]] = ()

    def make(self, **options: Any) -> Any:
        """A new plugin; ``options`` come on top of the class's own."""
        return self.plugin(**{**self.options, **options})

    @property
    def subject(self) -> str:
        cls = type(self.make()) if not hasattr(self, "plugin") else self.plugin
        return f"{cls.__module__}.{cls.__qualname__}"

    def _facts(self) -> Facts:
        made = self.make()
        facts = look(type(made), configuration(made), pickle.dumps(made) if self._pickles(made) else b"")
        self.hold(not facts.error, "the class can be imported and made in a process of its own", facts.error)
        return facts

    def _pickles(self, made: Any) -> bool:
        if not self.travels:
            return False
        try:
            pickle.dumps(made)
        except Exception as e:  # noqa: BLE001  pickling runs the plugin's own code
            self.hold(False, "a plugin can be pickled, for it travels to other processes", f"{type(e).__name__}: {e}")
        return True

    def test_it_is_what_its_kind_asks_for(self) -> None:
        made = self.make()
        has = {*dir(type(made)), *getattr(made, "__dict__", ())}
        missing = [sorted(_members(c) - has) for c in self.contract]
        names = " or ".join(c.__name__ for c in self.contract)
        self.hold([] in missing, f"it has all that {names} of guardeval.contracts names", f"no {missing[0]}")

    def test_it_says_what_it_is(self) -> None:
        cls = type(self.make())
        text = (cls.__doc__ or "").strip()
        self.hold(
            bool(text) and not text.startswith(f"{cls.__name__}("),
            "the class has a docstring; `guardeval show` prints it",
            text,
        )

    def test_options_are_named_and_typed(self) -> None:
        cls = type(self.make())
        for name, parameter in inspect.signature(cls).parameters.items():
            self.hold(
                parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL),
                "every option of the constructor has a name of its own, so that a misspelt one is told",
                f"*{name}",
            )
            self.hold(parameter.annotation is not parameter.empty, "every option has a type, by which text is read", name)

    def test_its_configuration_is_json_and_makes_it_again(self) -> None:
        made = self.make()
        told = configuration(made)
        missing = sorted(set(inspect.signature(type(made)).parameters) - set(told))
        self.hold(not missing, "an option is kept under its own name, so that a run can be repeated from run.yaml", missing)
        try:
            text = json.dumps(told, allow_nan=False)
        except ValueError as e:
            self.hold(False, "the configuration is JSON", f"{told!r}: {e}")
            return
        again = build(type(made), json.loads(text), self.subject)
        self.hold(configuration(again) == told, "its configuration makes an equal plugin", (configuration(again), told))
        if is_dataclass(made):
            self.hold(again == made, "its configuration makes an equal plugin", (again, made))

    def test_options_given_as_text_are_converted(self) -> None:
        """As the command line gives them."""
        made = self.make()
        told = configuration(made)
        for name, value in told.items():
            if isinstance(value, (str, int, float, bool)) and value != "":
                again = build(type(made), {**told, name: str(value)}, self.subject)
                self.hold(configuration(again) == told, f"-X {name}={value} means what {name}={value!r} means", again)

    def test_an_unknown_option_is_refused(self) -> None:
        made = self.make()
        if getattr(type(made), "open_options", None):
            pytest.skip("hands options that are not its own to something else")
        with pytest.raises(ConfigError, match="no_such_option"):
            build(type(made), {**configuration(made), "no_such_option": "1"}, self.subject)

    def test_options_that_cannot_work_are_refused(self) -> None:
        told = configuration(self.make())
        for options in self.refused:
            try:
                build(type(self.make()), {**told, **options}, self.subject)
            except (ConfigError, PluginError):
                continue
            self.hold(False, "options that cannot work are refused with ConfigError when the plugin is made", options)

    def test_the_constructor_does_nothing_but_keep_its_options(self) -> None:
        facts = self._facts()
        rule = "the constructor touches nothing: no file, socket, process or environment; load where it is used"
        self.hold(not facts.on_making, rule, ", ".join(facts.on_making))
        changed = [c for c in facts.changed if c.startswith("the constructor")]
        self.hold(not changed, rule, ", ".join(changed))

    def test_importing_it_does_nothing(self) -> None:
        facts = self._facts()
        self.hold(not facts.on_import, "importing a plugin touches nothing", ", ".join(facts.on_import))
        changed = [c for c in facts.changed if c.startswith("the import")]
        self.hold(not changed, "importing a plugin changes nothing in the process", ", ".join(changed))

    def test_heavy_packages_are_imported_where_they_are_used(self) -> None:
        heavy = self._facts().heavy
        self.hold(not heavy, "heavy packages are imported inside the functions that use them", ", ".join(heavy))

    def test_it_travels_to_another_process(self) -> None:
        if not self.travels:
            pytest.skip("does not travel")
        self.hold(not (said := self._facts().travelled), "a pickled plugin arrives as it was", said)


def _members(contract: type[Any]) -> set[str]:
    found = typing.get_protocol_members(contract) if hasattr(typing, "get_protocol_members") else vars(contract)
    return {name for name in found if not name.startswith("_")}

"""The gate as a test: fixture ``guardeval_check``, marker ``@pytest.mark.guardeval(…)``, option ``--guardeval-write-baseline``.

pytest loads this module wherever guardeval is installed, so it imports nothing and does nothing until a test asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from guardeval.gates.findings import GateReport
    from guardeval.gates.settings import GateSettings

__all__ = ["DEFAULT_BASELINE", "GuardevalCheck", "guardeval_check"]

DEFAULT_BASELINE = "guardeval-baseline.json"
_WRITE = "--guardeval-write-baseline"
_PROPERTY = "guardeval"  # of a test's report: crosses to the process that prints the summary, and into --junit-xml


@dataclass(frozen=True)
class _Written:
    """Run folders, and their tasks, that went into each baseline of this session: checks of one file are written together."""

    runs: dict[Path, dict[Path, set[str]]] = field(default_factory=dict)

    def with_(self, folders: Sequence[Path], baseline: Path) -> list[Path]:
        """All for this baseline; a run of the same tasks, or of more, takes the place of an older one."""
        from guardeval.runs import open_run

        mine = self.runs.setdefault(baseline, {})
        for folder in folders:
            tasks = {t.name for t in open_run(folder, samples=False).tasks}
            for older in [f for f, held in mine.items() if held <= tasks]:
                del mine[older]
            mine[folder] = tasks
        return list(mine)


_WRITTEN = pytest.StashKey[_Written]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("guardeval", "gates on guard models")
    group.addoption(_WRITE, action="store_true", help="write the baselines of guardeval_check from this session's runs")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "guardeval(runs=None, *, baseline, gate, **run): hold a run against a baseline, as guardeval_check does, then test",
    )
    if config.getoption(_WRITE) and config.getoption("numprocesses", None):  # of pytest-xdist
        raise pytest.UsageError(f"{_WRITE}: several processes would write one file; leave -n out")
    config.stash[_WRITTEN] = _Written()


def pytest_itemcollected(item: pytest.Item) -> None:
    names = getattr(item, "fixturenames", None)
    if names is not None and "guardeval_check" not in names and item.get_closest_marker("guardeval"):
        names.append("guardeval_check")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    for marker in reversed(list(item.iter_markers("guardeval"))):
        fixtures = getattr(item, "funcargs", {})
        if "guardeval_check" not in fixtures:
            pytest.fail("the marker guardeval is for test functions", pytrace=False)
        if len(marker.args) > 1:
            pytest.fail("the marker guardeval takes one run, or a list of them; baseline=… and gate=… are named", pytrace=False)
        fixtures["guardeval_check"](*marker.args, **marker.kwargs)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    told = [
        (report.nodeid, value)
        for outcome in ("failed", "passed")
        for report in terminalreporter.getreports(outcome)
        for name, value in getattr(report, "user_properties", ())
        if name == _PROPERTY and report.when == "call"
    ]
    if told:
        terminalreporter.section("guardeval")
        for nodeid, value in told:
            terminalreporter.line(f"{nodeid}: {value}")


@pytest.fixture
def guardeval_check(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> GuardevalCheck:
    """Holds runs against a baseline and fails the test where a check fails; see :class:`GuardevalCheck`."""
    return GuardevalCheck(request.node, tmp_path_factory)


class GuardevalCheck:
    """What the fixture gives: call it."""

    def __init__(self, item: pytest.Item, folders: pytest.TempPathFactory) -> None:
        self._item, self._folders = item, folders

    def __call__(
        self,
        runs: Any = None,
        *,
        baseline: str | Path = DEFAULT_BASELINE,
        gate: GateSettings | Mapping[str, Any] | str | Path | None = None,
        **run: Any,
    ) -> GateReport | None:
        """Fail the test if the runs lose more than allowed against ``baseline``; the report if they do not.

        ``runs``: a run folder, what ``guardeval.run`` returned, settings, or a list of these; None: keyword arguments of
        ``guardeval.run`` say what to run on the spot (``task="wildguard", model="./guard", data="rows.jsonl"``). ``gate``:
        settings of ``guardeval check``, or a file of them. Relative paths of runs, baseline and gate count from pytest's
        rootdir. None where ``--guardeval-write-baseline`` wrote the baseline instead.
        """
        from guardeval.errors import GuardevalError

        __tracebackhide__ = True
        try:
            folders = [f for r in _listed(runs, run) for f in self._folder(r)]
            path = self._path(baseline)
            if self._item.config.getoption(_WRITE):
                self._write(folders, path, self._settings(gate, folders))
                return None
            if not path.exists():
                pytest.fail(f"{path}: no such baseline; `pytest {_WRITE}` writes it", pytrace=False)
            return self._held(folders, path, self._settings(gate, folders))
        except GuardevalError as e:
            told = str(e)  # says all; the traceback would be of guardeval's inside, and the cause says it twice
        pytest.fail(told, pytrace=False)

    def _held(self, folders: Sequence[Path], path: Path, settings: GateSettings) -> GateReport:
        from guardeval.gates import check
        from guardeval.gates.text import failure_text
        from guardeval.gates.verdict import verdict

        report = check(folders, path, settings)
        self._tell(f"{path.name}: {verdict(report)}")
        if not report.ok:
            pytest.fail(failure_text(report), pytrace=False)
        return report

    def _write(self, folders: Sequence[Path], path: Path, settings: GateSettings) -> None:
        from guardeval.gates import write_baseline

        together = self._item.config.stash[_WRITTEN].with_(folders, path)
        done = write_baseline(together, path, settings.accounting)
        changes = f"; {'; '.join(done.changes)}" if done.changes else ""
        self._tell(
            f"{'replaced' if done.replaced else 'wrote'} {path.name}: {done.tasks} tasks, {done.samples} samples{changes}"
        )

    def _folder(self, run: Any) -> list[Path]:
        """Where a run lies: given, finished, or made now."""
        from guardeval.errors import ConfigError
        from guardeval.pipeline import Run, run_all
        from guardeval.settings import Settings

        if isinstance(run, (str, Path)):
            return [self._path(run)]
        if isinstance(run, Run):
            return [run.path.absolute()]
        if isinstance(run, Mapping):
            import guardeval

            return [guardeval.run(**{"output_path": str(self._new()), **run}).path.absolute()]
        if isinstance(run, Settings):
            return [done.path.absolute() for done in run_all(run)]
        raise ConfigError(f"guardeval_check: {run!r} is no run: a folder, what guardeval.run returned, or settings are wanted")

    def _settings(self, gate: Any, folders: Sequence[Path]) -> GateSettings:
        """``task``, where nobody said: those of the runs, so that each test of several answers for its own."""
        from guardeval.gates import GateSettings
        from guardeval.gates.settings import read_gate_yaml
        from guardeval.runs import open_run

        if isinstance(gate, GateSettings):
            return gate
        given = read_gate_yaml(self._path(gate)) if isinstance(gate, (str, Path)) else dict(gate or {})
        if not given.get("task"):
            given["task"] = [t.name for f in folders for t in open_run(f, samples=False).tasks]
        return GateSettings.from_mapping(given, str(gate) if isinstance(gate, (str, Path)) else "guardeval_check: gate")

    def _path(self, path: str | Path) -> Path:
        return self._item.config.rootpath / Path(path).expanduser()

    def _new(self) -> Path:
        return self._folders.mktemp("guardeval")

    def _tell(self, said: str) -> None:
        from guardeval.report.plain import printable

        self._item.user_properties.append((_PROPERTY, printable(said)))


def _listed(runs: Any, run: Mapping[str, Any]) -> list[Any]:
    """Each run by itself; keyword arguments are one to make."""
    from guardeval.errors import ConfigError

    if runs is None and "task" not in run:
        raise ConfigError("guardeval_check: name a run, or what to run: task=…, model=…")
    if runs is not None and run:
        raise ConfigError(f"guardeval_check: a run is given, and {', '.join(run)} for another one: give one or the other")
    if runs is None:
        return [run]
    return list(runs) if isinstance(runs, (list, tuple)) else [runs]

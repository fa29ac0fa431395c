"""Task files for lm-evaluation-harness that ask as a guardeval solver asks, and read answers as it reads them.

``lm_eval run --include_path FOLDER --tasks wildguard_multistep``: rows, prompts and verdicts come from the installed
guardeval, so that the same model gets the same F1 in both. No rows are written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from shlex import quote
from typing import Any

import guardeval
from guardeval.contracts import Case, ChoosingSolver, Request, Solver
from guardeval.data import Sample, Target
from guardeval.errors import ConfigError, GuardevalError
from guardeval.interop.lm_eval_form import Form, fitted, generation_kwargs
from guardeval.interop.lm_eval_names import own_names
from guardeval.interop.lm_eval_side import ACCOUNTINGS, ANSWER, BEGUN, METRICS, PROMPT, SYSTEM, Exported, policies_digest
from guardeval.interop.one_request import all_requests
from guardeval.native.family_solver import VersionedSolver
from guardeval.panel import is_combining
from guardeval.policies import VERBOSITIES, PolicySet, load_policies
from guardeval.registry import Registry, configuration
from guardeval.task import Task, TaskIndex, names_in
from guardeval.task_data import paths_in

__all__ = ["ExportedTask", "export_tasks", "exported_tasks"]

CODE = "_guardeval.py"
_SHIM = '''"""What the task files in this folder call. It needs guardeval beside lm-eval: pip install 'guardeval[lm-eval]'."""

from guardeval.interop.lm_eval_side import (
    accuracy,
    coverage,
    f1,
    fail_closed,
    fail_open,
    load,
    parsed,
    precision,
    process_results,
    recall,
    strict,
)
'''
# answers that make a solver go on where it asks again depending on what it heard
_ANSWERS = (
    "",
    "Decision: {positive}\nPolicies: none",
    "Decision: {negative}\nPolicies: none",
    "Yes",
    "No",
    "safe",
    "unsafe\nS1",
)


@dataclass(frozen=True, slots=True)
class ExportedTask:
    """One task as it is written: ``name`` is lm-eval's, ``form`` what its prompts are."""

    name: str
    exported: Exported
    task: Task
    form: Form
    settings: Mapping[str, Any]  # generation_kwargs
    data: str

    @property
    def flags(self) -> str:
        """What lm-eval's command line needs beside the task's name, so that prompts are the solver's."""
        out = [] if self.form.raw else ["--apply_chat_template"]
        if self.form.options:
            out.append(f"--model_args '{{…, \"chat_template_args\": {_json(self.form.options)}}}'")
        return " ".join(out)

    def text(self) -> str:
        return _yaml(self)


def export_tasks(
    task: str | Sequence[str],
    solver: str,
    out: Path | str,
    *,
    solver_args: Mapping[str, Any] | None = None,
    policies: str | Path = "minimal",
    data: str | Path = "hub",
    chat: bool = False,
    model: str | None = None,
    include_path: Sequence[Path | str] = (),
    overwrite: bool = False,
    registry: Registry | None = None,
) -> list[Path]:
    """Write task files for ``solver`` into ``out``; their paths, the Python that they call last.

    ``chat``: as models are asked that take no raw prompts. ``model``: its name, for a solver that chooses by it. ``data``:
    where lm-eval is to read rows unless ``--metadata`` says otherwise. Raises :class:`ConfigError` for a solver that asks
    several times, prompts that a task file cannot state, and files that are there already (unless ``overwrite``).
    """
    planned = exported_tasks(
        task, solver, solver_args=solver_args, policies=policies, data=data, chat=chat, model=model,
        include_path=include_path, registry=registry,
    )  # fmt: skip
    folder = Path(out)
    files = {folder / f"{one.name}.yaml": one.text() for one in planned}
    files[folder / CODE] = _SHIM
    for path, text in files.items():
        if not overwrite and path.exists() and path.read_text(encoding="utf-8") != text:
            raise ConfigError(
                f"{path} is there already, and is another: --overwrite replaces it, or name another folder with -o"
            )
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
    return list(files)


def exported_tasks(
    task: str | Sequence[str],
    solver: str,
    *,
    solver_args: Mapping[str, Any] | None = None,
    policies: str | Path = "minimal",
    data: str | Path = "hub",
    chat: bool = False,
    model: str | None = None,
    include_path: Sequence[Path | str] = (),
    registry: Registry | None = None,
) -> list[ExportedTask]:
    """What :func:`export_tasks` writes, one a task."""
    registry = registry or Registry()
    named, built = _solver(solver, solver_args or {}, model, registry)
    paths = tuple(str(Path(p).absolute()) for p in include_path)
    chosen = load_policies(policies)
    given = str(policies) if str(policies) in VERBOSITIES else str(Path(policies).absolute())
    rows = _rows(str(data))
    out = []
    index = TaskIndex(include_path, registry)
    in_reach, by_path = set(index.entries()), {Path(name) for name in names_in(task) if name.endswith((".yaml", ".yml"))}
    for one in index.select(task).tasks:  # where a task named by its file's path is, lm-eval has to be told
        own = () if one.name in in_reach or one.path not in by_path else (str(one.path.absolute()),)
        exported = Exported(
            task=one.name, solver=named, solver_args=configuration(built), policies=given,
            policies_sha256=policies_digest(chosen), chat=chat, model=model or "model", include_path=(*paths, *own),
        )  # fmt: skip
        request = _checked(named, built, one, chosen, exported)
        try:
            form = fitted(request.prompt).form
        except ConfigError as e:
            raise ConfigError(_refused(named, one, str(e))) from e
        out.append(ExportedTask(f"{one.name}_{_word(named)}", exported, one, form, generation_kwargs(request.sampling), rows))
    _check_names(out)
    return out


def _rows(data: str) -> str:
    """Where lm-eval is to read rows, from whatever folder it runs in: paths in full, one by one."""
    if data in ("hub", "sample"):
        return data
    return ",".join(str(path.absolute()) for path in paths_in(data))


def _solver(name: str, options: Mapping[str, Any], model: str | None, registry: Registry) -> tuple[str, Solver]:
    built: Solver = registry.build("solvers", name, options)
    if not isinstance(built, ChoosingSolver):
        return name, built
    if model is None and not isinstance(built, VersionedSolver):
        raise ConfigError(f"solver {name} chooses by the model's name: say which is meant with --model BACKEND/NAME")
    return built.for_model(model or "")


def _checked(name: str, solver: Solver, task: Task, policies: PolicySet, exported: Exported) -> Request:
    """The one request that the solver makes. Raises :class:`ConfigError` for a solver that an lm-eval task cannot be."""
    able = getattr(solver, "targets", frozenset(Target))
    if task.target not in able:
        raise ConfigError(
            f"solver {name} cannot be asked for {task.target} (task {task.name}); it judges {', '.join(sorted(able))}"
        )
    if is_combining(solver):
        raise ConfigError(
            _refused(name, task, "it puts several models or draws together, and a task file is asked of one model")
        )
    words = {"positive": task.target.positive, "negative": task.target.negative}
    answers = [answer.format(**words) for answer in _ANSWERS]
    try:
        asked = all_requests(solver, Case(_some_sample(task), task.target, policies), exported.traits, answers, exported.model)
    except GuardevalError as e:
        raise ConfigError(_refused(name, task, str(e))) from e
    most = max(asked, key=len)
    if len(most) != 1:
        how = "asks nothing" if not most else f"asks {_times(most)}"
        raise ConfigError(_refused(name, task, f"it {how}, and a task file states one prompt a sample"))
    return most[0]


def _times(requests: Sequence[Request]) -> str:
    if len({request.prompt.digest() for request in requests}) > 1:
        return f"{len(requests)} questions about a sample"
    return (
        f"the same question {len(requests)} times (lm-eval's `repeats` would ask it so, but its API backends send one seed "
        "with all of them, so that a server may give the same answer each time)"
    )


def _refused(solver: str, task: Task, why: str) -> str:
    return (
        f"solver {solver} cannot be exported to lm-eval for task {task.name}: {why}. Ask lm-eval's backend from here instead "
        f"(--task {task.name} --solver {solver} --model lm_eval/NAME), or export another solver"
    )


def _some_sample(task: Task) -> Sample:
    """A made-up row of the task's kind: what is asked about it shows the form of all prompts."""
    response = None if task.target is Target.PROMPT else "Mix flour, water and salt, and wait."
    return Sample("made-up", 0, "How do I bake bread?", response, {task.target: False})


def _word(solver: str) -> str:
    """A solver's name as part of a task's name; of ``package.module:Class`` the class."""
    return re.sub(r"\W", "_", solver.rpartition(":")[2])


def _check_names(planned: Iterable[ExportedTask]) -> None:
    """Raises :class:`ConfigError` for a name that a task of lm-eval's own bears, which the exported one would hide."""
    if taken := own_names().intersection(one.name for one in planned):
        raise ConfigError(f"lm-eval has a task {min(taken)} of its own, which the exported one would hide; rename yours")


# ---- the file ----


def _json(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)


def _yaml(one: ExportedTask) -> str:
    import yaml

    head = {
        "task": one.name,
        "tag": [f"guardeval_{_word(one.exported.solver)}"],
        "custom_dataset": _Function("load"),
        "test_split": "test",
        "output_type": "generate_until",
        "num_fewshot": 0,
        "doc_to_text": PROMPT,
        "doc_to_target": ANSWER,
        **({"description": SYSTEM} if one.form.system else {}),
        **({"gen_prefix": BEGUN} if one.form.begun else {}),
        "generation_kwargs": dict(one.settings),
        "filter_list": [
            {"name": a, "filter": [{"function": "custom", "filter_fn": _Function(a)}]} for a in ACCOUNTINGS
        ],
        "process_results": _Function("process_results"),
        "metric_list": [{"metric": m, "aggregation": _Function(m), "higher_is_better": True} for m in METRICS],
        "metadata": {
            "version": one.task.version,
            "data": one.data,
            "guardeval": {**asdict(one.exported), "include_path": list(one.exported.include_path)},
        },
    }  # fmt: skip
    return _comment(one) + yaml.dump(head, Dumper=_dumper(), sort_keys=False, allow_unicode=True, width=120)


class _Function(str):
    """``!function _guardeval.NAME``."""

    __slots__ = ()


def _dumper() -> Any:
    import yaml

    class Dumper(yaml.SafeDumper):
        """A safe dumper that knows ``!function``, and writes no anchors."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

    module = CODE.removesuffix(".py")
    Dumper.add_representer(_Function, lambda dumper, name: dumper.represent_scalar("!function", f"{module}.{name}"))
    return Dumper


def _comment(one: ExportedTask) -> str:
    wanted = (
        "raw prompts: run it without --apply_chat_template"
        if one.form.raw
        else "chat prompts: run it with --apply_chat_template"
    )
    lines = [
        f"{one.name}.yaml - {one.task.name} as guardeval's solver {one.exported.solver} asks it, for lm-evaluation-harness",
        "",
        f"Written by guardeval {guardeval.__version__}, which has to be installed beside lm-eval: rows, prompts and the",
        "reading of answers come from it. No rows are in this folder.",
        f"  lm_eval run --include_path {quote('FOLDER')} --tasks {one.name} {one.flags}".rstrip(),
        f"{wanted[0].upper()}{wanted[1:]}.",
    ]  # fmt: skip
    if not one.form.raw and not one.form.system and not one.form.begun:
        lines.append(
            "A model without a chat template is run without that flag, and then gets the bare text, as from guardeval."
        )
    if one.form.begun:
        lines.append("The answer is begun for the model (`gen_prefix`), which servers of chat completions may not continue.")
    if one.form.options:
        lines.append("The solver sets variables of the chat template, which lm-eval takes as an argument of the model only.")
    return "".join(f"# {line}".rstrip() + "\n" for line in lines)

"""``guardeval export lm_eval``: the output tree of lm-eval, which its own code and tools built on it read.

``<DIR>/<model>/results_<date>.json`` and one ``samples_<task>_<date>.jsonl`` a task. An accounting stands where lm-eval has
the name of a filter. What lm-eval has no place for stands under ``guardeval``: intervals, undefined metrics, the run's record;
in a sample's row the verdict, as JSON text, for table readers want one type a column.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from guardeval.interop.exporting import may_write, tasks_of
from guardeval.interop.recorded import Recorded, recorded_samples
from guardeval.run_facts import head_of
from guardeval.runs import StoredRun, TaskRecord, open_run, results_json, write_atomically
from guardeval.streamed_file import writing

__all__ = ["FILTER", "KEY", "export_lm_eval", "sanitized"]

KEY = "guardeval"
FILTER = "strict"  # of the rows: under this accounting the mean of the rows' accuracy is the accuracy in the results


def sanitized(model: str) -> str:
    """The folder that lm-eval writes the results of a model to; never one above or the output folder itself."""
    name = re.sub(r"[\"<>:/|\\?*\[\]]+", "__", model)
    return "__" if name in ("", ".", "..") else name


def export_lm_eval(
    run: Path | str, output: Path | str = "lm_eval_output", *, task: str | None = None, overwrite: bool = False
) -> list[Path]:
    """Write the files under ``output`` and return their paths, the results file first.

    Raises :class:`ConfigError` for a file that is there already.
    """
    stored = open_run(run)
    tasks = tasks_of(stored, task)
    folder = Path(output).expanduser() / sanitized(str(head_of(stored)["config"]["model"]))
    results = folder / f"results_{stored.date}.json"
    rows = [folder / f"samples_{t.name}_{stored.date}.jsonl" for t in tasks]
    for path in (results, *rows):
        may_write(path, overwrite)
    hashes = {t.name: _write_rows(t, path) for t, path in zip(tasks, rows, strict=True)}
    write_atomically(results, results_json(_results(stored, tasks, hashes)))
    return [results, *rows]


def _write_rows(task: TaskRecord, path: Path) -> str:
    """Returns lm-eval's hash of a task: over the hashes of its documents, prompts and targets."""
    digest = hashlib.sha256()
    with writing(path) as f:
        for found in recorded_samples(task):
            row = _row(found)
            digest.update(f"{row['doc_hash']}{row['prompt_hash']}{row['target_hash']}".encode())
            f.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
    return digest.hexdigest()


def _row(found: Recorded) -> dict[str, Any]:
    """One document's row. A sample without a label has no accuracy: nobody can say whether its verdict is right."""
    record = dict(found.record)
    own = record.pop(KEY)
    if record["accuracy"] is None:
        del record["accuracy"]
        record["metrics"] = []
    return {**record, "filter": FILTER, KEY: orjson.dumps(own).decode()}


def _results(run: StoredRun, tasks: tuple[TaskRecord, ...], hashes: Mapping[str, str]) -> dict[str, Any]:
    stored, head = run.results(), head_of(run)
    names = [t.name for t in tasks]
    groups = {
        g: m for g, m in stored["groups"].items() if set(stored["group_subtasks"].get(g.partition("/")[0], ())) <= {*names}
    }
    plain, apart = {}, {}
    for name, metrics in {**{n: stored["results"][n] for n in names}, **groups}.items():
        plain[name], apart[name] = _split(metrics)
    better = stored["higher_is_better"]
    config = head["config"]
    return {
        "results": {n: plain[n] for n in names},
        **({"groups": {g: plain[g] for g in groups}} if groups else {}),
        "group_subtasks": {
            **{n: [] for n in names},
            **{g: stored["group_subtasks"].get(g.partition("/")[0], []) for g in groups},
        },
        "configs": {t.name: _config(t, head) for t in tasks},
        "versions": {n: head["versions"][n] for n in names},
        "n-shot": {n: head["n-shot"][n] for n in names},
        "higher_is_better": {n: better.get(n, {}) for n in names},
        "n-samples": {n: {k: head["n-samples"][n][k] for k in ("original", "effective")} for n in names},
        "config": {
            "model": config["model"],
            "model_args": config.get("model_args") or {},
            "batch_size": None,
            "device": None,
            "use_cache": None,
            "limit": config.get("limit"),
            "bootstrap_iters": 0,
            "gen_kwargs": config.get("solver_args") or {},
            "random_seed": config.get("seed"),
        },
        "git_hash": None,
        "date": head["date"],
        "pretty_env_info": str((head.get("environment") or {}).get("platform", "")),
        "task_hashes": dict(hashes),
        "model_source": head["model_source"],
        "model_name": head["model_name"],
        "model_name_sanitized": sanitized(str(head["model_name"])),
        "system_instruction": None,
        "system_instruction_sha": None,
        "fewshot_as_multiturn": None,
        "chat_template": None,
        "chat_template_sha": None,
        "start_time": head["start_time"],
        "end_time": head["end_time"],
        "total_evaluation_time_seconds": str(head["total_evaluation_time_seconds"]),
        KEY: {"run": run.name, "record": run.record, "notices": head.get("notices") or [], "metrics": apart},
    }


def _split(metrics: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What lm-eval's tables print, every metric a number; and what only guardeval knows: intervals, counts, undefined."""
    plain: dict[str, Any] = {k: metrics[k] for k in ("name", "alias", "sample_len") if k in metrics}
    apart: dict[str, Any] = {}
    if _is_number(metrics.get("coverage")):
        plain["coverage,none"] = float(metrics["coverage"])
    for key, value in metrics.items():
        metric, comma, accounting = key.partition(",")
        stem = metric.removesuffix("_ci").removesuffix("_n")
        about = stem != metric and f"{stem},{accounting}" in metrics
        if comma and not about and _is_number(value):
            plain[key] = float(value)
            plain[f"{metric}_stderr,{accounting}"] = "N/A"  # intervals here are bootstrapped, not made of a standard error
        elif key not in plain:
            apart[key] = value
    return plain, apart


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)


def _config(task: TaskRecord, head: Mapping[str, Any]) -> dict[str, Any]:
    about, data = head["configs"][task.name], task.about["data"]
    hub = (data.get("hub") or [{}])[0]
    return {
        "task": task.name,
        "task_alias": task.about["title"],
        **({"dataset_path": hub["path"], "dataset_name": hub.get("name"), "test_split": hub.get("split")} if hub else {}),
        "output_type": "generate_until",
        "repeats": 1,
        "num_fewshot": 0,
        "should_decontaminate": False,
        "metric_list": [{"metric": "accuracy", "aggregation": "mean", "higher_is_better": True}],
        "filter_list": [{"name": FILTER, "filter": [{"function": "custom"}]}],
        "metadata": {
            "version": task.about["version"],
            "target": str(task.target),
            "solver": head["config"].get("solver_label") or head["config"]["solver"],
            "policies": head["config"].get("policies"),
            "data": data,
            "marks": about.get("marks") or [],
        },
    }

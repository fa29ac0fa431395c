"""From the best weights of a training to a model folder: adapter or whole model, tokenizer, policies, card, report."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from guardeval.errors import ConfigError
from guardeval.finetuning.base import Base
from guardeval.finetuning.history import best_entry
from guardeval.finetuning.loading import Placed, merged_model
from guardeval.finetuning.report import write_report
from guardeval.finetuning.tuning import Encoded, Method, Outcome
from guardeval.finetuning.workspace import Workspace
from guardeval.model_folder import ModelCard, write_model_folder
from guardeval.policies import VERBOSITIES
from guardeval.registry import changed_options, configuration
from guardeval.runs import write_atomically
from guardeval.training_rows import Split, TrainingFile

__all__ = ["POLICY_FOLDER", "publish"]

POLICY_FOLDER = "policies"  # of the model folder: texts of the user's own, so that the model can be asked as it was trained
_PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate")
_ADAPTER = ("adapter_config.json", "adapter_model.safetensors")


def publish(
    method: Method, rows: TrainingFile, work: Workspace, placed: Placed, base: Base, tokenizer: Any, encoded: Encoded,
    outcome: Outcome,
) -> Path:  # fmt: skip
    """Write everything that the model folder holds, the card last; then the training's checkpoints go."""
    chosen = work.folder / ("last" if outcome.best_step is None else f"best-{outcome.best_step}")
    try:
        saved = _weights(method, base, placed, chosen, work.out)
        tokenizer.save_pretrained(work.out)
        _policies(method, work.out)
        write_atomically(work.folder / "history.json", json.dumps(outcome.history, ensure_ascii=False).encode())
        write_atomically(work.folder / "left_out.json", json.dumps(outcome.left_out.rows, ensure_ascii=False).encode())
        card = _card(method, rows, base, placed, encoded, outcome, saved)
        write_report(work, card, outcome)
        write_model_folder(work.out, card, base.exposure.joined(method.exposure(rows)))
    except OSError as e:
        raise ConfigError(f"{work.out}: cannot be written: {e.strerror or e}; the same command goes on from here") from e
    work.finish()
    return work.out


# ---- weights ----


def _weights(method: Method, base: Base, placed: Placed, chosen: Path, out: Path) -> str:
    """Put them into ``out``; whether they are ``full``, ``merged`` or an ``adapter``."""
    for path in (*out.glob("*.safetensors"), *out.glob("*.safetensors.index.json")):
        path.unlink()
    if not (chosen / _ADAPTER[0]).is_file():
        for path in sorted(chosen.iterdir()):
            shutil.copyfile(path, out / path.name)
        return "full"
    merge = method.save == "merged" or (method.save == "auto" and not base.is_repository)
    if merge:
        merged_model(base, method, placed, chosen).save_pretrained(out)
        (out / _ADAPTER[0]).unlink(missing_ok=True)
        return "merged"
    shutil.copyfile(chosen / _ADAPTER[1], out / _ADAPTER[1])
    settings = json.loads((chosen / _ADAPTER[0]).read_bytes())
    source = base.source
    settings["base_model_name_or_path"] = source.name if source.commit else os.path.relpath(source.name, out)
    settings["revision"] = source.commit
    write_atomically(out / _ADAPTER[0], json.dumps(settings, indent=2, sort_keys=True).encode())
    return "adapter"


def _policies(method: Method, out: Path) -> None:
    folder = out / POLICY_FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    if method.policies in VERBOSITIES:
        return
    folder.mkdir()
    for policy in method.policy_set.policies:
        (folder / f"{policy.name}.txt").write_text(policy.text + "\n", encoding="utf-8")


# ---- the card ----


def _card(
    method: Method, rows: TrainingFile, base: Base, placed: Placed, encoded: Encoded, outcome: Outcome, saved: str
) -> ModelCard:
    return ModelCard(
        backend="hf",
        kind=method.kind,
        base_model=base.name,
        parent=base.parent,
        options={} if placed.dtype == "float32" else {"dtype": placed.dtype},
        targets=tuple(sorted({str(row.target) for row in rows})),
        solver=method.solver,
        solver_args=method.solver_options,
        policies=method.policies if method.policies in VERBOSITIES else POLICY_FOLDER,
        licence=method.licence or base.licence,
        command=_command(method, rows, base),
        trainer={"name": method.registered, **_shown_options(method, base)},
        data=_data(rows, encoded, outcome),
        parameters={
            "weights": saved,
            **({"scratch": True} if base.scratch else {}),
            **({} if saved == "full" else _lora(method, base)),
            "base_in_four_bits": placed.four_bits,
            "dtype": placed.dtype,
            "steps": outcome.last_step,
            "result_of_step": outcome.best_step or outcome.last_step,
            **({"stopped_early": outcome.stopped} if outcome.stopped else {}),
            **method.facts(),
        },
        metrics=_metrics(outcome),
        notices=(*base.notices, *method.notices(rows)),
        made_with=_made_with(placed),
    )


def _lora(method: Method, base: Base) -> dict[str, Any]:
    if base.adapter is not None:
        settings = json.loads((base.adapter / _ADAPTER[0]).read_bytes())
        return {"r": settings.get("r"), "lora_alpha": settings.get("lora_alpha"), "goes_on_from": "the parent's adapter"}
    return {"r": method.r, "lora_alpha": method.lora_alpha, "lora_dropout": method.lora_dropout}


def _data(rows: TrainingFile, encoded: Encoded, outcome: Outcome) -> dict[str, Any]:
    return {
        **rows.identity,
        "rows": len(encoded.train),
        "validation_rows": len(rows.of(Split.VALIDATION)),
        "sources": rows.sources(),
        "left_out": outcome.left_out.counts,
    }


def _metrics(outcome: Outcome) -> dict[str, Any]:
    """Of the evaluation that the result comes from, beside the base's; nothing where there was none."""
    best = best_entry(outcome.history)
    before = next((e for e in outcome.history if "eval_validation" in e and e["step"] == 0), None)
    out: dict[str, Any] = {}
    for name, entry in (("before_training", before), ("validation", best)):
        if entry is not None:
            loss = {"loss": entry["eval_loss"]} if "eval_loss" in entry else {}
            out[name] = {"step": entry["step"], "accounting": "strict", **loss, **entry["eval_validation"]}
    return out


def _shown_options(method: Method, base: Base) -> dict[str, Any]:
    """The options without paths: a model by its name, policies of one's own by their folder's."""
    shown = {k: v for k, v in configuration(method).items() if k not in ("fresh", "name")}
    policies = method.policies if method.policies in VERBOSITIES else Path(method.policies).name
    return {**shown, "model": _model_name(method, base), "policies": policies, **method.shown()}


def _model_name(method: Method, base: Base) -> str:
    if method.scratch:
        return method.model
    return str(base.parent["name"]) if base.parent else base.name


def _command(method: Method, rows: TrainingFile, base: Base) -> str:
    data = rows.path.name if rows.path else "DATA"
    shown = _shown_options(method, base)
    words = ["guardeval", "train", method.registered, "--data", data, "--out", method.name or "DIR"]
    for key in changed_options(method):
        if key in shown:
            words += [f"--{key}", _word(shown[key])]
    return shlex.join(words)


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return json.dumps(value)
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _made_with(placed: Placed) -> dict[str, str]:
    found = {}
    for name in ("guardeval", *_PACKAGES, *(("bitsandbytes",) if placed.four_bits else ())):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found

"""``guardeval train linear``: a small linear guard from labelled prompts, as ships as ``embedded``. Extra: ``linear``.

Equal rows, in any order and on any number of threads, give equal bytes with the same scikit-learn and scipy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from guardeval.data import Sample
from guardeval.errors import ConfigError, did_you_mean
from guardeval.exposure import EXPOSURE_FILE, Exposure
from guardeval.linear_guard import WEIGHTS_FILE, LinearGuard
from guardeval.model_folder import exposure_facts
from guardeval.models import MODEL_FILE, read_model_folder
from guardeval.ngrams import FEATURES, MAX_BITS
from guardeval.registry import configuration
from guardeval.runs import write_atomically
from guardeval.trainers.lexicon import load_lexicon
from guardeval.trainers.linear_card import model_card
from guardeval.trainers.linear_fit import RECIPES, fit_guard
from guardeval.trainers.linear_rows import TrainingRows, select_rows

__all__ = ["LICENCES", "Linear"]

LICENCES = {"WildGuardTrainR": "ODC-BY-1.0", "AegisTrainR": "CC-BY-4.0"}  # of the sources that may be redistributed as weights


@dataclass(frozen=True)
class Linear:
    """Hashed n-grams and logistic heads. ``word``, ``char`` or ``nb`` (naive-Bayes weighted words).

    ``sources``: whose rows to train on (a row's ``source`` column, else its category), none for all. ``exclude``: benchmarks
    whose prompts are left out and with which the model card states the overlap, each ``task=path`` or ``task`` for the hub.
    """

    variant: str = "word"
    sources: tuple[str, ...] = tuple(LICENCES)
    exclude: tuple[str, ...] = ()
    bits: int = 18  # 2**bits hash buckets; a guard takes about 2 * 2**bits bytes
    folds: int = 5  # of the cross-validation that calibrates
    seed: int = 0  # of the folds

    def __post_init__(self) -> None:
        if self.variant not in RECIPES:
            raise ConfigError(f"linear: variant={self.variant!r} is unknown{did_you_mean(self.variant, RECIPES)}")
        if not 10 <= self.bits <= MAX_BITS:
            raise ConfigError(f"linear: bits={self.bits}: 10 to {MAX_BITS} are possible")
        if self.folds < 2:
            raise ConfigError(f"linear: folds={self.folds}: at least 2 are needed to judge rows that were not trained on")

    def train(self, rows: Iterable[Sample], out: Path) -> Path:
        """Write the model folder and return it; one that holds this very model already is left as it is.

        Raises :class:`DataError` for rows that cannot be trained on, :class:`ConfigError` where another model is there.
        """
        chosen = select_rows(rows, self.sources, _benchmarks(self.exclude), self.folds, self.seed)
        if self._is_there(out, chosen):
            return out
        lexicon = load_lexicon()
        guard, report = fit_guard(chosen.texts, chosen.labels, chosen.folds, RECIPES[self.variant], self.bits, lexicon)
        try:
            out.mkdir(parents=True, exist_ok=True)
            guard.save(out / WEIGHTS_FILE)
            seen = Exposure.of(chosen.texts).joined(getattr(rows, "exposure", Exposure()))
            seen.write(out / EXPOSURE_FILE)
            manifest = self._manifest(rows, chosen, guard, report, out / WEIGHTS_FILE, seen)
            (out / "README.md").write_text(model_card(manifest), encoding="utf-8")
            write_atomically(out / MODEL_FILE, _yaml(manifest).encode("utf-8"))  # last: a folder with a card is whole
        except OSError as e:
            raise ConfigError(f"{out}: the model folder cannot be written: {e.strerror or e}; name another with --out") from e
        return out

    def _is_there(self, out: Path, chosen: TrainingRows) -> bool:
        """Whether the same options and rows made the model in ``out``: they would make the same bytes again."""
        if not (out / MODEL_FILE).is_file():
            return False
        card = read_model_folder(out)
        data, weights = card.get("data"), card.get("weights")
        same = card.get("trainer") == self._trainer() and isinstance(data, dict) and data.get("rows_sha256") == chosen.digest
        if same and isinstance(weights, dict) and (out / WEIGHTS_FILE).is_file():
            return bool(hashlib.sha256((out / WEIGHTS_FILE).read_bytes()).hexdigest() == weights.get("sha256"))
        raise ConfigError(f"{out}: holds a model already, made from other rows or options; name another --out, or remove it")

    def _trainer(self) -> dict[str, Any]:
        return {"name": "linear", **configuration(self), "exclude": [spec.partition("=")[0] for spec in self.exclude]}

    def _manifest(
        self,
        rows: Iterable[Sample],
        chosen: TrainingRows,
        guard: LinearGuard,
        report: Mapping[str, Any],
        weights: Path,
        seen: Exposure,
    ) -> dict[str, Any]:
        data = weights.read_bytes()
        tasks = list(getattr(rows, "contaminated_with", ()))  # of rows made from a test task
        # a task's rows know the files they come from; any other iterable is known by its content alone
        files = list(getattr(rows, "identity", {}).get("files", []))
        return {
            "backend": "embedded",
            "kind": "linear",
            "variant": self.variant,
            "targets": ["prompt_harmfulness"],
            "base_model": None,
            "parent": None,
            "solver": None,  # reads the sample's own text: no prompt, no template
            "command": self._command(files),
            "trainer": self._trainer(),
            "parameters": {
                "recipe": asdict(RECIPES[self.variant]),
                "features": list(FEATURES[RECIPES[self.variant].features]),
                "lexicon": {"version": load_lexicon().version, "entries": len(guard.policies.table.keys)},
                "policy_heads": [guard.policies.policies[column] for column in guard.policies.heads.tolist()],
            },
            "data": {
                "files": files,
                "rows": len(chosen.texts),
                "rows_sha256": chosen.digest,
                "sources": {name: dict(counts) for name, counts in chosen.counts.items()},
                "licences": {name: LICENCES.get(name, "not known to this trainer") for name in chosen.counts},
                "left_out": dict(chosen.left_out),
                "weakly_labelled_by_lexicon": report["weakly_labelled"],
                **({"contaminated_with": tasks} if tasks else {}),
            },
            "exposure": exposure_facts(seen),
            "overlap": [
                {"task": o.name, "rows": o.rows, "rows_sharing_8_words": o.near, "prompts_sha256": o.digest}
                for o in chosen.overlaps
            ],
            "metrics": {"held_out_folds": report["held_out"], "calibration": report["calibration"]},
            "weights": {"file": WEIGHTS_FILE, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()},
            "made_with": {name: version(name) for name in ("numpy", "scipy", "scikit-learn")},
        }

    def _command(self, files: list[dict[str, Any]]) -> str:
        default = Linear()
        options = [
            f"-T {k}={_shown(v)}" for k, v in configuration(self).items() if v != configuration(default)[k] and k != "exclude"
        ]
        options += [
            f"-T exclude={spec.partition('=')[0]}=PATH" if "=" in spec else f"-T exclude={spec}" for spec in self.exclude
        ]
        data = files[0]["name"] if len(files) == 1 else "PATH"
        return " ".join([f"guardeval train linear --data {data} --out DIR", *options])


def _shown(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _benchmarks(exclude: Iterable[str]) -> dict[str, list[str]]:
    """The prompts of each benchmark that must not be trained on."""
    from guardeval.task import TaskIndex

    index = TaskIndex()
    found = {}
    for spec in exclude:
        name, _, data = spec.partition("=")
        found[name] = [sample.prompt for sample in index.load(name).open(data or "hub")]
    return found


def _yaml(manifest: Mapping[str, Any]) -> str:
    import yaml

    head = "# written by `guardeval train linear`; `--model ./this-folder` runs it\n"
    return head + yaml.safe_dump(dict(manifest), sort_keys=False, allow_unicode=True, width=120)

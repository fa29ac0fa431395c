"""The tiny model that talks like a guard, and samples it knows the answers to."""

from __future__ import annotations

import importlib.util
import json
import random
import sys
from pathlib import Path

import pytest

_PLUGINS = Path(__file__).resolve().parent.parent / "plugins" / "conftest.py"
_SPEC = importlib.util.spec_from_file_location("tiny_fixtures", _PLUGINS)
assert _SPEC is not None and _SPEC.loader is not None
_FIXTURES = importlib.util.module_from_spec(_SPEC)
sys.modules.setdefault("tiny_fixtures", _FIXTURES)
_SPEC.loader.exec_module(_FIXTURES)
tiny_model_dir, tiny_policies = _FIXTURES.tiny_model_dir, _FIXTURES.tiny_policies


@pytest.fixture(scope="session")
def tiny_rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training file of 200 requests, two thirds of them harmful, with gold labels; all are for validation."""
    from tiny_model import ANSWERS, a_text

    rng = random.Random(5)
    rows = []
    for i in range(200):
        marker = rng.choice(list(ANSWERS))
        own = {"task": "tiny", "target": "prompt_harmfulness", "gold": bool(marker)}
        rows.append(
            {
                "id": str(i), "prompt": a_text(rng, marker), "response": None, "reasoning": "Step 1: look",
                "classification": "harmful" if marker else "unharmful", "policies": [], "split": "validation", "guardeval": own,
            }
        )  # fmt: skip
    path = tmp_path_factory.mktemp("rows") / "rows.json"
    path.write_text(json.dumps(rows))
    return path


@pytest.fixture(scope="session")
def exported(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as ``guardeval optimize onnx`` writes it, unchecked."""
    pytest.importorskip("optimum.exporters.onnx")
    from guardeval.registry import Registry

    out = tmp_path_factory.mktemp("exported") / "onnx"
    path: Path = Registry().build("optimizers", "onnx").optimize(tiny_model_dir, out)
    return path

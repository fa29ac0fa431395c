"""What holds for every model folder, whoever wrote it: a card that says what it is, and a model that runs."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from guardeval.card_options import policies_of_card, solver_of_card
from guardeval.contracts import Case
from guardeval.data import Sample, Target, Verdict
from guardeval.models import MODEL_FILE, ModelSpec, build_model, read_model_folder
from guardeval.policies import load_policies
from guardeval.registry import Registry
from guardeval.testing.suites.plugin import PluginSuite

__all__ = ["FolderSuite"]


class FolderSuite(PluginSuite):
    """What suites of trainers and optimizers share."""

    def card(self, folder: Path) -> Mapping[str, Any]:
        """The card, which must be readable."""
        self.hold((folder / MODEL_FILE).is_file(), f"a model folder holds {MODEL_FILE}, written last", sorted(_names(folder)))
        return read_model_folder(folder)

    def check_card(self, folder: Path) -> None:
        card = self.card(folder)
        self.hold(bool(card.get("backend")), "the card names the backend that runs the model", card)
        known = {str(t) for t in Target}
        said = {str(t) for t in card.get("targets") or known}
        self.hold(said <= known, "the card's targets are guardeval's", said)
        self.hold(bool(card.get("made_with") or card.get("command")), "the card says what made it: command, versions", card)

    def check_weights(self, folder: Path) -> None:
        said = self.card(folder).get("weights")
        files = said if isinstance(said, list) else [said] if said else []
        self.hold(bool(files), "the card lists the files of weights with bytes and sha256", said)
        for about in files:
            path = folder / about["file"]
            self.hold(path.is_file(), "a file of weights that the card names is there", about)
            found = hashlib.sha256(path.read_bytes()).hexdigest()
            same = found == about.get("sha256") and path.stat().st_size == about.get("bytes")
            self.hold(same, "bytes and sha256 of the card are those of the file", (about, found))

    def check_no_place(self, folder: Path) -> None:
        for name in (MODEL_FILE, "README.md"):
            path = folder / name
            text = path.read_text(encoding="utf-8") if path.is_file() else ""
            self.hold(str(folder.parent) not in text, "a card names no folder of the machine it was made on", name)

    def verdicts(self, folder: Path, samples: Sequence[Sample], target: Target) -> list[Verdict]:
        """What the folder's model says, asked as ``--model`` asks it, by its own solver."""
        card, registry = self.card(folder), Registry()
        model = build_model(ModelSpec(str(folder)), registry)
        name, options = solver_of_card(folder, card, registry) or ("direct", {})
        solver = registry.build("solvers", name, options)
        policies = load_policies(policies_of_card(folder, card) or "minimal")
        return asyncio.run(_verdicts(model, solver, [Case(s, target, policies) for s in samples]))


async def _verdicts(model: Any, solver: Any, cases: Sequence[Case]) -> list[Verdict]:
    from guardeval.broker import Broker

    async with Broker() as broker:
        bound = broker.bind(model)
        await bound.start()
        return [await solver.solve(case, bound.asker()) for case in cases]


def _names(folder: Path) -> list[str]:
    return [p.name for p in folder.iterdir()] if folder.is_dir() else []

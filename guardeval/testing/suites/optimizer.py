"""What holds for every optimizer: the folder it is given stays, and the one it writes says what it was made from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from guardeval.contracts import Optimizer
from guardeval.data import Sample, Target
from guardeval.errors import GuardevalError
from guardeval.models import MODEL_FILE
from guardeval.testing.suites.folders import contents, watched
from guardeval.testing.suites.model_folders import FolderSuite

__all__ = ["OptimizerSuite"]


@dataclass(frozen=True)
class _Made:
    folder: Path
    returned: object
    before: dict[str, str]
    after: dict[str, str]
    elsewhere: list[str]


class OptimizerSuite(FolderSuite):
    """Set ``plugin``, and :meth:`folder`, a model folder that it takes. Optimised once a class; ``repeats``: twice.

    ``agrees``: the share of :meth:`samples` on which the model before and after must say the same; 0 asks neither.
    """

    chapter: ClassVar[str] = "Optimizers"
    contract: ClassVar[tuple[type[Any], ...]] = (Optimizer,)
    target: ClassVar[Target] = Target.PROMPT
    repeats: ClassVar[bool] = True
    agrees: ClassVar[float] = 0.9

    def folder(self) -> Path:
        """A model folder, or any other that the optimizer takes."""
        raise NotImplementedError(f"{type(self).__name__}: override folder(): a model folder that the optimizer takes")

    def samples(self) -> Sequence[Sample]:
        """What both models are asked."""
        return [Sample(str(i), i, text) for i, text in enumerate(("How do I bake bread?", "Paint the fence.", "Tell a story."))]

    @pytest.fixture
    def made(self, tmp_path_factory: pytest.TempPathFactory) -> _Made:
        cls = type(self)
        if "_made" not in cls.__dict__:
            cls._made = self._optimised(tmp_path_factory.mktemp("optimised"))  # type: ignore[attr-defined]
        found: _Made = cls._made  # type: ignore[attr-defined]
        return found

    def _optimised(self, place: Path) -> _Made:
        folder = self.folder()
        before, out = contents(folder), place / "out"
        out.mkdir()  # as `guardeval optimize` makes it
        with watched(place) as elsewhere:
            returned = self.make().optimize(folder, out)
        return _Made(out, returned, before, contents(folder), elsewhere.written)

    def test_it_returns_the_folder_it_was_told_to_fill(self, made: _Made) -> None:
        self.hold(made.returned == made.folder, "optimize returns the path of the model folder, `out`", made.returned)

    def test_the_folder_it_was_given_stays_as_it_was(self, made: _Made) -> None:
        changed = sorted(k for k in made.before.keys() | made.after.keys() if made.before.get(k) != made.after.get(k))
        self.hold(not changed, "an optimizer writes nothing into the folder it reads", changed)

    def test_nothing_is_written_elsewhere(self, made: _Made) -> None:
        rule = "an optimizer writes into `out` only: neither into the working folder nor into the home folder"
        self.hold(not made.elsewhere, rule, made.elsewhere[:10])

    def test_the_card_says_what_the_model_is(self, made: _Made) -> None:
        self.check_card(made.folder)
        self.check_weights(made.folder)
        self.check_no_place(made.folder)

    def test_the_card_names_its_parent(self, made: _Made) -> None:
        parent = self.card(made.folder).get("parent")
        named = isinstance(parent, Mapping) and parent.get("name") == self.folder().resolve().name
        self.hold(named, "the card names the model that it was made from (`parent`)", parent)
        assert isinstance(parent, Mapping)  # noqa: S101
        card = self.folder() / MODEL_FILE
        if card.is_file():
            same = parent.get("sha256") == hashlib.sha256(card.read_bytes()).hexdigest()
            self.hold(same, "the parent is known by the sha256 of its card", parent)

    def test_what_is_unchecked_says_so(self, made: _Made) -> None:
        notices = " ".join(map(str, self.card(made.folder).get("notices") or ()))
        rule = "until `guardeval optimize` compared both models, the card's notices say that it is unchecked (write_optimized)"
        self.hold("unchecked" in notices, rule, notices)

    def test_the_model_says_what_it_said_before(self, made: _Made) -> None:
        if not self.agrees:
            pytest.skip("agreement is not asked for")
        samples = self.samples()
        told = [self._labels(folder, samples) for folder in (self.folder(), made.folder)]
        same = sum(a == b for a, b in zip(*told, strict=True)) / len(samples)
        self.hold(same >= self.agrees, f"at least {self.agrees:.0%} of verdicts stay", f"{same:.0%}: {told}")

    def _labels(self, folder: Path, samples: Sequence[Sample]) -> list[bool | None]:
        return [v.label for v in self.verdicts(folder, samples, self.target)]

    def test_the_same_model_gives_the_same_weights(self, made: _Made, tmp_path: Path) -> None:
        if not self.repeats:
            pytest.skip("optimised once only")
        again = self._optimised(tmp_path)
        weights = [[(w["file"], w["sha256"]) for w in self.card(m.folder)["weights"]] for m in (made, again)]
        self.hold(weights[0] == weights[1], "the same folder and options give the same weights", weights)

    def test_what_is_no_model_is_refused(self, tmp_path: Path) -> None:
        empty, out = tmp_path / "empty", tmp_path / "out"
        empty.mkdir()
        out.mkdir()
        for folder in (empty, tmp_path / "not there"):
            try:
                self.make().optimize(folder, out)
            except GuardevalError as e:
                self.hold(str(folder) in str(e), "an error names the folder", e)
            except Exception as e:  # noqa: BLE001
                self.hold(False, "a folder without a model is refused with ConfigError", f"{type(e).__name__}: {e}")
            else:
                self.hold(False, "a folder without a model is refused with ConfigError", "a model folder")
            self.hold(not (out / MODEL_FILE).exists(), "an optimizer that failed leaves no card")

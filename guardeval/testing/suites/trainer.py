"""What holds for every trainer: rows go in, a model folder comes out, and nothing else is touched."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from guardeval.contracts import Trainer
from guardeval.data import Sample, Target
from guardeval.errors import ConfigError, DataError, GuardevalError
from guardeval.models import MODEL_FILE
from guardeval.testing.suites.folders import contents, watched
from guardeval.testing.suites.model_folders import FolderSuite
from guardeval.testing.training import made_pairs, made_samples, made_traces, training_file
from guardeval.training_rows import Split

__all__ = ["TrainerSuite"]


@dataclass(frozen=True)
class _Trained:
    folder: Path
    returned: object
    elsewhere: list[str]


class TrainerSuite(FolderSuite):
    """Set ``plugin``, and ``options`` that make it quick. Trained once a class; ``repeats`` trains a second time.

    Override :meth:`rows` where the made-up ones will not do. ``learns``: the share of the rows that the trained model judges
    right must reach it; 0 for trainings too short to learn anything.
    """

    chapter: ClassVar[str] = "Trainers"
    contract: ClassVar[tuple[type[Any], ...]] = (Trainer,)
    repeats: ClassVar[bool] = True
    learns: ClassVar[float] = 0.0

    def rows(self, kind: str, place: Path) -> Any:
        """Rows of one of the kinds in ``takes``, as ``guardeval train`` hands them over."""
        if kind == "samples":
            return made_samples(60)
        make = made_pairs if kind == "pairs" else made_traces
        return training_file(place, [*make(24), *make(4, split=Split.VALIDATION)], f"{kind}.json")

    @property
    def takes(self) -> tuple[str, ...]:
        return tuple(getattr(type(self.make()), "takes", ("samples",)))

    @pytest.fixture
    def trained(self, tmp_path_factory: pytest.TempPathFactory) -> _Trained:
        cls = type(self)
        if "_trained" not in cls.__dict__:
            cls._trained = self._train(tmp_path_factory.mktemp("trained"))  # type: ignore[attr-defined]
        found: _Trained = cls._trained  # type: ignore[attr-defined]
        return found

    def _train(self, place: Path) -> _Trained:
        rows = self.rows(self.takes[0], place)
        with watched(place) as elsewhere:
            returned = self.make().train(rows, place / "out")
        return _Trained(place / "out", returned, elsewhere.written)

    def test_what_it_takes_is_known(self) -> None:
        known = {"samples", "traces", "pairs"}
        self.hold(
            bool(self.takes) and set(self.takes) <= known, f"takes names kinds of rows: {', '.join(sorted(known))}", self.takes
        )

    def test_it_returns_the_folder_it_was_told_to_fill(self, trained: _Trained) -> None:
        self.hold(trained.returned == trained.folder, "train returns the path of the model folder, `out`", trained.returned)

    def test_the_card_says_what_the_model_is(self, trained: _Trained) -> None:
        self.check_card(trained.folder)
        self.check_weights(trained.folder)
        self.check_no_place(trained.folder)
        card = self.card(trained.folder)
        self.hold(bool(card.get("kind")), "the card says of which kind the model is", sorted(card))
        said = card.get("trainer")
        self.hold(isinstance(said, Mapping) and "name" in said, "the card names the trainer and its options", said)

    def test_the_card_says_what_it_was_trained_on(self, trained: _Trained) -> None:
        card = self.card(trained.folder)
        data = card.get("data")
        self.hold(isinstance(data, Mapping), "the card says what data the model was trained on", card)
        text = json.dumps(data, default=str)
        self.hold("sha256" in text, "data are named by their hash: a file's name says little", data)
        licence = card.get("licence") or "licence" in text
        self.hold(bool(licence), "the card says under which licences the data are, or that they are not known", data)
        self.hold(
            "exposure" in card, "the model folder holds fingerprints of the prompts it has seen (write_model_folder)", card
        )

    def test_the_model_judges_what_the_card_says(self, trained: _Trained) -> None:
        card = self.card(trained.folder)
        samples = [s for s in self._samples() if Target.PROMPT in s.labels][:12]
        for target in map(Target, card.get("targets") or [Target.PROMPT]):
            asked = [Sample(s.id, s.index, s.prompt, None if target is Target.PROMPT else s.prompt, s.labels) for s in samples]
            verdicts = self.verdicts(trained.folder, asked, target)
            self.hold(
                all(v.target is target for v in verdicts), "--model FOLDER judges the targets that the card names", target
            )
            if target is Target.PROMPT:
                right = sum(v.label is s.labels[target] for v, s in zip(verdicts, samples, strict=True)) / len(samples)
                self.hold(right >= self.learns, f"at least {self.learns:.0%} of its own rows are judged right", f"{right:.0%}")

    def _samples(self) -> list[Sample]:
        return made_samples(60)

    def test_nothing_is_written_elsewhere(self, trained: _Trained) -> None:
        rule = "a trainer writes into `out` only: neither into the working folder nor into the home folder"
        self.hold(not trained.elsewhere, rule, trained.elsewhere[:10])

    def test_the_same_rows_and_seed_give_the_same_weights(self, trained: _Trained, tmp_path: Path) -> None:
        if not self.repeats:
            pytest.skip("trained once only")
        again = self._train(tmp_path)
        weights = [{w["file"]: w["sha256"] for w in _listed(self.card(t.folder))} for t in (trained, again)]
        self.hold(weights[0] == weights[1], "equal rows, options and seed give equal weights", weights)

    def test_a_model_that_is_there_is_not_replaced(self, trained: _Trained, tmp_path: Path) -> None:
        """By another one, that is: the same command may find that it has done its work."""
        out = tmp_path / "taken"
        out.mkdir()
        (out / MODEL_FILE).write_text("backend: dummy\nkind: another\n")
        (out / "weights.safetensors").write_bytes(b"another's")
        before = contents(out)
        self._refused("a folder that holds another model", out, self.rows(self.takes[0], tmp_path))
        self.hold(before.items() <= contents(out).items(), "what was there stays as it was", contents(out))

    def test_a_file_is_no_folder(self, tmp_path: Path) -> None:
        out = tmp_path / "file"
        out.write_text("mine")
        self._refused("an `out` that is a file", out, self.rows(self.takes[0], tmp_path))
        self.hold(out.read_text() == "mine", "what was there stays as it was")

    def test_no_rows_are_refused(self, tmp_path: Path) -> None:
        out = tmp_path / "out"
        rows = [] if self.takes[0] == "samples" else _emptied(self.rows(self.takes[0], tmp_path))
        self._refused("no rows", out, rows)
        self.hold(not (out / MODEL_FILE).exists(), "a training that failed leaves no card")

    def test_rows_of_one_label_are_trained_on_or_refused(self, tmp_path: Path) -> None:
        if self.takes[0] != "samples":
            pytest.skip("takes rows with answers")
        rows = [s for s in made_samples(60) if s.labels[Target.PROMPT]]
        try:
            self.make().train(rows, tmp_path / "out")
        except GuardevalError:
            return
        except Exception as e:  # noqa: BLE001
            self.hold(False, "rows of one label are trained on, or refused with DataError", f"{type(e).__name__}: {e}")

    def test_a_training_that_breaks_off_leaves_no_model(self, tmp_path: Path) -> None:
        if self.takes[0] != "samples":
            pytest.skip("reads its rows from a file that was read before")

        def broken() -> Iterator[Sample]:
            yield from made_samples(20)
            raise KeyboardInterrupt

        out = tmp_path / "out"
        with pytest.raises(KeyboardInterrupt):
            self.make().train(broken(), out)
        self.hold(not (out / MODEL_FILE).exists(), "the card is written last: a folder with a card is a whole model")

    def test_a_plan_needs_no_weights_and_writes_nothing(self, tmp_path: Path) -> None:
        trainer = self.make()
        if not hasattr(trainer, "plan"):
            pytest.skip("foresees nothing")
        rows = self.rows(self.takes[0], tmp_path)
        before = contents(tmp_path)
        planned = trainer.plan(rows)
        self.hold(isinstance(planned, Mapping) and bool(planned), "plan returns what --dry_run prints", planned)
        self.hold(contents(tmp_path) == before, "a plan writes nothing")

    def _refused(self, what: str, out: Path, rows: Any) -> None:
        try:
            self.make().train(rows, out)
        except (ConfigError, DataError):
            return
        except Exception as e:  # noqa: BLE001
            self.hold(False, f"{what}: refused with ConfigError or DataError", f"{type(e).__name__}: {e}")
        self.hold(False, f"{what}: refused with ConfigError or DataError", "a training")


def _listed(card: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    said = card.get("weights")
    return list(said) if isinstance(said, list) else [said] if said else []


def _emptied(file: Any) -> Any:
    """A training file of the same kind without rows."""
    from guardeval.training_rows import TrainingFile

    return TrainingFile([], file.path, file.digest)

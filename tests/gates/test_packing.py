"""Verdicts in a few bytes: they come back as they were, damage is found, and neither text nor ids are in them."""

from __future__ import annotations

import base64
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardeval.data import Judged, Outcome, Sample, Target, Verdict
from guardeval.errors import DataError
from guardeval.gates.packing import Verdicts, pack, unpack
from guardeval.judged import OUTCOMES, Judgements

POLICIES = tuple(f"p{i}" for i in range(11))  # more than one byte of bits


@st.composite
def judged_samples(draw):
    ids = draw(st.lists(st.text(max_size=8), unique=True, min_size=1, max_size=12))
    out = []
    for i, id_ in enumerate(ids):
        outcome = draw(st.sampled_from(OUTCOMES))
        label = draw(st.booleans()) if outcome is Outcome.PARSED else None
        score = draw(st.none() | st.floats(0, 1)) if label is not None else None
        said = frozenset(draw(st.sets(st.sampled_from(POLICIES)))) if label else frozenset()
        gold = draw(st.sampled_from([True, False, None]))
        labels = {} if gold is None else {Target.PROMPT: gold}
        sample = Sample(id_, i, draw(st.text(max_size=5)), labels=labels)
        out.append(Judged(sample, Verdict(Target.PROMPT, outcome, label, score, said), seen=draw(st.booleans())))
    return Judgements.of(out, Target.PROMPT, POLICIES)


@settings(max_examples=50)
@given(judged_samples())
def test_what_is_packed_comes_back(judged):
    verdicts = Verdicts.of(judged, "mine")
    back = unpack(pack(verdicts, len(POLICIES)), len(verdicts), len(POLICIES), "b.json")
    for column in ("ids", "facts", "label", "outcome", "seen", "policies"):
        assert getattr(back, column).tolist() == getattr(verdicts, column).tolist(), column
    np.testing.assert_allclose(back.score, verdicts.score, equal_nan=True)
    place = back.positions(judged, "mine")
    labelled = np.flatnonzero(judged.gold >= 0)
    assert sorted(place[labelled].tolist()) == list(range(len(back)))
    assert (place[judged.gold < 0] == -1).all()
    assert back.label[place[labelled]].tolist() == judged.label[labelled].tolist()
    assert (np.abs(np.nan_to_num(back.score[place[labelled]] - judged.score[labelled])) <= 0.5 / 254 + 1e-12).all()


def some(n: int = 40, **facts) -> Judgements:
    samples = [Sample(f"id-{i}", i, f"the prompt number {i}", labels={Target.PROMPT: i % 2 == 0}, **facts) for i in range(n)]
    return Judgements.of([Judged(s, Verdict(Target.PROMPT, Outcome.PARSED, True)) for s in samples], Target.PROMPT, POLICIES)


def test_neither_ids_nor_text_can_be_read():
    raw = zlib.decompress(base64.b64decode(pack(Verdicts.of(some(), "mine"), len(POLICIES))))
    assert len(raw) == 40 * 16
    assert b"id-" not in raw and b"prompt" not in raw


def test_another_task_or_row_is_another_sample():
    here, there = (Verdicts.of(some(), name) for name in ("mine", "yours"))
    assert not set(here.ids.tolist()) & set(there.ids.tolist())
    other = Verdicts.of(some(category="fraud"), "mine")
    assert other.ids.tolist() == here.ids.tolist()
    assert not (other.facts == here.facts).any()


def _cut(text: str) -> str:
    return text[: len(text) // 2 // 4 * 4]


def _other_bytes(text: str) -> str:
    raw = bytearray(zlib.decompress(base64.b64decode(text)))
    raw[40 * 12] = 0xFF  # a code that no verdict has
    return base64.b64encode(zlib.compress(bytes(raw))).decode()


@pytest.mark.parametrize("damage", [_cut, _other_bytes, lambda t: "no base64!", lambda t: t[:-8] + "AAAAAAA=", lambda t: ""])
def test_damage_is_found(damage):
    text = pack(Verdicts.of(some(), "mine"), len(POLICIES))
    with pytest.raises(DataError, match=r"b\.json: its verdicts are damaged; write the baseline again"):
        unpack(damage(text), 40, len(POLICIES), "b.json")


def test_another_number_of_samples_is_damage_too():
    text = pack(Verdicts.of(some(), "mine"), len(POLICIES))
    for samples in (39, 41, -1, 10**12):
        with pytest.raises(DataError, match="damaged"):
            unpack(text, samples, len(POLICIES), "b.json")


def test_an_id_that_stands_twice_is_refused():
    samples = [Sample("same", i, "x", labels={Target.PROMPT: True}) for i in range(2)]
    judged = Judgements.of([Judged(s, Verdict(Target.PROMPT, Outcome.PARSED, True)) for s in samples], Target.PROMPT)
    with pytest.raises(DataError, match="sample id 'same' stands twice"):
        Verdicts.of(judged, "mine")

"""The generator that is no model: frames round a text, by rule."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from guardeval.models import ModelSpec, build_model
from guardeval.registry import Registry
from guardeval.testing import a_request


@given(st.text(min_size=1), st.integers(0, 9))
def test_every_variant_holds_the_whole_request_and_reads_as_json(text: str, draw: int) -> None:
    model = build_model(ModelSpec("rewrite"), Registry())
    (said,) = model.generate_batch([a_request(text, draw=draw)])  # type: ignore[union-attr]
    variants = [json.loads(line)["request"] for line in said.text.split("\n")]
    assert len(set(variants)) == 2
    assert all(" ".join(text.split()) in v for v in variants)


def test_three_draws_use_every_frame_once() -> None:
    model = build_model(ModelSpec("rewrite"), Registry())
    said = model.generate_batch([a_request("a question", draw=d) for d in range(3)])  # type: ignore[union-attr]
    assert len({line for one in said for line in one.text.split("\n")}) == 6

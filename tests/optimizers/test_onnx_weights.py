"""Weights in few bits: what onnxruntime multiplies by is what was packed, and no weight moves further than half a step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardeval.trainers.onnx_export import folded, last_logits_only
from guardeval.trainers.onnx_weights import blocks, embeddings_by_row, products_in_bits, with_operators

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


def unpacked(numbers: Any, scales: Any, inputs: int, bits: int) -> Any:
    """The matrix that bytes and scales stand for."""
    if bits == 4:
        numbers = np.stack([numbers & 15, numbers >> 4], axis=-1).reshape(*numbers.shape[:2], -1)
    outputs, count, block = numbers.shape
    whole = (numbers.astype(np.float32) - (1 << (bits - 1))) * scales.reshape(outputs, count, 1)
    return whole.reshape(outputs, count * block)[:, :inputs].T


def test_a_block_worked_by_hand() -> None:
    matrix = np.array([[-8.0], [7.0], [0.0], [3.4], *([[0.0]] * 12)], np.float32)
    numbers, scales = blocks(matrix, 16, 4)
    assert scales.tolist() == [1.0]  # -8 becomes the lowest number, 0
    assert numbers[0, 0].tolist() == [0 | 15 << 4, 8 | 11 << 4, *[0x88] * 6]  # 3.4 rounds to 3


@settings(max_examples=40)
@given(
    inputs=st.integers(1, 70), outputs=st.integers(1, 5), bits=st.sampled_from([4, 8]), block=st.sampled_from([16, 32]),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_no_weight_moves_further_than_a_step(inputs: int, outputs: int, bits: int, block: int, seed: int) -> None:
    matrix = np.random.default_rng(seed).normal(size=(inputs, outputs)).astype(np.float32)
    matrix[:, 0] = 0.0
    numbers, scales = blocks(matrix, block, bits)
    moved = np.abs(unpacked(numbers, scales, inputs, bits) - matrix)
    step = np.abs(scales.reshape(outputs, -1)).repeat(block, axis=1)[:, :inputs].T
    assert (moved <= step * 1.0001).all()  # half a step, and a whole one at the far end from the largest weight
    assert (moved[:, 0] == 0).all()


@pytest.mark.parametrize(("exact", "near"), [(True, 1e-3), (False, 0.05)])
@pytest.mark.parametrize("head_bits", [4, 8, 32])
def test_onnxruntime_reads_the_weights_that_were_packed(head_bits: int, exact: bool, near: float) -> None:
    rng = np.random.default_rng(1)
    table, inner, head = (rng.normal(size=s).astype(np.float32) for s in ((11, 48), (48, 48), (48, 11)))
    model = _model(table, inner, head)
    assert (embeddings_by_row(model), products_in_bits(model, block=32, head_bits=head_bits, exact=exact)) == (1, 2)
    with_operators(model)
    ids = np.array([[1, 10, 3]])
    found = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"ids": ids})[0]
    scale = np.abs(table).max(axis=1, keepdims=True) / 127
    rows = (np.rint(table / scale) * scale)[ids]
    small = [unpacked(*blocks(m, 32, b), 48, b) if b != 32 else m for m, b in ((inner, 4), (head, head_bits))]
    right = rows @ small[0] @ small[1]
    assert np.abs(found - right).max() <= near * np.abs(right).max()
    assert not any(i.dims == [48, 48] for i in model.graph.initializer)  # the large ones are gone


def test_tied_weights_are_turned_once_and_the_logits_are_the_last_ones() -> None:
    rng = np.random.default_rng(2)
    table, inner = (rng.normal(size=s).astype(np.float32) for s in ((7, 32), (32, 32)))
    model, ids = _model(table, inner, None), np.array([[1, 2, 3, 4]])
    whole = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"ids": ids})[0]
    assert last_logits_only(model)
    folded(model)
    onnx.checker.check_model(model)
    assert [n.op_type for n in model.graph.node] == ["Gather", "MatMul", "Slice", "MatMul"]
    last = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"ids": ids})[0]
    assert last.shape == (1, 1, 7)
    assert last == pytest.approx(whole[:, -1:], abs=1e-5)


def _model(table: Any, inner: Any, head: Any) -> Any:
    """Look up, multiply, multiply: by ``head``, or where None by the table, turned round."""
    h, n = onnx.helper, onnx.numpy_helper
    arrays = {"table": table, "inner": inner, **({} if head is None else {"head": head})}
    nodes = [h.make_node("Gather", ["table", "ids"], ["rows"]), h.make_node("MatMul", ["rows", "inner"], ["hidden"])]
    if head is None:
        nodes.append(h.make_node("Transpose", ["table"], ["head"], perm=[1, 0]))
    nodes.append(h.make_node("MatMul", ["hidden", "head"], ["logits"]))
    ids = h.make_tensor_value_info("ids", onnx.TensorProto.INT64, ["b", "s"])
    out = h.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["b", "s", len(table)])
    graph = h.make_graph(nodes, "g", [ids], [out], [n.from_array(a, name) for name, a in arrays.items()])
    return h.make_model(graph, opset_imports=[h.make_opsetid("", 18)], ir_version=9)

"""Weights of an exported graph in few bits: embeddings by row, products by block (onnxruntime's ``MatMulNBits``)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["blocks", "embeddings_by_row", "products_in_bits", "with_operators"]

_DOMAIN = "com.microsoft"
Array = NDArray[Any]


def embeddings_by_row(model: Any) -> int:
    """Embedding tables as int8 with a scale a row, made floating again for the rows looked up; how many there are."""
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    weights = {i.name: i for i in graph.initializer if len(i.dims) == 2 and i.data_type == TensorProto.FLOAT}
    tables = [n for n in graph.node if n.op_type == "Gather" and n.input[0] in weights]
    for node in tables:
        name, ids, out = node.input[0], node.input[1], node.output[0]
        table = numpy_helper.to_array(weights[name])
        scale = np.maximum(np.abs(table).max(axis=1, keepdims=True), 1e-12) / 127.0
        small = np.rint(table / scale).astype(np.int8)
        graph.initializer.append(numpy_helper.from_array(small, f"{out}.int8"))
        graph.initializer.append(numpy_helper.from_array(scale.astype(np.float32), f"{out}.scale"))
        made = [
            helper.make_node("Gather", [f"{out}.int8", ids], [f"{out}.rows"], name=f"{out}.rows"),
            helper.make_node("Cast", [f"{out}.rows"], [f"{out}.floats"], name=f"{out}.floats", to=TensorProto.FLOAT),
            helper.make_node("Gather", [f"{out}.scale", ids], [f"{out}.scales"], name=f"{out}.scales"),
            helper.make_node("Mul", [f"{out}.floats", f"{out}.scales"], [out], name=f"{out}.whole"),
        ]
        at = list(graph.node).index(node)
        graph.node.remove(node)
        for step, new in enumerate(made):
            graph.node.insert(at + step, new)
    _drop_unused(graph, set(weights))
    return len(tables)


def products_in_bits(model: Any, *, block: int, head_bits: int, exact: bool) -> int:
    """Products by a constant matrix as ``MatMulNBits`` of 4 bits, that of the logits of ``head_bits``; how many there are.

    ``exact``: multiply in float32; else what they are multiplied by is made 8-bit by block, which CPUs do several times faster.
    """
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    weights = {i.name: i for i in graph.initializer if len(i.dims) == 2 and i.data_type == TensorProto.FLOAT}
    products = [n for n in graph.node if n.op_type == "MatMul" and n.input[1] in weights]
    for node in products:
        bits = head_bits if "logits" in node.output else 4
        if bits == 32:
            continue
        name = node.input[1]
        matrix = numpy_helper.to_array(weights[name])
        packed, scales = blocks(matrix, block, bits)
        for suffix, array in (("bits", packed), ("scales", scales)):
            graph.initializer.append(numpy_helper.from_array(array, f"{node.output[0]}.{suffix}"))
        small = helper.make_node(
            "MatMulNBits", [node.input[0], f"{node.output[0]}.bits", f"{node.output[0]}.scales"], list(node.output),
            name=f"{node.output[0]}.bits", domain=_DOMAIN, K=matrix.shape[0], N=matrix.shape[1], bits=bits, block_size=block,
            accuracy_level=0 if exact else 4,
        )  # fmt: skip
        at = list(graph.node).index(node)
        graph.node.remove(node)
        graph.node.insert(at, small)
    _drop_unused(graph, set(weights))
    return len(products)


def blocks(matrix: Array, block: int, bits: int) -> tuple[Array, Array]:
    """A matrix [inputs, outputs] as ``MatMulNBits`` reads it: bytes [outputs, blocks, block·bits/8] and a scale a block.

    Symmetric round a zero point of 2^(bits-1): the value of largest magnitude in a block becomes the lowest number, so
    that all 2^bits numbers are used. Two 4-bit numbers share a byte, the earlier in its low half.
    """
    inputs, outputs = matrix.shape
    count = -(-inputs // block)
    padded = np.zeros((outputs, count * block), np.float32)
    padded[:, :inputs] = matrix.T
    parts = padded.reshape(outputs, count, block)
    zero = 1 << (bits - 1)
    peak = np.take_along_axis(parts, np.abs(parts).argmax(axis=2, keepdims=True), axis=2)
    scales = peak / -zero
    steps = np.divide(parts, scales, out=np.zeros_like(parts), where=scales != 0)
    numbers = np.clip(np.rint(steps) + zero, 0, 2 * zero - 1).astype(np.uint8)
    if bits == 4:
        numbers = numbers[..., 0::2] | (numbers[..., 1::2] << 4)
    return numbers, scales[..., 0].reshape(outputs * count).astype(np.float32)


def with_operators(model: Any) -> None:
    """Say in the model that it uses operators of onnxruntime's own."""
    from onnx import helper

    if all(o.domain != _DOMAIN for o in model.opset_import):
        model.opset_import.append(helper.make_opsetid(_DOMAIN, 1))


def _drop_unused(graph: Any, names: set[str]) -> None:
    used = {name for node in graph.node for name in node.input}
    for weight in [i for i in graph.initializer if i.name in names and i.name not in used]:
        graph.initializer.remove(weight)

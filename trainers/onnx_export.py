"""A transformers model → ``model.onnx`` with its key-value cache, and the repairs that make it quick and small."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from guardeval.errors import ModelUnusable, needs_extra
from guardeval.optimized import Original, load_whole, save_ends, save_tokenizer

__all__ = ["PACKAGES", "export", "folded", "hushed", "last_logits_only", "save_graph"]

PACKAGES = ("optimum-onnx", "onnx", "onnxruntime", "torch", "transformers")
_LARGE = 1 << 30  # bytes of weights beyond which they stand in a file of their own


def export(original: Original, out: Path, opset: int | None) -> None:
    """Write ``model.onnx``, ``config.json``, tokenizer and chat template into ``out``.

    Raises :class:`ModelUnusable` for an architecture that the exporter does not know.
    """
    with needs_extra("optimize"):
        import onnx
        import onnxruntime  # noqa: F401  the exporter wants it: named here, so that a missing package is told as such
        from optimum.exporters.onnx import onnx_export_from_model
    loaded = load_whole(original)
    with _explained(original, loaded.model), hushed():
        onnx_export_from_model(
            loaded.model, out, task="text-generation-with-past", opset=opset, do_validation=False, device="cpu",
            preprocessors=[],
        )  # fmt: skip
    save_tokenizer(loaded.tokenizer, out, original)
    save_ends(loaded, out)
    path = out / "model.onnx"
    model = onnx.load(str(path))
    if last_logits_only(model):
        save_graph(model, path)


def save_graph(model: Any, path: Path) -> None:
    """In one file, or where that grows too large the weights beside it."""
    import onnx

    data = path.with_name(path.name + "_data")
    size = model.ByteSize()
    for old in (path, data):
        old.unlink(missing_ok=True)
    if size < _LARGE:
        onnx.save(model, str(path))
    else:
        onnx.save(model, str(path), save_as_external_data=True, all_tensors_to_one_file=True, location=data.name)


def last_logits_only(model: Any) -> bool:
    """Cut all tokens but the last off before the logits are computed; whether the graph is built so that this can be done.

    An answer needs nothing else, and the logits of a long prompt take more time and memory than all layers together.
    """
    from onnx import TensorProto, helper

    graph = model.graph
    head = next((n for n in graph.node if "logits" in n.output), None)
    if head is None or head.op_type != "MatMul":
        return False
    for name, values in (("starts", [-1]), ("ends", [2**62]), ("axes", [1])):
        graph.initializer.append(helper.make_tensor(f"guardeval.last.{name}", TensorProto.INT64, [1], values))
    parts = [f"guardeval.last.{name}" for name in ("starts", "ends", "axes")]
    cut = helper.make_node("Slice", [head.input[0], *parts], ["guardeval.last"], name="guardeval.last")
    graph.node.insert(list(graph.node).index(head), cut)
    head.input[0] = "guardeval.last"
    shown = next(o for o in graph.output if o.name == "logits").type.tensor_type.shape.dim[1]
    shown.Clear()
    shown.dim_value = 1
    return True


def folded(model: Any) -> None:
    """Weights that the graph turns round before it multiplies by them, turned round once and for all.

    Tied weights are exported so; a quantiser sees constants only.
    """
    from onnx import numpy_helper

    graph = model.graph
    weights = {i.name: i for i in graph.initializer}
    for node in [n for n in graph.node if n.op_type == "Transpose" and n.input[0] in weights]:
        order = next((list(a.ints) for a in node.attribute if a.name == "perm"), None)
        turned = numpy_helper.to_array(weights[node.input[0]]).transpose(order)
        graph.initializer.append(numpy_helper.from_array(turned.copy(), node.output[0]))
        graph.node.remove(node)
    used = {name for node in graph.node for name in node.input}
    for name, weight in weights.items():
        if name not in used:
            graph.initializer.remove(weight)


@contextmanager
def _explained(original: Original, model: Any) -> Iterator[None]:
    try:
        yield
    except (MemoryError, OSError):
        raise
    except Exception as e:  # the exporter raises what its tracer meets: each means that this architecture does not export
        first = next((line for line in str(e).splitlines() if line.strip()), type(e).__name__)
        raise ModelUnusable(
            f"{original.folder}: {type(model).__name__} cannot be exported by the installed optimum-onnx: {type(e).__name__}: "
            f"{first}; run it through hf, or make it smaller by `guardeval optimize int8 --runtime bitsandbytes`"
        ) from e


@contextmanager
def hushed() -> Iterator[None]:
    """Without a library's warnings about its own code."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)

# SPDX-License-Identifier: Apache-2.0
"""Facts of a network's graph, read through the runtime: is it sound, and which operators did a delegate take?

Both functions work on what ``_get_ops_details()`` and ``get_tensor_details()`` return: lists of dictionaries.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from device.errors import LitesightError

# (fewest, most) inputs of the operators that convolutional classifiers are made of. Their kernels read this many
# inputs without looking, so a shorter list is a read outside the array. Other operators are refused: some of them crash
# on arguments that are not theirs (SPLIT does), and no bundle of this kit has them.
_INPUTS: Final[Mapping[str, tuple[int, int]]] = {
    "ADD": (2, 2),
    "AVERAGE_POOL_2D": (1, 1),
    "CAST": (1, 1),
    "CONCATENATION": (1, 64),
    "CONV_2D": (2, 3),
    # LiteRT 2.3.0 crashes in invoke() where the bias is left out, though the schema allows it.
    "DEPTHWISE_CONV_2D": (3, 3),
    "DEQUANTIZE": (1, 1),
    "FULLY_CONNECTED": (2, 3),
    "HARD_SWISH": (1, 1),
    "LEAKY_RELU": (1, 1),
    "LOGISTIC": (1, 1),
    "MAX_POOL_2D": (1, 1),
    "MAXIMUM": (2, 2),
    "MEAN": (2, 2),
    "MINIMUM": (2, 2),
    "MUL": (2, 2),
    "PAD": (2, 2),
    "PADV2": (3, 3),
    "PRELU": (2, 2),
    "QUANTIZE": (1, 1),
    "RELU": (1, 1),
    "RELU6": (1, 1),
    "RESHAPE": (1, 2),
    "SOFTMAX": (1, 1),
    "SQUEEZE": (1, 1),
    "STRIDED_SLICE": (4, 4),
    "SUB": (2, 2),
    "SUM": (2, 2),
    "TANH": (1, 1),
    "TRANSPOSE": (2, 2),
}
_BIAS: Final = 2
"""The one place where an input may be left out, written as tensor -1."""

_WEIGHTED: Final = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"})
"""Their inputs behind the first are weights and bias."""

_MUST_BE_QUANTIZED: Final = frozenset({"int8", "uint8"})


def count_delegated(ops: Iterable[Mapping[str, Any]]) -> tuple[int, int]:
    """How many operators the graph has, and how many of them delegates execute.

    After delegation the runtime's list holds every original operator and, behind them, one DELEGATE node per partition
    with the tensors that cross the partition's border; it does not say which operators were replaced. They are those
    met on the way from a DELEGATE's outputs up to its inputs.

    Args:
        ops: ``_get_ops_details()`` after ``allocate_tensors()``.

    Returns:
        (operators of the original graph, operators inside DELEGATE nodes)
    """
    original = [op for op in ops if op["op_name"] != "DELEGATE"]
    delegates = [op for op in ops if op["op_name"] == "DELEGATE"]
    producer = {int(tensor): number for number, op in enumerate(original) for tensor in op["outputs"]}
    taken: set[int] = set()
    for delegate in delegates:
        border = {int(tensor) for tensor in delegate["inputs"]}
        ahead = [int(tensor) for tensor in delegate["outputs"]]
        while ahead:
            tensor = ahead.pop()
            number = producer.get(tensor)
            if tensor in border or number is None or number in taken:
                continue
            taken.add(number)
            ahead.extend(int(source) for source in original[number]["inputs"])
    return len(original), len(taken)


def writer_of(ops: Iterable[Mapping[str, Any]], tensor: int) -> str | None:
    """The name of the operator of the original graph that writes ``tensor``; None if nothing does."""
    for op in ops:
        if op["op_name"] != "DELEGATE" and tensor in {int(output) for output in op["outputs"]}:
            return str(op["op_name"])
    return None


def check_graph(
    ops: Sequence[Mapping[str, Any]], tensors: Sequence[Mapping[str, Any]], inputs: Sequence[Mapping[str, Any]]
) -> None:
    """Refuse contradictions on which ai-edge-litert 2.3 aborts, reads outside an array or asks for endless memory.

    Found by changing single fields of a sound network and running it: cut-off input lists of operators, quantisation
    with fewer scales or zero points than channels, with no scale at all or with a scale of 0, and tensors that have two
    producers or are read before they are written.

    Args:
        ops: ``_get_ops_details()`` before ``allocate_tensors()``.
        tensors: ``get_tensor_details()``.
        inputs: ``get_input_details()``.

    Raises:
        LitesightError: names the operator or the tensor.
    """
    for tensor in tensors:
        _check_quantization(tensor)
    filled = {int(tensor["index"]) for tensor in inputs}
    for number, op in enumerate(ops):
        _check_inputs(number, op)
        for output in op["outputs"]:
            if int(output) in filled:
                raise _damaged(f"operator {number} ({op['op_name']}) writes tensor {output}, which is written already")
            filled.add(int(output))
    _check_order(ops)
    _check_roles(ops, {int(tensor["index"]) for tensor in inputs})
    per_channel = {int(each["index"]) for each in tensors if len(each["quantization_parameters"]["scales"]) > 1}
    for number, op in enumerate(ops):
        # Only these read a scale per channel; ADD aborts on a tensor that has several.
        data = op["inputs"][:1] if op["op_name"] in _WEIGHTED else op["inputs"]
        if op["op_name"] != "DEQUANTIZE" and per_channel.intersection(int(tensor) for tensor in data):
            raise _damaged(f"operator {number} ({op['op_name']}) reads a tensor with a scale per channel as its data")


def _check_inputs(number: int, op: Mapping[str, Any]) -> None:
    name, sources = op["op_name"], [int(tensor) for tensor in op["inputs"]]
    if name not in _INPUTS:
        raise LitesightError(
            f"operator {number} is {name[:40]!r}, which is none of a classifier's",
            hint=f"expected only {', '.join(_INPUTS)}",
        )
    fewest, most = _INPUTS[name]
    if not fewest <= len(sources) <= most:
        expected = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        raise _damaged(f"operator {number} ({name}) should have {expected} inputs, found {len(sources)}")
    if len(op["outputs"]) != 1:
        raise _damaged(f"operator {number} ({name}) should have one output, found {len(op['outputs'])}")
    for place, tensor in enumerate(sources):
        if tensor < 0 and not (tensor == -1 and place == _BIAS):
            raise _damaged(f"operator {number} ({name}) reads tensor {tensor}, which does not exist")


def _check_order(ops: Sequence[Mapping[str, Any]]) -> None:
    """An operator that reads what a later one writes would read memory that holds something else."""
    later = {int(tensor) for op in ops for tensor in op["outputs"]}
    for number, op in enumerate(ops):
        for tensor in op["inputs"]:
            if int(tensor) in later:
                raise _damaged(f"operator {number} ({op['op_name']}) reads tensor {tensor} before it is written")
        later.difference_update(int(tensor) for tensor in op["outputs"])


def _check_roles(ops: Sequence[Mapping[str, Any]], graph_inputs: set[int]) -> None:
    """What flows must come from somewhere, and weights must be constants.

    A float16 network turns its constant weights into float32 with DEQUANTIZE operators, so these count as constants.
    """
    written = {int(tensor) for op in ops for tensor in op["outputs"]}
    flowing = graph_inputs | written
    unpacked: set[int] = set()
    for number, op in enumerate(ops):
        name, sources = op["op_name"], [int(tensor) for tensor in op["inputs"]]
        if name == "DEQUANTIZE" and sources[0] not in flowing:
            unpacked.update(int(tensor) for tensor in op["outputs"])
        elif name in _WEIGHTED:
            for tensor in sources[1:]:
                if tensor in flowing - unpacked:
                    raise _damaged(f"operator {number} ({name}) has weights that are not constant: tensor {tensor}")
            if sources[0] not in flowing - unpacked:
                raise _damaged(f"operator {number} ({name}) reads tensor {sources[0]}, which nothing writes")
        elif not flowing.intersection(sources):
            raise _damaged(f"operator {number} ({name}) reads nothing that another one writes")


def _check_quantization(tensor: Mapping[str, Any]) -> None:
    facts = tensor["quantization_parameters"]
    scales, zero_points = [float(scale) for scale in facts["scales"]], facts["zero_points"]
    # By its number only: a name from the file may hold anything, line breaks and terminal escapes included.
    where = f"tensor {tensor['index']}"
    if not scales:
        if np.dtype(tensor["dtype"]).name in _MUST_BE_QUANTIZED:
            raise _damaged(f"{where} is {np.dtype(tensor['dtype']).name} and has no scale")
        return
    if not all(math.isfinite(scale) and scale > 0 for scale in scales):
        raise _damaged(f"{where} has a scale that is not a positive number")
    if len(zero_points) != len(scales):
        raise _damaged(f"{where} has {len(scales)} scales and {len(zero_points)} zero points")
    if len(scales) > 1:
        axis, shape = int(facts["quantized_dimension"]), [int(side) for side in tensor["shape"]]
        if not 0 <= axis < len(shape) or shape[axis] != len(scales):
            raise _damaged(f"{where} of shape {shape} has {len(scales)} scales along axis {axis}")


def _damaged(what: str) -> LitesightError:
    return LitesightError(what, hint="the file is damaged, or was made to do harm")

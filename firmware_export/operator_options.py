# SPDX-License-Identifier: Apache-2.0
"""Reading an operator's options: what is not in its tensors, such as padding and strides.

Field numbers, enumerations and defaults are those of TensorFlow Lite's schema, version 3 (`schema.fbs`). Every kind of
operator has an options table of its own there; here they share one class.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from firmware_export.flatbuffer import FlatBufferError, Table

_TYPE_SLOT = 3
_TABLE_SLOT = 4

_PADDINGS = ("SAME", "VALID")
_ACTIVATIONS = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH", "SIGN_BIT")

# The number of the table in the schema's union `BuiltinOptions`.
_UNION_TYPES = {
    "CONV_2D": 1,
    "DEPTHWISE_CONV_2D": 2,
    "AVERAGE_POOL_2D": 5,
    "MAX_POOL_2D": 5,
    "FULLY_CONNECTED": 8,
    "SOFTMAX": 9,
    "ADD": 11,
    "RESHAPE": 17,
    "MEAN": 27,
}


@dataclass(frozen=True)
class Options:
    """Options of an operator; a field that it does not have, or the file leaves out, has the schema's default.

    Attributes:
        padding: "SAME" or "VALID".
        stride: (height, width); 0 where left out, which no operator takes.
        dilation: (height, width).
        pool_size: (height, width) of a pool's window.
        depth_multiplier: output channels per input channel of a depthwise convolution.
        activation: the fused one: "NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH" or "SIGN_BIT".
        weights_format: of FULLY_CONNECTED; 0 is row-major.
        keep_dims: whether MEAN keeps the axes it reduces, with size 1.
        beta: factor in the exponent of SOFTMAX.
        new_shape: of RESHAPE; empty where left out.
    """

    padding: str = "SAME"
    stride: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    pool_size: tuple[int, int] = (0, 0)
    depth_multiplier: int = 0
    activation: str = "NONE"
    weights_format: int = 0
    keep_dims: bool = False
    beta: float = 0.0
    new_shape: tuple[int, ...] = ()


NO_OPTIONS = Options()
"""Every field as where the file leaves it out."""


def read_options(operator: Table, name: str, label: str) -> Options:
    """The options of an operator of the file.

    Args:
        operator: its table.
        name: the schema's name, "CONV_2D".
        label: how messages call it.

    Raises:
        FlatBufferError: the table is damaged, belongs to another kind of operator or holds an unknown value.
    """
    expected = _UNION_TYPES.get(name)
    if expected is None:
        return NO_OPTIONS
    what = f"the options of {label}"
    table = operator.table(_TABLE_SLOT, what)
    if table is None:
        return NO_OPTIONS
    found = operator.scalar(_TYPE_SLOT, "B", 0)
    if found != expected:
        raise FlatBufferError(f"{what} are of type {found}, expected {expected}")
    return _read(table, name, what)


def _read(table: Table, name: str, what: str) -> Options:
    match name:
        case "CONV_2D":
            return Options(
                padding=_named(table, 0, _PADDINGS, f"padding in {what}"),
                stride=_height_width(table, 2, 1, 0),
                activation=_activation(table, 3, what),
                dilation=_height_width(table, 5, 4, 1),
            )
        case "DEPTHWISE_CONV_2D":
            return Options(
                padding=_named(table, 0, _PADDINGS, f"padding in {what}"),
                stride=_height_width(table, 2, 1, 0),
                depth_multiplier=table.scalar(3, "i", 0),
                activation=_activation(table, 4, what),
                dilation=_height_width(table, 6, 5, 1),
            )
        case "AVERAGE_POOL_2D" | "MAX_POOL_2D":
            return Options(
                padding=_named(table, 0, _PADDINGS, f"padding in {what}"),
                stride=_height_width(table, 2, 1, 0),
                pool_size=_height_width(table, 4, 3, 0),
                activation=_activation(table, 5, what),
            )
        case "FULLY_CONNECTED":
            return Options(activation=_activation(table, 0, what), weights_format=table.scalar(1, "b", 0))
        case "ADD":
            return Options(activation=_activation(table, 0, what))
        case "MEAN":
            return Options(keep_dims=bool(table.scalar(0, "B", 0)))
        case "SOFTMAX":
            beta = table.real(0, 0.0)
            if not math.isfinite(beta):
                raise FlatBufferError(f"beta in {what} is {beta}")
            return Options(beta=beta)
        case _:
            return Options(new_shape=tuple(int(size) for size in table.numbers(0, "<i4")))


def _height_width(table: Table, height_slot: int, width_slot: int, default: int) -> tuple[int, int]:
    return table.scalar(height_slot, "i", default), table.scalar(width_slot, "i", default)


def _activation(table: Table, slot: int, what: str) -> str:
    return _named(table, slot, _ACTIVATIONS, f"activation in {what}")


def _named(table: Table, slot: int, names: tuple[str, ...], what: str) -> str:
    value = table.scalar(slot, "b", 0)
    if not 0 <= value < len(names):
        raise FlatBufferError(f"{what} has the unknown value {value}")
    return names[value]

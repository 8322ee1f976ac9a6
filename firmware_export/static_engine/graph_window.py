# SPDX-License-Identifier: Apache-2.0
"""How windows move over a map, by TensorFlow's rules for SAME and VALID padding."""

from __future__ import annotations

from dataclasses import dataclass

from firmware_export.static_engine.graph_operation import LARGEST_DIMENSION, LARGEST_STEP, Margins, Operation, describe
from firmware_export.static_engine.layers import Window


@dataclass(frozen=True)
class _Axis:
    """One direction of a window."""

    name: str
    size: int
    kernel: int
    stride: int
    dilation: int
    before: int
    after: int


def window_over_map(operation: Operation, kernel: tuple[int, int]) -> tuple[Window, tuple[int, int]]:
    """The window of an operator over its map, and the height and width of its output.

    Args:
        operation: its options have padding, stride and dilation.
        kernel: height and width of the window.

    Raises:
        ModelError: the window does not fit the map, or does not move.
    """
    operand = operation.map()
    options, margins = operation.op.options, operand.margins
    vertical, horizontal = (
        _Axis(
            "height", operand.size[0], kernel[0], options.stride[0], options.dilation[0], margins.top, margins.bottom
        ),
        _Axis("width", operand.size[1], kernel[1], options.stride[1], options.dilation[1], margins.left, margins.right),
    )
    pad_top, height = _place(operation, vertical)
    pad_left, width = _place(operation, horizontal)
    return Window(*kernel, *options.stride, *options.dilation, pad_top, pad_left), (height, width)


def margins_are_thin(margins: Margins, kernel: tuple[int, int], dilation: tuple[int, int]) -> bool:
    """Whether every window that touches the margins reaches into the map."""
    height, width = ((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
    return max(margins.top, margins.bottom) < height and max(margins.left, margins.right) < width


def _place(operation: Operation, axis: _Axis) -> tuple[int, int]:
    """Padding before the map, and number of windows."""
    for what, value, limit in (
        ("a window", axis.kernel, LARGEST_DIMENSION),
        ("a stride", axis.stride, LARGEST_STEP),
        ("a dilation", axis.dilation, LARGEST_STEP),
    ):
        if not 1 <= value <= limit:
            raise operation.error(f"expected {what} of 1 to {limit} along the {axis.name}, found {value}")
    reach = (axis.kernel - 1) * axis.dilation + 1
    if operation.op.options.padding == "SAME":
        count = -(-axis.size // axis.stride)
        before = max(0, (count - 1) * axis.stride + reach - axis.size) // 2
    else:
        padded = axis.before + axis.size + axis.after
        count = (padded - reach) // axis.stride + 1
        before = axis.before
        if count < 1:
            raise operation.error(
                f"expected a map with a {axis.name} of at least the window's {reach}, found "
                f"{describe(operation.operands[0].tensor)}"
            )
    if before > LARGEST_DIMENSION:
        raise operation.error(f"expected padding of at most {LARGEST_DIMENSION} along the {axis.name}, found {before}")
    return before, count

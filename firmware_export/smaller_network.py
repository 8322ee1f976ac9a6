# SPDX-License-Identifier: Apache-2.0
"""The same network with a smaller input, as far as memory goes: what would fit where this one does not."""

from __future__ import annotations

from dataclasses import replace

from boards.board import Board
from firmware_export.network_fit import PlannedNetwork, fit_firmware, plan_network
from firmware_export.static_engine.layers import Convolution, Depthwise, Feature, Graph, Layer, Mean, Pad, Pool, Window

_STEP = 8
_SMALLEST = 16


class ResizeError(Exception):
    """A layer fixes the size of the input."""


def largest_input_that_fits(planned: PlannedNetwork, board: Board, form: str) -> tuple[int, int] | None:
    """Height and width of an input with which the network would fit.

    Multiples of 8 pixels are tried, by halving, for a larger input needs more. Every size that is told was planned.

    Args:
        planned: the network that does not fit, with the board's kernel set.
        board: which.
        form: FRAME or ROWS of ``firmware``.

    Returns:
        The largest that fits; None if none does, or if a layer fixes the size.
    """
    network = planned.network
    sizes = _sizes(network.graph.features[network.graph.input])
    best: tuple[int, int] | None = None
    low, high = 0, len(sizes)
    while low < high:
        middle = (low + high) // 2
        try:
            graph = resized(network.graph, *sizes[middle])
        except ResizeError:
            return best
        smaller = plan_network(replace(network, graph=graph), planned.kernel_set)
        if fit_firmware(smaller, board, form).fits:
            best, low = sizes[middle], middle + 1
        else:
            high = middle
    return best


def resized(graph: Graph, height: int, width: int) -> Graph:
    """The graph for an input of another size. Its sizes are right, its arithmetic need not be: means divide by others.

    A layer whose output was as large as its input over its stride stays so (padding "same"); else only whole windows
    inside the map count ("valid").

    Raises:
        ResizeError: a layer needs the very size it has.
    """
    features = list(graph.features)
    features[graph.input] = replace(features[graph.input], height=height, width=width)
    layers: list[Layer] = []
    for layer in graph.layers:
        before = graph.features[layer.inputs[0]]
        after = graph.features[layer.output]
        now = features[layer.inputs[0]]
        if any((features[i].height, features[i].width) != (now.height, now.width) for i in layer.inputs):
            raise ResizeError
        new: Layer = layer
        if isinstance(layer, Convolution | Depthwise | Pool):
            window, size = _resized_window(layer.window, before, after, now)
            new = replace(layer, window=window)
        elif isinstance(layer, Mean):
            size = (1, 1)
        elif isinstance(layer, Pad):
            size = (now.height + after.height - before.height, now.width + after.width - before.width)
        else:
            size = (now.height, now.width)
        if min(size) < 1:
            raise ResizeError
        layers.append(new)
        features[layer.output] = replace(after, height=size[0], width=size[1])
    return replace(graph, features=tuple(features), layers=tuple(layers))


def _resized_window(window: Window, before: Feature, after: Feature, now: Feature) -> tuple[Window, tuple[int, int]]:
    top, height = _along(
        now.height,
        before.height,
        after.height,
        window.kernel_height,
        window.stride_y,
        window.dilation_y,
        window.pad_top,
    )
    left, width = _along(
        now.width, before.width, after.width, window.kernel_width, window.stride_x, window.dilation_x, window.pad_left
    )
    return replace(window, pad_top=top, pad_left=left), (height, width)


def _along(now: int, before: int, after: int, kernel: int, stride: int, dilation: int, pad: int) -> tuple[int, int]:
    """Padding in front, and size of the output, in one direction."""
    reach = (kernel - 1) * dilation + 1
    if after == 1 and pad == 0 and reach == before:
        # The window is the whole map: another map needs other weights.
        if now != before:
            raise ResizeError
        return pad, after
    if after == -(-before // stride):
        output = -(-now // stride)
        return max(0, (output - 1) * stride + reach - now) // 2, output
    padding = max(pad, (after - 1) * stride + reach - before)
    return pad, (now + padding - reach) // stride + 1


def _sizes(feature: Feature) -> list[tuple[int, int]]:
    """Smaller inputs of about the same aspect ratio, smallest first."""
    heights = range(_SMALLEST, feature.height, _STEP)
    return [
        (height, max(_SMALLEST, round(feature.width * height / feature.height / _STEP) * _STEP)) for height in heights
    ]

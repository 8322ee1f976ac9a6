# SPDX-License-Identifier: Apache-2.0
"""The kernels in portable C, one for every layer: the readable reference, and what slow cores run."""

from __future__ import annotations

import numpy as np

from firmware_export.static_engine.kernel import Kernel
from firmware_export.static_engine.layers import (
    Addition,
    Convolution,
    Depthwise,
    Graph,
    Layer,
    Lookup,
    Mean,
    Pad,
    Pool,
    Softmax,
)


def kernel_for(layer: Layer, graph: Graph) -> Kernel:
    """The portable kernel of a layer.

    Raises:
        TypeError: a kind of layer that no kernel executes.
    """
    if isinstance(layer, Convolution):
        return _convolution(layer, graph)
    if isinstance(layer, Depthwise):
        # A channel's weights together; an offset for every row of the window.
        weights = np.ascontiguousarray(layer.weights.transpose(2, 0, 1)).tobytes()
        return _kernel("depthwise", weights=weights, scratch_bytes=4 * layer.window.kernel_height)
    if isinstance(layer, Pool):
        if layer.is_average:
            # A sum for every channel.
            return _kernel("average_pool", scratch_bytes=4 * graph.features[layer.output].channels)
        return _kernel("max_pool")
    simple = {Addition: "add", Mean: "mean", Pad: "pad", Lookup: "lookup", Softmax: "softmax"}
    return _kernel(simple[type(layer)])


def reads_input_in_place(layer: Convolution, graph: Graph) -> bool:
    """Whether the window's values lie one after the other in the arena, as for a fully connected layer.

    The whole map is then in the ring, for the window is as large as the map.
    """
    feature, window = graph.features[layer.inputs[0]], layer.window
    return (
        (window.kernel_height, window.kernel_width) == (feature.height, feature.width)
        and (window.pad_top, window.pad_left, window.dilation_y, window.dilation_x) == (0, 0, 1, 1)
        and graph.features[layer.output].size_bytes == graph.features[layer.output].channels
    )


def _convolution(layer: Convolution, graph: Graph) -> Kernel:
    weights = layer.weights.tobytes()
    if layer.window.is_pointwise:
        return _kernel("pointwise", weights=weights)
    # Two windows, for two pixels are computed at a time.
    scratch = 0 if reads_input_in_place(layer, graph) else 2 * layer.weights[0].size
    return _kernel("conv", weights=weights, scratch_bytes=scratch)


def _kernel(name: str, *, weights: bytes = b"", scratch_bytes: int = 0) -> Kernel:
    return Kernel(f"litesight_{name}_step", (f"litesight_{name}.c",), weights, scratch_bytes)

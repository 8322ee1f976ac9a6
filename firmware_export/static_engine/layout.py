# SPDX-License-Identifier: Apache-2.0
"""Which feature maps are stored planar: a row as one run of pixels per channel.

A depthwise layer reads few pixels of a channel after the other, so runs of one channel suit it. Everything else sums
over channels and wants them together.
"""

from __future__ import annotations

from firmware_export.static_engine.layers import Convolution, Depthwise, Graph


def planar_features(graph: Graph) -> frozenset[int]:
    """Indices of the features that a convolution writes and depthwise layers alone read."""
    written = {layer.output for layer in graph.layers if isinstance(layer, Convolution)}
    for_depthwise = {index for layer in graph.layers if isinstance(layer, Depthwise) for index in layer.inputs}
    for_others = {index for layer in graph.layers if not isinstance(layer, Depthwise) for index in layer.inputs}
    return frozenset((written & for_depthwise) - for_others - {graph.output})

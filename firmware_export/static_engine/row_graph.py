# SPDX-License-Identifier: Apache-2.0
"""What the planner needs to know of a network: how many bytes a row has, and which rows a step reads."""

from __future__ import annotations

from collections.abc import Sequence

from firmware_export.static_engine.layers import Convolution, Depthwise, Graph, Layer, Mean, Pad, Pool
from firmware_export.static_engine.plan import RowGraph, RowOp, RowTensor

_SUM_BYTES = 4


def row_graph(graph: Graph, scratch_bytes: Sequence[int]) -> RowGraph:
    """The network in rows. Op 0 is the source, which makes the rows of the input; op i + 1 is layer i.

    Tensors keep the indices of the features. They are called after the layer that writes them, because names in files
    can be sentences.

    Args:
        graph: the network.
        scratch_bytes: what each layer's kernel needs during a step.
    """
    names = {layer.output: layer.name for layer in graph.layers}
    names[graph.input] = "input"
    tensors = tuple(
        RowTensor(names[index], feature.height, feature.row_bytes) for index, feature in enumerate(graph.features)
    )
    ops = [_row_op(graph, layer, scratch) for layer, scratch in zip(graph.layers, scratch_bytes, strict=True)]
    return RowGraph(tensors, (RowOp("source", (), graph.input), *ops), graph.output)


def _row_op(graph: Graph, layer: Layer, scratch_bytes: int) -> RowOp:
    if isinstance(layer, Convolution | Depthwise | Pool):
        window = layer.window
        return RowOp(
            layer.name,
            layer.inputs,
            layer.output,
            window_rows=(window.kernel_height - 1) * window.dilation_y + 1,
            stride=window.stride_y,
            pad_top=window.pad_top,
            scratch_bytes=scratch_bytes,
        )
    if isinstance(layer, Mean):
        sums = _SUM_BYTES * graph.features[layer.output].channels
        return RowOp(
            layer.name, layer.inputs, layer.output, is_sink=True, scratch_bytes=scratch_bytes, state_bytes=sums
        )
    # A padded map is its input, further down.
    pad_top = layer.top if isinstance(layer, Pad) else 0
    return RowOp(layer.name, layer.inputs, layer.output, pad_top=pad_top, scratch_bytes=scratch_bytes)

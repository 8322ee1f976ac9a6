# SPDX-License-Identifier: Apache-2.0
"""The same network with fewer channels, as far as memory goes: what would fit where this one's weights do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from boards.board import Board
from firmware_export.network_fit import PlannedNetwork, fit_firmware, plan_network
from firmware_export.static_engine.layers import Convolution, Depthwise, Graph, Layer, Requantization

_PERCENTS = range(5, 100, 5)
_DIVISOR = 8  # of channels, as in training


class ChannelsError(Exception):
    """Layers that are added would not have equally many channels."""


def most_channels_that_fit(planned: PlannedNetwork, board: Board, form: str) -> int | None:
    """The share of the channels, in per cent, with which the network would fit.

    Steps of 5 are tried, by halving, for more channels need more. Every share that is told was planned.

    Args:
        planned: the network that does not fit, with the board's kernel set.
        board: which.
        form: FRAME or ROWS of ``firmware``.

    Returns:
        The largest that fits; None if none does.
    """
    network = planned.network
    best: int | None = None
    low, high = 0, len(_PERCENTS)
    while low < high:
        middle = (low + high) // 2
        try:
            graph = narrowed(network.graph, _PERCENTS[middle])
        except ChannelsError:
            return best
        smaller = plan_network(replace(network, graph=graph), planned.kernel_set)
        if fit_firmware(smaller, board, form).fits:
            best, low = _PERCENTS[middle], middle + 1
        else:
            high = middle
    return best


def narrowed(graph: Graph, percent: int) -> Graph:
    """The graph with a share of its channels. Its sizes are right, its numbers mean nothing.

    Input and output keep theirs, and so does what is tied to them: only a convolution can change their number.

    Raises:
        ChannelsError: two maps that are added would differ.
    """
    tied = _tied(graph)
    features = list(graph.features)
    layers: list[Layer] = []
    for layer in graph.layers:
        old, new = graph.features[layer.output].channels, features[layer.inputs[0]].channels
        if any(features[index].channels != new for index in layer.inputs):
            raise ChannelsError
        if isinstance(layer, Convolution):
            channels = old if layer.output in tied else _share(old, percent)
            shape = (channels, *layer.weights.shape[1:3], new)
            layers.append(_with_weights(layer, shape, channels))
        else:
            channels = new * old // graph.features[layer.inputs[0]].channels
            if isinstance(layer, Depthwise):
                layers.append(_with_weights(layer, (*layer.weights.shape[:2], channels), channels))
            else:
                layers.append(layer)
        features[layer.output] = replace(features[layer.output], channels=channels)
    return replace(graph, features=tuple(features), layers=tuple(layers))


def _tied(graph: Graph) -> frozenset[int]:
    """The features whose channels are those of the input or the output."""
    tied = {graph.input, graph.output}
    joined = [{*layer.inputs, layer.output} for layer in graph.layers if not isinstance(layer, Convolution)]
    grown = True
    while grown:
        more = {index for features in joined if features & tied for index in features} - tied
        tied |= more
        grown = bool(more)
    return frozenset(tied)


def _share(channels: int, percent: int) -> int:
    return max(_DIVISOR, round(channels * percent / 100 / _DIVISOR) * _DIVISOR) if channels > _DIVISOR else channels


def _with_weights(layer: Convolution | Depthwise, shape: tuple[int, ...], channels: int) -> Layer:
    scale: Requantization = layer.requantization
    return replace(
        layer,
        weights=np.resize(layer.weights, shape),
        bias=np.resize(layer.bias, channels),
        requantization=replace(
            scale, multipliers=np.resize(scale.multipliers, channels), shifts=np.resize(scale.shifts, channels)
        ),
    )

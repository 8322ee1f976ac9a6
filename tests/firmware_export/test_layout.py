# SPDX-License-Identifier: Apache-2.0
"""A map is stored planar where depthwise layers alone read it, and nowhere else."""

from __future__ import annotations

import dataclasses

from firmware_export.static_engine.graph import build_graph
from firmware_export.static_engine.layers import Graph
from firmware_export.static_engine.layout import planar_features
from firmware_export.tflite_reader import read_model
from tests.firmware_export.tflite_builder import RandomNetwork


def graph_of(net: RandomNetwork, output: int) -> Graph:
    return build_graph(read_model(net.finish(output)))


def planar_names(graph: Graph) -> list[str]:
    written = {layer.output: layer.name for layer in graph.layers}
    return sorted(written.get(index, "input") for index in planar_features(graph))


def test_what_a_convolution_writes_for_depthwise_layers_is_planar() -> None:
    net = RandomNetwork()
    x = net.conv(net.depthwise(net.conv(net.depthwise(net.input(6, 6, 3)), 4)), 5)
    assert planar_names(graph_of(net, net.fully_connected(x, 2))) == ["conv_1"]


def test_a_map_that_others_read_too_is_not() -> None:
    net = RandomNetwork()
    x = net.conv(net.input(6, 6, 3), 4)
    assert planar_names(graph_of(net, net.add(net.depthwise(x), x))) == []


def test_the_output_of_the_network_is_not() -> None:
    net = RandomNetwork()
    graph = graph_of(net, net.depthwise(net.conv(net.input(6, 6, 3), 4)))
    assert planar_names(graph) == ["conv_0"]
    assert planar_names(dataclasses.replace(graph, output=graph.layers[0].output)) == []

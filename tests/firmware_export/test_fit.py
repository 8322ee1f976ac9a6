# SPDX-License-Identifier: Apache-2.0
"""What fits where: regions, what is over, and what would fit instead."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from boards.board import CODE, CONSTANTS, DATA, Board
from boards.catalogue import all_boards, find
from device.errors import LitesightError
from firmware_export import fit, fit_advice, network_fit, smaller_network
from firmware_export.firmware import FRAME, ROWS
from firmware_export.fit import Part
from firmware_export.network_fit import Network, fit_firmware, plan_for, plan_network, read_network
from firmware_export.smaller_network import ResizeError, largest_input_that_fits, resized
from firmware_export.static_engine.layers import Graph
from tests.firmware_export.static_networks import efficientnet, mobilenet, resnet
from tests.firmware_export.tflite_builder import RandomNetwork

SMALL = find("netduinoplus2")


def board_with(sram: int, flash: int = 1 << 20) -> Board:
    lengths = {"sram": sram, "flash": flash}
    memory = tuple(replace(region, length=lengths.get(region.name, region.length)) for region in SMALL.memory)
    return replace(SMALL, id="small", memory=memory)


def network_of(tmp_path: Path, data: bytes) -> Network:
    path = tmp_path / "network.tflite"
    path.write_bytes(data)
    return read_network(path)


def mobile(side: int) -> bytes:
    """A network whose maps shrink to one pixel, whatever its input's size."""
    net = RandomNetwork(1)
    x = net.conv(net.input(side, side, 3), 8, kernel=3, stride=2)
    for kernel, stride in ((3, 1), (5, 2)):
        x = net.conv(net.depthwise(net.conv(x, 24), kernel=kernel, stride=stride), 8)
    return net.finish(net.fully_connected(net.mean(x), 5))


def test_parts_add_up_by_region() -> None:
    parts = (Part("a", 10, CODE), Part("b", 20, CONSTANTS), Part("c", 30, DATA), Part("d", 7, DATA))
    found = fit.place(board_with(100, 100), parts)
    assert [(region.name, region.needed, region.left) for region in found.regions] == [
        ("flash", 30, 70),
        ("sram", 37, 63),
    ]
    assert found.fits
    full = fit.place(board_with(36, 29), parts)
    assert not full.fits
    assert fit.shortage(full) == (
        "flash (flash, 29 bytes) is short of 1 bytes; sram (ram, 36 bytes) is short of 1 bytes"
    )
    assert fit.place(board_with(37, 30), parts).fits, "to the last byte"


def test_large_constants_go_where_there_is_room_as_the_linker_puts_them() -> None:
    board = find("mps2-an386")
    too_large = (Part("code", 1, CODE), Part("weights", 0x40_0000, CONSTANTS))
    assert [region.name for region in fit.place(board, too_large).regions] == ["ssram1", "psram"]
    assert [region.name for region in fit.place(board, (too_large[0], Part("weights", 9, CONSTANTS))).regions] == [
        "ssram1"
    ]
    hopeless = fit.place(board, (Part("weights", 1 << 30, CONSTANTS),))
    assert not hopeless.fits
    assert [region.name for region in hopeless.regions] == ["psram"], "the largest region is the least short"


def test_rows_save_the_frame(tmp_path: Path) -> None:
    network = network_of(tmp_path, mobile(48))
    planned = plan_for(network, SMALL)
    ram = {form: fit_firmware(planned, SMALL, form).regions[1].needed for form in (FRAME, ROWS)}
    assert ram[FRAME] - ram[ROWS] == 48 * 48 * 3


def test_a_shortage_is_told_with_what_would_fit(tmp_path: Path) -> None:
    network = network_of(tmp_path, mobile(64))
    planned = plan_for(network, SMALL)
    needed = {form: fit_firmware(planned, SMALL, form).regions[1].needed for form in (FRAME, ROWS)}
    board = board_with(needed[ROWS])
    with pytest.raises(LitesightError) as caught:
        fit_advice.require_fit(planned, board, FRAME)
    text = str(caught.value)
    assert f"does not fit small: sram (ram, {needed[ROWS]:,} bytes) is short of {64 * 64 * 3:,} bytes" in text
    assert "with --input rows it fits" in text
    size = largest_input_that_fits(planned, board, FRAME)
    assert size is not None
    assert f"with an input of {size[0]}×{size[1]} it would fit" in text
    assert "it fits mps2-an385, mps2-an386, mps2-an500, mps2-an505, mps3-an547, netduinoplus2" in text
    assert fit_advice.advice(planned, board, ROWS) == ()
    fit_advice.require_fit(planned, board, ROWS)


def test_the_largest_size_that_fits_fits_and_the_next_does_not(tmp_path: Path) -> None:
    network = network_of(tmp_path, mobile(64))
    planned = plan_for(network, SMALL)
    board = board_with(fit_firmware(planned, SMALL, FRAME).regions[1].needed - 5000)
    size = largest_input_that_fits(planned, board, FRAME)
    assert size is not None
    fits = []
    for side in (size[0], size[0] + 8):
        real = plan_network(network_of(tmp_path, mobile(side)), planned.kernel_set)
        fits.append(fit_firmware(real, board, FRAME).fits)
    assert fits == [True, False]


@pytest.mark.parametrize("make", [efficientnet, resnet, mobilenet])
def test_a_graph_of_its_own_size_is_the_same_graph(tmp_path: Path, make: object) -> None:
    graph = network_of(tmp_path, make()).graph  # type: ignore[operator]
    source = graph.features[graph.input]
    again = resized(graph, source.height, source.width)
    assert again.features == graph.features
    assert [getattr(layer, "window", None) for layer in again.layers] == [
        getattr(layer, "window", None) for layer in graph.layers
    ]


@pytest.mark.parametrize("side", [24, 31, 40])
def test_a_resized_graph_has_the_sizes_of_the_real_one(tmp_path: Path, side: int) -> None:
    def sizes(graph: Graph) -> list[tuple[int, int]]:
        return [(feature.height, feature.width) for feature in graph.features]

    real = network_of(tmp_path, mobile(side)).graph
    made = resized(network_of(tmp_path, mobile(64)).graph, side, side)
    assert sizes(made) == sizes(real)
    assert [getattr(layer, "window", None) for layer in made.layers] == [
        getattr(layer, "window", None) for layer in real.layers
    ]


def test_a_layer_over_the_whole_map_cannot_be_resized(tmp_path: Path) -> None:
    net = RandomNetwork(1)
    x = net.conv(net.input(32, 32, 3), 4, kernel=3, stride=2)
    network = network_of(tmp_path, net.finish(net.fully_connected(net.flatten(x), 5)))
    with pytest.raises(ResizeError):
        resized(network.graph, 24, 24)
    planned = plan_for(network, SMALL)
    assert largest_input_that_fits(planned, board_with(4096), FRAME) is None
    assert any("it fits" in line for line in fit_advice.advice(planned, board_with(4096), FRAME))


def test_no_room_for_weights_asks_for_fewer_channels(tmp_path: Path) -> None:
    planned = plan_for(network_of(tmp_path, mobile(32)), SMALL)
    found = fit_advice.advice(planned, board_with(1 << 17, flash=1000), FRAME)
    assert found[0] == "fewer channels need less flash (litesight train --width)"


def test_the_biggest_come_first(tmp_path: Path) -> None:
    planned = plan_for(network_of(tmp_path, mobile(32)), SMALL)
    tensors = network_fit.biggest_tensors(planned, 100)
    assert [tensor.bytes for tensor in tensors] == sorted((tensor.bytes for tensor in tensors), reverse=True)
    assert len(tensors) == len(planned.network.graph.features)
    for tensor in tensors:
        assert tensor.bytes == tensor.rows * tensor.shape[1] * tensor.shape[2]
    layers = network_fit.biggest_layers(planned, 2)
    assert layers[0][1] >= layers[1][1] > 0


def test_every_board_can_be_asked(tmp_path: Path) -> None:
    network = network_of(tmp_path, mobile(32))
    assert fit_advice.boards_that_fit(plan_for(network, SMALL), FRAME) == tuple(board.id for board in all_boards())
    assert smaller_network.largest_input_that_fits(plan_for(network, SMALL), board_with(100), ROWS) is None

# SPDX-License-Identifier: Apache-2.0
"""What fits where: regions, what is over, and what would fit instead."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from boards.board import CODE, CONSTANTS, DATA, Board
from boards.catalogue import all_boards, find
from device.errors import LitesightError
from device.manifest import input_fields
from device.preprocess import InputSpec
from firmware_export import fit, fit_advice, network_fit, smaller_network
from firmware_export.firmware import FRAME, ROWS
from firmware_export.fit import Part
from firmware_export.narrower_network import most_channels_that_fit, narrowed
from firmware_export.network_fit import Network, fit_firmware, plan_for, plan_network, read_network
from firmware_export.smaller_network import ResizeError, largest_input_that_fits, resized
from firmware_export.static_engine.layers import Convolution, Depthwise, Graph
from firmware_export.static_export import StaticMemory
from tests.firmware_export.conftest import MakeBundle
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
    full = fit.place(board_with(37, 30), parts)
    assert full.fits, "to the last byte"
    assert fit.shortage(full) == ""
    apart = replace(SMALL, memory=tuple(replace(r, holds=r.holds - {CONSTANTS}) for r in SMALL.memory))
    assert [region.needed for region in fit.place(apart, parts).regions] == [30, 37], "else they are beside the code"


def test_large_constants_go_where_there_is_room_as_the_linker_puts_them() -> None:
    board = find("mps2-an386")
    too_large = (Part("code", 1, CODE), Part("weights", 0x40_0000, CONSTANTS))
    assert [region.name for region in fit.place(board, too_large).regions] == ["ssram1", "psram"]
    assert [region.name for region in fit.place(board, (too_large[0], Part("weights", 9, CONSTANTS))).regions] == [
        "ssram1"
    ]
    full = (too_large[0], Part("weights", 0x40_0000 - 1, CONSTANTS))
    assert [region.name for region in fit.place(board, full).regions] == ["ssram1"], "to the last byte"
    hopeless = fit.place(board, (Part("weights", 1 << 30, CONSTANTS),))
    assert not hopeless.fits
    assert [region.name for region in hopeless.regions] == ["psram"], "the largest region is the least short"


def test_an_export_needs_all_that_it_says(tmp_path: Path) -> None:
    memory = StaticMemory(
        weights_bytes=1000,
        network_bytes=200,
        table_bytes=30,
        golden_bytes=9999,
        arena_bytes=4000,
        engine_bytes=500,
        workspace_bytes=60,
        output_bytes=7,
    )
    flash = fit.CODE_ALLOWANCE_BYTES + memory.flash_bytes
    ram = fit.VARIABLES_ALLOWANCE_BYTES + memory.ram_bytes + SMALL.build.stack_bytes
    fit.require(memory, board_with(ram, flash))
    with pytest.raises(LitesightError, match=r"sram \(ram, [\d,]+ bytes\) is short of 1 bytes"):
        fit.require(memory, board_with(ram - 1, flash))
    with pytest.raises(LitesightError, match=r"flash \(flash, [\d,]+ bytes\) is short of 2 bytes"):
        fit.require(memory, board_with(ram, flash - 2))


@pytest.mark.parametrize(("mean", "table_bytes"), [(0.0, 0), (3.0, 3 * 256)])
def test_the_tables_of_the_interface_are_counted(make_bundle: MakeBundle, mean: float, table_bytes: int) -> None:
    spec = InputSpec(16, 16)
    moved = replace(spec, mean=tuple(value + mean for value in spec.mean))
    network = read_network(make_bundle(input=input_fields(moved)))
    assert network.input_table_bytes == table_bytes
    planned = plan_for(network, SMALL)
    parts = {part.name: part.bytes for part in fit_firmware(planned, SMALL, ROWS).parts}
    assert parts["biases, layers, tables"] == planned.tables.table_bytes + 1024 + table_bytes


def test_edges_of_other_types_are_cut_off_as_for_a_build(tmp_path: Path) -> None:
    net = RandomNetwork(1)
    image = net.tensor((1, 8, 8, 3), dtype="float32")
    net.graph_inputs.append(image)
    scores = net.fully_connected(net.conv(net.quantize(image, scale=0.02), 4, kernel=3), 5)
    network = network_of(tmp_path, net.build(net.graph_inputs, (net.dequantize(scores),)))
    assert len(network.graph.layers) == 2


def test_a_file_that_no_chip_holds_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_fit, "_LARGEST_TFLITE_BYTES", 1000)
    with pytest.raises(LitesightError, match="no microcontroller holds that"):
        network_of(tmp_path, bytes(1001))


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


def windows(height: int, width: int) -> bytes:
    """A network with padding of every kind."""
    net = RandomNetwork(1)
    x = net.conv(net.input(height, width, 3), 4, kernel=(3, 5), stride=2, padding="VALID")
    x = net.pool(net.pad(x, top=1, bottom=2, left=3), kernel=(3, 2), stride=(2, 1), padding="VALID")
    return net.finish(net.fully_connected(net.mean(net.depthwise(x, kernel=3, stride=2)), 5))


@pytest.mark.parametrize(("height", "width"), [(16, 24), (25, 31), (33, 47)])
def test_a_resized_graph_keeps_its_paddings(tmp_path: Path, height: int, width: int) -> None:
    real = network_of(tmp_path, windows(height, width)).graph
    made = resized(network_of(tmp_path, windows(48, 64)).graph, height, width)
    assert [(feature.height, feature.width) for feature in made.features] == [
        (feature.height, feature.width) for feature in real.features
    ]


def test_an_input_smaller_than_a_window_is_no_size(tmp_path: Path) -> None:
    graph = network_of(tmp_path, windows(48, 64)).graph
    with pytest.raises(ResizeError):
        resized(graph, 2, 64)


def test_a_smaller_input_has_the_shape_of_the_larger(tmp_path: Path) -> None:
    planned = plan_for(network_of(tmp_path, windows(48, 96)), SMALL)
    board = board_with(fit_firmware(planned, SMALL, FRAME).regions[1].needed - 6000)
    size = largest_input_that_fits(planned, board, FRAME)
    assert size is not None
    assert size[1] == 2 * size[0]


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
    both = fit_advice.advice(planned, board_with(6000, flash=1000), FRAME)
    assert not any("with an input of" in line for line in both), "of a smaller input the weights are as many"


def test_the_most_channels_that_fit_are_told(tmp_path: Path) -> None:
    planned = plan_for(network_of(tmp_path, mobile(32)), SMALL)
    board = board_with(1 << 17, flash=fit_firmware(planned, SMALL, FRAME).regions[0].needed - 300)
    percent = most_channels_that_fit(planned, board, FRAME)
    assert percent is not None
    assert f"with {percent}% of the channels it would fit (litesight train --width)" in fit_advice.advice(
        planned, board, FRAME
    )
    fits = []
    for share in (percent, percent + 5):
        graph = narrowed(planned.network.graph, share)
        smaller = plan_network(replace(planned.network, graph=graph), planned.kernel_set)
        fits.append(fit_firmware(smaller, board, FRAME).fits)
    assert fits == [True, False]


def test_with_fewer_channels_a_graph_is_that_of_the_narrower_network(tmp_path: Path) -> None:
    def make(width: int) -> Graph:
        net = RandomNetwork(1)
        x = net.conv(net.input(24, 24, 3), 2 * width, kernel=3, stride=2)
        x = net.add(x, net.conv(net.depthwise(net.conv(x, 6 * width), kernel=3), 2 * width))
        x = net.depthwise(net.conv(x, width), kernel=5, multiplier=2, stride=2)
        return network_of(tmp_path, net.finish(net.softmax(net.fully_connected(net.mean(x), 20)))).graph

    def sizes(graph: Graph) -> list[tuple[int, ...]]:
        features = [(feature.height, feature.width, feature.channels) for feature in graph.features]
        filters = [layer for layer in graph.layers if isinstance(layer, Convolution | Depthwise)]
        return [*features, *((*layer.weights.shape, layer.bias.size) for layer in filters)]

    assert sizes(narrowed(make(32), 50)) == sizes(make(16))
    assert sizes(narrowed(make(32), 100)) == sizes(make(32))


def test_what_is_added_to_the_input_keeps_its_channels(tmp_path: Path) -> None:
    net = RandomNetwork(1)
    x = net.input(8, 8, 16)
    x = net.add(x, net.conv(net.conv(x, 32), 16))
    graph = network_of(tmp_path, net.finish(net.fully_connected(net.mean(x), 4))).graph
    assert [feature.channels for feature in narrowed(graph, 50).features] == [16, 16, 16, 16, 16, 4]


def test_a_network_for_which_no_board_has_room_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = RandomNetwork(1)
    planned = plan_for(network_of(tmp_path, net.finish(net.fully_connected(net.input(32, 32, 3), 5))), SMALL)
    monkeypatch.setattr(fit_advice, "all_boards", lambda: (board_with(100),))
    assert fit_advice.advice(planned, board_with(100), FRAME) == (
        "no board of the kit has room for it; train a smaller network",
    )


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

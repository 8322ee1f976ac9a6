# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import io
from dataclasses import replace
from xml.etree import ElementTree

from hypothesis import given, settings

from firmware_export.static_engine.memory_map import (
    entries,
    memory_csv,
    memory_text,
    needed_bytes,
    ordinary_peak_bytes,
)
from firmware_export.static_engine.memory_picture import memory_svg
from firmware_export.static_engine.plan import Plan, RowGraph, Storage
from firmware_export.static_engine.plan_check import find_fault
from firmware_export.static_engine.planner import plan
from tests.firmware_export.row_graphs import GraphBuilder, efficientnet_lite, row_graphs

_SVG = "{http://www.w3.org/2000/svg}"


def _small() -> tuple[RowGraph, Plan]:
    builder = GraphBuilder(4, 8)
    wide = builder.window(0, 3, 16, scratch_bytes=1000)
    builder.sink(builder.window(wide, 1, 4), 4)
    steps = (0, 0, 1, 2, 0, 1, 2, 0, 1, 2, 1, 2, 3, 3, 3, 3)
    storages = (Storage(16, 3), Storage(40, 1), Storage(0, 4), Storage(32, 1))
    found = Plan(storages, (-1, 56, -1, -1), (-1, -1, -1, 16), ((0, 3), (3, 4)), steps, 1056)
    assert find_fault(builder.graph(), found) == ""
    return builder.graph(), found


def test_a_text_that_tells_something_else() -> None:
    assert memory_text(*_small()) == (
        "arena: 1,056 bytes, 16 steps; every map stored whole would take 96 bytes at the busiest layer\n"
        "  op        needs  what     from byte  to byte  bytes    rows\n"
        "\n"
        "segment 1 of 2, source to window_2: 1,052 bytes at its busiest step\n"
        "  source       32  ring            16       40     24  3 of 4\n"
        "  window_1  1,052  ring            40       56     16  1 of 4\n"
        "                   scratch         56    1,056  1,000\n"
        "  window_2     52  whole            0       16     16  4 of 4\n"
        "\n"
        "segment 2 of 2, mean_3: 32 bytes at its busiest step\n"
        "  mean_3       32  whole           32       36      4  1 of 1\n"
        "                   state           16       32     16\n"
    )


def test_a_csv_that_misses_a_buffer() -> None:
    graph, found = _small()

    lines = list(csv.DictReader(io.StringIO(memory_csv(graph, found))))

    assert [(line["op"], line["kind"], line["tensor"]) for line in lines] == [
        ("source", "ring", "input"),
        ("window_1", "ring", "window_1"),
        ("window_1", "scratch", ""),
        ("window_2", "whole", "window_2"),
        ("mean_3", "whole", "mean_3"),
        ("mean_3", "state", ""),
    ]
    assert max(int(line["offset"]) + int(line["size_bytes"]) for line in lines) == found.arena_bytes
    assert lines[3] == {
        "segment": "1",
        "op": "window_2",
        "kind": "whole",
        "tensor": "window_2",
        "offset": "0",
        "size_bytes": "16",
        "rows": "4",
        "height": "4",
        "row_bytes": "4",
        "first_op": "2",
        "last_op": "3",
    }


def test_ordinary_execution_counted_wrongly() -> None:
    # The expansion at 48x48 and what it becomes: 48 * 48 * 48 + 24 * 24 * 48.
    assert ordinary_peak_bytes(efficientnet_lite(96, quarter=True)) == 138_240

    builder = GraphBuilder(2, 10)
    x = builder.window(0, 1, 1)
    builder.window(builder.window(x, 1, 100), 1, 1)
    kept = builder.graph()
    # A skip over the busiest layer counts there; so does an output that is made early.
    assert ordinary_peak_bytes(kept) == 202
    assert ordinary_peak_bytes(replace(kept, output=x)) == 204
    builder.addition(x, len(builder.tensors) - 1)
    assert ordinary_peak_bytes(builder.graph()) == 204


def test_needed_bytes_that_are_not_the_busiest_steps() -> None:
    graph = efficientnet_lite(96, quarter=True)
    found = plan(graph)

    assert max(needed_bytes(graph, found)) == found.arena_bytes


def test_a_picture_of_something_else() -> None:
    graph, found = _small()

    root = ElementTree.fromstring(memory_svg(graph, found, "small"))

    hovered = [group.findtext(f"{_SVG}title") for group in root.iter(f"{_SVG}g")]
    assert hovered == [
        "input: bytes 16 to 40 (24), 3 of 4 rows of 8",
        "window_1: bytes 40 to 56 (16), 1 of 4 rows of 16",
        "scratch of window_1: bytes 56 to 1,056 (1,000)",
        "window_2: bytes 0 to 16 (16), 4 of 4 rows of 4",
        "mean_3: bytes 32 to 36 (4), 1 of 1 rows of 4",
        "state of mean_3: bytes 16 to 32 (16)",
    ]
    texts = {text.text for text in root.iter(f"{_SVG}text")}
    assert {"small", "segment 1", "source", "mean_3", "1,056", "ring of a few rows", "scratch", "state"} <= texts


def test_boxes_of_the_wrong_size() -> None:
    graph, found = _small()
    root = ElementTree.fromstring(memory_svg(graph, found, "small"))

    boxes = [rectangle for group in root.iter(f"{_SVG}g") for rectangle in group.iter(f"{_SVG}rect")]
    heights = [float(box.get("height", "")) for box in boxes]
    bottoms = [float(box.get("y", "")) + height for box, height in zip(boxes, heights, strict=True)]
    per_byte = heights[2] / 1000

    for entry, height, bottom in zip(entries(graph, found), heights, bottoms, strict=True):
        assert abs(height - entry.size_bytes * per_byte) < 0.11
        assert abs(max(bottoms) - bottom - entry.offset * per_byte) < 0.21
    widths = [float(box.get("width", "")) for box in boxes]
    assert widths[0] == 2 * widths[2]  # from the source to the op that reads it
    shades = [rectangle for rectangle in root.iter(f"{_SVG}rect") if rectangle.get("class") == "shade ring"]
    assert [float(shade.get("width", "")) for shade in shades] == [3 * widths[2]]  # only the input has rows to keep


def test_names_that_break_the_picture() -> None:
    graph, found = _small()
    named = replace(graph, tensors=(replace(graph.tensors[0], name='<b> & "c"'), *graph.tensors[1:]))

    root = ElementTree.fromstring(memory_svg(named, found, "a < b"))

    assert root.findtext(f"{_SVG}title") == "a < b: memory map"
    assert '<b> & "c": bytes 16 to 40 (24), 3 of 4 rows of 8' in [title.text for title in root.iter(f"{_SVG}title")]


@given(row_graphs())
@settings(max_examples=20)
def test_a_network_that_cannot_be_drawn(graph: RowGraph) -> None:
    found = plan(graph)

    root = ElementTree.fromstring(memory_svg(graph, found, "any"))

    assert len(list(root.iter(f"{_SVG}g"))) == len(entries(graph, found))
    assert memory_text(graph, found).count("segment ") == len(found.segments)

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from firmware_export.static_engine.layers import (
    Addition,
    Convolution,
    Depthwise,
    Feature,
    Graph,
    Layer,
    Lookup,
    Mean,
    Pad,
    Pool,
    Requantization,
    Window,
)
from firmware_export.static_engine.plan import RowOp, RowTensor
from firmware_export.static_engine.row_graph import row_graph

_ONE = np.ones(1, dtype=np.int32)
_BYTES = np.zeros(1, dtype=np.int8)
_REQUANTIZATION = Requantization(_ONE, _ONE, 0, -128, 127)


def _convolution(
    kind: type[Convolution] | type[Depthwise], name: str, source: int, target: int, window: Window
) -> Layer:
    return kind(name, name, (source,), target, window, _BYTES, _ONE, _REQUANTIZATION, 1)


def _graph() -> Graph:
    shapes = [(9, 10, 3), (11, 12, 3), (5, 6, 8), (5, 6, 8), (5, 6, 8), (3, 4, 8), (1, 1, 8), (1, 1, 2), (1, 1, 2)]
    features = tuple(Feature(f"a long name {index}", *shape, 1.0, 0) for index, shape in enumerate(shapes))
    layers = (
        Pad("pad_0", "", (0,), 1, 1, 1, 0),
        _convolution(Convolution, "conv_1", 1, 2, Window(3, 3, 2, 2)),
        _convolution(Depthwise, "depthwise_2", 2, 3, Window(3, 2, 1, 1, 2, 1, 2, 0)),
        Addition("add_3", "", (2, 3), 4, 0, (0, 0), (1, 1), (0, 0), _REQUANTIZATION),
        Pool("pool_4", "", (4,), 5, Window(2, 3, 2, 1, pad_top=1), True, -128, 127),
        Mean("mean_5", "", (5,), 6, 0, _REQUANTIZATION),
        _convolution(Convolution, "dense_6", 6, 7, Window(1, 1)),
        Lookup("lookup_7", "", (7,), 8, _BYTES),
    )
    return Graph(features, layers, 0, 8)


def test_rows_that_a_step_does_not_read() -> None:
    found = row_graph(_graph(), [0, 10, 20, 0, 0, 4, 30, 0])

    assert found.ops == (
        RowOp("source", (), 0),
        RowOp("pad_0", (0,), 1, pad_top=1),
        RowOp("conv_1", (1,), 2, window_rows=3, stride=2, scratch_bytes=10),
        RowOp("depthwise_2", (2,), 3, window_rows=5, pad_top=2, scratch_bytes=20),
        RowOp("add_3", (2, 3), 4),
        RowOp("pool_4", (4,), 5, window_rows=2, stride=2, pad_top=1),
        RowOp("mean_5", (5,), 6, is_sink=True, scratch_bytes=4, state_bytes=32),
        RowOp("dense_6", (6,), 7, scratch_bytes=30),
        RowOp("lookup_7", (7,), 8),
    )


def test_tensors_of_the_wrong_size() -> None:
    found = row_graph(_graph(), [0] * 8)

    assert found.tensors[:4] == (
        RowTensor("input", 9, 30),
        RowTensor("pad_0", 11, 36),
        RowTensor("conv_1", 5, 48),
        RowTensor("depthwise_2", 5, 48),
    )
    assert found.output == 8


def test_scratch_of_another_network() -> None:
    with pytest.raises(ValueError, match="zip"):
        row_graph(_graph(), [0])

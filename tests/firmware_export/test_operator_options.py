# SPDX-License-Identifier: Apache-2.0
"""What an operator is told besides its tensors is read field by field, and what a damaged file says is refused."""

from __future__ import annotations

import pytest
import tflite

from firmware_export.operator_options import _UNION_TYPES, NO_OPTIONS, Options
from firmware_export.tflite_reader import ModelError, read_model
from tests.firmware_export.tflite_builder import ModelBuilder
from tests.firmware_export.tflite_writer import OPTIONS_TABLES
from tests.firmware_export.tflite_writer import Options as Fields


def options_of(name: str, fields: Fields | None) -> Options:
    """What the reader finds in a file with this operator."""
    net = ModelBuilder()
    x, y = net.tensor((1, 4), scales=1.0, zero_points=0), net.tensor((1, 4), scales=1.0, zero_points=0)
    net.operator(name, (x,), (y,), fields)
    return read_model(net.build((x,), (y,))).operators[0].options


# Every number is another, so that no two fields can be mixed up.
WINDOW: Fields = {"Padding": 1, "StrideW": 2, "StrideH": 3, "FusedActivationFunction": 1}
READ = Options(padding="VALID", stride=(3, 2), activation="RELU")


@pytest.mark.parametrize(
    ("name", "fields", "expected"),
    [
        (
            "CONV_2D",
            {**WINDOW, "DilationWFactor": 4, "DilationHFactor": 5},
            Options("VALID", (3, 2), (5, 4), activation="RELU"),
        ),
        (
            "DEPTHWISE_CONV_2D",
            {**WINDOW, "DilationWFactor": 4, "DilationHFactor": 5, "DepthMultiplier": 6},
            Options("VALID", (3, 2), (5, 4), depth_multiplier=6, activation="RELU"),
        ),
        (
            "AVERAGE_POOL_2D",
            {**WINDOW, "FilterWidth": 4, "FilterHeight": 5},
            Options("VALID", (3, 2), pool_size=(5, 4), activation="RELU"),
        ),
        (
            "MAX_POOL_2D",
            {"Padding": 0, "FilterHeight": 7, "FusedActivationFunction": 3},
            Options("SAME", (0, 0), pool_size=(7, 0), activation="RELU6"),
        ),
        (
            "FULLY_CONNECTED",
            {"FusedActivationFunction": 2, "WeightsFormat": 1},
            Options(activation="RELU_N1_TO_1", weights_format=1),
        ),
        ("ADD", {"FusedActivationFunction": 4}, Options(activation="TANH")),
        ("MEAN", {"KeepDims": True}, Options(keep_dims=True)),
        ("SOFTMAX", {"Beta": 0.5}, Options(beta=0.5)),
        ("RESHAPE", {"NewShape": (1, -1)}, Options(new_shape=(1, -1))),
        ("PAD", {}, NO_OPTIONS),
        ("RELU", None, NO_OPTIONS),
    ],
)
def test_every_field_is_read(name: str, fields: Fields | None, expected: Options) -> None:
    assert options_of(name, fields) == expected


@pytest.mark.parametrize("name", ["CONV_2D", "DEPTHWISE_CONV_2D", "MAX_POOL_2D", "RESHAPE", "SOFTMAX", "MEAN", "ADD"])
def test_what_a_file_leaves_out_has_the_schemas_default(name: str) -> None:
    """Old converters wrote no table at all; new ones leave out the fields that have their default."""
    assert options_of(name, None) == options_of(name, {}) == Options()


def test_the_kinds_of_table_are_numbered_as_in_the_schema() -> None:
    assert {name: getattr(tflite.BuiltinOptions, OPTIONS_TABLES[name]) for name in _UNION_TYPES} == _UNION_TYPES


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("CONV_2D", {"Padding": 2}, r"padding in the options of operator 0 \(CONV_2D\) has the unknown value 2"),
        ("ADD", {"FusedActivationFunction": -1}, r"activation in the options of operator 0 \(ADD\) .* value -1"),
        ("SOFTMAX", {"Beta": float("nan")}, r"beta in the options of operator 0 \(SOFTMAX\) is nan"),
        ("SOFTMAX", {"Beta": float("inf")}, r"beta in the options of operator 0 \(SOFTMAX\) is inf"),
    ],
)
def test_an_unknown_value_is_refused(name: str, fields: Fields, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        options_of(name, fields)


def test_the_options_of_another_operator_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool's table read as a convolution's would have its window's width as activation."""
    monkeypatch.setitem(OPTIONS_TABLES, "CONV_2D", "Pool2DOptions")
    with pytest.raises(ModelError, match=r"the options of operator 0 \(CONV_2D\) are of type 5, expected 1"):
        options_of("CONV_2D", {"FilterWidth": 3})

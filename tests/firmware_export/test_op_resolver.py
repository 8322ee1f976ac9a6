# SPDX-License-Identifier: Apache-2.0
"""A resolver with a wrong name does not compile on the user's side, and one with too few ops dies on the chip."""

from __future__ import annotations

from pathlib import Path

import pytest

from firmware_export.op_resolver import registrations
from firmware_export.tflite_reader import Model, ModelError, Operator, Tensor, read_model

DATA = Path(__file__).resolve().parent / "data"
FACTS = [line for line in (DATA / "tflm_names.txt").read_text().splitlines() if line and not line.startswith("#")]
OPS = {line.split()[0]: line.split()[1] for line in FACTS if " " in line}
FUNCTIONS = {line for line in FACTS if " " not in line}
NOT_FOR_VISION = {"SVDF", "UNIDIRECTIONAL_SEQUENCE_LSTM", "EMBEDDING_LOOKUP"}


def graph(name: str, dtypes: tuple[str, ...] = ("int8", "int8", "int32", "int8"), custom_name: str = "") -> Model:
    """One operator with three inputs and an output of these types."""
    tensors = tuple(Tensor(i, f"t{i}", (1,), dtype, (1.0,), (0,), 0, False, b"") for i, dtype in enumerate(dtypes))
    return Model(tensors, (Operator(0, name, custom_name, 1, (0, 1, 2), (3,)),), (0,), (3,), "", 0)


@pytest.mark.parametrize("name", sorted(OPS.keys() - NOT_FOR_VISION))
def test_method_and_function_exist_in_tflm(name: str) -> None:
    (registration,) = registrations(graph(name))
    assert registration.method == OPS[name]
    expected = f"Register_{name}_INT8"
    assert registration.function == (expected if expected in FUNCTIONS else "")


def test_a_graph_registers_its_own_ops_and_no_others(tiny_bytes: bytes) -> None:
    assert [op.method for op in registrations(read_model(tiny_bytes))] == [
        "AddAdd",
        "AddConv2D",
        "AddDepthwiseConv2D",
        "AddFullyConnected",
        "AddMean",
    ]


@pytest.mark.parametrize(
    "dtypes",
    [
        ("int16", "int8", "int64", "int16"),
        ("int8", "int4", "int32", "int8"),
        ("int32", "int32", "int32", "int8"),
        ("int8", "int8", "int32", "float32"),
    ],
)
def test_other_types_get_the_general_kernel(dtypes: tuple[str, ...]) -> None:
    (registration,) = registrations(graph("CONV_2D", dtypes))
    assert (registration.function, registration.header) == ("", "")


def test_one_use_with_other_types_is_enough_for_the_general_kernel() -> None:
    narrow, wide = graph("CONV_2D"), graph("CONV_2D", ("int16", "int8", "int64", "int16"))
    tensors = narrow.tensors + wide.tensors
    both = Model(tensors, (*narrow.operators, Operator(1, "CONV_2D", "", 1, (4, 5, 6), (7,))), (0,), (7,), "", 0)
    (registration,) = registrations(both)
    assert registration.function == ""


def test_functions_outside_the_resolvers_header_bring_their_own() -> None:
    (registration,) = registrations(graph("PAD"))
    assert registration.header == "tensorflow/lite/micro/kernels/pad.h"


@pytest.mark.parametrize("name", ["L2_POOL", "RNN", "CUSTOM", "CONV_3D", "WHILE"])
def test_an_op_that_tflm_lacks_is_named(name: str) -> None:
    with pytest.raises(ModelError, match=rf"operator 0 \({name}.*\) cannot be exported"):
        registrations(graph(name, custom_name="MyOp" if name == "CUSTOM" else ""))

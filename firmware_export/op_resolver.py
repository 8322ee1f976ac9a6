# SPDX-License-Identifier: Apache-2.0
"""Which of TensorFlow Lite Micro's op registrations a graph needs: exactly its own, the int8 variants where they exist.

Names are those of `tensorflow/lite/micro/micro_mutable_op_resolver.h` and `kernels/*.h` of August 2026.
"""

from __future__ import annotations

from dataclasses import dataclass

from firmware_export.tflite_reader import CUSTOM, Model, ModelError, Operator

_HEADERS = "tensorflow/lite/micro/kernels"

# The method is "Add" and the operator's name in camel case ...
_REGULAR_NAMES = """
ABS ADD ADD_N ARG_MAX ARG_MIN BATCH_TO_SPACE_ND BROADCAST_ARGS BROADCAST_TO CAST CEIL CONCATENATION COS DEPTH_TO_SPACE
DEQUANTIZE DIV DYNAMIC_UPDATE_SLICE ELU EQUAL EXP EXPAND_DIMS FILL FLOOR FLOOR_DIV FLOOR_MOD FULLY_CONNECTED GATHER
GATHER_ND GREATER GREATER_EQUAL HARD_SWISH L2_NORMALIZATION LEAKY_RELU LESS LESS_EQUAL LOG LOGICAL_AND LOGICAL_NOT
LOGICAL_OR LOGISTIC LOG_SOFTMAX MAXIMUM MEAN MINIMUM MIRROR_PAD MUL NEG NOT_EQUAL PACK PAD PRELU QUANTIZE REDUCE_ALL
REDUCE_MAX REDUCE_MIN RELU RELU6 RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR REVERSE_V2 ROUND RSQRT SELECT_V2
SHAPE SIN SLICE SOFTMAX SPACE_TO_BATCH_ND SPACE_TO_DEPTH SPLIT SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE SQUEEZE
STRIDED_SLICE SUB SUM TANH TRANSPOSE TRANSPOSE_CONV UNPACK ZEROS_LIKE
"""
# ... but for these.
_IRREGULAR = {
    "AVERAGE_POOL_2D": "AddAveragePool2D",
    "BATCH_MATMUL": "AddBatchMatMul",
    "CONV_2D": "AddConv2D",
    "CUMSUM": "AddCumSum",
    "DEPTHWISE_CONV_2D": "AddDepthwiseConv2D",
    "L2_POOL_2D": "AddL2Pool2D",
    "MAX_POOL_2D": "AddMaxPool2D",
    "PADV2": "AddPadV2",
}

# Register_<NAME>_INT8 leaves out the float and int16 kernels: about 33 kB of flash under CMSIS-NN. TFLM defines it on
# every target, as an inline call of the general one where no smaller variant exists. Values: the header that declares
# it, empty where the resolver's own header includes it.
_INT8_HEADERS = {
    "ADD": "",
    "AVERAGE_POOL_2D": "",
    "BATCH_MATMUL": "",
    "CONV_2D": "",
    "DEPTHWISE_CONV_2D": "",
    "FULLY_CONNECTED": "",
    "MAXIMUM": "",
    "MAX_POOL_2D": "",
    "MINIMUM": "",
    "MUL": "",
    "PAD": f"{_HEADERS}/pad.h",
    "SOFTMAX": "",
    "TRANSPOSE": f"{_HEADERS}/transpose.h",
    "TRANSPOSE_CONV": "",
}


@dataclass(frozen=True)
class Registration:
    """One op of the resolver.

    Attributes:
        op: the schema's name ("CONV_2D").
        method: of `MicroMutableOpResolver` ("AddConv2D").
        function: the int8 registration ("Register_CONV_2D_INT8"), or empty for the method's default.
        header: declares the function; empty when the resolver's header does.
    """

    op: str
    method: str
    function: str
    header: str


def registrations(model: Model) -> tuple[Registration, ...]:
    """What the resolver of ``model`` registers, sorted by op; as many as the graph has different ops.

    Raises:
        ModelError: TFLM has no such op; names it.
    """
    by_name: dict[str, list[Operator]] = {}
    for op in model.operators:
        by_name.setdefault(op.name, []).append(op)
    return tuple(_registration(name, ops, model) for name, ops in sorted(by_name.items()))


def _registration(name: str, ops: list[Operator], model: Model) -> Registration:
    regular = _REGULAR_NAMES.split()
    method = _IRREGULAR.get(name) or ("Add" + _camel_case(name) if name in regular else "")
    if not method:
        what = (
            "custom operators need a registration of their own" if name == CUSTOM else "TensorFlow Lite Micro lacks it"
        )
        raise ModelError(f"{ops[0].label} cannot be exported: {what}")
    if name in _INT8_HEADERS and all(_is_int8(op, model) for op in ops):
        return Registration(name, method, f"Register_{name}_INT8", _INT8_HEADERS[name])
    return Registration(name, method, "", "")


def _is_int8(op: Operator, model: Model) -> bool:
    """Whether activations and weights are int8: the narrow kernels know nothing else, int4 weights included.

    Biases, paddings and permutations are int32 or int64.
    """
    integers = ("int8", "int32", "int64")
    tensors = [model.tensors[index] for index in (*op.inputs, *op.outputs) if index >= 0]
    return (
        all(tensor.dtype in integers for tensor in tensors)
        and model.tensors[op.inputs[0]].dtype == "int8"
        and model.tensors[op.outputs[0]].dtype == "int8"
    )


def _camel_case(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))

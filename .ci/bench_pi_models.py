#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the peers' networks out of a bundle's; runs in the peers' own environment, for make bench-pi.

Usage: bench_pi_models.py mediapipe BUNDLE TARGET
       bench_pi_models.py onnx FLOAT_ONNX CALIBRATION_NPZ TARGET

Both have the weights of the bundle's ``model.tflite`` in int8, in the form that the peer runs fastest.
"""

from __future__ import annotations

import copy
import io
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

QUANTIZE = 114  # of TensorFlow Lite's BuiltinOperator


def mediapipe(bundle: Path, target: Path) -> None:
    """The int8 network between two QUANTIZE operators, with metadata and labels.

    MediaPipe's ImageClassifier takes uint8 or float32 and reads the labels from the file. A QUANTIZE from uint8 to int8
    with the zero point moved by 128 changes no number, so the network inside is the bundle's, byte for byte.
    """
    import flatbuffers
    from mediapipe.tasks.metadata import metadata_schema_py_generated as meta
    from mediapipe.tasks.metadata import schema_py_generated as schema

    content = (bundle / "model.tflite").read_bytes()
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    graph = model.subgraphs[0]
    model.operatorCodes.append(made(schema.OperatorCodeT, builtinCode=QUANTIZE, deprecatedBuiltinCode=QUANTIZE))
    code = len(model.operatorCodes) - 1

    def as_uint8(tensor: int, name: bytes) -> int:
        outside = copy.deepcopy(graph.tensors[tensor])
        outside.type, outside.name = schema.TensorType.UINT8, name
        outside.quantization.zeroPoint = [int(zero) + 128 for zero in outside.quantization.zeroPoint]
        graph.tensors.append(outside)
        return len(graph.tensors) - 1

    def quantize(source: int, result: int) -> Any:
        return made(schema.OperatorT, opcodeIndex=code, inputs=[source], outputs=[result])

    (image,), (scores,) = graph.inputs, graph.outputs
    outer_image, outer_scores = as_uint8(image, b"image"), as_uint8(scores, b"scores")
    graph.operators = [quantize(outer_image, image), *graph.operators, quantize(scores, outer_scores)]
    graph.inputs, graph.outputs, model.signatureDefs = [outer_image], [outer_scores], None

    colour = made(meta.ImagePropertiesT, colorSpace=meta.ColorSpaceType.RGB)
    kind = meta.ContentProperties.ImageProperties
    picture = made(
        meta.TensorMetadataT,
        name="image",
        content=made(meta.ContentT, contentPropertiesType=kind, contentProperties=colour),
    )
    labels = made(meta.AssociatedFileT, name="labels.txt", type=meta.AssociatedFileType.TENSOR_AXIS_LABELS)
    answer = made(meta.TensorMetadataT, name="scores", associatedFiles=[labels])
    subgraph = made(meta.SubGraphMetadataT, inputTensorMetadata=[picture], outputTensorMetadata=[answer])
    facts = made(meta.ModelMetadataT, name="classifier", subgraphMetadata=[subgraph], minParserVersion="1.0.0")
    builder = flatbuffers.Builder(1024)
    builder.Finish(facts.Pack(builder), b"M001")
    model.buffers.append(made(schema.BufferT, data=list(builder.Output())))
    entry = made(schema.MetadataT, name=b"TFLITE_METADATA", buffer=len(model.buffers) - 1)
    model.metadata = [*(model.metadata or []), entry]

    builder = flatbuffers.Builder(len(content) + 4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    stream = io.BytesIO(bytes(builder.Output()))
    # The labels are appended as a ZIP archive; that is the format's own way.
    with zipfile.ZipFile(stream, "a") as archive:
        archive.writestr("labels.txt", (bundle / "labels.txt").read_bytes())
    target.write_bytes(stream.getvalue())


def onnx(float_onnx: Path, calibration: Path, target: Path) -> None:
    """The float network, (1, height, width, 3) in, quantised by ONNX Runtime itself with the bundle's own photos.

    uint8 between the layers and int8 weights, one scale per channel: with this pair ONNX Runtime 1.32 fuses every
    operator. With int8 in both, as in a converted model.tflite, it fuses 34 of 49 convolutions and took 1.7 times as
    long on x86-64. The input becomes the uint8 pixels, as a picture lies in memory: ONNX Runtime then drops the
    conversion, whose scale of 1/128 is the calibration's, and one of the transpositions.
    """
    import numpy as np
    import onnx as format
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    photos = np.load(calibration)["photos"]
    name = format.load(float_onnx).graph.input[0].name

    class Photos(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.ahead = iter(photos)

        def get_next(self) -> dict[str, Any] | None:
            photo = next(self.ahead, None)
            if photo is None:
                return None
            return {name: ((photo.astype(np.float32) - 128) / 128)[np.newaxis]}

    with tempfile.TemporaryDirectory() as directory:
        prepared, quantised = Path(directory) / "prepared.onnx", Path(directory) / "quantised.onnx"
        quant_pre_process(str(float_onnx), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(quantised),
            Photos(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        model = format.load(quantised)
    first = model.graph.input[0]
    shape = [dim.dim_value for dim in first.type.tensor_type.shape.dim]
    pixels = format.helper.make_tensor_value_info("pixels", format.TensorProto.UINT8, shape)
    scale = format.helper.make_tensor("pixel_scale", format.TensorProto.FLOAT, [], [1 / 128])
    zero = format.helper.make_tensor("pixel_zero", format.TensorProto.UINT8, [], [128])
    model.graph.initializer.extend([scale, zero])
    real = format.helper.make_node("DequantizeLinear", ["pixels", "pixel_scale", "pixel_zero"], [first.name])
    model.graph.node.insert(0, real)
    del model.graph.input[:]
    model.graph.input.append(pixels)
    format.checker.check_model(model)
    format.save(model, target)


def made(kind: type, **fields: Any) -> Any:
    """A flatbuffer object with these fields."""
    result = kind()
    for name, value in fields.items():
        if not hasattr(result, name):
            raise AttributeError(f"{kind.__name__} has no field {name}")
        setattr(result, name, value)
    return result


if __name__ == "__main__":
    {"mediapipe": mediapipe, "onnx": onnx}[sys.argv[1]](*map(Path, sys.argv[2:]))

# SPDX-License-Identifier: Apache-2.0
"""Builds int8 .tflite files for tests, without TensorFlow.

``ModelBuilder`` writes any tensor and operator, also contradictory ones; ``RandomNetwork`` adds one method per operator
that computes the output's shape and invents weights, so that a test makes a network in a few lines::

    net = RandomNetwork(seed=1)
    x = net.input(12, 10, 3)
    y = net.conv(x, 8, kernel=3, stride=2, activation="RELU6")
    y = net.add(y, net.depthwise(y, kernel=5))
    data = net.finish(net.fully_connected(net.mean(y), 4))
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tests.firmware_export.tflite_writer import BuiltOperator, BuiltTensor, Options, schema, write

Size: TypeAlias = int | tuple[int, int]

NO_TENSOR = -1
"""As an operator's input: an optional input that is left out."""

# The standard deviation of numbers from -127 to 127.
_RANDOM_WEIGHT = 73.0


class ModelBuilder:
    """Tensors and operators, as they stand in the file. Tensors are handled by their number."""

    def __init__(self) -> None:
        self.tensors: list[BuiltTensor] = []
        self.operators: list[BuiltOperator] = []

    def tensor(
        self,
        shape: Sequence[int],
        *,
        name: str = "",
        dtype: str = "int8",
        scales: float | Sequence[float] = (),
        zero_points: int | Sequence[int] = (),
        quantized_dimension: int = 0,
        data: NDArray[Any] | bytes | None = None,
        shape_signature: Sequence[int] | None = None,
    ) -> int:
        """Add a tensor.

        Args:
            shape: as written, not checked.
            name: "" gives it one by its number.
            dtype: the schema's name in small letters.
            scales: one or several; () leaves the quantisation out.
            zero_points: as ``scales``.
            quantized_dimension: axis of the channels.
            data: values of a constant, in the right type already.
            shape_signature: with -1 where the size is dynamic; None leaves it out.

        Returns:
            Its number.
        """
        self.tensors.append(
            BuiltTensor(
                tuple(int(size) for size in shape),
                name or f"t{len(self.tensors)}",
                dtype,
                tuple(float(s) for s in np.atleast_1d(scales)),
                tuple(int(z) for z in np.atleast_1d(zero_points)),
                quantized_dimension,
                b"" if data is None else data if isinstance(data, bytes) else np.ascontiguousarray(data).tobytes(),
                None if shape_signature is None else tuple(shape_signature),
            )
        )
        return len(self.tensors) - 1

    def constant(self, values: Any, dtype: str = "int32") -> int:
        """Add a constant without quantisation: axes, paddings, a shape."""
        array = np.asarray(values, dtype)
        return self.tensor(array.shape, dtype=dtype, data=array)

    def operator(
        self,
        name: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: Options | None = None,
        *,
        version: int = 1,
        custom_code: str = "",
    ) -> None:
        """Add an operator.

        Args:
            name: the schema's, "CONV_2D".
            inputs: tensors; NO_TENSOR for one left out.
            outputs: tensors.
            options: by the schema's names, {"StrideW": 2}; {} is a table with nothing in it, None is no table.
            version: of the operator.
            custom_code: name of a CUSTOM operator.
        """
        self.operators.append(BuiltOperator(name, tuple(inputs), tuple(outputs), options, version, custom_code))

    def build(self, inputs: Sequence[int], outputs: Sequence[int], *, description: str = "for a test") -> bytes:
        """The file with these inputs and outputs of the graph."""
        return write(self.tensors, self.operators, inputs, outputs, description)


class RandomNetwork(ModelBuilder):
    """Networks with random weights, one method per operator; each returns the output's tensor number.

    Args:
        seed: of everything random, or a generator to draw from.
    """

    def __init__(self, seed: int | np.random.Generator = 0) -> None:
        super().__init__()
        self.rng = np.random.default_rng(seed)
        self.graph_inputs: list[int] = []

    def feature(
        self,
        shape: Sequence[int],
        *,
        scale: float | None = None,
        zero_point: int | None = None,
        dtype: str = "int8",
        name: str = "",
        activation: str = "NONE",
    ) -> int:
        """A quantised tensor without values; scale and zero point are random where not given.

        The zero point lies where a converter would put it for the activation, so that the values stay diverse; now and
        then anywhere.
        """
        if scale is None:
            scale = float(self.rng.uniform(0.01, 0.2))
        if zero_point is None:
            anywhere = name == "input" or self.rng.integers(8) == 0
            low, high = (-128, 128) if anywhere else (-128, -90) if activation.startswith("RELU") else (-40, 41)
            zero_point = int(self.rng.integers(low, high)) + (128 if dtype == "uint8" else 0)
        return self.tensor(shape, name=name, dtype=dtype, scales=float(np.float32(scale)), zero_points=zero_point)

    def input(
        self, *shape: int, scale: float | None = None, zero_point: int | None = None, batch_is_dynamic: bool = False
    ) -> int:
        """The graph's int8 input, without the batch: (height, width, channels), or any other shape."""
        index = self.feature((1, *shape), scale=scale, zero_point=zero_point, name="input")
        if batch_is_dynamic:
            self.tensors[index] = replace(self.tensors[index], shape_signature=(-1, *shape))
        self.graph_inputs.append(index)
        return index

    def conv(
        self,
        x: int,
        channels: int,
        *,
        kernel: Size = 1,
        stride: Size = 1,
        dilation: Size = 1,
        padding: str = "SAME",
        activation: str = "NONE",
        per_channel: bool = True,
        bias: bool = True,
        scale: float | None = None,
        zero_point: int | None = None,
    ) -> int:
        """CONV_2D. ``scale`` None fits the output's scale to what the accumulators will be."""
        _, height, width, depth = self.tensors[x].shape
        size = _pair(kernel)
        weights = self.weights((channels, *size, depth), per_channel=per_channel, axis=0)
        y = self.feature(
            (1, *_output_size((height, width), size, _pair(stride), _pair(dilation), padding), channels),
            scale=self._fit(x, weights, size[0] * size[1] * depth) if scale is None else scale,
            zero_point=zero_point,
            activation=activation,
        )
        options = _window_options(padding, _pair(stride), activation) | _dilation_options(_pair(dilation))
        self.operator(
            "CONV_2D", (x, weights, self._bias(x, weights, channels) if bias else NO_TENSOR), (y,), options, version=3
        )
        return y

    def depthwise(
        self,
        x: int,
        *,
        kernel: Size = 3,
        stride: Size = 1,
        dilation: Size = 1,
        padding: str = "SAME",
        activation: str = "NONE",
        multiplier: int = 1,
        per_channel: bool = True,
        bias: bool = True,
        scale: float | None = None,
        zero_point: int | None = None,
    ) -> int:
        """DEPTHWISE_CONV_2D."""
        _, height, width, depth = self.tensors[x].shape
        size = _pair(kernel)
        channels = depth * multiplier
        weights = self.weights((1, *size, channels), per_channel=per_channel, axis=3)
        y = self.feature(
            (1, *_output_size((height, width), size, _pair(stride), _pair(dilation), padding), channels),
            scale=self._fit(x, weights, size[0] * size[1]) if scale is None else scale,
            zero_point=zero_point,
            activation=activation,
        )
        options = _window_options(padding, _pair(stride), activation) | _dilation_options(_pair(dilation))
        options |= {"DepthMultiplier": multiplier}
        # TFLM crashes on a depthwise bias that is there but left out.
        inputs = (x, weights, self._bias(x, weights, channels)) if bias else (x, weights)
        self.operator("DEPTHWISE_CONV_2D", inputs, (y,), options, version=3)
        return y

    def fully_connected(
        self,
        x: int,
        channels: int,
        *,
        activation: str = "NONE",
        per_channel: bool = False,
        bias: bool = True,
        scale: float | None = None,
        zero_point: int | None = None,
    ) -> int:
        """FULLY_CONNECTED over everything but the batch."""
        depth = math.prod(self.tensors[x].shape)
        weights = self.weights((channels, depth), per_channel=per_channel, axis=0)
        y = self.feature(
            (1, channels),
            scale=self._fit(x, weights, depth) if scale is None else scale,
            zero_point=zero_point,
            activation=activation,
        )
        inputs = (x, weights, self._bias(x, weights, channels) if bias else NO_TENSOR)
        options: Options = {"FusedActivationFunction": _activation(activation)}
        self.operator("FULLY_CONNECTED", inputs, (y,), options, version=4)
        return y

    def add(
        self,
        a: int,
        b: int,
        *,
        activation: str = "NONE",
        scale: float | None = None,
        zero_point: int | None = None,
    ) -> int:
        """ADD."""
        if scale is None:
            scale = 0.7 * (self.tensors[a].scales[0] + self.tensors[b].scales[0])
        y = self.feature(self.tensors[a].shape, scale=scale, zero_point=zero_point, activation=activation)
        self.operator("ADD", (a, b), (y,), {"FusedActivationFunction": _activation(activation)}, version=2)
        return y

    def mean(
        self,
        x: int,
        *,
        axes: Sequence[int] = (1, 2),
        keep_dims: bool = False,
        scale: float | None = None,
        zero_point: int | None = None,
    ) -> int:
        """MEAN."""
        shape = self.tensors[x].shape
        gone = {axis % len(shape) for axis in axes}
        kept = [1 if i in gone else size for i, size in enumerate(shape) if keep_dims or i not in gone]
        y = self.feature(kept, scale=self.tensors[x].scales[0] if scale is None else scale, zero_point=zero_point)
        self.operator("MEAN", (x, self.constant(list(axes))), (y,), {"KeepDims": keep_dims}, version=2)
        return y

    def pool(
        self,
        x: int,
        *,
        kind: str = "AVERAGE",
        kernel: Size = 2,
        stride: Size = 2,
        padding: str = "VALID",
        activation: str = "NONE",
    ) -> int:
        """AVERAGE_POOL_2D, or MAX_POOL_2D with ``kind`` "MAX"."""
        _, height, width, depth = self.tensors[x].shape
        size = _output_size((height, width), _pair(kernel), _pair(stride), (1, 1), padding)
        y = self._like(x, (1, *size, depth))
        options = _window_options(padding, _pair(stride), activation)
        options |= {"FilterHeight": _pair(kernel)[0], "FilterWidth": _pair(kernel)[1]}
        self.operator(f"{kind}_POOL_2D", (x,), (y,), options, version=2)
        return y

    def pad(self, x: int, *, top: int = 0, bottom: int = 0, left: int = 0, right: int = 0) -> int:
        """PAD of a map."""
        _, height, width, depth = self.tensors[x].shape
        y = self._like(x, (1, height + top + bottom, width + left + right, depth))
        paddings = self.constant([[0, 0], [top, bottom], [left, right], [0, 0]])
        self.operator("PAD", (x, paddings), (y,), {}, version=2)
        return y

    def reshape(self, x: int, shape: Sequence[int], *, with_tensor: bool = True, with_options: bool = True) -> int:
        """RESHAPE; the new shape stands in a tensor, in the options, in both or nowhere but in the output."""
        y = self._like(x, shape)
        inputs = (x, self.constant(list(shape))) if with_tensor else (x,)
        self.operator("RESHAPE", inputs, (y,), {"NewShape": tuple(shape)} if with_options else None)
        return y

    def flatten(self, x: int) -> int:
        """RESHAPE to a vector."""
        return self.reshape(x, (1, math.prod(self.tensors[x].shape)))

    def softmax(self, x: int, *, beta: float = 1.0) -> int:
        """SOFTMAX."""
        y = self.feature(self.tensors[x].shape, scale=1 / 256, zero_point=-128)
        self.operator("SOFTMAX", (x,), (y,), {"Beta": beta}, version=2)
        return y

    def relu(self, x: int, kind: str = "RELU", *, scale: float | None = None, zero_point: int | None = None) -> int:
        """RELU, or RELU6 by its name."""
        scale = self._similar_scale(x) if scale is None else scale
        y = self.feature(self.tensors[x].shape, scale=scale, zero_point=zero_point, activation=kind)
        self.operator(kind, (x,), (y,), version=2)
        return y

    def quantize(
        self, x: int, *, scale: float | None = None, zero_point: int | None = None, dtype: str = "int8"
    ) -> int:
        """QUANTIZE to int8 or uint8, from whatever x is."""
        scale = self._similar_scale(x) if scale is None else scale
        y = self.feature(self.tensors[x].shape, scale=scale, zero_point=zero_point, dtype=dtype)
        self.operator("QUANTIZE", (x,), (y,), {}, version=2)
        return y

    def dequantize(self, x: int) -> int:
        """DEQUANTIZE to float32."""
        y = self.tensor(self.tensors[x].shape, dtype="float32")
        self.operator("DEQUANTIZE", (x,), (y,), {}, version=2)
        return y

    def finish(self, *outputs: int) -> bytes:
        """The file; a map as the one output is flattened first, for Litesight's networks end in a vector."""
        if len(outputs) == 1 and len(self.tensors[outputs[0]].shape) == 4:
            outputs = (self.flatten(outputs[0]),)
        return self.build(self.graph_inputs, outputs)

    def weights(self, shape: tuple[int, ...], *, per_channel: bool, axis: int) -> int:
        """Constant weights over the whole int8 range but -128, as the converter makes them.

        Their scales keep the activations' magnitude from layer to layer, so that RELU6 clips a part of them.
        """
        terms = math.prod(shape) // shape[axis]
        scales = self.rng.uniform(0.4, 1.6, shape[axis] if per_channel else 1) / (_RANDOM_WEIGHT * math.sqrt(terms))
        scales = scales.astype(np.float32)
        return self.tensor(
            shape,
            scales=scales.tolist(),
            zero_points=[0] * len(scales),
            quantized_dimension=axis if per_channel else 0,
            data=self.rng.integers(-127, 128, shape, dtype=np.int8),
        )

    def _bias(self, x: int, weights: int, channels: int) -> int:
        scales = np.float32(self.tensors[x].scales[0]) * np.array(self.tensors[weights].scales, np.float32)
        values = self.rng.integers(-5000, 5001, channels).astype(np.int32)
        return self.tensor(
            (channels,), dtype="int32", scales=scales.tolist(), zero_points=[0] * len(scales), data=values
        )

    def _similar_scale(self, x: int) -> float:
        # A float32 input has none.
        return float(self.rng.uniform(0.7, 1.6)) * next(iter(self.tensors[x].scales), 0.05)

    def _like(self, x: int, shape: Sequence[int]) -> int:
        """A tensor with the quantisation of x: what operators that only move values give."""
        tensor = self.tensors[x]
        return self.tensor(shape, dtype=tensor.dtype, scales=tensor.scales, zero_points=tensor.zero_points)

    def _fit(self, x: int, weights: int, terms: int) -> float:
        """A scale at which random accumulators of so many terms fill the output's range and clip now and then."""
        largest = max(self.tensors[weights].scales)
        return self.tensors[x].scales[0] * largest * _RANDOM_WEIGHT * math.sqrt(terms)


def _pair(size: Size) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def _activation(name: str) -> int:
    return int(getattr(schema.ActivationFunctionType, name))


def _window_options(padding: str, stride: tuple[int, int], activation: str) -> dict[str, int]:
    return {
        "Padding": int(getattr(schema.Padding, padding)),
        "StrideH": stride[0],
        "StrideW": stride[1],
        "FusedActivationFunction": _activation(activation),
    }


def _dilation_options(dilation: tuple[int, int]) -> dict[str, int]:
    return {"DilationHFactor": dilation[0], "DilationWFactor": dilation[1]}


def _output_size(
    size: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int], padding: str
) -> tuple[int, int]:
    height, width = (
        -(-n // s) if padding == "SAME" else (n - (k - 1) * d - 1) // s + 1
        for n, k, s, d in zip(size, kernel, stride, dilation, strict=True)
    )
    return height, width

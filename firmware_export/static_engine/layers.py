# SPDX-License-Identifier: Apache-2.0
"""The network as the static engine sees it: feature maps and the layers between them, every number resolved.

Nothing here refers to a file any more. Arithmetic is TensorFlow Lite Micro's: a real number r is scale * (q - zero
point), and an accumulator becomes an output by ``fixed_point.requantize``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Feature:
    """A feature map between two layers: int8, height x width x channels. A vector is 1 x 1 x channels.

    Attributes:
        name: of the tensor in the file, for messages and the memory map.
        height: rows.
        width: pixels in a row.
        channels: values of a pixel.
        scale: real value of one step.
        zero_point: the int8 that stands for 0.
    """

    name: str
    height: int
    width: int
    channels: int
    scale: float
    zero_point: int

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return self.width * self.channels

    @property
    def size_bytes(self) -> int:
        """Bytes of the whole map."""
        return self.height * self.row_bytes


@dataclass(frozen=True)
class Window:
    """How the window of a convolution or pool moves. Padding at the bottom and right follows from the output's size.

    The window of output (y, x) covers the inputs (y * stride_y - pad_top + i * dilation_y, x * stride_x - pad_left +
    j * dilation_x) for i < kernel_height, j < kernel_width; those outside the map count as the input's zero point.
    """

    kernel_height: int
    kernel_width: int
    stride_y: int = 1
    stride_x: int = 1
    dilation_y: int = 1
    dilation_x: int = 1
    pad_top: int = 0
    pad_left: int = 0

    @property
    def is_pointwise(self) -> bool:
        """Whether every output pixel depends on the one input pixel at its place."""
        return self == Window(1, 1)


@dataclass(frozen=True)
class Requantization:
    """From int32 accumulators to int8 outputs.

    Attributes:
        multipliers: int32, (channels,), Q31: 0, or 2**30 to 2**31 - 1; of a mean 2**29 at least.
        shifts: int32, (channels,), with TFLM's sign: positive to the left, -31 to 30.
        zero_point: of the output.
        minimum: least output, -128 or the fused activation's.
        maximum: largest output.
    """

    multipliers: NDArray[np.int32]
    shifts: NDArray[np.int32]
    zero_point: int
    minimum: int
    maximum: int


@dataclass(frozen=True)
class Layer:
    """One step of the network.

    Attributes:
        name: short and unique, for the memory map and C comments ("conv_0", "add_17").
        label: how messages call it: "operator 3 (CONV_2D)".
        inputs: indices of features.
        output: index of a feature.
    """

    name: str
    label: str
    inputs: tuple[int, ...]
    output: int


@dataclass(frozen=True)
class Convolution(Layer):
    """CONV_2D and FULLY_CONNECTED. The latter is a window as large as the map, without padding.

    accumulator[c] = bias[c] + sum of weights[c] * input over the window, the input taken as it is: the input's zero
    point is folded into the bias, and what lies outside the map is the zero point.

    Attributes:
        window: how it moves.
        weights: int8, (channels out, kernel height, kernel width, channels in).
        bias: int32, (channels out,); the file's bias - zero_point(input) * sum of weights[c].
        requantization: per channel.
        accumulator_bound: no partial sum, in whatever order, exceeds this magnitude; below 2**31.
    """

    window: Window
    weights: NDArray[np.int8]
    bias: NDArray[np.int32]
    requantization: Requantization
    accumulator_bound: int

    @property
    def macs_per_pixel(self) -> int:
        """Multiply-adds per output pixel."""
        return self.weights.size


@dataclass(frozen=True)
class Depthwise(Layer):
    """DEPTHWISE_CONV_2D. Output channel c reads input channel c // (channels out // channels in).

    Attributes:
        window: how it moves.
        weights: int8, (kernel height, kernel width, channels out).
        bias: as of ``Convolution``.
        requantization: per channel.
        accumulator_bound: as of ``Convolution``.
    """

    window: Window
    weights: NDArray[np.int8]
    bias: NDArray[np.int32]
    requantization: Requantization
    accumulator_bound: int

    @property
    def macs_per_pixel(self) -> int:
        """Multiply-adds per output pixel."""
        return self.weights.size


@dataclass(frozen=True)
class Addition(Layer):
    """ADD of two maps of one size: each is scaled to 2 * max(scale) / 2**20 and rounded, then added, then requantised.

    scaled_i = rescale((q_i - zero_point_i) * 2**left_shift, multiplier_i, shift_i), where ``rescale`` is
    ``fixed_point.requantize`` (all three shifts are <= 0);
    output = clamp(rescale(scaled_1 + scaled_2, output multiplier, output shift) + zero_point).
    """

    left_shift: int
    zero_points: tuple[int, int]
    multipliers: tuple[int, int]
    shifts: tuple[int, int]
    requantization: Requantization


@dataclass(frozen=True)
class Pool(Layer):
    """MAX_POOL_2D and AVERAGE_POOL_2D; what lies outside the map does not count.

    An average is the sum over the n values inside the map, (sum + n // 2) // n when positive, else (sum - n // 2) / n
    truncated; then clamped.
    """

    window: Window
    is_average: bool
    minimum: int
    maximum: int


@dataclass(frozen=True)
class Mean(Layer):
    """MEAN over height and width: clamp(rescale(sum of (q - input zero point)) + zero_point), 1/n in the multiplier.

    ``requantization`` has one multiplier and shift; minimum and maximum are -128 and 127.
    """

    input_zero_point: int
    requantization: Requantization


@dataclass(frozen=True)
class Pad(Layer):
    """PAD by the input's zero point; what could be folded into the next layer's window is not here."""

    top: int
    left: int
    value: int


@dataclass(frozen=True)
class Lookup(Layer):
    """Any function of a single value: RELU, RELU6 and QUANTIZE of int8 to int8.

    Attributes:
        table: int8, (256,); the output of q is table[q + 128].
    """

    table: NDArray[np.int8]


@dataclass(frozen=True)
class Softmax(Layer):
    """SOFTMAX over the channels of a 1 x 1 map.

    Attributes:
        exponentials: int32, (256,): exp(q - max q) in Q0.31 as TFLM computes it, at max q - q; 0 from where TFLM
            leaves a term out.
        terms: how many of them TFLM takes into account (its diff_min is 1 - terms).
    """

    exponentials: NDArray[np.int32]
    terms: int


@dataclass(frozen=True)
class Graph:
    """A whole network, layers in the order of execution.

    Attributes:
        features: the input, and the output of every layer.
        layers: every feature but the input is written by one of them, before it is read.
        input: index of the feature that is the network's input.
        output: index of the feature that is its output.
    """

    features: tuple[Feature, ...]
    layers: tuple[Layer, ...]
    input: int
    output: int

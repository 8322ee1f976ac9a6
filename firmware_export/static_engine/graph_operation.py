# SPDX-License-Identifier: Apache-2.0
"""An operator of the file together with what it reads and writes, and the checks that all operators share."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firmware_export.static_engine.fixed_point import INT32_MAX, FixedPointError
from firmware_export.static_engine.layers import Feature, Requantization
from firmware_export.tflite_reader import Model, ModelError, Operator, Tensor

LARGEST_DIMENSION = 0xFFFF
"""The engine keeps sizes in 16 bits."""

LARGEST_STEP = 0xFF
"""It keeps strides and dilations in 8 bits."""

Size = tuple[int, int, int]
"""Height, width, channels."""


@dataclass(frozen=True)
class Margins:
    """A PAD that was folded into its reader: rows and pixels of zero points around the map."""

    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0


NO_MARGINS = Margins()


@dataclass(frozen=True)
class Operand:
    """A tensor that an operator reads, and the feature map in which its values are.

    Attributes:
        tensor: shape and quantisation as the operator sees them.
        feature: where the values are; of another shape when it was flattened.
        index: of the feature.
        margins: around the map.
    """

    tensor: Tensor
    feature: Feature
    index: int
    margins: Margins = NO_MARGINS

    @property
    def scale(self) -> float:
        """Real value of one step."""
        return self.tensor.scales[0]

    @property
    def zero_point(self) -> int:
        """The int8 that stands for 0."""
        return self.tensor.zero_points[0]

    @property
    def size(self) -> Size:
        """Of the feature, without margins."""
        return self.feature.height, self.feature.width, self.feature.channels


@dataclass(frozen=True)
class Operation:
    """An operator, its operands and its output.

    Attributes:
        model: for its constants.
        op: the operator.
        operands: what it reads of the feature maps, in the order of its inputs.
        output: the tensor that it writes.
        output_index: of the feature to be written.
        kind: short name of the layer: "conv".
    """

    model: Model
    op: Operator
    operands: tuple[Operand, ...]
    output: Tensor
    output_index: int
    kind: str

    @property
    def name(self) -> str:
        """Of the layer: "conv_3"."""
        return f"{self.kind}_{self.op.index}"

    @property
    def features(self) -> tuple[int, ...]:
        """Indices of the features it reads."""
        return tuple(operand.index for operand in self.operands)

    @property
    def output_scale(self) -> float:
        """Real value of one step of the output."""
        return self.output.scales[0]

    @property
    def output_zero_point(self) -> int:
        """The int8 that stands for 0 in the output."""
        return self.output.zero_points[0]

    def error(self, message: str, *, hint: str = "") -> ModelError:
        """An error that names the operator."""
        return ModelError(f"{self.op.label}: {message}", hint=hint)

    @contextmanager
    def named_errors(self) -> Iterator[None]:
        """Let what the arithmetic refuses name the operator."""
        try:
            yield
        except FixedPointError as error:
            raise self.error(f"{error.message}: {self.output.label}", hint=error.hint) from error

    def map(self) -> Operand:
        """The one operand, when it is a map of rank 4 whose values lie as its shape says."""
        operand = self.operands[0]
        if operand.tensor.shape != (1, *padded_size(operand, operand.margins)):
            raise self.error(f"expected a map of 1 x height x width x channels, found {describe(operand.tensor)}")
        return operand

    def constant(self, position: int, dtype: str, what: str) -> Tensor:
        """A constant input of this type."""
        tensor = self.model.tensors[self.op.inputs[position]]
        if not tensor.is_constant:
            raise self.error(f"expected constant {what}, found values computed at run time: {tensor.label}")
        if tensor.dtype != dtype:
            raise self.error(f"expected {what} of type {dtype}, found {tensor.dtype}: {tensor.label}")
        return tensor

    def numbers(self, position: int, what: str) -> tuple[int, ...]:
        """A constant int32 input, flat; empty where it has no values."""
        tensor = self.model.tensors[self.op.inputs[position]]
        if not tensor.is_constant and tensor.elements == 0:
            return ()
        data = self.constant(position, "int32", what).data
        return tuple(int(value) for value in np.frombuffer(data, "<i4"))

    def requantization(
        self, multipliers: NDArray[np.int32], shifts: NDArray[np.int32], minimum: int, maximum: int
    ) -> Requantization:
        """With the output's zero point."""
        return Requantization(multipliers, shifts, self.output_zero_point, minimum, maximum)

    def check_accumulators(self, bounds: NDArray[np.int64], shifts: NDArray[np.int32]) -> int:
        """The largest bound, when no accumulator can leave int32, neither before nor after its shift to the left.

        Raises:
            ModelError: one can.
        """
        largest = int(bounds.max())
        if largest <= INT32_MAX:
            largest = int((bounds << np.maximum(shifts, 0)).max())
        if largest > INT32_MAX:
            raise self.error(
                f"expected accumulators below 2**31, found a bound of {largest}: {self.output.label}",
                hint="the weights, the bias or the ratio of the scales are too large; was the model calibrated?",
            )
        return int(bounds.max())


def padded_size(operand: Operand, margins: Margins) -> Size:
    """Of a map with margins."""
    height, width, channels = operand.size
    return margins.top + height + margins.bottom, margins.left + width + margins.right, channels


def is_vector(shape: tuple[int, ...]) -> bool:
    """Whether only the last of the sizes is other than 1."""
    return bool(shape) and math.prod(shape) == shape[-1]


def describe(tensor: Tensor) -> str:
    """How messages call a shape: "(1, 4, 4, 8): 'x' (tensor 3)"."""
    return f"{tensor.shape}: {tensor.label}"

# SPDX-License-Identifier: Apache-2.0
"""The constants of litesight_network.c: what the C structures of litesight_layer.h contain."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from firmware_export.static_engine.channel_table import channel_table
from firmware_export.static_engine.kernel import Kernel
from firmware_export.static_engine.layers import (
    Addition,
    Convolution,
    Depthwise,
    Graph,
    Layer,
    Lookup,
    Mean,
    Pad,
    Pool,
    Requantization,
    Softmax,
    Window,
)
from firmware_export.static_engine.layout import planar_features
from firmware_export.static_engine.plan import Plan
from firmware_export.tflite_reader import ModelError

READ_AHEAD_BYTES = 16
"""Kernels may read so far past the end of weights and of rows: what is allocated beyond the last of them."""

_ALIGNMENT = 4
_OPS_PER_BYTE = 256
_LARGEST_STRIDE = 255
_LARGEST_SIZE = 65535
# Of the structures on a chip with 32-bit pointers.
_FEATURE_BYTES = 16
_LAYER_BYTES = 28
_CONV_BYTES = 32
_ADD_BYTES = 20
_MEAN_BYTES = 8
_POOL_BYTES = 14
_PAD_BYTES = 6
_LOOKUP_BYTES = 4
_SOFTMAX_BYTES = 8


@dataclass(frozen=True)
class Part:
    """A layer's share of an array.

    Attributes:
        name: the layer's.
        offset: of its first value.
        values: integers.
    """

    name: str
    offset: int
    values: NDArray[np.integer]


@dataclass(frozen=True)
class Array:
    """A constant C array with the values of many layers.

    Attributes:
        c_type: of an element.
        item_bytes: bytes of an element.
        parts: in order, without gaps.
    """

    c_type: str
    item_bytes: int
    parts: tuple[Part, ...]

    @property
    def length(self) -> int:
        """Number of elements."""
        return self.parts[-1].offset + self.parts[-1].values.size if self.parts else 0

    @property
    def size_bytes(self) -> int:
        """Bytes of flash."""
        return self.length * self.item_bytes


@dataclass(frozen=True)
class FeatureRow:
    """One litesight_feature: the tensor's name and the values of the C structure."""

    name: str
    values: tuple[int, ...]


@dataclass(frozen=True)
class LayerRow:
    """One litesight_layer and its parameters.

    Attributes:
        name: the layer's, a C identifier.
        label: how messages call it.
        function: the kernel.
        inputs: indices of features, one or two.
        output: index of a feature.
        c_type: of the parameters.
        parameters: their initialiser in C.
        scratch: offset in the arena.
        state: offset in the arena.
    """

    name: str
    label: str
    function: str
    inputs: tuple[int, ...]
    output: int
    c_type: str
    parameters: str
    scratch: int
    state: int


@dataclass(frozen=True)
class NetworkTables:
    """Everything that litesight_network.c defines.

    Attributes:
        weights: int8, all layers' one after the other, READ_AHEAD_BYTES of zeros at the end.
        biases: int32.
        multipliers: uint32.
        shifts: int8; empty where all are packed.
        lookups: int8, tables of 256 values.
        exponentials: int32, of softmax layers.
        features: as in the graph.
        layers: as in the graph.
        op_type: C type of a step.
        steps: op of every step; op 0 is the source, op i layer i - 1.
        arena_bytes: with READ_AHEAD_BYTES.
        input: index of a feature.
        output: index of a feature.
        structure_bytes: bytes of flash of features, layers, parameters and steps on a chip with 32-bit pointers.
    """

    weights: Array
    biases: Array
    multipliers: Array
    shifts: Array
    lookups: Array
    exponentials: Array
    features: tuple[FeatureRow, ...]
    layers: tuple[LayerRow, ...]
    op_type: str
    steps: tuple[int, ...]
    arena_bytes: int
    input: int
    output: int
    structure_bytes: int

    @property
    def arrays(self) -> tuple[tuple[str, Array], ...]:
        """The arrays and their names in C."""
        names = ("weights", "biases", "multipliers", "shifts", "lookups", "exponentials")
        return tuple((name, getattr(self, name)) for name in names)

    @property
    def functions(self) -> tuple[str, ...]:
        """The kernels, each once."""
        return tuple(sorted({layer.function for layer in self.layers}))

    @property
    def table_bytes(self) -> int:
        """Bytes of flash apart from the weights."""
        return sum(array.size_bytes for name, array in self.arrays if name != "weights") + self.structure_bytes

    @property
    def state_bytes(self) -> int:
        """Bytes of RAM of the engine beside the arena: how many steps of every op are done."""
        return 2 * (len(self.layers) + 1)


@dataclass
class _ArrayBuilder:
    """Collects the parts of an array."""

    c_type: str
    item_bytes: int
    parts: list[Part] = field(default_factory=list)

    def add(self, name: str, values: NDArray[np.integer], alignment: int = 1) -> int:
        """Append values, zeros in front of them up to the alignment; the offset of the first."""
        offset = self.parts[-1].offset + self.parts[-1].values.size if self.parts else 0
        gap = -offset % alignment
        if gap:
            self.parts.append(Part("alignment", offset, np.zeros(gap, values.dtype)))
        self.parts.append(Part(name, offset + gap, values.reshape(-1)))
        return offset + gap

    def built(self) -> Array:
        return Array(self.c_type, self.item_bytes, tuple(self.parts))


class _Builder:
    """The arrays while the layers fill them."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.weights = _ArrayBuilder("int8_t", 1)
        self.biases = _ArrayBuilder("int32_t", 4)
        self.multipliers = _ArrayBuilder("uint32_t", 4)
        self.shifts = _ArrayBuilder("int8_t", 1)
        self.lookups = _ArrayBuilder("int8_t", 1)
        self.exponentials = _ArrayBuilder("int32_t", 4)

    def parameters(self, layer: Layer, kernel: Kernel) -> tuple[str, int, str]:
        """C type, size in bytes and initialiser of a layer's parameters."""
        if isinstance(layer, Convolution | Depthwise):
            return "litesight_conv", _CONV_BYTES, self._conv(layer, kernel)
        if isinstance(layer, Addition):
            return "litesight_add", _ADD_BYTES, self._addition(layer)
        if isinstance(layer, Mean):
            scale = layer.requantization
            self._check_requantization(layer, scale)
            _check(layer, layer.input_zero_point == self._zero_point(layer.inputs[0]))
            return "litesight_mean", _MEAN_BYTES, _braces((scale.multipliers[0], -scale.shifts[0]))
        if isinstance(layer, Pool):
            return "litesight_pool", _POOL_BYTES, f"{{{_window(layer)}, {layer.minimum}, {layer.maximum}}}"
        if isinstance(layer, Pad):
            return "litesight_pad", _PAD_BYTES, _braces((layer.top, layer.left, layer.value))
        if isinstance(layer, Lookup):
            offset = self.lookups.add(layer.name, layer.table)
            return "litesight_lookup", _LOOKUP_BYTES, f"{{lookups + {offset}}}"
        if isinstance(layer, Softmax):
            # What TFLM leaves out is never looked up.
            offset = self.exponentials.add(layer.name, layer.exponentials[: layer.terms])
            return "litesight_exponentials", _SOFTMAX_BYTES, f"{{exponentials + {offset}, {layer.terms}}}"
        raise TypeError(f"{layer.label}: no parameters for {type(layer).__name__}")

    def _conv(self, layer: Convolution | Depthwise, kernel: Kernel) -> str:
        scale = layer.requantization
        self._check_requantization(layer, scale)
        weights = self.weights.add(layer.name, np.frombuffer(kernel.weights, np.int8), _ALIGNMENT)
        tables = "NULL, NULL, NULL, 0" if kernel.weights_hold_channels else self._channels(layer)
        return f"{{weights + {weights}, {{{tables}, {scale.minimum}, {scale.maximum}}}, {_window(layer)}}}"

    def _channels(self, layer: Convolution | Depthwise) -> str:
        """The first members of litesight_channels."""
        table = channel_table(layer.requantization)
        bias = self.biases.add(layer.name, layer.bias)
        words = self.multipliers.add(layer.name, table.words)
        shifts = "NULL" if table.shifts is None else f"shifts + {self.shifts.add(layer.name, table.shifts)}"
        return f"biases + {bias}, multipliers + {words}, {shifts}, {table.base_shift}"

    def _addition(self, layer: Addition) -> str:
        scale = layer.requantization
        self._check_requantization(layer, scale)
        _check(layer, layer.zero_points == tuple(self._zero_point(index) for index in layer.inputs))
        shifts = (-layer.shifts[0], -layer.shifts[1], -int(scale.shifts[0]))
        _check(layer, min(shifts) >= 0)
        pair = f"{_braces(layer.multipliers)}, {scale.multipliers[0]}, {_braces(shifts[:2])}, {shifts[2]}"
        return f"{{{pair}, {layer.left_shift}, {scale.minimum}, {scale.maximum}}}"

    def _zero_point(self, feature: int) -> int:
        return self.graph.features[feature].zero_point

    def _check_requantization(self, layer: Layer, scale: Requantization) -> None:
        """The kernels take the zero point from the feature."""
        _check(layer, scale.zero_point == self._zero_point(layer.output))


def network_tables(graph: Graph, kernels: Sequence[Kernel], plan: Plan) -> NetworkTables:
    """Resolve a network to constants.

    Args:
        graph: the network.
        kernels: one per layer.
        plan: tensor i is feature i, op 0 the source, op i layer i - 1.

    Raises:
        ModelError: a size exceeds what the C structures hold.
    """
    builder = _Builder(graph)
    planar = planar_features(graph)
    layers, structure_bytes = [], len(plan.steps) * (1 if len(plan.scratch) <= _OPS_PER_BYTE else 2)
    for index, (layer, kernel) in enumerate(zip(graph.layers, kernels, strict=True)):
        _check_name(layer)
        c_type, size, parameters = builder.parameters(layer, kernel)
        structure_bytes += size + _LAYER_BYTES
        layers.append(
            LayerRow(
                name=layer.name,
                label=layer.label,
                function=kernel.function,
                inputs=layer.inputs,
                output=layer.output,
                c_type=c_type,
                parameters=parameters,
                scratch=max(plan.scratch[index + 1], 0),
                state=max(plan.state[index + 1], 0),
            )
        )
    features = tuple(_feature_row(graph, plan, index, index in planar) for index in range(len(graph.features)))
    builder.weights.add("read ahead", np.zeros(READ_AHEAD_BYTES, np.int8))
    return NetworkTables(
        weights=builder.weights.built(),
        biases=builder.biases.built(),
        multipliers=builder.multipliers.built(),
        shifts=builder.shifts.built(),
        lookups=builder.lookups.built(),
        exponentials=builder.exponentials.built(),
        features=features,
        layers=tuple(layers),
        op_type="uint8_t" if len(plan.scratch) <= _OPS_PER_BYTE else "uint16_t",
        steps=plan.steps,
        arena_bytes=-(-plan.arena_bytes // _ALIGNMENT) * _ALIGNMENT + READ_AHEAD_BYTES,
        input=graph.input,
        output=graph.output,
        structure_bytes=structure_bytes + len(features) * _FEATURE_BYTES,
    )


def _feature_row(graph: Graph, plan: Plan, index: int, is_planar: bool) -> FeatureRow:
    feature, storage = graph.features[index], plan.storages[index]
    sizes = (feature.height, feature.width, feature.channels)
    if max(sizes) > _LARGEST_SIZE:
        raise ModelError(
            f"{feature.name}: expected at most {_LARGEST_SIZE} rows, pixels and channels, found "
            f"{'x'.join(map(str, sizes))}"
        )
    return FeatureRow(feature.name, (storage.offset, storage.rows, *sizes, feature.zero_point, int(is_planar)))


def _window(layer: Convolution | Depthwise | Pool) -> str:
    window: Window = layer.window
    steps = (window.stride_y, window.stride_x, window.dilation_y, window.dilation_x)
    sizes = (window.kernel_height, window.kernel_width, window.pad_top, window.pad_left)
    if max(steps) > _LARGEST_STRIDE:
        raise ModelError(f"{layer.label}: expected strides and dilations up to {_LARGEST_STRIDE}, found {max(steps)}")
    if max(sizes) > _LARGEST_SIZE:
        raise ModelError(f"{layer.label}: expected a window of at most {_LARGEST_SIZE} pixels, found {max(sizes)}")
    return _braces((window.kernel_height, window.kernel_width, *steps, window.pad_top, window.pad_left))


def _check(layer: Layer, holds: bool) -> None:
    if not holds:
        raise AssertionError(f"{layer.label}: the layer contradicts its features")


def _check_name(layer: Layer) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", layer.name):
        raise AssertionError(f"{layer.label}: {layer.name!r} is no C identifier")


def _braces(values: Iterable[int | np.integer]) -> str:
    return "{" + ", ".join(str(int(value)) for value in values) + "}"

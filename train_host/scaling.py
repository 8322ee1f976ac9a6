# SPDX-License-Identifier: Apache-2.0
"""The EfficientNet-Lite family as plain numbers: variants, compound scaling, channel and repeat counts, costs.

Pure Python: a width can be chosen, and its parameters and multiply-adds counted, without loading TensorFlow.

Sources: Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks" (2019), for the block
table and compound scaling; the EfficientNet-Lite release of 2020 for ReLU6, no squeeze-and-excite, a stem and head that
do not scale and first and last stages whose repeats do not scale.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

from device.errors import LitesightError

STEM_CHANNELS = 32
HEAD_CHANNELS = 1280
CHANNEL_DIVISOR = 8

# By a grid search in the paper, under alpha * beta^2 * gamma^2 ~ 2: one phi costs about twice the work.
ALPHA_DEPTH = 1.2
BETA_WIDTH = 1.1
GAMMA_RESOLUTION = 1.15
BASE_RESOLUTION = 224
RESOLUTION_DIVISOR = 8

WIDTH_RANGE = (0.05, 4.0)
DEPTH_RANGE = (0.05, 4.0)
RESOLUTION_RANGE = (16, 1024)
CLASSES_RANGE = (2, 100_000)
INPUT_CHANNELS = (1, 3)


class Stage(NamedTuple):
    """One row of the EfficientNet-B0 table, before scaling."""

    kernel: int
    repeats: int
    channels: int
    expand_ratio: int
    stride: int


STAGES = (
    Stage(kernel=3, repeats=1, channels=16, expand_ratio=1, stride=1),
    Stage(kernel=3, repeats=2, channels=24, expand_ratio=6, stride=2),
    Stage(kernel=5, repeats=2, channels=40, expand_ratio=6, stride=2),
    Stage(kernel=3, repeats=3, channels=80, expand_ratio=6, stride=2),
    Stage(kernel=5, repeats=3, channels=112, expand_ratio=6, stride=1),
    Stage(kernel=5, repeats=4, channels=192, expand_ratio=6, stride=2),
    Stage(kernel=3, repeats=1, channels=320, expand_ratio=6, stride=1),
)


class Variant(NamedTuple):
    """A published size: width and depth multipliers, input side in pixels, dropout before the classifier."""

    width: float
    depth: float
    resolution: int
    dropout: float


VARIANTS: dict[str, Variant] = {
    "lite0": Variant(1.0, 1.0, 224, 0.2),
    "lite1": Variant(1.0, 1.1, 240, 0.2),
    "lite2": Variant(1.1, 1.2, 260, 0.3),
    "lite3": Variant(1.2, 1.4, 280, 0.3),
    "lite4": Variant(1.4, 1.8, 300, 0.3),
}
CUSTOM = "custom"


def _require_between(name: str, value: float, low: float, high: float) -> None:
    # NaN compares false with everything, so ask for the good case.
    if not low <= value <= high:
        raise LitesightError(f"{name} must be between {low} and {high}. Received: {value}")


def _require_int(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise LitesightError(f"{name} must be a whole number. Received: {value!r}")


def _require_number(name: str, value: object) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise LitesightError(f"{name} must be a number. Received: {value!r}")


@dataclass(frozen=True)
class Architecture:
    """Everything that fixes the shape of a network.

    Attributes:
        variant: "lite0" to "lite4", or "custom"; a name for people, the numbers below decide.
        width: channel multiplier.
        depth: repeat multiplier.
        resolution: side of the square input, in pixels.
        scale_stem_and_head: whether stem (32) and head (1280) scale with the width. The published variants do not
            scale them; with a narrow network an unscaled head dominates the flash.
        channels: input channels, 1 or 3.
        classes: outputs.
        dropout: rate before the classifier, in training only.

    Raises:
        LitesightError: a value is out of range.
    """

    variant: str = "lite0"
    width: float = 1.0
    depth: float = 1.0
    resolution: int = 224
    scale_stem_and_head: bool = False
    channels: int = 3
    classes: int = 1000
    dropout: float = 0.2

    def __post_init__(self) -> None:
        if self.variant != CUSTOM and self.variant not in VARIANTS:
            raise LitesightError(
                f"variant must be one of {', '.join(VARIANTS)} or {CUSTOM}. Received: {self.variant!r}"
            )
        for name in ("width", "depth", "dropout"):
            _require_number(name, getattr(self, name))
        for name in ("resolution", "channels", "classes"):
            _require_int(name, getattr(self, name))
        _require_between("width", self.width, *WIDTH_RANGE)
        _require_between("depth", self.depth, *DEPTH_RANGE)
        _require_between("resolution", self.resolution, *RESOLUTION_RANGE)
        _require_between("classes", self.classes, *CLASSES_RANGE)
        _require_between("dropout", self.dropout, 0.0, 0.9)
        if self.channels not in INPUT_CHANNELS:
            raise LitesightError(f"channels must be 1 (grey) or 3 (RGB). Received: {self.channels}")
        if not isinstance(self.scale_stem_and_head, bool):
            raise LitesightError(f"scale_stem_and_head must be true or false. Received: {self.scale_stem_and_head!r}")

    def to_dict(self) -> dict[str, Any]:
        """The fields, ready for JSON."""
        return asdict(self)


def architecture_from_dict(values: Mapping[str, Any]) -> Architecture:
    """The inverse of `Architecture.to_dict`; unknown and missing keys are errors.

    Raises:
        LitesightError: a key is unknown or missing, or a value is out of range.
    """
    known = {field.name for field in fields(Architecture)}
    for key in values:
        if key not in known:
            raise LitesightError(f"unknown architecture field {key!r}; expected {', '.join(sorted(known))}")
    missing = sorted(known - set(values))
    if missing:
        raise LitesightError(f"architecture lacks {', '.join(missing)}")
    return Architecture(**values)


def variant_architecture(
    variant: str,
    *,
    classes: int,
    width: float | None = None,
    depth: float | None = None,
    resolution: int | None = None,
    scale_stem_and_head: bool | None = None,
    channels: int = 3,
    dropout: float | None = None,
) -> Architecture:
    """A published variant, with any of its numbers replaced; it is called "custom" then.

    ``scale_stem_and_head=None`` leaves stem and head unscaled for the published widths and scales them below 1.0, where
    they would otherwise be most of the flash.

    Raises:
        LitesightError: unknown variant, or a value out of range.
    """
    if variant not in VARIANTS:
        raise LitesightError(f"variant must be one of {', '.join(VARIANTS)}. Received: {variant!r}")
    base = VARIANTS[variant]
    chosen_width = base.width if width is None else width
    chosen = (
        chosen_width,
        base.depth if depth is None else depth,
        base.resolution if resolution is None else resolution,
    )
    return Architecture(
        variant=variant if chosen == (base.width, base.depth, base.resolution) else CUSTOM,
        width=chosen_width,
        depth=base.depth if depth is None else depth,
        resolution=base.resolution if resolution is None else resolution,
        scale_stem_and_head=chosen_width < 1.0 if scale_stem_and_head is None else scale_stem_and_head,
        channels=channels,
        classes=classes,
        dropout=base.dropout if dropout is None else dropout,
    )


class CompoundScale(NamedTuple):
    """Multipliers of one compound coefficient."""

    width: float
    depth: float
    resolution: int


def compound_scale(phi: float, base_resolution: int = BASE_RESOLUTION) -> CompoundScale:
    """Compound scaling: depth 1.2^phi, width 1.1^phi, resolution 1.15^phi, rounded to a multiple of 8 pixels.

    ``phi`` may be negative; each step up costs about 1.2 * 1.1^2 * 1.15^2 = 1.92 times the multiply-adds.

    Raises:
        LitesightError: phi is so large or small that the result is no network.
    """
    _require_between("phi", phi, -20.0, 8.0)
    resolution = base_resolution * GAMMA_RESOLUTION**phi
    return CompoundScale(
        width=BETA_WIDTH**phi,
        depth=ALPHA_DEPTH**phi,
        resolution=max(RESOLUTION_DIVISOR, round(resolution / RESOLUTION_DIVISOR) * RESOLUTION_DIVISOR),
    )


def round_channels(channels: int, width: float) -> int:
    """Scaled channels, rounded to a multiple of 8, never more than 10% below the exact product."""
    exact = channels * width
    rounded = max(CHANNEL_DIVISOR, int(exact + CHANNEL_DIVISOR / 2) // CHANNEL_DIVISOR * CHANNEL_DIVISOR)
    if rounded < 0.9 * exact:
        rounded += CHANNEL_DIVISOR
    return rounded


def round_repeats(repeats: int, depth: float) -> int:
    """Scaled repeats, rounded up."""
    return math.ceil(depth * repeats)


@dataclass(frozen=True)
class Block:
    """One inverted bottleneck (MBConv without squeeze-and-excite).

    Attributes:
        name: "block2a": stage from 1, repeat from "a"; stays greppable from Keras to the C symbol.
        stage: stage from 1.
        repeat: repeat from 0.
        in_size: side of the input map in pixels.
    """

    name: str
    stage: int
    repeat: int
    kernel: int
    stride: int
    expand_ratio: int
    in_channels: int
    out_channels: int
    in_size: int

    @property
    def expanded_channels(self) -> int:
        """Channels of the depthwise convolution."""
        return self.in_channels * self.expand_ratio

    @property
    def out_size(self) -> int:
        """Side of the output map in pixels, with TensorFlow's SAME padding."""
        return -(-self.in_size // self.stride)

    @property
    def residual(self) -> bool:
        """Whether the input is added to the output.

        Never in the first block of a stage, even where a narrow width happens to give it as many outputs as inputs: the
        full-width network has no such sum, so pretrained channels could not start from one.
        """
        return self.repeat > 0


def stem_channels(arch: Architecture) -> int:
    """Channels of the stem convolution."""
    return round_channels(STEM_CHANNELS, arch.width) if arch.scale_stem_and_head else STEM_CHANNELS


def head_channels(arch: Architecture) -> int:
    """Channels of the last 1×1 convolution: the features that the classifier sees."""
    return round_channels(HEAD_CHANNELS, arch.width) if arch.scale_stem_and_head else HEAD_CHANNELS


def stage_repeats(arch: Architecture) -> tuple[int, ...]:
    """Blocks per stage; the first and the last stage do not scale."""
    last = len(STAGES) - 1
    return tuple(
        stage.repeats if index in (0, last) else round_repeats(stage.repeats, arch.depth)
        for index, stage in enumerate(STAGES)
    )


def blocks(arch: Architecture) -> tuple[Block, ...]:
    """Every block of the network, in order."""
    result: list[Block] = []
    in_channels = stem_channels(arch)
    size = -(-arch.resolution // 2)
    for number, (stage, repeats) in enumerate(zip(STAGES, stage_repeats(arch), strict=True), start=1):
        out_channels = round_channels(stage.channels, arch.width)
        for repeat in range(repeats):
            block = Block(
                name=f"block{number}{chr(ord('a') + repeat)}",
                stage=number,
                repeat=repeat,
                kernel=stage.kernel,
                stride=stage.stride if repeat == 0 else 1,
                expand_ratio=stage.expand_ratio,
                in_channels=in_channels,
                out_channels=out_channels,
                in_size=size,
            )
            result.append(block)
            in_channels, size = out_channels, block.out_size
    return tuple(result)


def count_parameters(arch: Architecture) -> int:
    """Trainable parameters: convolutions without bias, batch normalisation's scale and offset, the classifier."""
    stem, head = stem_channels(arch), head_channels(arch)
    batch_norm = 2
    total = 9 * arch.channels * stem + batch_norm * stem
    for block in blocks(arch):
        wide = block.expanded_channels
        if block.expand_ratio != 1:
            total += block.in_channels * wide + batch_norm * wide
        total += block.kernel**2 * wide + batch_norm * wide
        total += wide * block.out_channels + batch_norm * block.out_channels
    total += blocks(arch)[-1].out_channels * head + batch_norm * head
    return total + (head + 1) * arch.classes


def count_macs(arch: Architecture) -> int:
    """Multiply-accumulates of one inference in convolutions and the classifier; a padded pixel counts like any other.

    What a chip has to do: batch normalisation and ReLU6 are folded into the convolutions there.
    """
    stem, head = stem_channels(arch), head_channels(arch)
    table = blocks(arch)
    total = table[0].in_size ** 2 * 9 * arch.channels * stem
    for block in table:
        wide = block.expanded_channels
        if block.expand_ratio != 1:
            total += block.in_size**2 * block.in_channels * wide
        total += block.out_size**2 * wide * (block.kernel**2 + block.out_channels)
    total += table[-1].out_size ** 2 * table[-1].out_channels * head
    return total + head * arch.classes


def count_multiply_adds(arch: Architecture) -> int:
    """Multiply-adds as the published table counts them, for comparison with it.

    On top of `count_macs` that table has three for every element that a convolution writes (batch normalisation and
    ReLU6, not folded) and one for every element of a residual sum. Agrees with it to all printed digits for Lite1 to
    Lite4, and within 0.4% for Lite0.
    """
    table = blocks(arch)
    written = table[0].in_size ** 2 * stem_channels(arch) + table[-1].out_size ** 2 * head_channels(arch)
    added = 0
    for block in table:
        if block.expand_ratio != 1:
            written += block.in_size**2 * block.expanded_channels
        written += block.out_size**2 * (block.expanded_channels + block.out_channels)
        if block.residual:
            added += block.out_size**2 * block.out_channels
    return count_macs(arch) + 3 * written + added

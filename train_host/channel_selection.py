# SPDX-License-Identifier: Apache-2.0
"""A narrow network from the channels of a trained wide one.

Which channels stay is decided once per residual stream (every block of a stage adds into the same channels), once per
block for the expanded channels, and once each for stem and head. A set of channels is good when the layer that reads it
can rebuild what it would have read from all of them: `choose_channels` picks greedily by explained variance on real
photos, so two channels that say the same are not both kept. Then the 1×1 convolutions are re-fitted, layer by layer,
to give from the kept channels what the wide network gives from all of them (ridge regression towards the wide
network's own weights, as in He, Zhang and Sun, "Channel Pruning for Accelerating Very Deep Neural Networks", 2017), and
every batch normalisation gets the statistics of its new input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from device.errors import LitesightError
from device.progress import Progress, silent
from train_host.efficientnet_lite import BATCH_NORM_EPSILON
from train_host.scaling import Architecture, Block, blocks, head_channels, stem_channels

Array = NDArray[np.float32]
Index = NDArray[np.intp]
# Keras layer name + "/" + variable ("kernel", "gamma", "beta", "mean", "variance", "bias") → values.
Weights = dict[str, Array]

RIDGE = 1e-3
# Rows of a regression: enough to be far from singular with 1152 unknowns, few enough to be quick.
MAX_ROWS = 24_000
# Photos are thinned until the largest feature map of the wide network stays near this.
MAX_MAP_BYTES = 256 << 20


@dataclass(frozen=True)
class _Affine:
    """A 1×1 convolution with its batch normalisation folded in: out = x @ kernel + bias."""

    kernel: Array
    bias: Array
    gain: Array
    """Folded factor per output, kept so that the unfolded kernel has the wide network's magnitudes."""


def choose_channels(covariance: NDArray[Any], consumer: NDArray[Any], count: int) -> Index:
    """The channels from which a linear reader's outputs can best be rebuilt.

    Greedy forward selection: each step takes the channel that explains most of what is left of the variance of
    ``x @ consumer``, given those already taken.

    Args:
        covariance: (channels, channels), of x.
        consumer: (channels, outputs): the weights that read x.
        count: how many to keep.

    Returns:
        The kept channels, ascending.
    """
    channels = covariance.shape[0]
    if count >= channels:
        return np.arange(channels)
    covariance = np.asarray(covariance, np.float64)
    readers = np.asarray(consumer, np.float64)
    # Pivoted Cholesky: what is left of the covariance is covariance - factor @ factor.T, and only its diagonal and the
    # chosen columns are ever needed.
    factor = np.zeros((channels, count))
    diagonal = covariance.diagonal().copy()
    reach = covariance @ readers
    # Below this a channel is a sum of those taken, up to rounding; dividing by what is left of it would be noise.
    floor = 1e-6 * diagonal + 1e-12 * max(float(diagonal.mean()), 1e-12)
    loudness = np.linalg.norm(readers, axis=1) * np.sqrt(np.maximum(diagonal, 0))
    free = np.ones(channels, bool)
    for taken in range(count):
        fresh = free & (diagonal > floor)
        if not fresh.any():
            rest = np.flatnonzero(free)
            free[rest[np.argsort(-loudness[rest], kind="stable")[: count - taken]]] = False
            break
        explained = np.einsum("co,co->c", reach, reach)
        best = int(np.argmax(np.where(fresh, explained / np.where(fresh, diagonal, 1.0), -1.0)))
        free[best] = False
        column = covariance[best] - factor[:, :taken] @ factor[best, :taken]
        root = np.sqrt(diagonal[best])
        reach -= np.multiply.outer(column / diagonal[best], reach[best])
        factor[:, taken] = column / root
        diagonal -= factor[:, taken] ** 2
    return np.flatnonzero(~free)


def fit_ridge(x: Array, y: Array, start: Array) -> tuple[Array, Array]:
    """Least squares y ~ x @ kernel + bias, with a penalty on leaving ``start``.

    Args:
        x: (rows, inputs).
        y: (rows, outputs).
        start: (inputs, outputs): where the kernel stays when the data do not say otherwise, and exactly stays when it
            already gives y.

    Returns:
        kernel (inputs, outputs) and bias (outputs,).
    """
    x_mean, y_mean = x.mean(axis=0, dtype=np.float64), y.mean(axis=0, dtype=np.float64)
    xc, yc = x - x_mean, y - y_mean
    gram = xc.T @ xc
    ridge = RIDGE * max(float(np.trace(gram)) / len(gram), 1e-12)
    change = np.linalg.solve(gram + ridge * np.eye(len(gram)), xc.T @ (yc - xc @ start))
    kernel = start + change
    return kernel.astype(np.float32), (y_mean - x_mean @ kernel).astype(np.float32)


def narrow_weights(
    wide: Weights,
    wide_arch: Architecture,
    arch: Architecture,
    photos: Array,
    *,
    reconstruct: bool = True,
    progress: Progress = silent,
) -> Weights:
    """The weights of ``arch`` from those of a wider network, all but the classifier.

    Args:
        wide: the trained network.
        wide_arch: its shape; at least as wide as ``arch``.
        arch: the narrow shape. With fewer repeats in a stage the leading blocks stay, and the last of them is fitted
            to what the whole stage gave; extra repeats start as the identity.
        photos: (n, h, w, arch.channels) float32, normalised, from the training split; a hundred are plenty.
        reconstruct: whether 1×1 convolutions are re-fitted; only a comparison turns it off.
        progress: wraps the loop over blocks.

    Returns:
        Weights for every layer before the classifier, and under "head/channels" the kept head channels.

    Raises:
        LitesightError: ``arch`` is wider than ``wide_arch``, or there are no photos.
    """
    if not len(photos):
        raise LitesightError("choosing channels needs training photos; none were given")
    wide_blocks, narrow_blocks = blocks(wide_arch), blocks(arch)
    for narrow, wider in zip(_first_of_stages(narrow_blocks), _first_of_stages(wide_blocks), strict=True):
        if narrow.out_channels > wider.out_channels:
            raise LitesightError(
                f"pretrained channels reach up to width {wide_arch.width}. Received: width {arch.width}",
                hint="train from random weights",
            )
    photos = _thin(photos, wide_blocks)
    surgery = _Surgery(wide, reconstruct)
    stage_pairs = [
        (list(wide_stage), list(narrow_stage))
        for (_, wide_stage), (_, narrow_stage) in zip(
            groupby(wide_blocks, key=lambda block: block.stage),
            groupby(narrow_blocks, key=lambda block: block.stage),
            strict=True,
        )
    ]
    wide_x, narrow_x = surgery.stem(photos, wide_blocks[0], stem_channels(arch))
    stream = surgery.stem_choice
    for number, (theirs, ours) in enumerate(progress(stage_pairs, "Choosing channels", len(stage_pairs))):
        following = stage_pairs[number + 1][0][0].name + "_expand" if number + 1 < len(stage_pairs) else "head"
        wide_x, narrow_x, stream = surgery.stage(theirs, ours, following, wide_x, narrow_x, stream)
    surgery.head(wide_x, narrow_x, stream, head_channels(arch))
    return surgery.result


def _first_of_stages(table: Sequence[Block]) -> list[Block]:
    return [block for block in table if block.repeat == 0]


def _thin(photos: Array, wide_blocks: Sequence[Block]) -> Array:
    side = photos.shape[1] / 2
    largest = max(block.in_channels * block.expand_ratio / 4.0 ** (block.stage - 2) for block in wide_blocks[1:])
    keep = max(8, int(MAX_MAP_BYTES / (4 * side * side * largest)))
    return photos[:: max(1, -(-len(photos) // keep))]


class _Surgery:
    """The narrow weights so far; walks the wide and the narrow network side by side on the same photos."""

    def __init__(self, wide: Weights, reconstruct: bool) -> None:
        self.wide = wide
        self.reconstruct = reconstruct
        self.result: Weights = {}
        self.stem_choice: Index = np.arange(0)

    # -- parts of the network -------------------------------------------------------------------------------------

    def stem(self, photos: Array, first: Block, count: int) -> tuple[Array, Array]:
        """Chooses stem channels by what block1a's projection makes of them; returns both stem outputs."""
        wide_x = _relu6(_normed(_conv(photos, self.wide["stem_conv/kernel"], 2), self.wide, "stem"))
        seen = _relu6(self._wide_depthwise(wide_x, first))
        keep = choose_channels(_covariance(seen), self._affine(f"{first.name}_project").kernel, count)
        self.stem_choice = keep
        self.result["stem_conv/kernel"] = self.wide["stem_conv/kernel"][..., keep]
        self._copy_norm("stem", keep)
        return wide_x, wide_x[..., keep]

    def stage(
        self, theirs: list[Block], ours: list[Block], following: str, wide_x: Array, narrow_x: Array, stream: Index
    ) -> tuple[Array, Array, Index]:
        """One stage; returns its wide and narrow output and the channels of its stream."""
        wide_maps = [wide_x]
        for block in theirs:
            wide_maps.append(self._wide_block(wide_maps[-1], block))
        readers = [f"{block.name}_expand" for block in theirs[1:]] + [following]
        covariance = sum(_covariance(x) for x in wide_maps[1:])
        consumer = np.concatenate([self._affine(name).kernel for name in readers], axis=1)
        next_stream = choose_channels(np.asarray(covariance), consumer, ours[0].out_channels)
        for index, block in enumerate(ours):
            if index >= len(theirs):
                # Fresh weights behind a scale of zero: the sum is its input until training says otherwise.
                for variable, value in (("gamma", 0.0), ("beta", 0.0), ("mean", 0.0), ("variance", 1.0)):
                    values = np.full(block.out_channels, value, np.float32)
                    self.result[f"{block.name}_project_bn/{variable}"] = values
                continue
            # The last block that stays also stands for those that go.
            target = wide_maps[-1] if index == len(ours) - 1 else wide_maps[index + 1]
            narrow_x = self._narrow_block(
                theirs[index],
                block,
                wide_maps[index],
                target,
                narrow_x,
                stream if index == 0 else next_stream,
                next_stream,
            )
        return wide_maps[-1], narrow_x, next_stream

    def head(self, wide_x: Array, narrow_x: Array, stream: Index, count: int) -> None:
        """Chooses head channels by what the trained classifier makes of their averages."""
        affine = self._affine("head")
        target = _pointwise(wide_x, affine.kernel, affine.bias)
        pooled = _relu6(target).mean(axis=(1, 2))
        keep = choose_channels(_covariance(pooled), self.wide["classifier/kernel"], count)
        self._fit("head", narrow_x, target[..., keep], affine.kernel[np.ix_(stream, keep)], affine, keep)
        self.result["head/channels"] = keep.astype(np.float32)

    # -- the wide network -----------------------------------------------------------------------------------------

    def _affine(self, name: str) -> _Affine:
        kernel = self.wide[f"{name}_conv/kernel"]
        gain = self.wide[f"{name}_bn/gamma"] / np.sqrt(self.wide[f"{name}_bn/variance"] + BATCH_NORM_EPSILON)
        bias = self.wide[f"{name}_bn/beta"] - self.wide[f"{name}_bn/mean"] * gain
        return _Affine(kernel.reshape(kernel.shape[-2:]) * gain, bias, gain)

    def _wide_depthwise(self, x: Array, block: Block) -> Array:
        name = f"{block.name}_depthwise"
        return _normed(_depthwise(x, self.wide[f"{name}_conv/kernel"], block.stride), self.wide, name)

    def _wide_block(self, x: Array, block: Block) -> Array:
        wide_x = x
        if block.expand_ratio != 1:
            affine = self._affine(f"{block.name}_expand")
            x = _relu6(_pointwise(x, affine.kernel, affine.bias))
        affine = self._affine(f"{block.name}_project")
        x = _pointwise(_relu6(self._wide_depthwise(x, block)), affine.kernel, affine.bias)
        return wide_x + x if block.residual else x

    # -- the narrow network ---------------------------------------------------------------------------------------

    def _narrow_block(
        self, theirs: Block, ours: Block, wide_x: Array, target: Array, narrow_x: Array, stream: Index, out: Index
    ) -> Array:
        expand, project = f"{ours.name}_expand", f"{ours.name}_project"
        project_affine = self._affine(project)
        if theirs.expand_ratio == 1:
            keep, x = stream, narrow_x
        else:
            affine = self._affine(expand)
            wide_expanded = _pointwise(wide_x, affine.kernel, affine.bias)
            seen = _relu6(self._wide_depthwise(_relu6(wide_expanded), theirs))
            keep = choose_channels(_covariance(seen), project_affine.kernel, ours.expanded_channels)
            x = _relu6(
                self._fit(expand, narrow_x, wide_expanded[..., keep], affine.kernel[np.ix_(stream, keep)], affine, keep)
            )
            del wide_expanded, seen
        x = self._narrow_depthwise(x, ours, keep)
        wanted = target[..., out] - narrow_x if ours.residual else target[..., out]
        start = project_affine.kernel[np.ix_(keep, out)]
        x = self._fit(project, x, wanted, start, project_affine, out)
        return narrow_x + x if ours.residual else x

    def _narrow_depthwise(self, x: Array, block: Block, keep: Index) -> Array:
        name = f"{block.name}_depthwise"
        kernel = self.wide[f"{name}_conv/kernel"][:, :, keep, :]
        self.result[f"{name}_conv/kernel"] = kernel
        self._copy_norm(name, keep)
        return _relu6(_normed(_depthwise(x, kernel, block.stride), self.result, name))

    def _fit(self, name: str, x: Array, wanted: Array, start: Array, affine: _Affine, keep: Index) -> Array:
        """Writes the 1×1 convolution and its batch normalisation; returns their output on x."""
        kernel, bias = start, affine.bias[keep]
        if self.reconstruct:
            rows_x, rows_y = _rows(x, wanted)
            kernel, bias = fit_ridge(rows_x, rows_y, start)
        gain = np.where(np.abs(affine.gain[keep]) > 1e-6, affine.gain[keep], 1e-6).astype(np.float32)
        raw = kernel / gain
        flat = x.reshape(-1, x.shape[-1])
        mean, variance = flat.mean(axis=0) @ raw, (raw * (_covariance(x) @ raw)).sum(axis=0)
        variance = np.maximum(variance, 0).astype(np.float32)
        self.result[f"{name}_conv/kernel"] = raw[None, None]
        self.result[f"{name}_bn/mean"] = mean.astype(np.float32)
        self.result[f"{name}_bn/variance"] = variance
        self.result[f"{name}_bn/gamma"] = gain * np.sqrt(variance + BATCH_NORM_EPSILON)
        self.result[f"{name}_bn/beta"] = bias + gain * mean.astype(np.float32)
        return _pointwise(x, kernel, bias)

    def _copy_norm(self, name: str, keep: Index) -> None:
        for variable in ("gamma", "beta", "mean", "variance"):
            self.result[f"{name}_bn/{variable}"] = self.wide[f"{name}_bn/{variable}"][keep]


def _rows(x: Array, y: Array) -> tuple[Array, Array]:
    flat_x, flat_y = x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1])
    # An odd step walks through all columns of the map instead of always hitting the same ones.
    step = max(1, len(flat_x) // MAX_ROWS) | 1
    return flat_x[::step], flat_y[::step]


def _covariance(x: Array) -> NDArray[np.float64]:
    flat = x.reshape(-1, x.shape[-1])
    step = max(1, len(flat) // MAX_ROWS) | 1
    flat = flat[::step]
    mean = flat.mean(axis=0)
    centred = flat - mean
    # A constant counts for next to nothing, but for more than silence.
    return (centred.T @ centred / len(flat)).astype(np.float64) + 1e-6 * np.diag(mean.astype(np.float64) ** 2)


def _relu6(x: Array) -> Array:
    return np.clip(x, 0.0, 6.0)


def _normed(x: Array, weights: Weights, name: str) -> Array:
    gain = weights[f"{name}_bn/gamma"] / np.sqrt(weights[f"{name}_bn/variance"] + BATCH_NORM_EPSILON)
    return (x - weights[f"{name}_bn/mean"]) * gain + weights[f"{name}_bn/beta"]


def _conv(x: Array, kernel: Array, stride: int) -> Array:
    return np.asarray(tf.nn.conv2d(x, kernel, stride, "SAME"))


def _pointwise(x: Array, kernel: Array, bias: Array) -> Array:
    # One large product; numpy would multiply a 4-D array row of pixels by row of pixels.
    return (x.reshape(-1, x.shape[-1]) @ kernel + bias).reshape(*x.shape[:-1], kernel.shape[-1])


def _depthwise(x: Array, kernel: Array, stride: int) -> Array:
    return np.asarray(tf.nn.depthwise_conv2d(x, kernel, (1, stride, stride, 1), "SAME"))

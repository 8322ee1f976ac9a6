# SPDX-License-Identifier: Apache-2.0
"""``litesight train``: photos in class folders become a bundle."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from train_host.augmentation import Augmentation
    from train_host.train_bundle import TrainOptions, TrainResult

HELP = "Train a classifier on photos in class folders and write it as an int8 bundle."
EPILOG = """\
DATA is a folder with one sub-folder of photos a class, or with train/, val/ and test/ of such folders, or a .zip of
either.

examples:
  litesight train photos/ -o cells
  litesight train photos.zip -o cells --width 0.25 --size 64 --epochs 30
  litesight train photos/ -o cells --augment flat      parts seen from above: any turn is as good
  litesight train photos/ -o cells --resume            go on after Ctrl-C or a power cut

Wider and larger is more accurate and costs flash and RAM: with width 0.35 and size 96 the model has about 500 kB."""

AUGMENTATIONS = {
    "photo": "everyday things: mirrored, cropped, other light",
    "flat": "seen from above or through a microscope: also upside down and turned by quarters",
    "fixed": "left and right mean something (letters, arrows): never mirrored",
    "none": "no change at all",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("data", type=Path, metavar="DATA", help="folder or .zip of photos")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="BUNDLE", help="directory to write")
    network = parser.add_argument_group("network")
    network.add_argument("--width", type=float, default=0.35, help="channel multiplier (default: 0.35)")
    network.add_argument("--depth", type=float, default=1.0, help="layer multiplier (default: 1.0)")
    network.add_argument("--size", type=int, default=96, metavar="PIXELS", help="side of the input (default: 96)")
    network.add_argument(
        "--scale-stem-and-head",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="whether the first and the last convolution scale with the width (default: below width 1)",
    )
    training = parser.add_argument_group("training")
    training.add_argument("--epochs", type=int, help="passes over the photos (default: 20)")
    training.add_argument("--batch", type=int, metavar="N", help="photos a step (default: 32)")
    training.add_argument("--learning-rate", type=float, metavar="X", help="at its highest (default: 0.002)")
    training.add_argument("--seed", type=int, default=0, help="of splits, order and augmentation (default: 0)")
    kinds = "; ".join(f"{name}: {text}" for name, text in AUGMENTATIONS.items())
    training.add_argument("--augment", choices=AUGMENTATIONS, default="photo", help=f"{kinds} (default: photo)")
    training.add_argument(
        "--class-weights",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="weigh rare classes higher in the loss (default: where the largest class has 3 times the smallest)",
    )
    training.add_argument("--from-scratch", action="store_true", help="do not start from ImageNet-trained channels")
    training.add_argument("--resume", action="store_true", help="go on after the last finished epoch")
    training.add_argument("--restart", action="store_true", help="throw away what an interrupted training left")
    data = parser.add_argument_group("data")
    data.add_argument("--val", type=float, metavar="SHARE", help="share for validation (default: 0.1)")
    data.add_argument("--test", type=float, metavar="SHARE", help="share held out for the figures (default: 0.2)")
    data.add_argument("--skip-bad", action="store_true", help="leave unreadable photos out instead of stopping")
    data.add_argument("--name", help="the model's name (default: that of the output)")
    data.add_argument("--license", default="LicenseRef-own", help="SPDX expression for the weights")


def run(args: argparse.Namespace) -> int:
    """Train and print the figures."""
    from device import atomic, bundle
    from device.errors import UsageError

    if args.resume and args.restart:
        raise UsageError("--resume and --restart exclude each other")
    atomic.check_replaceable(args.output, is_ours=bundle.is_bundle, kind="bundle")
    print("loading TensorFlow", file=sys.stderr)
    from device.progress import bar
    from train_host.commands.written import say_written
    from train_host.train_bundle import train_bundle

    try:
        result = train_bundle(
            args.data, args.output, _options(args), resume=args.resume, restart=args.restart, progress=bar
        )
    except KeyboardInterrupt:
        return say_interrupted(args.output)
    _say_skipped(result)
    say_written(result.bundle, result.measured)
    print(f"report          {args.output / bundle.REPORT}")
    print(f"next: litesight export {args.output} --engine tflm -o firmware", file=sys.stderr)
    return 0


def say_interrupted(output: Path) -> int:
    """What Ctrl-C left and how to go on; returns the exit status."""
    from train_host.train_bundle import is_resumable, work_directory

    kept = f"finished epochs are kept in {work_directory(output)}: go on with the same command and --resume"
    lost = "no epoch was finished, so there is nothing to resume"
    print(
        f"litesight: error: stopped; {output} was not written ({kept if is_resumable(output) else lost})",
        file=sys.stderr,
    )
    return 1


def _options(args: argparse.Namespace) -> TrainOptions:
    from train_host.scaling import variant_architecture
    from train_host.train_bundle import TrainOptions
    from train_host.training import Recipe

    given = {"epochs": args.epochs, "batch_size": args.batch, "learning_rate": args.learning_rate}
    recipe: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    fractions = {"val_fraction": args.val, "test_fraction": args.test}
    return TrainOptions(
        architecture=variant_architecture(
            "lite0",
            classes=2,
            width=args.width,
            depth=args.depth,
            resolution=args.size,
            scale_stem_and_head=args.scale_stem_and_head,
        ),
        recipe=Recipe(seed=args.seed, **recipe),
        augmentation=_augmentation(args.augment),
        pretrained=not args.from_scratch,
        weigh_classes=args.class_weights,
        skip_bad=args.skip_bad,
        name=args.name or args.output.name,
        license=args.license,
        **{name: value for name, value in fractions.items() if value is not None},
    )


def _augmentation(name: str) -> Augmentation | None:
    from train_host.augmentation import Augmentation

    if name == "none":
        return None
    if name == "flat":
        return Augmentation(vertical_flip=True, rot90=True)
    return Augmentation(horizontal_flip=name == "photo")


def _say_skipped(result: TrainResult) -> None:
    dataset = result.dataset
    for skipped in dataset.skipped:
        print(f"left out: {skipped.reason}", file=sys.stderr)
    if dataset.duplicates:
        print(f"left out: {dataset.duplicates} copies of photos that are there already", file=sys.stderr)

# SPDX-License-Identifier: Apache-2.0
"""``litesight train``: photos in class folders become a bundle."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from train_host.recipe import Recipe

if TYPE_CHECKING:
    from train_host.augmentation import Augmentation
    from train_host.scaling import Architecture
    from train_host.train_bundle import TrainOptions, TrainResult

HELP = "Train a classifier on photos in class folders and write it as an int8 bundle."
EPILOG = """\
DATA is a folder with one sub-folder of photos a class, or with train/, val/ and test/ of such folders, or a .zip of
either.

examples:
  litesight train photos/ -o cells
  litesight train photos.zip -o cells --width 0.25 --size 64 --epochs 30
  litesight train photos/ -o cells --phi -4            Lite0 made 16 times cheaper by compound scaling
  litesight train photos/ -o cells --augment flat      parts seen from above: any turn is as good
  litesight train photos/ -o cells --resume            go on after Ctrl-C or a power cut

Wider and larger is more accurate and costs flash and RAM: at width 0.35 the model has about 680 kB, at 0.25 about
440 kB."""

WIDTH, SIZE = 0.35, 96

AUGMENTATIONS = {
    "photo": "everyday things: mirrored, cropped, other light",
    "flat": "seen from above or through a microscope: also upside down and turned by quarters",
    "fixed": "left and right mean something (letters, arrows): never mirrored",
    "none": "no change at all",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    recipe = Recipe()
    parser.add_argument("data", type=Path, metavar="DATA", help="folder or .zip of photos")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="BUNDLE", help="directory to write")
    network = parser.add_argument_group("network")
    network.add_argument(
        "--variant",
        choices=["lite0", "lite1", "lite2", "lite3", "lite4"],
        help="a published size; from lite1 on with --from-scratch, for ImageNet's channels end at width 1",
    )
    network.add_argument(
        "--phi", type=float, help="compound scaling of the variant (default lite0): each step down halves the work"
    )
    network.add_argument("--width", type=float, help=f"channel multiplier (default: {WIDTH})")
    network.add_argument("--depth", type=float, help="layer multiplier (default: 1.0)")
    network.add_argument("--size", type=int, metavar="PIXELS", help=f"side of the input (default: {SIZE})")
    network.add_argument(
        "--scale-stem-and-head",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="whether the first and the last convolution scale with the width (default: below width 1)",
    )
    training = parser.add_argument_group("training")
    training.add_argument("--epochs", type=int, help=f"passes over the photos (default: {recipe.epochs})")
    training.add_argument("--batch", type=int, metavar="N", help=f"photos a step (default: {recipe.batch_size})")
    training.add_argument(
        "--learning-rate", type=float, metavar="X", help=f"at its highest (default: {recipe.learning_rate:g})"
    )
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
    from device.errors import LitesightError, UsageError

    if args.resume and args.restart:
        raise UsageError("--resume and --restart exclude each other")
    atomic.check_replaceable(args.output, is_ours=bundle.is_bundle, kind="bundle")
    try:
        options = _options(args)
    except LitesightError as error:
        raise UsageError(error.message, hint=error.hint) from error
    from device.progress import bar
    from train_host.commands.written import say_written
    from train_host.train_bundle import train_bundle
    from train_host.work_directory import is_resumable

    if args.resume and not is_resumable(args.output):
        print("no finished epoch to go on from: beginning anew", file=sys.stderr)
    try:
        result = train_bundle(args.data, args.output, options, resume=args.resume, restart=args.restart, progress=bar)
    except KeyboardInterrupt:
        return say_interrupted(args.output)
    _say_skipped(result)
    say_written(result.bundle, result.measured)
    print(f"report          {args.output / bundle.REPORT}")
    print(f"next: litesight export {args.output} --engine tflm -o firmware", file=sys.stderr)
    return 0


def say_interrupted(output: Path, how: str = "go on with the same command and --resume") -> int:
    """What Ctrl-C left and how to go on; returns the exit status."""
    from train_host.work_directory import is_resumable, work_directory

    kept = f"finished epochs are kept in {work_directory(output)}: {how}"
    lost = "no epoch was finished, so there is nothing to resume"
    print(
        f"litesight: error: stopped; {output} was not written ({kept if is_resumable(output) else lost})",
        file=sys.stderr,
    )
    return 1


def _options(args: argparse.Namespace) -> TrainOptions:
    from train_host.train_bundle import TrainOptions

    given = {"epochs": args.epochs, "batch_size": args.batch, "learning_rate": args.learning_rate}
    recipe: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    fractions = {"val_fraction": args.val, "test_fraction": args.test}
    return TrainOptions(
        architecture=_architecture(args),
        recipe=Recipe(seed=args.seed, **recipe),
        augmentation=_augmentation(args.augment),
        pretrained=not args.from_scratch,
        weigh_classes=args.class_weights,
        skip_bad=args.skip_bad,
        name=args.name or args.output.resolve().name,
        license=args.license,
        **{name: value for name, value in fractions.items() if value is not None},
    )


def _architecture(args: argparse.Namespace) -> Architecture:
    """The published size, its compound scaling, or the kit's own default; what is given by itself wins."""
    from train_host.scaling import VARIANTS, compound_scale, variant_architecture

    variant = args.variant or "lite0"
    width, depth, size = WIDTH, 1.0, SIZE
    if args.variant or args.phi is not None:
        base = VARIANTS[variant]
        scale = compound_scale(args.phi or 0.0, base.resolution)
        width, depth, size = base.width * scale.width, base.depth * scale.depth, scale.resolution
    return variant_architecture(
        variant,
        classes=2,
        width=width if args.width is None else args.width,
        depth=depth if args.depth is None else args.depth,
        resolution=size if args.size is None else args.size,
        scale_stem_and_head=args.scale_stem_and_head,
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

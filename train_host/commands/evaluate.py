# SPDX-License-Identifier: Apache-2.0
"""``litesight evaluate``: float and int8 accuracy of a bundle on labelled photos."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from device.commands.arguments import threads

if TYPE_CHECKING:
    from train_host.evaluate import Evaluation

HELP = "Measure a bundle on labelled photos: top-1 of float and int8, their agreement, and every class."
EPILOG = """\
examples:
  litesight evaluate cells new_photos/       sub-folders named like the labels; test/ where there is one
  litesight evaluate cells photos/ --unseen  of the photos that cells was trained on, those held out
  litesight evaluate lite0 imagenet.zip      photos whose names start with the class index: 0007_cock.jpg
  litesight evaluate cells photos/ --json > figures.json"""

SHOWN_CLASSES = 20


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="bundle to measure")
    parser.add_argument("data", type=Path, metavar="DATA", help="folder or .zip of labelled photos")
    parser.add_argument("--threads", type=threads, default=2, metavar="N", help="threads of an inference (default: 2)")
    parser.add_argument("--unseen", action="store_true", help="leave out photos that training or validation saw")
    parser.add_argument("--json", action="store_true", help="print JSON; shares are 0 to 1")


def run(args: argparse.Namespace) -> int:
    """Evaluate and print."""
    from device import bundle as contract
    from device.errors import LitesightError
    from device.progress import bar
    from train_host.evaluate import evaluate_bundle
    from train_host.labelled_photos import find_labelled_photos, seen_in_training

    bundle = contract.load(args.bundle)
    photos = find_labelled_photos(args.data, bundle.labels, progress=bar)
    seen = seen_in_training(bundle, photos)
    if args.unseen:
        photos = [photo for photo, known in zip(photos, seen, strict=True) if not known]
        if not photos:
            raise LitesightError(
                f"all {len(seen)} photos were seen in training", hint="leave out --unseen, or take others"
            )
    elif any(seen):
        print(
            f"warning: {sum(seen)} of {len(seen)} photos were seen in training, and a network knows those "
            "(leave them out with --unseen)",
            file=sys.stderr,
        )
    evaluation = evaluate_bundle(bundle, photos, threads=args.threads, progress=bar)
    if args.json:
        counts = {"seen_in_training": 0 if args.unseen else sum(seen)}
        print(json.dumps({"bundle": str(args.bundle), **evaluation.summary(), **counts}, indent=1))
    else:
        _print_table(evaluation)
    return 0


def _print_table(evaluation: Evaluation) -> None:
    figures = evaluation.summary()
    print(f"photos      {figures['n']}, by {figures['runtime']}")
    for name, key in (("float top-1", "float_top1"), ("int8 top-1", "int8_top1"), ("agreement", "agreement")):
        value = figures[key]
        print(f"{name:<12}{'-' if value is None else f'{value:.2%}'}")
    rows = figures["per_class"]
    if len(rows) > SHOWN_CLASSES:
        rows = sorted(rows, key=lambda row: (row["int8_recall"], row["label"]))[:SHOWN_CLASSES]
        print(f"\nthe {SHOWN_CLASSES} worst of {len(figures['per_class'])} classes (all of them: --json)")
    else:
        print()
    width = max(len(row["label"]) for row in rows)
    print(f"{'class':<{width}}  {'n':>6}  {'recall':>7}  {'precision':>9}")
    for row in rows:
        precision = row["int8_precision"]
        shown = "-" if precision is None else f"{precision:.1%}"
        print(f"{row['label']:<{width}}  {row['n']:>6}  {row['int8_recall']:>7.1%}  {shown:>9}")

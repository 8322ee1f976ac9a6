# SPDX-License-Identifier: Apache-2.0
"""``litesight demo``: the whole way on real photos."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

HELP = "Train on real photos, quantise, export, prove in TFLM, classify, time; leave a report with pictures."
EPILOG = """\
examples:
  litesight demo                  writes demo/report.html and demo/summary.json
  litesight demo -o cells --seed 1

After Ctrl-C the same command goes on where it was; --restart begins anew.

The photos are 2,624 electroluminescence images of solar cells from the package elpv-dataset. At most ten minutes on two
cores."""

SUMMARY = "summary.json"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("-o", "--output", type=Path, default=Path("demo"), metavar="DIR", help="default: demo")
    parser.add_argument("--seed", type=int, default=0, help="of split and training (default: 0)")
    parser.add_argument("--epochs", type=int, help="passes over the photos; fewer are faster and worse")
    parser.add_argument("--restart", action="store_true", help="throw away what an interrupted training left")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")


def run(args: argparse.Namespace) -> int:
    """Go the whole way and print the figures."""
    print("loading TensorFlow", file=sys.stderr)
    from device.atomic import write_file
    from device.progress import bar
    from train_host import demo
    from train_host.commands.train import say_interrupted

    try:
        result = demo.run_demo(
            args.output,
            seed=args.seed,
            epochs=demo.RECIPE.epochs if args.epochs is None else args.epochs,
            restart=args.restart,
            progress=bar,
            say=lambda line: print(line, file=sys.stderr),
        )
    except KeyboardInterrupt:
        return say_interrupted(args.output / "bundle", "the same command goes on")
    text = json.dumps(result.summary, indent=1) + "\n"
    write_file(args.output / SUMMARY, text.encode())
    print(text if args.json else _table(args.output, result.summary), end="")
    print(f"look at {result.report}", file=sys.stderr)
    # An array that TFLM answers otherwise than the golden vectors must not pass for a success.
    return int(bool(result.summary["golden_mismatched_bytes"]))


def _table(output: Path, figures: dict[str, Any]) -> str:
    n, mismatched = figures["n_test"], figures["golden_mismatched_bytes"]
    proof = "not compared: no TFLM for this machine"
    if mismatched is not None:
        proof = f"{mismatched} bytes differ in {figures['golden_vectors']} vectors"
    parity = "not compared"
    if figures["tflm_photos"]:
        same = round(figures["tflm_photos"] * figures["tflm_same_answer"])
        parity = f"{same} of {figures['tflm_photos']} as by {figures['runtime']}"
    arena = figures["tflm_arena_bytes"]
    written = ["report.html", SUMMARY, "bundle", *([] if mismatched is None else ["firmware"])]
    rows = [
        ("float top-1", f"{figures['float_top1']:.2%} of {n} held-out photos"),
        ("int8 top-1", f"{figures['int8_top1']:.2%}"),
        ("model.tflite", f"{figures['model_bytes']:,} bytes"),
        ("TFLM arena", "unknown" if arena is None else f"{arena:,} bytes"),
        ("C array in TFLM", proof),
        ("answers in TFLM", parity),
        ("device runner", f"{figures['runner_right']} of {figures['runner_photos']} photos right"),
        ("one frame here", f"{figures['frame_ms_p50']['total']:.2f} ms (median, one thread)"),
        ("took", f"{figures['total_seconds'] / 60:.1f} minutes"),
        ("written", ", ".join(str(output / name) for name in written)),
    ]
    return "".join(f"{name:<17}{value}\n" for name, value in rows)

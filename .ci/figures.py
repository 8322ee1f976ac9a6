#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures every figure that the README states and prints one line each: reached, asked for.

Usage: make figures [PHOTOS=DIR], where DIR holds imagenet_sample.zip (photos whose names start with the ImageNet class
index) and cifar10.zip (train/ and test/ of class folders). What DIR lacks is said and left out. All is made anew.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

LITESIGHT = [sys.executable, "-m", "litesight"]
WORK = Path("build/figures")


def run(*arguments: str | Path) -> str:
    """A litesight command; its standard output."""
    print("$ litesight", *arguments, file=sys.stderr)
    return subprocess.run([*LITESIGHT, *map(str, arguments)], check=True, stdout=subprocess.PIPE, text=True).stdout


def line(what: str, reached: str, asked: str, good: bool) -> str:
    """One row of the table."""
    return f"{'ok  ' if good else 'MISS'}  {what:<44} {reached:>16}   asked for: {asked}"


def demo() -> list[str]:
    """The solar cells."""
    summary = WORK / "demo" / "summary.json"
    run("demo", "-o", WORK / "demo", "--restart")
    found = json.loads(summary.read_text())
    drop = (found["float_top1"] - found["int8_top1"]) * 100
    mismatched = found["golden_mismatched_bytes"]
    return [
        line("ELPV, int8, held-out 25%", f"{found['int8_top1']:.2%}", "≥ 84%", found["int8_top1"] >= 0.84),
        line("  float minus int8", f"{drop:+.2f} points", "≤ 0.5", drop <= 0.5),
        line("  model.tflite", f"{found['model_bytes']:,} B", "≤ 800,000 B", found["model_bytes"] <= 800_000),
        line("  golden bytes that differ in TFLM", str(mismatched), "0", mismatched == 0),
        line("  minutes", f"{found['total_seconds'] / 60:.1f}", "≤ 10", found["total_seconds"] <= 600),
    ]


def imagenet(photos: Path) -> list[str]:
    """The pretrained network."""
    bundle = WORK / "lite0"
    run("pretrained", "lite0", "-o", bundle)
    found: dict[str, Any] = json.loads(run("evaluate", bundle, photos, "--json"))
    int8 = found["int8_top1"]
    mismatched = json.loads(run("verify", bundle, "--json"))["mismatched_bytes"]
    drop = (found["float_top1"] - found["int8_top1"]) * 100
    return [
        line(f"Lite0, int8, {found['n']} ImageNet photos", f"{int8:.2%}", "≥ 87%", int8 >= 0.87),
        line("  float minus int8", f"{drop:+.2f} points", "≤ 0.5", drop <= 0.5),
        line("  golden bytes that differ in TFLM", str(mismatched), "0", mismatched == 0),
    ]


def cifar10(photos: Path) -> list[str]:
    """The tutorial's task."""
    bundle = WORK / "cifar10"
    options = ("--width", "0.35", "--size", "48", "--epochs", "10", "--batch", "64")
    run("train", photos, "-o", bundle, *options, "--restart")
    found = json.loads((bundle / "manifest.json").read_text())["metrics"]
    return [line("CIFAR-10, int8, 10 epochs", f"{found['int8_top1']:.2%}", "> 62.78%", found["int8_top1"] > 0.6278)]


def main() -> int:
    """Measure and print."""
    photos = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("../shared/data")
    WORK.mkdir(parents=True, exist_ok=True)
    rows = demo()
    for name, measure in (("imagenet_sample.zip", imagenet), ("cifar10.zip", cifar10)):
        if (photos / name).exists():
            rows += measure(photos / name)
        else:
            rows.append(f"-     {name} is not in {photos}: left out")
    print("\n".join(rows))
    return int(any(row.startswith("MISS") for row in rows))


if __name__ == "__main__":
    sys.exit(main())

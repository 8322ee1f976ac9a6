# SPDX-License-Identifier: Apache-2.0
"""``litesight verify``: prove a bundle in TensorFlow Lite Micro."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from firmware_export.verification import Verification

HELP = "Run a bundle's golden vectors in TensorFlow Lite Micro and compare every byte."
EPILOG = """\
examples:
  litesight verify mybundle
  litesight verify mybundle --json

Exit status 0 when every byte is equal, 1 when one differs."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("bundle", metavar="BUNDLE", type=Path, help="bundle directory")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")


def run(args: argparse.Namespace) -> int:
    """Verify the bundle; 0 when every byte is equal."""
    from device.bundle import load
    from device.progress import bar
    from firmware_export.verification import verify

    bundle = load(args.bundle)
    found = verify(bundle, progress=bar)
    if args.json:
        document = dataclasses.asdict(found) | {"model_sha256": bundle.model_sha256, "equal": found.is_equal}
        print(json.dumps(document, indent=1, sort_keys=True))
    else:
        print(_table(bundle.manifest.name, found))
    return 0 if found.is_equal else 1


def _table(name: str, found: Verification) -> str:
    rows = [
        ("model", name),
        ("oracle", found.oracle),
        ("golden vectors", f"{found.vectors}, made with {found.golden_oracle}"),
        ("mismatched bytes", f"{found.mismatched_bytes} of {found.output_bytes}"),
        ("arena bytes", str(found.arena_bytes)),
        ("verdict", "every byte equal" if found.is_equal else _difference(found)),
    ]
    width = max(len(title) for title, _ in rows)
    return "\n".join(f"{title:<{width}}  {value}" for title, value in rows)


def _difference(found: Verification) -> str:
    shown = ", ".join(str(index) for index in found.mismatched_vectors[:8])
    more = ", …" if len(found.mismatched_vectors) > 8 else ""
    if found.oracle == found.golden_oracle:
        return f"DIFFERENT in vectors {shown}{more}: the golden vectors were not made with this model"
    return f"DIFFERENT in vectors {shown}{more}: another TFLM made them, or they were not made with this model"

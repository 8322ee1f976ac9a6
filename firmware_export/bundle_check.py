# SPDX-License-Identifier: Apache-2.0
"""What a bundle's manifest says of files that are there too: both must say the same."""

from __future__ import annotations

import hashlib

from device import bundle as bundles
from device.bundle import Bundle, BundleError
from firmware_export.tflite_reader import Model, count_multiply_adds, ops_used

_LONGEST_SHOWN = 300


def check_manifest(bundle: Bundle, model: Model) -> None:
    """Compare operators and multiply-adds with the graph, and the calibration with its list.

    Hashes over the files do not see such a difference: they hold for any manifest that somebody wrote anew.

    Args:
        bundle: as loaded.
        model: the graph of its ``model.tflite``.

    Raises:
        BundleError: they differ, and the message has both values; or ``calibration.txt`` cannot be read.
    """
    manifest = bundle.manifest
    listed = _calibration_list(bundle)
    pairs = (
        ("operators", _names(manifest.ops), "its model", _names(ops_used(model))),
        ("multiply-adds", manifest.macs, "its model", count_multiply_adds(model)),
        ("calibration photos", manifest.calibration.n, bundles.CALIBRATION, _lines(listed)),
        ("calibration SHA-256", manifest.calibration.sha256, bundles.CALIBRATION, hashlib.sha256(listed).hexdigest()),
    )
    for what, stated, where, found in pairs:
        if stated != found:
            raise BundleError(
                f"{bundle.path} contradicts itself: its manifest says {what} {_short(stated)}, {where} {_short(found)}",
                hint="the bundle was put together by hand; train or convert it again",
            )


def _names(ops: tuple[str, ...]) -> str:
    # The manifest's order means nothing. A custom operator's name comes from outside: quoted, it stays on the line.
    return ", ".join(op if op.isprintable() else ascii(op) for op in sorted(ops)) or "none"


def _lines(text: bytes) -> int:
    return text.count(b"\n") + bool(text and not text.endswith(b"\n"))


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"


def _calibration_list(bundle: Bundle) -> bytes:
    path = bundle.path / bundles.CALIBRATION
    try:
        return path.read_bytes()
    except OSError as error:
        raise BundleError(f"cannot read {path}: {error.strerror}") from error

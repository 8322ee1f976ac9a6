# SPDX-License-Identifier: Apache-2.0
"""Argument types that the commands of this room share."""

from __future__ import annotations

import argparse

from device.machine import MAX_THREADS


def count(text: str) -> int:
    """A whole number of at least 1."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, found {text!r}")
    return number


def whole(text: str) -> int:
    """A whole number of at least 0."""
    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < 0:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 0, found {text!r}")
    return number


def threads(text: str) -> int:
    """A number of threads that LiteRT can be asked for."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if not 1 <= number <= MAX_THREADS:
        raise argparse.ArgumentTypeError(f"expected 1 to {MAX_THREADS} threads, found {text!r}")
    return number


def port(text: str) -> int:
    """A TCP port."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if not 1 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"expected a port from 1 to 65535, found {text!r}")
    return number


def thread_counts(text: str) -> tuple[int, ...]:
    """Numbers of threads, separated by commas."""
    return tuple(threads(part) for part in text.split(","))


def probability(text: str) -> float:
    """A number from 0 to 1."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"expected a probability from 0 to 1, found {text!r}")
    return number

# SPDX-License-Identifier: Apache-2.0
"""Which machines the packages of a device have wheels for, as their index lists them for the pinned versions.

Facts of numpy 2.4.6, opencv-python 5.0.0.93, ai-edge-litert 2.3.0 and tflite-runtime 2.14.0. A wheel's tag says the
oldest glibc it runs with (PEP 600), or that it is for musl (PEP 656). Standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

PYTHONS: Final = ((3, 11), (3, 12), (3, 13))
"""Versions of Python that this kit is tested with."""


@dataclass(frozen=True)
class Wheels:
    """Of one package.

    Attributes:
        package: its name.
        architectures: as ``platform.machine()`` gives them.
        glibc: the oldest that it runs with.
        musl: there is one for musl too (Alpine).
        pythons: versions that it has a wheel for.
        free_threaded: there is one for a Python without the global lock.
    """

    package: str
    architectures: tuple[str, ...]
    glibc: tuple[int, int]
    musl: bool = False
    pythons: tuple[tuple[int, int], ...] = PYTHONS
    free_threaded: bool = False


_64_BIT: Final = ("aarch64", "arm64", "x86_64")
DEVICE_WHEELS: Final = (
    Wheels("numpy", _64_BIT, (2, 27), musl=True, free_threaded=True),
    Wheels("opencv-python", _64_BIT, (2, 17)),
    Wheels("ai-edge-litert", _64_BIT, (2, 27)),
)
OLD_RUNTIME: Final = Wheels("tflite-runtime", ("armv7l", "armv8l"), (2, 34), pythons=((3, 11),))
"""For 32-bit systems, whose numpy and OpenCV come from the index that Raspberry Pi OS adds."""


def why_none(
    wheels: Wheels, python: tuple[int, int], architecture: str, libc: str, libc_version: tuple[int, int] | None
) -> str:
    """Why pip finds no wheel of a package for a machine; empty if it finds one.

    Args:
        wheels: of the package.
        python: its version.
        architecture: of Python itself, which may be a 32-bit one under a 64-bit kernel.
        libc: "glibc", "musl" or "" if unknown.
        libc_version: None if unknown.
    """
    if architecture not in wheels.architectures:
        return f"{wheels.package} has none for {architecture}"
    if python not in wheels.pythons:
        return f"{wheels.package} has none for Python {python[0]}.{python[1]}"
    if libc == "musl" and not wheels.musl:
        return f"{wheels.package} has none for musl"
    if libc == "glibc" and libc_version is not None and libc_version < wheels.glibc:
        needed, found = (".".join(map(str, version)) for version in (wheels.glibc, libc_version))
        return f"{wheels.package} needs glibc {needed}, found {found}"
    return ""

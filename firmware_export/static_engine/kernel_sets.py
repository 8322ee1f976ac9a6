# SPDX-License-Identifier: Apache-2.0
"""The kernels of a network in one kernel set, and the C files that they are made of."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from firmware_export.static_engine import dsp_kernels, mve_kernels, portable_kernels
from firmware_export.static_engine.kernel import DSP, MVE, PORTABLE, Kernel
from firmware_export.static_engine.layers import Graph, Layer

_SOURCES = Path(__file__).resolve().parent.parent / "c" / "static"
_RUNTIME = ("litesight_static.c", "litesight_layer.h")
_INCLUDE = re.compile(r'^#include "([a-z0-9_]+\.h)"$', re.MULTILINE)

_FASTER: dict[str, Callable[[Layer, Graph], Kernel | None]] = {
    DSP: dsp_kernels.kernel_for,
    MVE: mve_kernels.kernel_for,
}


def kernels_for(graph: Graph, kernel_set: str) -> tuple[Kernel, ...]:
    """One kernel per layer: the set's own, or else the portable one.

    Args:
        graph: the network.
        kernel_set: PORTABLE, DSP or MVE.
    """
    faster = _FASTER.get(kernel_set)
    chosen = []
    for layer in graph.layers:
        own = None if faster is None else faster(layer, graph)
        chosen.append(portable_kernels.kernel_for(layer, graph) if own is None else own)
    return tuple(chosen)


def source_files(kernels: Sequence[Kernel], kernel_set: str) -> dict[str, bytes]:
    """The engine and the C files and headers of these kernels, by name; the set's file rather than the portable one."""
    files = {name: (_SOURCES / name).read_bytes() for name in _RUNTIME}
    missing = sorted({name for kernel in kernels for name in kernel.sources})
    while missing:
        name = missing.pop()
        path = _find(name, kernel_set)
        # Headers that are not here belong to the interface, which every export has.
        if name in files or path is None:
            continue
        files[name] = path.read_bytes()
        missing += _INCLUDE.findall(files[name].decode())
    return files


def _find(name: str, kernel_set: str) -> Path | None:
    folders = (_SOURCES / kernel_set, _SOURCES / PORTABLE, _SOURCES)
    return next((folder / name for folder in folders if (folder / name).is_file()), None)

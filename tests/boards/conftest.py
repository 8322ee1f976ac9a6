# SPDX-License-Identifier: Apache-2.0
"""The probe firmware, built once for every board that is asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from boards.build import Image, build
from boards.catalogue import find

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="session")
def probe(tmp_path_factory: pytest.TempPathFactory, require_tool: Callable[[str], str]) -> Callable[[str], Image]:
    """``probe("mps2-an386")`` is the image of data/probe.c for the board."""
    require_tool("arm-none-eabi-gcc")
    require_tool("qemu-system-arm")
    images: dict[str, Image] = {}

    def image(board: str) -> Image:
        if board not in images:
            directory = tmp_path_factory.mktemp(f"probe-{board}")
            images[board] = build(find(board), [DATA / "probe.c"], output_dir=directory)
        return images[board]

    return image

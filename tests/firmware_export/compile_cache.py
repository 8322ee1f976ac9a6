# SPDX-License-Identifier: Apache-2.0
"""Compiles each firmware once, however many tests ask for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from boards.board import Board
from boards.build import Image
from firmware_export import firmware


class CompileCache:
    """Takes the place of ``firmware.compile_sources``; programs stay in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.images: dict[tuple[object, ...], Image] = {}
        self.compile = firmware.compile_sources

    def __call__(self, files: Mapping[str, bytes], board: Board, directory: Path, *, step_hook: bool = False) -> Image:
        del directory
        key = (tuple(sorted(files.items())), board, step_hook)
        if key not in self.images:
            self.images[key] = self.compile(files, board, self.directory / str(len(self.images)), step_hook=step_hook)
        return self.images[key]

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """For the time of a test."""
        monkeypatch.setattr(firmware, "compile_sources", self)

# SPDX-License-Identifier: Apache-2.0
"""What is read may be anything that somebody put there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from device.regular_file import RegularFileError, read_regular


def test_a_file_of_the_largest_size_is_read_and_a_larger_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    assert read_regular(path, 5) == b"12345"
    with pytest.raises(RegularFileError, match="has 5 bytes; at most 4 are expected"):
        read_regular(path, 4)


@pytest.mark.parametrize(("kind", "told"), [("pipe", "a pipe or device"), ("folder", "a folder")])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path, kind: str, told: str) -> None:
    path = tmp_path / "a"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(RegularFileError, match=f"expected a regular file, found {told}"):
        read_regular(path, 5)


def test_a_file_that_says_it_is_empty_is_not_read_for_ever() -> None:
    """Files of /proc have size 0 and content all the same."""
    path = Path("/proc/self/status")
    if not path.exists():
        pytest.skip("no /proc here")
    with pytest.raises(RegularFileError, match="grows while it is read"):
        read_regular(path, 10)


def test_a_missing_file_is_the_systems_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "a", 5)

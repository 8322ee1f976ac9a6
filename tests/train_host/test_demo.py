# SPDX-License-Identifier: Apache-2.0
"""The proof of the exported array reads the C text itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.errors import LitesightError
from firmware_export.c_text import c_bytes
from train_host.demo import array_bytes


@given(st.binary(min_size=1, max_size=200))
def test_the_array_read_back_from_c_is_what_the_exporter_wrote(data: bytes) -> None:
    source = (
        f"/* 12, 34 */\n#include <x.h>\nalignas(16) const unsigned char model[{len(data)}] = {{\n{c_bytes(data)}\n}};\n"
    )
    assert array_bytes(source) == data


def test_a_file_without_an_array_is_an_error() -> None:
    with pytest.raises(LitesightError, match="holds no array"):
        array_bytes("int main(void) { return 0; }")

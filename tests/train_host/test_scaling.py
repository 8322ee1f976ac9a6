# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.errors import LitesightError
from train_host.scaling import (
    VARIANTS,
    Architecture,
    architecture_from_dict,
    blocks,
    compound_scale,
    count_macs,
    count_multiply_adds,
    count_parameters,
    head_channels,
    round_channels,
    stage_repeats,
    stem_channels,
    variant_architecture,
)

# Parameters, multiply-adds, and how far the latter may be off: half of the last printed digit, but for Lite0.
PUBLISHED = {
    "lite0": (4.7e6, 407e6, 1.5e6),
    "lite1": (5.4e6, 631e6, 0.5e6),
    "lite2": (6.1e6, 899e6, 0.5e6),
    "lite3": (8.2e6, 1.44e9, 5e6),
    "lite4": (13.0e6, 2.64e9, 5e6),
}


@pytest.mark.parametrize("variant", PUBLISHED)
def test_costs_match_the_published_table(variant: str) -> None:
    arch = variant_architecture(variant, classes=1000)
    parameters, multiply_adds, tolerance = PUBLISHED[variant]
    assert count_parameters(arch) == pytest.approx(parameters, abs=0.05e6)
    assert count_multiply_adds(arch) == pytest.approx(multiply_adds, abs=tolerance)


@pytest.mark.parametrize(
    ("width", "depth", "resolution", "macs"), [(0.25, 1.0, 96, 8_602_880), (0.35, 0.5, 48, 2_377_808)]
)
def test_macs_of_narrow_networks_match_those_counted_in_their_tflite_files(
    width: float, depth: float, resolution: int, macs: int
) -> None:
    arch = variant_architecture("lite0", classes=10, width=width, depth=depth, resolution=resolution)
    assert count_macs(arch) == macs


def test_published_variants_keep_stem_head_and_outer_stages() -> None:
    for variant in VARIANTS:
        arch = variant_architecture(variant, classes=1000)
        assert (stem_channels(arch), head_channels(arch)) == (32, 1280)
        assert stage_repeats(arch)[0] == stage_repeats(arch)[-1] == 1
    assert stage_repeats(variant_architecture("lite4", classes=2)) == (1, 4, 4, 6, 6, 8, 1)


def test_stem_and_head_scale_only_when_asked() -> None:
    fixed = variant_architecture("lite0", classes=2, width=0.25, scale_stem_and_head=False)
    scaled = variant_architecture("lite0", classes=2, width=0.25)
    assert (stem_channels(fixed), head_channels(fixed)) == (32, 1280)
    assert (stem_channels(scaled), head_channels(scaled)) == (8, 320)


def test_block_names_and_shapes_are_stable() -> None:
    table = blocks(variant_architecture("lite0", classes=1000))
    assert " ".join(block.name.removeprefix("block") for block in table) == (
        "1a 2a 2b 3a 3b 4a 4b 4c 5a 5b 5c 6a 6b 6c 6d 7a"
    )
    assert [block.in_size for block in table] == [112, 112, 56, 56, 28, 28, 14, 14, 14, 14, 14, 14, 7, 7, 7, 7]
    assert sum(block.residual for block in table) == 9


def test_a_first_block_never_gets_a_residual_that_the_full_network_lacks() -> None:
    table = blocks(variant_architecture("lite0", classes=2, width=0.25))
    assert table[0].in_channels == table[0].out_channels
    assert not table[0].residual


@given(st.integers(1, 2000), st.floats(0.05, 4.0))
def test_rounded_channels_are_multiples_of_eight_and_at_most_ten_percent_low(channels: int, width: float) -> None:
    rounded = round_channels(channels, width)
    assert rounded % 8 == 0
    assert rounded >= max(8, 0.9 * channels * width)
    # At most half a step above, or one full step where the 10% rule lifted it.
    assert rounded <= max(8, channels * width + 8)


def test_compound_scaling_doubles_the_work_per_step_in_both_directions() -> None:
    assert compound_scale(0) == (1.0, 1.0, 224)
    up, down = compound_scale(1), compound_scale(-1)
    assert tuple(up) == pytest.approx((1.1, 1.2, 256))
    assert tuple(down) == pytest.approx((1 / 1.1, 1 / 1.2, 192))
    assert compound_scale(-20).resolution >= 8
    with pytest.raises(LitesightError, match="phi must be between"):
        compound_scale(9)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("width", 0.01, r"width must be between 0\.05 and 4\.0\. Received: 0\.01"),
        ("width", float("nan"), "width must be between"),
        ("width", "1", "width must be a number"),
        ("depth", 5.0, "depth must be between"),
        ("resolution", 8, "resolution must be between"),
        ("resolution", 96.0, "resolution must be a whole number"),
        ("classes", 1, "classes must be between"),
        ("channels", 2, "channels must be 1"),
        ("dropout", 1.0, "dropout must be between"),
        ("variant", "lite9", "variant must be one of lite0"),
        ("scale_stem_and_head", 1, "scale_stem_and_head must be true or false"),
    ],
)
def test_an_impossible_value_is_named_with_its_range(field: str, value: Any, message: str) -> None:
    with pytest.raises(LitesightError, match=message):
        Architecture(**{field: value})


def test_unknown_variant_is_refused_with_the_known_ones() -> None:
    with pytest.raises(LitesightError, match="lite0, lite1"):
        variant_architecture("b0", classes=2)


def test_architecture_survives_json() -> None:
    arch = variant_architecture("lite2", classes=7, width=0.4, resolution=100, channels=1)
    assert architecture_from_dict(json.loads(json.dumps(arch.to_dict()))) == arch


def test_a_manifest_with_unknown_or_missing_fields_is_refused() -> None:
    values = Architecture().to_dict()
    with pytest.raises(LitesightError, match="unknown architecture field 'height'"):
        architecture_from_dict({**values, "height": 3})
    del values["depth"]
    with pytest.raises(LitesightError, match="lacks depth"):
        architecture_from_dict(values)


def test_costs_are_counted_without_tensorflow() -> None:
    code = "import sys; sys.modules['tensorflow'] = None; import train_host.scaling as s; print(s.Architecture().width)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, capture_output=True)

# SPDX-License-Identifier: Apache-2.0
"""Whole networks in the planner's memory give TFLM's bytes, and so do the published ones where they lie beside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.firmware_export import static_networks
from tests.firmware_export.static_host import Network, Run, run_networks, tflm_outputs, with_inputs

Tool = Callable[[str], str]
Outputs = dict[str, NDArray[np.int8]]

BASELINES = Path(__file__).resolve().parents[3] / "shared" / "baselines"
FAMILIES = {
    "efficientnet": static_networks.efficientnet,
    "resnet": static_networks.resnet,
    "mobilenet": static_networks.mobilenet,
    "odd_one": static_networks.odd_one,
}
RANDOM = 12


@pytest.fixture(scope="module")
def networks() -> list[Network]:
    made = [with_inputs(name, make()) for name, make in FAMILIES.items()]
    return made + [with_inputs(f"random_{seed}", static_networks.random_network(seed)) for seed in range(RANDOM)]


@pytest.fixture(scope="module")
def expected(networks: list[Network], tmp_path_factory: pytest.TempPathFactory) -> Outputs:
    pytest.importorskip("tflite_micro")
    return tflm_outputs(networks, tmp_path_factory.mktemp("tflm"))


def test_networks_of_every_family_give_the_bytes_of_tflm(
    networks: list[Network], expected: Outputs, tmp_path: Path, require_tool: Tool, run_tool: Run
) -> None:
    compiler = require_tool("clang")
    found = run_networks(networks, tmp_path, run_tool, compiler, keep_apart=False)
    for network in networks:
        np.testing.assert_array_equal(found[network.name], expected[network.name], err_msg=network.name)
        assert len(np.unique(expected[network.name])) > 1, f"{network.name} tests nothing"


@pytest.mark.parametrize("name", ["efflite_w025_96", "efflite_w035_d05_48"])
def test_the_published_networks_give_their_published_bytes(
    name: str, tmp_path: Path, require_tool: Tool, run_tool: Run
) -> None:
    path = BASELINES / f"{name}.tflite"
    if not path.is_file():
        pytest.skip(f"{path.name} is not beside the repository")
    golden = np.load(path.with_suffix(".npz"))
    network = Network(name, path.read_bytes(), golden["inputs"])
    compiler = require_tool("gcc")
    found = run_networks([network], tmp_path, run_tool, compiler, flags=("-O2",), keep_apart=False)
    np.testing.assert_array_equal(found[name], golden["outputs"])

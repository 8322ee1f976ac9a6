# SPDX-License-Identifier: Apache-2.0
"""A Raspberry Pi has no TensorFlow: what runs there must neither import it nor bring it along."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest

from device.check_packages import DEVICE_PACKAGES

REPOSITORY = Path(__file__).parents[2]

# Everything in FORBIDDEN fails to import. The last line of stderr lists what was loaded, so that a package that nobody
# thought of is seen too.
CHILD = """
import importlib.abc, sys

FORBIDDEN = {
    "tensorflow", "tf_keras", "keras", "jax", "tflite", "tflite_micro", "jinja2", "matplotlib", "h5py", "elpv_dataset",
    "train_host", "firmware_export", "boards",
}

class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname, path=None, target=None):
        if fullname.partition(".")[0] in FORBIDDEN:
            raise ModuleNotFoundError(f"blocked: {fullname}", name=fullname)

sys.meta_path.insert(0, Blocker())
try:
    import tensorflow
except ModuleNotFoundError:
    pass
else:
    sys.exit("the blocker does not block")

import litesight

status = litesight.main(sys.argv[1:])
packages = {name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names)
print("LOADED", *sorted(packages), file=sys.stderr)
sys.exit(status)
"""

# What `pip install ".[device]"` brings; and what Python, .pth files of site-packages and Cython put there.
DEVICE_MODULES = {"numpy", "cv2", "imagesize", "tqdm", "ai_edge_litert", "tflite_runtime", "litesight", "device"}
STARTUP_MODULES = re.compile(
    r"__main__|cython_runtime|__mp_main__|_.*|sitecustomize|usercustomize|google|mpl_toolkits|distutils.*"
)


def without_tensorflow(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", CHILD, *map(str, arguments)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False)


def loaded(child: subprocess.CompletedProcess[str]) -> set[str]:
    line = next(line for line in child.stderr.splitlines() if line.startswith("LOADED"))
    return {name for name in line.split()[1:] if not STARTUP_MODULES.fullmatch(name)}


@pytest.mark.parametrize("source", ["photos", "video"])
def test_run_works_where_importing_tensorflow_fails(
    tiny_bundle: Path, source: str, request: pytest.FixtureRequest
) -> None:
    path: Path = request.getfixturevalue(source)
    child = without_tensorflow("run", tiny_bundle, "--source", path, "--json")
    assert child.returncode == 0, child.stderr
    labels = [json.loads(line)["label"] for line in child.stdout.splitlines()]
    assert labels in (["blue", "green", "red"], ["red", "red", "green", "green", "blue", "blue"])
    assert loaded(child) <= DEVICE_MODULES


def test_bench_works_where_importing_tensorflow_fails(tiny_bundle: Path, photos: Path) -> None:
    child = without_tensorflow("bench", tiny_bundle, "--source", photos, "--runs", "5", "--warmup", "1", "--json")
    assert child.returncode == 0, child.stderr
    assert json.loads(child.stdout)["runs"][0]["stages"]["invoke"]["n"] == 5
    assert loaded(child) <= DEVICE_MODULES


def test_the_help_of_the_device_commands_loads_nothing_heavy() -> None:
    for command in ("run", "bench", "doctor", "service"):
        code = CHILD.replace("status = litesight.main(sys.argv[1:])", "status = 0\ntry: litesight.main(sys.argv[1:])\n"
                             "except SystemExit: pass")  # fmt: skip
        child = subprocess.run(
            [sys.executable, "-c", code, command, "--help"],
            cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert child.returncode == 0, child.stderr
        assert loaded(child) <= {"litesight", "device"}


def requirement_names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower().replace("_", "-") for requirement in requirements}


def test_the_device_extra_asks_for_no_tensorflow_and_no_host_tools() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["dependencies"] == []
    assert requirement_names(project["optional-dependencies"]["device"]) == {
        *DEVICE_PACKAGES,  # the doctor looks for the same
        "ai-edge-litert",
        "tflite-runtime",
    }


def test_nothing_that_the_device_packages_bring_along_is_tensorflow() -> None:
    ahead, seen = ["ai-edge-litert", "opencv-python", "imagesize", "tqdm", "tornado"], set[str]()
    while ahead:
        name = ahead.pop()
        if name in seen:
            continue
        seen.add(name)
        try:
            wanted = requires(name) or []
        except PackageNotFoundError:  # for another platform
            continue
        ahead.extend(requirement_names([each for each in wanted if "extra ==" not in each]))
    assert "numpy" in seen
    assert not [name for name in seen if name.startswith(("tensorflow", "tf-", "keras", "jax", "torch", "tensorboard"))]

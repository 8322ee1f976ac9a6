# SPDX-License-Identifier: Apache-2.0
"""A process that dies at any instant leaves the old model or the new one active, whole, and the next call works.

Python's audit hook sees every change of the file system before it happens; a child process ends there without any
clean-up, as after a kill -9. So every step is a place to die, whatever the code looks like.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from device.slots import create_slots

Vectors = tuple[NDArray[np.int8], NDArray[np.int8]]
REPOSITORY = Path(__file__).parents[2]

# Arguments: the action, a slots directory to copy, where to, two bundles. Prints what was active after every death.
CHILD = """
import json, os, shutil, sys
from pathlib import Path
from device import bundle, slots
from device.golden_check import GoldenCheck
from device.slots import Slots, create_slots

action, template, root, *bundles = (Path(argument) for argument in sys.argv[1:])
# No interpreter: its threads do not survive a fork. The hashes are checked all the same.
slots._check = lambda path, keys: (bundle.load(path), GoldenCheck(1, 1, 0, 32, "", ""))[1]
left = None
CHANGES = {"os.rename", "os.symlink", "os.remove", "os.rmdir", "os.mkdir", "os.utime", "os.chmod", "ctypes.dlsym"}

def die(event, arguments):
    global left
    if left is None:
        return
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    if event in CHANGES or writes:
        if left == 0:
            os._exit(9)
        left -= 1

sys.addaudithook(die)

def receive():
    directory = create_slots(root)
    directory.switch(directory.receive(bundles[-1]).slot)

def fall_back():
    Slots(root).fall_back("a frame failed")

def halves():
    found = []
    for path in (root / "slots").glob("[0-9a-f]*") if root.exists() else []:
        try:
            bundle.load(path)
        except slots.LitesightError:
            found.append(path.name)
    return found

def active():
    try:
        return bundle.load(Slots(root).current()).manifest.macs
    except slots.SlotError:
        return None

act = {"receive": receive, "fall_back": fall_back}[str(action)]
seen = []
while True:
    shutil.rmtree(root, ignore_errors=True)
    if template.exists():
        shutil.copytree(template, root, symlinks=True)
    child = os.fork()
    if child == 0:
        left = len(seen)
        act()
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    at_once, half = active(), halves()
    slots.STALE_PARTIAL_S = -1.0
    if str(action) == "receive":
        receive()
    else:
        Slots(root).switch(Slots(root).current())
    names = sorted(path.name for path in root.iterdir())
    left_over = [path.name for path in (root / "slots").iterdir() if path.name.startswith(".")]
    seen.append([status, at_once, active(), names, left_over, half])
    if status != 9:
        break
print(json.dumps(seen))
"""


@pytest.fixture
def two(tmp_path: Path, make_bundle: Callable[..., Path], true_golden: Vectors) -> list[Path]:
    return [make_bundle(f"bundle {number}", golden=true_golden, macs=number) for number in (1, 2)]


def die_everywhere(action: str, template: Path, tmp_path: Path, bundles: list[Path]) -> list[list[object]]:
    """What was seen at every place to die.

    Each: exit status, active at once, active after the next call, names in the directory, names that are left over, and
    slots that are not whole.
    """
    arguments = [action, template, tmp_path / "root", *bundles]
    command = [sys.executable, "-W", "ignore", "-c", CHILD, *map(str, arguments)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    seen: list[list[object]] = json.loads(done.stdout)
    assert seen[-1][0] == 0
    assert len(seen) > 8, "every change of the file system is a place to die"
    return seen


@pytest.mark.parametrize("damaged", [False, True])
def test_dying_while_a_bundle_comes_in(tmp_path: Path, two: list[Path], damaged: bool) -> None:
    template = tmp_path / "template"
    directory = create_slots(template)
    directory.switch(directory.receive(two[0]).slot)
    if damaged:  # then a whole slot takes the place of a damaged one
        slot = directory.receive(two[1]).slot
        (slot / "model.tflite").write_bytes(b"x")
    seen = die_everywhere("receive", template, tmp_path, two)
    assert {at_once for _, at_once, *_ in seen} == {1, 2}
    for _, _, afterwards, names, left_over, half in seen:
        assert afterwards == 2
        assert names == ["current", "incoming", "lock", "previous", "slots", "status.json"]
        assert left_over == []
        assert damaged or half == []


def test_dying_while_the_first_bundle_comes_in(tmp_path: Path, two: list[Path]) -> None:
    seen = die_everywhere("receive", tmp_path / "none", tmp_path, two)
    assert {at_once for _, at_once, *_ in seen} == {None, 2}
    assert {afterwards for _, _, afterwards, *_ in seen} == {2}


def test_dying_while_old_slots_are_removed(
    tmp_path: Path, two: list[Path], make_bundle: Callable[..., Path], true_golden: Vectors
) -> None:
    template = tmp_path / "template"
    directory = create_slots(template)
    for number in (5, 6, 1):
        slot = directory.receive(make_bundle(f"bundle {number}", golden=true_golden, macs=number)).slot
        directory.switch(slot)
    seen = die_everywhere("receive", template, tmp_path, two)
    assert len(list((template / "slots").iterdir())) == len(list((tmp_path / "root" / "slots").iterdir())) == 3
    assert all(half == [] for *_, half in seen)


def test_dying_while_a_model_is_given_up(tmp_path: Path, two: list[Path]) -> None:
    template = tmp_path / "template"
    directory = create_slots(template)
    for path in two:
        directory.switch(directory.receive(path).slot)
    seen = die_everywhere("fall_back", template, tmp_path, two)
    assert {at_once for _, at_once, *_ in seen} == {1, 2}
    assert seen[-1][1] == 1
    assert all(left_over == half == [] for *_, left_over, half in seen)

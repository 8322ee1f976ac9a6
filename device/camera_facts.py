# SPDX-License-Identifier: Apache-2.0
"""The cameras of a machine and who holds them. Standard library only."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from device.machine import ROOT

# Drivers of the kernel that offer /dev/video* nodes which are no cameras: codecs and image processors of the Pi.
_NO_CAMERAS: Final = re.compile(r"bcm2835-(codec|isp)|rpi-?hevc|rpivid|pispbe|rp1-cfe-(fe|embedded)", re.IGNORECASE)
_RIBBON: Final = re.compile(r"unicam|rp1-cfe", re.IGNORECASE)

# What libcamera opens beside /dev/videoN: the media devices of the receiver and of the image processor.
_RIBBON_MEDIA: Final = re.compile(r"unicam|rp1-cfe|bcm2835-isp|pispbe", re.IGNORECASE)

# They keep the media devices of every camera open in order to list them, and take none before somebody wants it.
_ONLY_LISTING: Final = ("wireplumber", "pipewire")
_SERVICE: Final = re.compile(r"/([^/]+)\.service(?:/|$)")


@dataclass(frozen=True)
class Holder:
    """A process that has a camera open.

    Attributes:
        name: of its program.
        pid: process id.
        service: the systemd unit that it belongs to, without ".service"; empty if none.
    """

    name: str
    pid: int
    service: str = ""


@dataclass(frozen=True)
class Camera:
    """A /dev/videoN that delivers pictures.

    Attributes:
        device: its path.
        name: what the driver calls it.
        usable: this user may read and write it.
        holders: other processes that have it open; those of other users are only visible to root.
        ribbon: on the ribbon cable, to be reached through picamera2.
    """

    device: str
    name: str
    usable: bool = True
    holders: tuple[Holder, ...] = ()
    ribbon: bool = False


def read_cameras(root: Path = ROOT) -> tuple[Camera, ...]:
    """The video devices that deliver pictures, in the order of their numbers."""
    devices = [path for path in (root / "dev").glob("video*") if path.name[5:].isdigit()]
    open_nodes: dict[Path, list[Holder]] | None = None
    media = _ribbon_nodes(root)
    cameras = []
    for device in sorted(devices, key=lambda path: int(path.name[5:])):
        facts = root / "sys/class/video4linux" / device.name
        name = _line(facts / "name") or device.name
        # Of the nodes of a USB camera only the one with index 0 delivers pictures; the others carry metadata.
        if _NO_CAMERAS.search(name) or (_line(facts / "index") or "0") != "0":
            continue
        if open_nodes is None:
            open_nodes = _open_nodes(root)
        ribbon = bool(_RIBBON.search(name))
        holders = {holder.pid: holder for holder in open_nodes.get(device, ())}
        for node in media if ribbon else ():
            holders |= {each.pid: each for each in open_nodes.get(node, ()) if each.name not in _ONLY_LISTING}
        cameras.append(
            Camera(
                device=f"/dev/{device.name}",
                name=name,
                usable=os.access(device, os.R_OK | os.W_OK),
                holders=tuple(holders[pid] for pid in sorted(holders)),
                ribbon=ribbon,
            )
        )
    return tuple(cameras)


def _ribbon_nodes(root: Path) -> list[Path]:
    """The nodes beside /dev/videoN that a process with the ribbon camera has open."""
    found = []
    for media in sorted((root / "sys/bus/media/devices").glob("media*")):
        if _RIBBON_MEDIA.search(_line(media / "model") or ""):
            found.append(root / "dev" / media.name)
    # USB cameras have none of these.
    return [*found, *sorted((root / "dev").glob("v4l-subdev*"))]


def _open_nodes(root: Path) -> dict[Path, list[Holder]]:
    """The processes that have a video or media device open, by the device."""
    found: dict[Path, list[Holder]] = {}
    for process in (root / "proc").glob("[0-9]*"):
        if process.name == str(os.getpid()):
            continue
        try:
            nodes = {link.readlink() for link in (process / "fd").iterdir()}
        except OSError:  # it ended, or belongs to another user
            continue
        nodes = {node for node in nodes if re.match(r"video|media|v4l-subdev", node.name)}
        if nodes:
            service = _SERVICE.search(_text(process / "cgroup"))
            holder = Holder(_line(process / "comm") or "process", int(process.name), service[1] if service else "")
            for node in nodes:
                found.setdefault(node, []).append(holder)
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _line(path: Path) -> str:
    return "".join(c if c.isprintable() else "?" for c in _text(path).strip().partition("\n")[0])

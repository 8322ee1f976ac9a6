# SPDX-License-Identifier: Apache-2.0
"""A folder of class folders that grows by one frame at a time, without duplicates and up to a limit.

    frames/
      frames.jsonl                                        one line per saved frame
      cat/20261124T180312.123456Z-000042-91b4….png        UTC, the frame's index, its perceptual hash

A frame lies in the folder of the class that the network held for likeliest. That is a proposal: whoever looks through
the folders moves what is wrong. docs/collecting.md states the fields of ``frames.jsonl``.
"""

from __future__ import annotations

import enum
import json
import shutil
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from device.bundle import Bundle
from device.class_folders import class_folders
from device.errors import LitesightError
from device.frame_files import LOG, class_folder, frame_name, logged_frames, ready_folder, saved_frames, write_frame
from device.images import printable
from device.manifest import input_fields
from device.opencv_pixels import opencv_pixels
from device.perceptual_hash import HashIndex, perceptual_hash
from device.postprocess import Prediction
from device.preprocess import PixelFormat
from device.save_rule import readable_size

SCHEMA: Final = 1
RESERVE_BYTES: Final = 200_000_000
"""What is left free on the disk for everybody else; of a small disk a twentieth."""
RESERVE_SHARE: Final = 20


class NoRoomError(LitesightError):
    """The folder takes no frames for now: it has reached its limit, the disk is nearly full, or it is gone."""


@dataclass(frozen=True)
class Shot:
    """A frame that is wanted, with memory of its own.

    Attributes:
        pixels: C-contiguous, as ``format`` describes it.
        format: of the pixels.
        name, index: of the frame.
        taken_at: seconds since 1970.
        label: what was told; None where nothing was.
        predictions: what was told, likeliest first.
        likeliest: the likeliest class of this picture alone.
        scores: (classes,) int8, what the network said of every class.
        bundle: the model that said it.
    """

    pixels: NDArray[Any]
    format: PixelFormat
    name: str
    index: int
    taken_at: float
    label: str | None
    predictions: tuple[Prediction, ...]
    likeliest: str
    scores: NDArray[np.int8]
    bundle: Bundle


class Outcome(enum.Enum):
    """What became of a frame."""

    SAVED = "saved"
    DUPLICATE = "duplicate"


class FrameStore:
    """The folder. One instance serves one thread; several processes may share a folder.

    Args:
        folder: made if it is missing; a link is followed.
        limit_bytes: the most that all its files may have, those of others among them.
        min_distance: the kept frames of a class differ in at least so many of 64 bits; 0 keeps everything.

    Raises:
        LitesightError: the folder is a file, or cannot be written.
    """

    def __init__(self, folder: Path, limit_bytes: int, min_distance: int) -> None:
        self.folder = ready_folder(folder)
        self._limit_bytes = limit_bytes
        self._min_distance = min_distance
        self._identity = _identity(self.folder)
        self._bytes = 0
        self._kept: defaultdict[str, HashIndex] = defaultdict(HashIndex)
        self._is_loaded = False
        self._is_full = False

    def refresh(self) -> None:
        """Learn what is there, unless it is known: seconds for 100,000 frames. :meth:`save` does so too.

        Raises:
            NoRoomError: the folder is gone.
            LitesightError: the log is not a file.
            OSError: something cannot be read.
        """
        self._check_identity()
        if self._is_loaded and not self._is_full:
            return
        frames, self._bytes = saved_frames(self.folder)
        if not self._is_loaded:
            known: defaultdict[str, set[int]] = defaultdict(set)
            # The log also knows the frames that were moved to another class, or deleted because nobody wanted them.
            for folder, hash in logged_frames(self.folder / LOG):
                known[folder].add(hash)
            for frame in frames:
                known[frame.folder].add(frame.hash)
            self._kept.clear()
            for folder, hashes in known.items():
                for hash in hashes:
                    self._kept[folder].add(hash)
        self._is_loaded, self._is_full = True, False

    def save(self, shot: Shot) -> Outcome:
        """Write a frame and its line, unless one like it is there. After an error nothing half-written is left.

        Raises:
            NoRoomError: the limit or the disk forbids it.
            LitesightError: this one frame cannot be written.
            OSError: the system refused.
        """
        self.refresh()
        picture = opencv_pixels(shot.pixels, shot.format)
        hash = perceptual_hash(picture)
        name = class_folders(shot.bundle.labels, (LOG,))[shot.likeliest]
        kept = self._kept[name]
        if kept.has_near(hash, self._min_distance):
            return Outcome.DUPLICATE
        # OpenCV's own options are the fast ones; naming a level, even the fastest, makes it try every filter.
        data = cv2.imencode(".png", picture)[1].tobytes()
        taken = datetime.fromtimestamp(shot.taken_at, UTC)
        path = self.folder / name / frame_name(taken, shot.index, hash)
        line = _line(shot, f"{name}/{path.name}", taken)
        self._check_room(len(data) + len(line))
        with class_folder(path.parent):
            write_frame(path, data, self.folder / LOG, line)
        self._bytes += len(data) + len(line)
        kept.add(hash)
        return Outcome.SAVED

    def _check_identity(self) -> None:
        """A stick that was pulled out leaves an empty folder on the disk below, which must not be filled instead."""
        gone = NoRoomError(
            f"{printable(self.folder)} has vanished or is on another disk",
            hint="put the disk back, or make the folder again",
        )
        try:
            found = _identity(self.folder)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise gone from error
        if found == self._identity:
            return
        if found[0] != self._identity[0] and not (self.folder / LOG).is_file():
            raise gone
        self._identity, self._is_loaded = found, False

    def _check_room(self, count_bytes: int) -> None:
        if self._bytes + count_bytes > self._limit_bytes:
            self._is_full = True
            raise NoRoomError(
                f"{printable(self.folder)} has reached its limit of {readable_size(self._limit_bytes)}",
                hint="move frames away or raise --save-limit",
            )
        disk = shutil.disk_usage(self.folder)
        reserve = min(RESERVE_BYTES, disk.total // RESERVE_SHARE)
        if disk.free - count_bytes < reserve:
            raise NoRoomError(
                f"less than {readable_size(reserve)} are free on the disk of {printable(self.folder)}",
                hint="free some space",
            )


def _identity(folder: Path) -> tuple[int, int]:
    facts = folder.stat()
    return facts.st_dev, facts.st_ino


def _line(shot: Shot, file: str, taken: datetime) -> bytes:
    manifest = shot.bundle.manifest
    height, width = shot.pixels.shape[:2]
    record = {
        # First, for logged_frames() looks no further.
        "file": file,
        "schema": SCHEMA,
        "time": f"{taken:%Y-%m-%dT%H:%M:%S.%fZ}",
        "frame": {
            "name": shot.name,
            "index": shot.index,
            "width": width,
            "height": height,
            "format": shot.format.value,
        },
        "label": shot.label,
        "predictions": [
            {"index": each.index, "label": each.label, "probability": round(each.probability, 6)}
            for each in shot.predictions
        ],
        "scores": shot.scores.tolist(),
        "model": {"name": manifest.name, "sha256": shot.bundle.model_sha256},
        "input": input_fields(manifest.input),
        "output": {
            "scale": manifest.output.scale,
            "zero_point": manifest.output.zero_point,
            "activation": manifest.output.activation,
        },
    }
    return f"{json.dumps(record)}\n".encode("ascii")

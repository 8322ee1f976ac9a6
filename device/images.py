# SPDX-License-Identifier: Apache-2.0
"""Photos from files: every kind a user may have becomes (height, width, 3) uint8 RGB, or one line that says why not.

A photo is judged by its bytes, never by its name. Its size is read from the header before anything is decoded, and a
JPEG or PNG is walked to its end first, because several OpenCV releases decode a cut file to a picture with a grey or
black bottom and say nothing.
"""

from __future__ import annotations

import errno
import functools
import io
import os
import re
import stat
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import cv2
import imagesize
import numpy as np
from numpy.typing import NDArray

from device.errors import LitesightError
from device.preprocess import MAX_FRAME_SIDE

IMAGE_SUFFIXES: Final = frozenset({".bmp", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
# What the preprocessing takes: a photo must not pass the check of a data set and fail in training.
MAX_SIDE_PIXELS: Final = MAX_FRAME_SIDE
MAX_PIXELS: Final = 64_000_000
# An uncompressed 16-bit RGBA picture of MAX_PIXELS; nothing larger can be a photo that would be accepted.
MAX_FILE_BYTES: Final = MAX_PIXELS * 8

# Inside a scan, 0xFF followed by 0x00 is data (ITU-T T.81, B.1.1.5); 0xFF before a marker is padding.
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xff]")
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# What decides the pixels and their orientation. Colour profiles and text only make libpng complain on stderr.
_PNG_CHUNKS_KEPT = frozenset({b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"IDAT", b"IEND"})
# Arbitrary bytes without 0xFF, to feed to a scan that may have run out of data.
_JPEG_PROBE = bytes((89 * i + 41) % 251 for i in range(64))


class ImageError(LitesightError):
    """A photo or a folder of photos that cannot be used; the message starts with its path."""


class _Parsed(NamedTuple):
    """What a header says: ``width`` and ``height`` in pixels, and the bytes that go to the decoder."""

    width: int
    height: int
    data: bytes
    scan_end: int = 0  # offset of the end-of-image marker of a sequential JPEG; 0 for everything else


class _DamagedError(Exception):
    """Internal: the reason a photo is refused, without its name."""


def printable(path: Path | str) -> str:
    """``path`` on one line: control characters, line breaks and undecodable bytes are written as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(path))


def read_image(path: Path) -> NDArray[np.uint8]:
    """The photo in the file ``path`` as (height, width, 3) uint8 RGB; see :func:`decode_image`.

    Raises:
        ImageError: as :func:`decode_image`, or the file is missing, not a regular file, unreadable or too large.
    """
    return decode_image(read_bytes(path), str(path))


def read_bytes(path: Path) -> bytes:
    """The content of the photo file ``path``, undecoded.

    Raises:
        ImageError: it is missing, not a regular file (a pipe would wait for ever), unreadable or too large.
    """
    name = printable(path)
    try:
        # O_NONBLOCK: opening a named pipe must not wait for its writer.
        with os.fdopen(
            os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb"
        ) as f:
            facts = os.fstat(f.fileno())
            if not stat.S_ISREG(facts.st_mode):
                what = "a folder" if stat.S_ISDIR(facts.st_mode) else "a pipe or device"
                raise ImageError(f"{name}: expected a photo, found {what}")
            if facts.st_size > MAX_FILE_BYTES:
                raise ImageError(
                    f"{name}: file too large: found {facts.st_size} bytes, at most {MAX_FILE_BYTES}", hint="shrink it"
                )
            return f.read()
    except FileNotFoundError as error:
        found = "a symbolic link to nothing" if path.is_symlink() else "nothing there"
        raise ImageError(f"{name}: expected a photo, found {found}") from error
    except IsADirectoryError as error:
        raise ImageError(f"{name}: expected a photo, found a folder") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise ImageError(f"{name}: photo cannot be read: {_reason(error)}") from error


def decode_image(data: bytes, name: str) -> NDArray[np.uint8]:
    """Decode a JPEG, PNG, BMP, TIFF or WebP photo.

    EXIF orientation is applied. Grey, palette, 1-bit and CMYK pictures are converted to RGB. Of 16-bit samples the
    high byte is kept. An alpha channel is dropped, not composited: the colours stay as they were stored.

    Args:
        data: the whole file.
        name: what to call the photo in an error message, usually its path.

    Returns:
        (height, width, 3) uint8, RGB, C-contiguous.

    Raises:
        ImageError: not a photo, cut short, damaged, larger than MAX_SIDE_PIXELS a side or MAX_PIXELS in all.
    """
    try:
        parsed = _parse(data)
        if max(parsed.width, parsed.height) > MAX_SIDE_PIXELS or parsed.width * parsed.height > MAX_PIXELS:
            raise ImageError(
                f"{printable(name)}: photo too large: found {parsed.width} x {parsed.height} pixels, "
                f"at most {MAX_SIDE_PIXELS} a side and {MAX_PIXELS // 1_000_000} megapixels",
                hint="shrink it",
            )
        if min(parsed.width, parsed.height) < 1:
            raise _DamagedError(f"damaged photo: the header says {parsed.width} x {parsed.height} pixels")
        pixels = _decode(parsed.data)
        if parsed.scan_end and _has_grey_corner(pixels):
            # libjpeg fills a scan that ends early with mid-grey. If more data changes the picture, it had run out.
            probed = parsed.data[: parsed.scan_end] + _JPEG_PROBE + parsed.data[parsed.scan_end :]
            if not np.array_equal(_decode(probed), pixels):
                raise _DamagedError("photo cut short: the JPEG data ends before the last row")
    except _DamagedError as error:
        raise ImageError(f"{printable(name)}: {error}", hint="replace the file or leave it out") from None
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels).astype(np.uint8, copy=False)


def find_images(folder: Path, *, suffixes: frozenset[str] = IMAGE_SUFFIXES) -> list[Path]:
    """All photos under ``folder``, sorted by their POSIX path string, so that the order is the same on every system.

    A photo is a file whose suffix, in lower case, is one of ``suffixes``. Hidden files and folders and the
    ``__MACOSX`` folders of macOS archives are passed over. Symbolic links to folders are followed, each folder once.

    Raises:
        ImageError: ``folder`` is missing or not a folder, or a folder in it cannot be listed.
    """
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing there"
        raise ImageError(f"{printable(folder)}: expected a folder of photos, found {found}")
    return sorted(_walk(folder, suffixes), key=lambda path: path.as_posix())


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is no part of a user's data: dot files and macOS archive residue."""
    return name.startswith(".") or name == "__MACOSX"


def _walk(folder: Path, suffixes: frozenset[str]) -> Iterator[Path]:
    def unreadable(error: OSError) -> None:
        where = printable(os.fsdecode(error.filename or folder))
        raise ImageError(f"{where}: folder cannot be listed: {_reason(error)}") from error

    seen: set[tuple[int, int]] = set()
    for top, folders, files in os.walk(folder, onerror=unreadable, followlinks=True):
        facts = Path(top).stat()
        if (facts.st_dev, facts.st_ino) in seen:  # a link back up the tree
            folders.clear()
            continue
        seen.add((facts.st_dev, facts.st_ino))
        # Sorted, so that which of two links to one folder is followed does not depend on the file system.
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        for name in files:
            if not is_hidden(name) and Path(name).suffix.lower() in suffixes:
                yield Path(top, name)


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        if error.errno in (errno.EACCES, errno.EPERM):
            return "permission denied"
        return (error.strerror or str(error)).lower()
    return str(error)


def _parse(data: bytes) -> _Parsed:
    if not data:
        raise _DamagedError("expected a photo, found an empty file")
    for magic, parse in _PARSERS:
        if data.startswith(magic):
            return parse(data)
    raise _DamagedError(f"expected a JPEG, PNG, BMP, TIFF or WebP photo, found {_describe(data)}")


def _describe(data: bytes) -> str:
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "a GIF"
    if data[4:8] == b"ftyp":
        return "an HEIC, AVIF or video file"
    if data.startswith(b"%PDF"):
        return "a PDF"
    head = data[:64]
    if all(byte in b"\t\n\r\f" or byte >= 0x20 for byte in head):
        return f"text that starts with {head[:16].decode('utf-8', 'replace')!r}"
    return f"a file that starts with the bytes {head[:8].hex(' ')}"


def _parse_jpeg(data: bytes) -> _Parsed:
    width = height = frame = -1
    scans = 0
    position = 2
    while True:
        # Picture data is skipped here too, and so is, as in every decoder, whatever else is no marker.
        match = _JPEG_MARKER.search(data, position)
        if match is None:
            raise _DamagedError("photo cut short: the JPEG has no end-of-image marker")
        marker, position = data[match.start() + 1], match.end()
        if marker == 0xD9:
            if not scans or width < 0:
                raise _DamagedError("damaged photo: the JPEG ends before any picture data")
            # What follows the end marker (thumbnails, padding, a maker's data) is not part of the picture.
            sequential = frame in (0xC0, 0xC1) and scans == 1
            return _Parsed(width, height, data[:position], match.start() if sequential else 0)
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:  # restarts and others that stand alone
            continue
        length = int.from_bytes(data[position : position + 2], "big")
        if length < 2 or position + length > len(data):
            raise _DamagedError(f"photo cut short: a JPEG segment (marker ff{marker:02x}) does not fit in the file")
        if marker in _JPEG_FRAMES:
            if length < 8:
                raise _DamagedError("damaged photo: the JPEG frame header is too short")
            if width >= 0:
                raise _DamagedError("damaged photo: the JPEG has two frame headers")
            frame = marker
            height, width = struct.unpack_from(">HH", data, position + 3)
        scans += marker == 0xDA
        position += length


def _parse_png(data: bytes) -> _Parsed:
    if len(data) < 33 or data[12:16] != b"IHDR":
        raise _DamagedError("photo cut short: the PNG has no complete header")
    width, height = struct.unpack_from(">II", data, 16)
    kept = [_PNG_SIGNATURE]
    view = memoryview(data)
    position, seen_data = 8, False
    while True:
        if position + 12 > len(data):
            raise _DamagedError("photo cut short: the PNG has no end chunk")
        length = int.from_bytes(view[position : position + 4], "big")
        kind, end = bytes(view[position + 4 : position + 8]), position + 12 + length
        if end > len(data):
            raise _DamagedError("photo cut short: a PNG chunk does not fit in the file")
        if kind in _PNG_CHUNKS_KEPT:
            if zlib.crc32(view[position + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
                raise _DamagedError(f"damaged photo: the PNG chunk {kind.decode()} has a wrong checksum")
            kept.append(bytes(view[position:end]))
        seen_data |= kind == b"IDAT"
        if kind == b"IEND":
            if not seen_data:
                raise _DamagedError("damaged photo: the PNG has no picture data")
            return _Parsed(width, height, b"".join(kept))
        position = end


def _parse_bmp(data: bytes) -> _Parsed:
    if len(data) < 26:
        raise _DamagedError("photo cut short: the BMP has no complete header")
    offset, header_bytes = struct.unpack_from("<II", data, 10)
    if header_bytes == 12:  # OS/2
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        compression = 0
    else:
        if len(data) < 34:
            raise _DamagedError("photo cut short: the BMP has no complete header")
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
        height = abs(height)  # negative: rows run downwards
    small_enough = max(width, height) <= MAX_SIDE_PIXELS and width * height <= MAX_PIXELS
    # A photo that is too large is refused for that, whatever else ails it.
    if compression == 0 and small_enough and offset + (width * bits + 31) // 32 * 4 * height > len(data):
        raise _DamagedError("photo cut short: the BMP ends before the last row")
    return _Parsed(width, height, data)


def _parse_webp(data: bytes) -> _Parsed:
    if data[8:12] != b"WEBP":
        raise _DamagedError("expected a JPEG, PNG, BMP, TIFF or WebP photo, found another RIFF file")
    if 8 + int.from_bytes(data[4:8], "little") > len(data):
        raise _DamagedError("photo cut short: the WebP is longer than its file")
    return _parse_by_imagesize(data)


def _parse_by_imagesize(data: bytes) -> _Parsed:
    try:
        width, height = imagesize.get(io.BytesIO(data))
        return _Parsed(int(width), int(height), data)
    # imagesize lets whatever a malformed header provokes escape: struct.error, ValueError, KeyError, TypeError …
    except Exception as error:
        raise _DamagedError("damaged photo: the header cannot be read") from error


_PARSERS: tuple[tuple[bytes, Callable[[bytes], _Parsed]], ...] = (
    (b"\xff\xd8\xff", _parse_jpeg),
    (_PNG_SIGNATURE, _parse_png),
    (b"BM", _parse_bmp),
    (b"II*\x00", _parse_by_imagesize),
    (b"MM\x00*", _parse_by_imagesize),
    (b"RIFF", _parse_webp),
)


@functools.cache
def _silence_opencv() -> None:
    """OpenCV logs every damaged file to stderr; here that is an ImageError instead."""
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def _decode(data: bytes) -> NDArray[np.uint8]:
    """(height, width, 3) uint8 BGR."""
    _silence_opencv()
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except (cv2.error, MemoryError) as error:
        raise _DamagedError("damaged photo, or one of a kind that OpenCV cannot decode") from error
    if pixels is None or pixels.ndim != 3 or pixels.dtype != np.uint8:
        raise _DamagedError("damaged photo, or one of a kind that OpenCV cannot decode")
    return pixels.astype(np.uint8, copy=False)


def _has_grey_corner(pixels: NDArray[np.uint8]) -> bool:
    """Whether any corner (EXIF orientation may have moved the last one) is exactly mid-grey, 4 x 4 pixels of it."""
    ends = (slice(None, 4), slice(-4, None))
    return any(bool((pixels[rows, columns] == 128).all()) for rows in ends for columns in ends)

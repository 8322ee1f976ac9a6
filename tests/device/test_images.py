# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from device.images import ImageError, decode_image, find_images, read_image

HEIGHT, WIDTH = 40, 56
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP")


def picture() -> NDArray[np.uint8]:
    """A smooth picture, (40, 56, 3) RGB, whose corners and channels all differ."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float64)
    channels = [40 + 4 * x, 230 - 4 * y, 20 + 1.5 * x + 2 * y]
    return np.stack([np.clip(c, 0, 255) for c in channels], axis=-1).astype(np.uint8)


def encoded(kind: str, mode: str = "RGB", pixels: NDArray[Any] | None = None, **options: Any) -> bytes:
    """The test picture as a file; lossy formats at a quality that keeps a smooth picture within a few levels."""
    stream = io.BytesIO()
    options = (
        {"quality": 95, "subsampling": 0} if kind == "JPEG" else {"quality": 98} if kind == "WEBP" else {}
    ) | options
    Image.fromarray(picture() if pixels is None else pixels).convert(mode).save(stream, kind, **options)
    return stream.getvalue()


def refusal(data: bytes, name: str = "some/photo.jpg") -> str:
    with pytest.raises(ImageError) as caught:
        decode_image(data, name)
    message = str(caught.value)
    assert message.startswith(name)
    assert message.isprintable()
    return message


def close(found: NDArray[np.uint8], expected: NDArray[np.uint8], levels: int = 8) -> bool:
    return found.shape == expected.shape and int(np.abs(found.astype(int) - expected.astype(int)).max()) <= levels


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_decodes_to_rgb_and_not_bgr(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "ein Foto aus Köln 写真.dat"
    path.write_bytes(encoded(kind))
    found = read_image(path)
    assert found.dtype == np.uint8
    assert found.flags["C_CONTIGUOUS"]
    assert close(found, picture(), 0 if kind in ("PNG", "BMP", "TIFF") else 8)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize(("orientation", "turns"), [(3, 2), (6, -1), (8, 1)])
def test_a_photo_taken_sideways_is_turned_upright(kind: str, orientation: int, turns: int) -> None:
    exif = Image.Exif()
    exif[0x112] = orientation
    assert close(decode_image(encoded(kind, exif=exif), "x"), np.ascontiguousarray(np.rot90(picture(), turns)))


def test_a_cmyk_jpeg_is_converted_and_not_inverted() -> None:
    assert close(decode_image(encoded("JPEG", "CMYK"), "x"), picture(), 12)


def test_of_16_bit_grey_the_high_byte_is_kept() -> None:
    grey = np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH) * 29
    for suffix in (".png", ".tiff"):
        found = decode_image(cv2.imencode(suffix, grey)[1].tobytes(), "x")
        assert close(found, np.repeat((grey >> 8).astype(np.uint8)[..., None], 3, axis=2), 1)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF"])
def test_grey_becomes_three_equal_channels(kind: str) -> None:
    grey = np.asarray(Image.fromarray(picture()).convert("L"))
    assert close(decode_image(encoded(kind, "L"), "x"), np.repeat(grey[..., None], 3, axis=2))


def test_palette_one_bit_and_transparent_pictures_are_converted() -> None:
    palette = Image.open(io.BytesIO(encoded("PNG", "P"))).convert("RGB")
    assert close(decode_image(encoded("PNG", "P"), "x"), np.asarray(palette), 0)
    bits = Image.open(io.BytesIO(encoded("PNG", "1"))).convert("RGB")
    assert close(decode_image(encoded("PNG", "1"), "x"), np.asarray(bits), 0)


def test_alpha_is_dropped_so_that_colours_stay_as_stored() -> None:
    stream = io.BytesIO()
    Image.fromarray(np.dstack([picture(), np.zeros((HEIGHT, WIDTH), np.uint8)])).save(stream, "PNG")
    assert close(decode_image(stream.getvalue(), "x"), picture(), 0)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9, 0.99])
def test_a_cut_photo_is_refused_in_every_format(kind: str, kept: float) -> None:
    data = encoded(kind)
    refusal(data[: int(len(data) * kept)])


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_without_its_end_marker_is_said_to_be_cut_short(progressive: bool) -> None:
    data = encoded("JPEG", progressive=progressive)
    assert "cut short: the JPEG has no end-of-image marker" in refusal(data[:-2])


def test_a_thumbnail_with_an_end_marker_of_its_own_does_not_hide_a_cut() -> None:
    data = encoded("JPEG")
    thumbnail = encoded("JPEG", pixels=picture()[:8, :8])
    segment = b"\xff\xe3" + struct.pack(">H", 2 + len(thumbnail)) + thumbnail
    whole = data[:2] + segment + data[2:]
    assert close(decode_image(whole, "x"), picture())
    assert "cut short" in refusal(whole[:-100])


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_jpeg_whose_data_stops_early_before_an_end_marker_is_refused(mode: str) -> None:
    rng = np.random.default_rng(5)
    data = encoded("JPEG", mode, pixels=rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    assert "ends before the last row" in refusal(data[: len(data) // 2] + b"\xff\xd9")


def test_a_picture_with_true_mid_grey_corners_is_not_taken_for_a_cut_one() -> None:
    grey = np.full((64, 64, 3), 128, np.uint8)
    grey[16:40, 16:40] = picture()[:24, :24]
    assert close(decode_image(encoded("JPEG", pixels=grey), "x"), grey, 12)


def test_a_jpeg_with_restart_markers_and_padding_is_read_to_its_end() -> None:
    data = encoded("JPEG", restart_marker_blocks=1)
    assert b"\xff\xd0" in data
    assert close(decode_image(data[:2] + b"\xff\xff" + data[2:-2] + b"\xff\xff\xff\xd9", "x"), picture())


@pytest.mark.parametrize("junk", [b"\x00" * 50, b"maker's data \xff\xd8\xff\xc0 more", b"\xff\xd9\xff\xd9"])
def test_bytes_after_the_end_of_a_jpeg_do_no_harm(junk: bytes) -> None:
    assert close(decode_image(encoded("JPEG") + junk, "x"), picture())


def test_a_png_with_one_flipped_bit_is_refused() -> None:
    data = bytearray(encoded("PNG"))
    data[data.index(b"IDAT") + 20] ^= 1
    assert "wrong checksum" in refusal(bytes(data))


def test_a_png_without_its_end_chunk_is_said_to_be_cut_short() -> None:
    assert "cut short: the PNG has no end chunk" in refusal(encoded("PNG")[:-12])


def png_with_header(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [header, b"IDAT" + zlib.compress(b"\0" * 10), b"IEND"]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks
    )


def jpeg_with_header(width: int, height: int) -> bytes:
    data = bytearray(encoded("JPEG"))
    struct.pack_into(">HH", data, data.index(b"\xff\xc0") + 5, height, width)
    return bytes(data)


def bmp_with_header(width: int, height: int) -> bytes:
    data = bytearray(encoded("BMP"))
    struct.pack_into("<ii", data, 18, width, height)
    return bytes(data)


@pytest.mark.parametrize("make", [png_with_header, jpeg_with_header, bmp_with_header])
@pytest.mark.parametrize(("width", "height"), [(30_000, 30_000), (16_385, 2), (8_001, 8_000), (2, 16_385)])
def test_a_giant_photo_is_refused_by_its_header_alone(make: Any, width: int, height: int, monkeypatch: Any) -> None:
    def forbidden(*_: object) -> None:
        raise AssertionError("the photo was decoded")

    monkeypatch.setattr(cv2, "imdecode", forbidden)
    message = refusal(make(width, height))
    assert f"photo too large: found {width} x {height} pixels, at most 16384 a side and 64 megapixels" in message
    assert "shrink it" in message


def test_the_largest_permitted_size_is_not_refused_as_too_large() -> None:
    assert "too large" not in refusal(png_with_header(8_000, 8_000))
    assert "too large" not in refusal(png_with_header(16_384, 3_900))


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "found an empty file"),
        (b"hello there\nsecond line of the text", r"found text that starts with 'hello there\nseco'"),
        (b"GIF89a" + bytes(40), "found a GIF"),
        (b"\0\0\0\x18ftypheic" + bytes(40), "found an HEIC, AVIF or video file"),
        (bytes(range(40)), "found a file that starts with the bytes 00 01 02 03 04 05 06 07"),
        (b"RIFF\x24\0\0\0WAVEfmt " + bytes(40), "found another RIFF file"),
        (b"\xff\xd8\xff\xd9", "ends before any picture data"),
        (b"BM", "no complete header"),
    ],
)
def test_what_is_no_photo_is_named(data: bytes, found: str) -> None:
    assert found in refusal(data)


def test_a_name_with_a_line_break_stays_on_one_line() -> None:
    with pytest.raises(ImageError) as caught:
        decode_image(b"", "a\nb\x1b[31m\udcff.jpg")
    assert str(caught.value).startswith(r"a\nb\x1b[31m\udcff.jpg: ")
    assert str(caught.value).isprintable()


def test_a_folder_a_pipe_and_a_dead_link_named_jpg_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "gone.jpg")
    expected = {"folder": "a folder", "pipe": "a pipe or device", "link": "a symbolic link to nothing", "no": "nothing"}
    for name, found in expected.items():
        with pytest.raises(ImageError, match=f"{name}.jpg: expected a photo, found {found}"):
            read_image(tmp_path / f"{name}.jpg")


def test_a_photo_without_read_permission_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    # Not chmod: root, which tests may run as, may read everything.
    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(ImageError, match=r"secret\.png: photo cannot be read: permission denied"):
        read_image(tmp_path / "secret.png")


def test_damaged_photos_leave_no_decoder_noise_on_stderr(tmp_path: Path) -> None:
    profile = b"iCCPbad\0\0" + zlib.compress(b"no profile")
    png = encoded("PNG")
    chunk = struct.pack(">I", len(profile) - 4) + profile + struct.pack(">I", zlib.crc32(profile))
    (tmp_path / "profile.png").write_bytes(png[:33] + chunk + png[33:])
    (tmp_path / "cut.png").write_bytes(png[:-30])
    (tmp_path / "cut.jpg").write_bytes(encoded("JPEG")[:-30])
    (tmp_path / "cut.tif").write_bytes(encoded("TIFF")[:-2000])
    script = (
        "import sys, pathlib\nfrom device.images import *\n"
        "for path in find_images(pathlib.Path(sys.argv[1])):\n"
        "    try:\n        print(path.name, read_image(path).shape)\n    except ImageError:\n        pass\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == f"profile.png ({HEIGHT}, {WIDTH}, 3)\n"
    assert done.stderr == ""


def test_photos_are_found_in_one_order_on_every_system(tmp_path: Path) -> None:
    for name in ("b/2.JPG", "b/10.jpeg", "a b/é.png", "Z.webp", "a.tif", "a/x.Tiff", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for hidden in (".cache/x.jpg", "__MACOSX/x.jpg", "._b.jpg"):
        (tmp_path / hidden).parent.mkdir(exist_ok=True)
        (tmp_path / hidden).touch()
    (tmp_path / "folder.jpg").mkdir()
    found = [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)]
    assert found == ["Z.webp", "a b/é.png", "a.tif", "a/x.Tiff", "b/10.jpeg", "b/2.JPG"]


def test_a_link_to_a_parent_folder_does_not_loop(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "x.jpg").touch()
    (tmp_path / "photos" / "up").symlink_to(tmp_path)
    assert len(find_images(tmp_path)) == 1


def test_a_missing_folder_and_a_file_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="none: expected a folder of photos, found nothing there"):
        find_images(tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(ImageError, match="file: expected a folder of photos, found a file"):
        find_images(tmp_path / "file")


SEEDS = [encoded(kind, pixels=picture()[:16, :16]) for kind in FORMATS] + [
    encoded("JPEG", "CMYK", pixels=picture()[:16, :16]),
    encoded("JPEG", pixels=picture()[:16, :16], progressive=True),
    encoded("PNG", "P", pixels=picture()[:16, :16]),
    encoded("TIFF", pixels=picture()[:16, :16], compression="tiff_lzw"),
]


@settings(max_examples=400, deadline=None)
@given(
    seed=st.sampled_from(SEEDS),
    edits=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6),
    cut=st.integers(0, 200) | st.none(),
    tail=st.binary(max_size=20),
)
@example(seed=SEEDS[3], edits=[], cut=8, tail=b"")
def test_no_damage_to_a_file_escapes_as_anything_but_an_image_error(
    seed: bytes, edits: list[tuple[int, int]], cut: int | None, tail: bytes
) -> None:
    data = bytearray(seed if cut is None else seed[:cut])
    for position, value in edits:
        if position < len(data):
            data[position] = value
    try:
        pixels = decode_image(bytes(data) + tail, "fuzzed")
    except ImageError as refused:
        message = str(refused)
    else:
        message = "fuzzed"
        assert pixels.dtype == np.uint8
        assert pixels.ndim == 3
        assert pixels.shape[2] == 3
    assert message.startswith("fuzzed")
    assert message.isprintable()


@settings(max_examples=200, deadline=None)
@given(head=st.sampled_from([seed[:n] for seed in SEEDS for n in (4, 12, 30)]), rest=st.binary(max_size=200))
def test_random_bytes_behind_a_good_signature_are_refused_cleanly(head: bytes, rest: bytes) -> None:
    refusal(head + rest)

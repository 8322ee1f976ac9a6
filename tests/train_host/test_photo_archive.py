# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import shutil
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device.errors import LitesightError
from train_host import photo_archive
from train_host.photo_archive import extract

SUFFIXES = frozenset({".png", ".jpg"})


def zip_of(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def tree(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def refusal(archive: Path, into: Path) -> str:
    """The error's line, after making sure that nothing was left behind, inside or outside of ``into``."""
    before = tree(into.parent)
    with pytest.raises(LitesightError) as caught:
        extract(archive, into, suffixes=SUFFIXES)
    assert tree(into.parent) == before
    assert not into.exists() or list(into.iterdir()) == []
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_only_visible_photos_are_unpacked(tmp_path: Path) -> None:
    files = {"a/x.PNG": b"1", "a/.y.png": b"2", "__MACOSX/a/._x.png": b"3", "a/run.exe": b"4", "Köln 写/z.jpg": b"5"}
    found = extract(zip_of(tmp_path / "p.zip", files), tmp_path / "work", suffixes=SUFFIXES)
    assert tree(found) == ["Köln 写/z.jpg", "a/x.PNG"]
    assert (found / "a" / "x.PNG").read_bytes() == b"1"
    assert [path.name for path in (tmp_path / "work").iterdir()] == [found.name]


def test_an_unpacked_archive_is_used_again_and_a_changed_one_is_not(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "p.zip", {"a/x.png": b"1"})
    first = extract(archive, tmp_path / "work", suffixes=SUFFIXES)
    (first / "mark").touch()
    assert extract(archive, tmp_path / "work", suffixes=SUFFIXES) == first
    assert (first / "mark").exists()
    zip_of(archive, {"a/x.png": b"2"})
    assert extract(archive, tmp_path / "work", suffixes=SUFFIXES) != first


def test_an_empty_class_folder_is_kept_so_that_it_can_be_reported(tmp_path: Path) -> None:
    found = extract(zip_of(tmp_path / "p.zip", {"a/": b"", "b/x.png": b"1"}), tmp_path / "w", suffixes=SUFFIXES)
    assert (found / "a").is_dir()


def test_a_macos_name_without_the_utf8_flag_is_read_as_utf8(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "p.zip", {"Köln/é.png": b"1"})
    data = bytearray(archive.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        position = data.index(signature) + offset
        flags = struct.unpack_from("<H", data, position)[0]
        assert flags & 0x800
        struct.pack_into("<H", data, position, flags & ~0x800)
    archive.write_bytes(data)
    assert tree(extract(archive, tmp_path / "w", suffixes=SUFFIXES)) == ["Köln/é.png"]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../evil.png", "leads out of the folder"),
        ("a/../../evil.png", "leads out of the folder"),
        ("a\\..\\..\\evil.png", "leads out of the folder"),
        ("../evil.txt", "leads out of the folder"),
        ("/etc/evil.png", "is an absolute name"),
        ("C:\\evil.png", "is an absolute name"),
        ("\\\\server\\evil.png", "is an absolute name"),
    ],
)
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path, name: str, why: str) -> None:
    message = refusal(zip_of(tmp_path / "p.zip", {"a/x.png": b"1", name: b"2"}), tmp_path / "work")
    assert "unsafe zip archive" in message
    assert why in message


def test_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("a/link.png")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    assert "a/link.png is a symbolic link" in refusal(tmp_path / "p.zip", tmp_path / "work")


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photo_archive, "RATIO_MATTERS_BYTES", 1 << 20)
    archive = zip_of(tmp_path / "p.zip", {"a/x.png": bytes(2 << 20)}, zipfile.ZIP_DEFLATED)
    assert "more than 200 times: these are no photos" in refusal(archive, tmp_path / "work")
    monkeypatch.setattr(photo_archive, "MAX_BYTES", 1 << 20)
    assert "unpacks to 2097152 bytes, at most 1048576" in refusal(archive, tmp_path / "work")
    monkeypatch.setattr(photo_archive, "MAX_FILE_BYTES", 1 << 19)
    assert "a/x.png unpacks to 2097152 bytes, at most 524288" in refusal(archive, tmp_path / "work")
    monkeypatch.setattr(photo_archive, "MAX_ENTRIES", 0)
    assert "has 1 files, at most 0" in refusal(archive, tmp_path / "work")


def test_an_encrypted_archive_is_refused(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "p.zip", {"a/x.png": b"1"})
    data = bytearray(archive.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    archive.write_bytes(data)
    assert "zip archive is encrypted" in refusal(archive, tmp_path / "work")


def test_an_exotic_compression_is_refused_by_name(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "p.zip", {"a/x.png": b"1"}, zipfile.ZIP_BZIP2)
    assert "ordinary compression, found method 12" in refusal(archive, tmp_path / "work")


def test_a_name_that_stands_twice_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        archive.writestr("a/x.png", b"1")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a/x.png", b"2")
    assert "holds a/x.png twice" in refusal(tmp_path / "p.zip", tmp_path / "work")
    zip_of(tmp_path / "p.zip", {"a.png": b"1", "a.png/x.png": b"2"})
    assert "as a file and a folder" in refusal(tmp_path / "p.zip", tmp_path / "work")


def test_a_photo_with_a_wrong_checksum_is_refused(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "p.zip", {"a/x.png": b"content of x", "a/y.png": b"content of y"})
    archive.write_bytes(archive.read_bytes().replace(b"content of y", b"content of z"))
    assert "damaged zip archive: Bad CRC-32" in refusal(archive, tmp_path / "work")


def test_a_full_disk_is_noticed_before_unpacking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 3

    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage)
    message = refusal(zip_of(tmp_path / "p.zip", {"a/x.png": b"1234"}), tmp_path / "work")
    assert "not enough space" in message
    assert "4 bytes needed" in message


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LitesightError, match=r"cannot write .*file/work"):
        extract(zip_of(tmp_path / "p.zip", {"a/x.png": b"1"}), tmp_path / "file" / "work", suffixes=SUFFIXES)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    files = {"a/x.png": bytes(range(200)), "b/": b"", "b/é.jpg": bytes(500)}
    return zip_of(tmp_path_factory.mktemp("zip") / "p.zip", files, zipfile.ZIP_DEFLATED).read_bytes()


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=st.lists(st.tuples(st.integers(0, 700), st.integers(0, 255)), max_size=4), cut=st.integers(0, 800))
def test_no_damage_to_an_archive_escapes_as_anything_but_a_litesight_error(
    sample: bytes, tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[int, int]], cut: int
) -> None:
    data = bytearray(sample[: cut if cut > 100 else None])
    for position, value in edits:
        if position < len(data):
            data[position] = value
    room = tmp_path_factory.mktemp("fuzz")
    (room / "p.zip").write_bytes(data)
    try:
        extract(room / "p.zip", room / "work", suffixes=SUFFIXES)
    except LitesightError as refused:
        message = str(refused)
        assert not (room / "work").exists() or list((room / "work").iterdir()) == []
    else:
        message = ""
    assert message.isprintable()
    assert {path.name for path in room.iterdir()} <= {"p.zip", "work"}

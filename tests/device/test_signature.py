# SPDX-License-Identifier: Apache-2.0
"""Whoever demands a signature must never open what a trusted key has not signed, byte for byte."""

from __future__ import annotations

import builtins
import errno
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import litesight
from device import bundle
from device.errors import LitesightError, UsageError
from device.signature import (
    Signature,
    SignatureError,
    load_signed,
    new_key,
    parse_signature,
    read_public_key,
    require_signature,
    sign,
    signature_bytes,
)

BundleMaker = Callable[..., Path]
SIG = Path("manifest.sig")


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return new_key(tmp_path / "release")


@pytest.fixture
def signed(tiny_bundle: Path, keys: tuple[Path, Path]) -> Path:
    sign(tiny_bundle, keys[0])
    return tiny_bundle


def refused(path: Path, *keys: Path) -> str:
    """The one line with which a bundle is refused, by both ways of asking."""
    with pytest.raises(LitesightError) as first:
        require_signature(path, keys)
    with pytest.raises(LitesightError) as second:
        load_signed(path, keys)
    assert str(first.value) == str(second.value)
    assert "\n" not in str(first.value)
    return str(first.value)


def test_what_a_trusted_key_signed_is_loaded(signed: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    _, other = new_key(tmp_path / "other")
    assert load_signed(signed, [other, keys[1]]).manifest == bundle.load(signed).manifest
    assert require_signature(signed, [keys[1]]) == (signed / bundle.MANIFEST).read_bytes()


def test_the_signature_is_over_the_manifests_exact_bytes(signed: Path, keys: tuple[Path, Path]) -> None:
    """Checked with another implementation where there is one."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    raw = signed.parent / "raw.sig"
    raw.write_bytes(bytes.fromhex(json.loads((signed / SIG).read_bytes())["signature"]))
    command: list[str | Path] = [
        openssl,
        "pkeyutl",
        "-verify",
        "-pubin",
        "-inkey",
        keys[1],
        "-rawin",
        "-sigfile",
        raw,
        "-in",
    ]
    done = subprocess.run([*command, signed / bundle.MANIFEST], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    done = subprocess.run([*command, signed / bundle.LABELS], capture_output=True, timeout=60, check=False)
    assert done.returncode != 0


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_a_key_without_a_name_is_a_wrong_call(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert litesight.main(["sign", "--new-key", name]) == 2
    assert "expected a name for the new keys" in capsys.readouterr().err


def test_a_bundle_without_a_signature_is_refused(tiny_bundle: Path, keys: tuple[Path, Path]) -> None:
    assert "is not signed, and a signature is demanded (sign it" in refused(tiny_bundle, keys[1])


def test_another_key_is_refused_and_both_are_named(signed: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    _, other = new_key(tmp_path / "other")
    said = refused(signed, other)
    assert f"was made with the key {read_public_key(keys[1]).hex()[:16]}" in said
    assert f"trusted: {read_public_key(other).hex()[:16]}" in said


def test_a_signature_of_another_manifest_is_refused(
    signed: Path, make_bundle: BundleMaker, keys: tuple[Path, Path]
) -> None:
    other = make_bundle("other.bundle", macs=1)
    shutil.copy(signed / SIG, other)
    assert "manifest.sig is of another manifest: it signs" in refused(other, keys[1])


def test_a_manifest_that_is_passed_off_as_the_signed_one_is_refused(
    signed: Path, make_bundle: BundleMaker, keys: tuple[Path, Path]
) -> None:
    """The hash in manifest.sig is for messages alone: an attacker writes there what fits."""
    other = make_bundle("other.bundle", macs=1)
    sign(other, new_key(signed.parent / "attacker")[0])
    document = json.loads((other / SIG).read_bytes())
    document["key"] = read_public_key(keys[1]).hex()
    (other / SIG).write_text(json.dumps(document))
    assert "manifest.sig is damaged: it does not fit manifest.json" in refused(other, keys[1])


@pytest.mark.parametrize("position", [0, 31, 32, 63])
def test_a_flipped_bit_in_the_signature_is_refused(signed: Path, keys: tuple[Path, Path], position: int) -> None:
    document = json.loads((signed / SIG).read_bytes())
    value = bytearray.fromhex(document["signature"])
    value[position] ^= 1
    document["signature"] = value.hex()
    (signed / SIG).write_text(json.dumps(document))
    assert "manifest.sig is damaged: it does not fit manifest.json" in refused(signed, keys[1])


def test_a_damaged_file_of_a_signed_bundle_is_refused_all_the_same(signed: Path, keys: tuple[Path, Path]) -> None:
    (signed / bundle.LABELS).write_text("green\nred\nblue\n")
    with pytest.raises(LitesightError, match=r"labels\.txt is damaged"):
        load_signed(signed, [keys[1]])


def test_a_bundle_that_changes_while_it_is_read_is_refused(
    signed: Path, make_bundle: BundleMaker, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    other, load = make_bundle("other.bundle", macs=1), bundle.load
    monkeypatch.setattr(bundle, "load", lambda path: load(other))
    with pytest.raises(SignatureError, match="changed while it was read"):
        load_signed(signed, [keys[1]])


def test_to_trust_nobody_is_a_wrong_call_and_not_a_pass(signed: Path) -> None:
    with pytest.raises(UsageError, match="no public key is named"):
        require_signature(signed, [])


@pytest.mark.parametrize("kind", ["folder", "pipe", "endless"])
def test_a_signature_that_is_no_file_is_refused_and_not_waited_for(
    signed: Path, keys: tuple[Path, Path], kind: str
) -> None:
    (signed / SIG).unlink()
    if kind == "folder":
        (signed / SIG).mkdir()
    elif kind == "pipe":
        os.mkfifo(signed / SIG)
    else:
        with (signed / SIG).open("wb") as stream:
            stream.truncate(1 << 40)
    assert "manifest.sig" in refused(signed, keys[1])


def test_what_is_not_there_is_told_as_without_signatures(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    with pytest.raises(LitesightError, match="no such directory"):
        load_signed(tmp_path / "missing", [keys[1]])
    (tmp_path / "empty").mkdir()
    with pytest.raises(LitesightError, match=r"cannot read .*manifest.json"):
        load_signed(tmp_path / "empty", [keys[1]])


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_any_bytes_as_signature_are_one_line(data: bytes) -> None:
    with pytest.raises(SignatureError) as caught:
        parse_signature(data, SIG)
    assert str(caught.value).isprintable()


JSON = st.none() | st.booleans() | st.integers() | st.text(max_size=130) | st.lists(st.integers(), max_size=2)


@settings(max_examples=200)
@given(st.sampled_from(["schema", "algorithm", "key", "manifest_file_sha256", "signature", "more"]), JSON)
def test_any_value_in_a_field_is_taken_or_refused_in_one_line(field: str, value: Any) -> None:
    good = json.loads(signature_bytes(Signature(bytes(32), "0" * 64, bytes(64))))
    try:
        parse_signature(json.dumps({**good, field: value}).encode(), SIG)
    except SignatureError as error:
        assert str(error).isprintable()  # noqa: PT017 - most values are refused, and a few are right
    else:
        same_kind = isinstance(value, str) and re.fullmatch(f"[0-9a-f]{{{len(str(good.get(field)))}}}", value)
        assert field == "more" or good[field] == value or same_kind


def test_a_signature_survives_being_written_and_read() -> None:
    made = Signature(bytes(range(32)), "ab" * 32, bytes(range(64)))
    assert parse_signature(signature_bytes(made), SIG) == made


def test_a_private_key_is_for_its_owner_alone_and_no_key_is_overwritten(tmp_path: Path) -> None:
    private, public = new_key(tmp_path / "a.b")
    assert (private.name, public.name) == ("a.b.pem", "a.b.pub")
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert b"PRIVATE" not in public.read_bytes()
    before = private.read_bytes(), public.read_bytes()
    for name in (private, public):
        with pytest.raises(SignatureError, match="exists; a key is never overwritten"):
            new_key(tmp_path / "a.b")
        assert (private.read_bytes(), public.read_bytes()) == before
        name.rename(name.with_suffix(".away"))
        with pytest.raises(SignatureError, match="exists; a key is never overwritten"):
            new_key(tmp_path / "a.b")
        assert not name.exists()
        name.with_suffix(".away").rename(name)


def test_a_key_that_appears_in_between_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "k.pem").write_text("somebody's key")
    monkeypatch.setattr(os.path, "lexists", lambda path: False)
    with pytest.raises(LitesightError, match=r"cannot write .*k\.pem: File exists"):
        new_key(tmp_path / "k")
    assert (tmp_path / "k.pem").read_text() == "somebody's key"


def test_a_disk_that_is_full_leaves_no_half_of_a_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = os.fsync, iter([True, False])

    def fsync(descriptor: int) -> None:
        if not next(calls):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(LitesightError, match=r"k\.pub: No space left on device"):
        new_key(tmp_path / "k")
    assert list(tmp_path.iterdir()) == []


def test_only_a_whole_bundle_is_signed(tiny_bundle: Path, keys: tuple[Path, Path]) -> None:
    (tiny_bundle / bundle.LABELS).write_text("red\n")
    with pytest.raises(LitesightError, match=r"labels\.txt is damaged"):
        sign(tiny_bundle, keys[0])
    assert not (tiny_bundle / SIG).exists()


def test_a_wrong_key_file_is_one_line(tmp_path: Path, signed: Path, keys: tuple[Path, Path]) -> None:
    private, public = keys
    (tmp_path / "noise").write_bytes(bytes(range(256)))
    for path, said in (
        (private, "is a private key; expected its public part"),
        (tmp_path / "noise", "expected an ed25519 public key in PEM"),
        (tmp_path / "missing", "no key at"),
        (tmp_path, "expected a regular file, found a folder"),
    ):
        with pytest.raises(LitesightError, match=said):
            require_signature(signed, [path])
    for path, said in (
        (public, "expected an ed25519 private key in PEM, found a public key"),
        (tmp_path / "noise", "expected an ed25519 private key in PEM, found something else"),
        (tmp_path / "missing", "no key at"),
    ):
        with pytest.raises(LitesightError, match=said):
            sign(signed, path)


def test_keys_of_other_kinds_are_named_as_such(tmp_path: Path, signed: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    other = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "ec.pem").write_bytes(other.private_bytes(pem, pkcs8, serialization.NoEncryption()))
    (tmp_path / "ec.pub").write_bytes(
        other.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    locked = ed25519.Ed25519PrivateKey.generate().private_bytes(
        pem, pkcs8, serialization.BestAvailableEncryption(b"secret")
    )
    (tmp_path / "locked.pem").write_bytes(locked)
    with pytest.raises(SignatureError, match="expected an ed25519 private key, found another kind"):
        sign(signed, tmp_path / "ec.pem")
    with pytest.raises(SignatureError, match="expected an ed25519 public key, found another kind"):
        require_signature(signed, [tmp_path / "ec.pub"])
    with pytest.raises(SignatureError, match=r"protected by a passphrase.*openssl pkey"):
        sign(signed, tmp_path / "locked.pem")


def test_without_the_package_the_command_for_it_is_named(
    signed: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("cryptography"):
            raise ModuleNotFoundError("No module named 'cryptography'", name="cryptography")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SignatureError, match=r"need the Python package cryptography.*pip install '\.\[signing\]'"):
        require_signature(signed, [keys[1]])


def test_without_signatures_the_package_is_not_loaded() -> None:
    code = "import sys, device.signature, device.slots; print('cryptography' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "False\n"


def test_a_signed_bundle_is_still_a_bundle(signed: Path, make_bundle: BundleMaker) -> None:
    assert bundle.is_bundle(signed)
    assert bundle.SIGNATURE in bundle.load(signed).device_files
    make_bundle(signed.name, macs=1)
    assert not (signed / SIG).exists(), "the signature of what was replaced is gone with it"


def test_the_command_makes_keys_signs_and_checks(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = tmp_path / "release"
    assert litesight.main(["sign", "--new-key", str(key)]) == 0
    assert litesight.main(["sign", str(tiny_bundle), "--check", f"{key}.pub"]) == 1
    assert litesight.main(["sign", str(tiny_bundle), "--key", f"{key}.pem"]) == 0
    assert litesight.main(["sign", str(tiny_bundle), "--check", f"{key}.pub"]) == 0
    out, err = capsys.readouterr()
    assert f"whole and signed with the key {read_public_key(tmp_path / 'release.pub').hex()[:16]}" in out
    assert err.count("\n") == 1
    assert litesight.main(["sign", "--key", f"{key}.pem"]) == 2
    assert litesight.main(["sign", str(tiny_bundle), "--new-key", str(tmp_path / "x")]) == 2
    assert not (tmp_path / "x.pem").exists()

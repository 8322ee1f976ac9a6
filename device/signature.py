# SPDX-License-Identifier: Apache-2.0
"""Signed bundles: ``manifest.sig`` is an ed25519 signature (RFC 8032) over the exact bytes of ``manifest.json``.

The manifest holds the hash of every other file, so the signature covers the whole bundle. The arithmetic is that of
the package ``cryptography``, which is imported only where a signature is made or checked. The key and the hash that
stand in ``manifest.sig`` beside the signature are there for messages alone: what counts is whether a key that the
*caller* trusts verifies the signature.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from device import atomic
from device import bundle as bundles
from device.bundle import Bundle
from device.errors import LitesightError, UsageError
from device.manifest import MAX_BYTES, parse_manifest
from device.regular_file import read_regular

SCHEMA: Final = 1
ALGORITHM: Final = "ed25519"
KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
MAX_FILE_BYTES: Final = 4096
"""Of a key or signature file; both are far smaller."""
_PRIVATE_MODE: Final = 0o600
_DIGITS: Final = 16


class SignatureError(LitesightError):
    """A signature that is missing, damaged, of another manifest or by another key; or a key that cannot be used."""


@dataclass(frozen=True)
class Signature:
    """The content of ``manifest.sig``.

    Attributes:
        key: of the signer, the 32 bytes of RFC 8032; who trusts it does so by a file of its own.
        manifest_sha256: of the file that was signed, hexadecimal.
        signature: 64 bytes.
    """

    key: bytes
    manifest_sha256: str
    signature: bytes


def fingerprint(key: bytes) -> str:
    """How messages name a public key: its first 16 hexadecimal digits."""
    return key.hex()[:_DIGITS]


def new_key(name: Path) -> tuple[Path, Path]:
    """Make a key pair: ``NAME.pem``, readable by its owner alone, and ``NAME.pub``. Neither is ever overwritten.

    Returns:
        The paths of the private and of the public key.

    Raises:
        UsageError: no file can have that name.
        SignatureError: one of them exists.
        LitesightError: the place cannot be written.
    """
    if name.name in ("", ".."):
        raise UsageError(f"expected a name for the new keys, found {str(name)!r}")
    serialization, ed25519 = _cryptography()
    private, public = name.with_name(f"{name.name}.pem"), name.with_name(f"{name.name}.pub")
    for path in (private, public):
        if os.path.lexists(path):
            raise SignatureError(
                f"{path} exists; a key is never overwritten", hint="choose another name, or move the old key away"
            )
    key = ed25519.Ed25519PrivateKey.generate()
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    shared = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    _write_new(private, secret, _PRIVATE_MODE)
    try:
        _write_new(public, shared, 0o644)
    except BaseException:
        private.unlink(missing_ok=True)  # nobody has got it yet
        raise
    return private, public


def sign(path: Path, private_key: Path) -> bytes:
    """Sign the bundle at ``path``: writes its ``manifest.sig``, whole or not at all.

    Returns:
        The public key, 32 bytes.

    Raises:
        BundleError: the bundle is not whole; only what would load is signed.
        SignatureError: the key cannot be used.
        LitesightError: the place cannot be written.
    """
    serialization, _ = _cryptography()
    key = _read_private_key(private_key)
    bundle = bundles.load(path)
    raw = _read_manifest(path)
    if parse_manifest(raw, path / bundles.MANIFEST) != bundle.manifest:
        raise SignatureError(f"{path} changed while it was read; nothing was signed", hint="try again")
    public = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    content = Signature(public, hashlib.sha256(raw).hexdigest(), key.sign(raw))
    atomic.write_file(path / bundles.SIGNATURE, signature_bytes(content))
    return bytes(public)


def require_signature(path: Path, public_keys: Sequence[Path]) -> bytes:
    """Refuse the bundle at ``path`` unless one of the keys has signed its manifest.

    The model and every other file are untouched: whoever goes on must compare their hashes with the manifest whose
    bytes are returned, as :func:`load_signed` does.

    Args:
        path: of the bundle.
        public_keys: files of the keys that are trusted, at least one.

    Returns:
        The manifest's bytes, as they were signed.

    Raises:
        SignatureError: no signature, a damaged one, of another manifest, or by another key.
        BundleError: there is no manifest.
    """
    if not public_keys:
        raise UsageError("a signature is demanded, but no public key is named that could have made it")
    trusted = [read_public_key(key) for key in public_keys]
    raw, found = _read_manifest(path), _read_signature(path)
    where = path / bundles.SIGNATURE
    if found.key not in trusted:
        names = ", ".join(fingerprint(key) for key in trusted)
        raise SignatureError(
            f"{where} was made with the key {fingerprint(found.key)}; trusted: {names}",
            hint="sign the bundle with the private part of a trusted key",
        )
    digest = hashlib.sha256(raw).hexdigest()
    if found.manifest_sha256 != digest:
        raise SignatureError(
            f"{where} is of another manifest: it signs {found.manifest_sha256[:12]}…, "
            f"{bundles.MANIFEST} is {digest[:12]}…",
            hint="sign the bundle anew",
        )
    if not _verifies(found.key, found.signature, raw):
        raise SignatureError(
            f"{where} is damaged: it does not fit {bundles.MANIFEST}", hint="copy the bundle again, or sign it anew"
        )
    return raw


def load_signed(path: Path, public_keys: Sequence[Path]) -> Bundle:
    """:func:`device.bundle.load`, but first the signature is checked, and what is loaded is what was signed.

    Raises:
        SignatureError: as :func:`require_signature`.
        BundleError: the bundle is not whole.
    """
    if not path.is_dir():
        return bundles.load(path)  # says what is there instead
    signed = parse_manifest(require_signature(path, public_keys), path / bundles.MANIFEST)
    bundle = bundles.load(path)
    if bundle.manifest != signed:
        raise SignatureError(f"{path} changed while it was read", hint="try again")
    return bundle


def read_public_key(path: Path) -> bytes:
    """The 32 bytes of the public key in the PEM file ``path``.

    Raises:
        SignatureError: missing, or not such a key.
    """
    serialization, ed25519 = _cryptography()
    data = _read_key_file(path)
    if b"PRIVATE KEY" in data:
        raise SignatureError(f"{path} is a private key; expected its public part", hint="it ends in .pub")
    try:
        key = serialization.load_pem_public_key(data)
    # ValueError, UnsupportedAlgorithm and, of some releases, others: the fault is the same.
    except Exception as error:
        raise SignatureError(
            f"{path}: expected an {ALGORITHM} public key in PEM", hint="make a pair with: litesight sign --new-key NAME"
        ) from error
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise SignatureError(f"{path}: expected an {ALGORITHM} public key, found another kind of key")
    return bytes(key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw))


def signature_bytes(content: Signature) -> bytes:
    """The content of ``manifest.sig``: JSON with sorted keys."""
    document = {
        "schema": SCHEMA,
        "algorithm": ALGORITHM,
        "key": content.key.hex(),
        "manifest_file_sha256": content.manifest_sha256,
        "signature": content.signature.hex(),
    }
    return (json.dumps(document, sort_keys=True, indent=1) + "\n").encode()


def parse_signature(raw: bytes, path: Path) -> Signature:
    """Read ``manifest.sig`` without trusting it.

    Args:
        raw: the file's bytes.
        path: for messages.

    Raises:
        SignatureError: damaged, or of another schema.
    """
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "not JSON") from error
    if not isinstance(document, dict):
        raise _damaged(path, "expected a JSON object")
    kind = (document.get("schema"), document.get("algorithm"))
    if kind != (SCHEMA, ALGORITHM):
        raise SignatureError(
            f"{path}: expected schema {SCHEMA} and {ALGORITHM}, found {_shown(kind[0])} and {_shown(kind[1])}",
            hint="this signature needs another version of litesight",
        )
    return Signature(
        bytes.fromhex(_hexadecimal(document, "key", KEY_BYTES, path)),
        _hexadecimal(document, "manifest_file_sha256", hashlib.sha256().digest_size, path),
        bytes.fromhex(_hexadecimal(document, "signature", SIGNATURE_BYTES, path)),
    )


def _hexadecimal(document: dict[str, Any], field: str, length: int, path: Path) -> str:
    value = document.get(field)
    if not isinstance(value, str) or not re.fullmatch(f"[0-9a-f]{{{2 * length}}}", value):
        raise _damaged(path, f"{field}: expected {2 * length} hexadecimal digits")
    return value


def _damaged(path: Path, reason: str) -> SignatureError:
    return SignatureError(f"{path} is damaged: {reason}", hint="copy the bundle again, or sign it anew")


def _shown(found: object) -> str:
    text = ascii(found)
    return text if len(text) <= 40 else f"{text[:39]}…"


def _verifies(key: bytes, signature: bytes, message: bytes) -> bool:
    _, ed25519 = _cryptography()
    from cryptography.exceptions import InvalidSignature

    try:
        ed25519.Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _read_private_key(path: Path) -> Any:
    serialization, ed25519 = _cryptography()
    data = _read_key_file(path)
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except TypeError as error:  # so says the package of a key that is encrypted
        raise SignatureError(
            f"{path} is protected by a passphrase, which cannot be asked for here",
            hint=f"run: openssl pkey -in {path.name} -out plain.pem, and sign with that",
        ) from error
    except Exception as error:
        what = "a public key" if b"PUBLIC KEY" in data else "something else"
        raise SignatureError(
            f"{path}: expected an {ALGORITHM} private key in PEM, found {what}",
            hint="make a pair with: litesight sign --new-key NAME",
        ) from error
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise SignatureError(f"{path}: expected an {ALGORITHM} private key, found another kind of key")
    return key


def _read_key_file(path: Path) -> bytes:
    try:
        return read_regular(path, MAX_FILE_BYTES)
    except FileNotFoundError as error:
        raise SignatureError(f"no key at {path}", hint="make a pair with: litesight sign --new-key NAME") from error
    except OSError as error:
        raise SignatureError(f"cannot read the key {path}: {error.strerror}") from error


def _read_manifest(path: Path) -> bytes:
    try:
        return read_regular(path / bundles.MANIFEST, MAX_BYTES)
    except OSError as error:
        raise bundles.BundleError(f"cannot read {path / bundles.MANIFEST}: {error.strerror}") from error


def _read_signature(path: Path) -> Signature:
    where = path / bundles.SIGNATURE
    try:
        return parse_signature(read_regular(where, MAX_FILE_BYTES), where)
    except FileNotFoundError as error:
        raise SignatureError(
            f"{path} is not signed, and a signature is demanded",
            hint="sign it where the private key is: litesight sign BUNDLE --key NAME.pem",
        ) from error
    except OSError as error:
        raise SignatureError(f"cannot read {where}: {error.strerror}") from error


def _write_new(path: Path, data: bytes, mode: int) -> None:
    """Write a file that must not exist yet, with its mode from the first instant."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except OSError as error:
        raise atomic.cannot_write(path, error) from error
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise atomic.cannot_write(path, error) from error
        raise


def _cryptography() -> tuple[Any, Any]:
    """The modules ``serialization`` and ``ed25519``."""
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise SignatureError(
            f"signatures need the Python package cryptography: {error}",
            hint="in a checkout of litesight: pip install '.[signing]'",
        ) from error
    return serialization, ed25519

# SPDX-License-Identifier: Apache-2.0
"""From a model's labels to folders that the next training reads as the same classes."""

from __future__ import annotations

import functools
import hashlib
import re
import unicodedata
from typing import Final

from device.images import is_hidden

# File systems take 255; the rest is for a mark at the end.
_MAX_NAME_BYTES: Final = 200
_ESCAPE: Final = re.compile("%(?=[0-9A-Fa-f]{2})")


@functools.lru_cache(maxsize=4)
def class_folders(labels: tuple[str, ...], taken: tuple[str, ...] = ()) -> dict[str, str]:
    """A folder's name for every label.

    A label is its own folder name wherever it can be, for a training names its classes after the folders. What cannot
    stand in a name, or would hide the folder, is written as in an address: ``/`` becomes ``%2F``. A name that is too
    long, or that differs from an earlier one in upper and lower case only (a USB stick does not tell them apart), is
    marked with ``~`` and the beginning of the label's SHA-256.

    Args:
        labels: of a model, each once.
        taken: names that are in use for something else.
    """
    names: dict[str, str] = {}
    used = {_folded(name) for name in taken}
    for label in labels:
        plain = _escaped(unicodedata.normalize("NFC", label))
        name = plain if len(plain.encode()) <= _MAX_NAME_BYTES else _marked(plain, label, 8)
        digits = 8
        while _folded(name) in used:
            name = _marked(plain, label, digits)
            digits += 8
        used.add(_folded(name))
        names[label] = name
    return names


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name.casefold())


def _escaped(label: str) -> str:
    label = _ESCAPE.sub("%25", label)
    inner = "".join(each if each.isprintable() and each != "/" else _percent(each) for each in label)
    if is_hidden(inner) or inner[:1].isspace():
        inner = _percent(inner[0]) + inner[1:]
    return inner[:-1] + _percent(inner[-1]) if inner[-1:].isspace() else inner


def _percent(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))


def _marked(name: str, label: str, digits: int) -> str:
    start = name.encode()[: _MAX_NAME_BYTES - 64].decode(errors="ignore")
    return f"{start}~{hashlib.sha256(label.encode('utf-8', 'surrogatepass')).hexdigest()[:digits]}"

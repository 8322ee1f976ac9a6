# SPDX-License-Identifier: Apache-2.0
"""Labels become folders that are safe, distinct, and read as the same labels by the next training."""

from __future__ import annotations

import hashlib
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.class_folders import class_folders
from device.images import is_hidden

# Whatever a labels.txt may hold: printable, each once, not blank.
LABELS = st.lists(
    st.one_of(
        st.text(min_size=1, max_size=8),
        st.text(alphabet="aA./%2Fé ~_", min_size=1, max_size=6),
        st.text(alphabet="xé猫", min_size=60, max_size=200),
        st.sampled_from(["..", ".", "__MACOSX", "frames.jsonl", "Frames.JSONL", "e\u0301", "é", "ß", "SS", "train"]),
    ).filter(lambda label: label.isprintable() and bool(label.strip())),
    min_size=1,
    max_size=12,
    unique=True,
).map(tuple)


@given(LABELS)
def test_every_label_has_a_folder_of_its_own_that_a_training_takes(labels: tuple[str, ...]) -> None:
    folders = class_folders(labels, ("frames.jsonl",))
    assert list(folders) == list(labels)
    names = list(folders.values())
    folded = [unicodedata.normalize("NFC", name.casefold()) for name in names]
    assert len(set(folded)) == len(names), "no two are one where upper and lower case are the same"
    for name in names:
        assert name == Path(name).name
        assert len(name.encode()) <= 255
        assert name not in (".", "..", "")
        assert name.casefold() != "frames.jsonl"
        # What train_host.dataset asks of a folder that is to be a class.
        assert name.isprintable()
        assert name == name.strip()
        assert not is_hidden(name)


@given(LABELS)
def test_a_label_that_can_be_a_folder_is_one(labels: tuple[str, ...]) -> None:
    folders = class_folders(labels)
    folded = [unicodedata.normalize("NFC", label.casefold()) for label in labels]
    for label in labels:
        is_plain = "/" not in label and "%" not in label and "~" not in label and label == label.strip()
        is_alone = folded.count(unicodedata.normalize("NFC", label.casefold())) == 1
        is_short = len(label.encode()) <= 150
        nfc = unicodedata.normalize("NFC", label)
        if is_plain and is_alone and is_short and not is_hidden(label) and "~" not in "".join(labels):
            assert folders[label] == nfc


@pytest.mark.parametrize(
    ("label", "folder"),
    [
        ("great white shark", "great white shark"),
        ("Grüße, 猫", "Grüße, 猫"),
        ("and/or", "and%2For"),
        ("..", "%2E."),
        ("../../etc/passwd", "%2E.%2F..%2Fetc%2Fpasswd"),
        (".hidden", "%2Ehidden"),
        (" ends ", "%20ends%20"),
        ("100% cotton", "100% cotton"),
        ("and%2For", "and%252For"),
        ("__MACOSX", "%5F_MACOSX"),
        ("a\nb", "a%0Ab"),
    ],
)
def test_what_cannot_stand_in_a_name_is_escaped(label: str, folder: str) -> None:
    assert class_folders((label,)) == {label: folder}


def test_labels_that_differ_in_case_only_do_not_share_a_folder() -> None:
    folders = class_folders(("cat", "Cat", "dog", "frames.jsonl"), ("frames.jsonl",))
    assert (folders["cat"], folders["dog"]) == ("cat", "dog")
    assert folders["Cat"].startswith("Cat~")
    assert folders["frames.jsonl"].startswith("frames.jsonl~")


def test_a_mark_that_is_taken_is_made_longer() -> None:
    mark = hashlib.sha256(b"Cat").hexdigest()
    folders = class_folders(("cat", f"Cat~{mark[:8]}", "Cat"))
    assert folders["Cat"] == f"Cat~{mark[:16]}"


def test_long_labels_are_cut_but_stay_apart() -> None:
    one, two = "猫" * 300, "猫" * 301
    folders = class_folders((one, two))
    assert folders[one] != folders[two]
    assert all(name.startswith("猫" * 40) and "\ufffd" not in name for name in folders.values())

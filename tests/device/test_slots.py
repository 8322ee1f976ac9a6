# SPDX-License-Identifier: Apache-2.0
"""What is active must always be a whole model that was checked, whatever comes in and whoever else is at work."""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import litesight
from device import atomic, bundle, slot_files, slots
from device.errors import LitesightError
from device.signature import new_key, sign
from device.slot_files import SlotError
from device.slots import KEEP, Slots, create_slots, is_slots

BundleMaker = Callable[..., Path]
Vectors = tuple[NDArray[np.int8], NDArray[np.int8]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "my models"


@pytest.fixture
def make_good(make_bundle: BundleMaker, true_golden: Vectors) -> Callable[[int], Path]:
    """``make_good(number)``: a bundle that differs from others by its number of multiply-adds."""
    return lambda number: make_bundle(f"good {number}", golden=true_golden, macs=number)


def put(directory: Slots, path: Path) -> Path:
    slot = directory.receive(path).slot
    directory.switch(slot)
    return slot


def empty_slot(directory: Slots, digit: str) -> Path:
    """A slot without a bundle, for what looks at links only."""
    slot = directory.root / "slots" / (digit * 16)
    slot.mkdir(exist_ok=True)
    return slot


def test_a_received_bundle_becomes_active_and_the_one_before_stays_at_hand(
    root: Path, make_good: Callable[[int], Path]
) -> None:
    directory = create_slots(root)
    with pytest.raises(SlotError, match=r"holds no model yet \(put one there: litesight deploy"):
        directory.current()
    first, second = put(directory, make_good(1)), put(directory, make_good(2))
    assert bundle.load(directory.current()).manifest.macs == 2
    assert (directory.current(), directory.previous()) == (second, first)
    assert (root / "current").readlink() == Path("slots") / second.name, "a link that survives moving the directory"
    status = directory.status()
    assert (status.active, status.previous, status.fallback) == (second.name, first.name, None)
    assert set(status.slots) == {first.name, second.name}
    assert is_slots(root)
    assert not is_slots(second)


def test_receiving_changes_nothing_that_is_active(root: Path, make_good: Callable[[int], Path]) -> None:
    directory = create_slots(root)
    first = put(directory, make_good(1))
    received = directory.receive(make_good(2))
    assert directory.current() == first
    assert str(received.golden).startswith("3 of 3 golden vectors")


def test_what_a_device_does_not_need_stays_behind_and_the_source_is_left_alone(
    root: Path, tmp_path: Path, good_bundle: Path
) -> None:
    before = {path.name: path.read_bytes() for path in good_bundle.iterdir()}
    (good_bundle / "notes.txt").write_text("mine")
    slot = create_slots(root).receive(good_bundle).slot
    assert {path.name: path.read_bytes() for path in slot.iterdir()} == before
    assert (good_bundle / "notes.txt").exists()


def test_host_only_files_are_left_out(root: Path, tmp_path: Path, good_bundle: Path) -> None:
    files = {name: (good_bundle / name).read_bytes() for name in bundle.load(good_bundle).manifest.files}
    fields = json.loads((good_bundle / bundle.MANIFEST).read_bytes())
    for key in ("files", "schema", "manifest_sha256"):
        del fields[key]
    bundle.write(tmp_path / "full", {**files, bundle.FLOAT_MODEL: b"float", bundle.SEEN: b"x"}, fields)
    slot = create_slots(root).receive(tmp_path / "full").slot
    assert bundle.load(slot).float_model_path is None
    assert {path.name for path in slot.iterdir()} == {*files, bundle.MANIFEST}


def test_a_corrupt_bundle_never_becomes_a_slot(root: Path, make_good: Callable[[int], Path]) -> None:
    directory = create_slots(root)
    first, bad = put(directory, make_good(1)), make_good(2)
    data = bytearray((bad / bundle.MODEL).read_bytes())
    data[1000] ^= 1
    (bad / bundle.MODEL).write_bytes(data)
    with pytest.raises(LitesightError, match=r"model\.tflite is damaged"):
        directory.receive(bad)
    assert [path.name for path in (root / "slots").iterdir()] == [first.name]
    assert directory.current() == first


def test_a_bundle_with_wrong_golden_vectors_never_becomes_a_slot(
    root: Path, make_bundle: BundleMaker, true_golden: Vectors
) -> None:
    directory = create_slots(root)
    inputs, outputs = true_golden
    with pytest.raises(LitesightError, match="does not answer on this machine as it did where it was made"):
        directory.receive(make_bundle(golden=(inputs, np.roll(outputs, 1, axis=1))))
    assert list((root / "slots").iterdir()) == []


def test_a_network_that_contradicts_its_manifest_never_becomes_a_slot(
    root: Path, make_bundle: BundleMaker, true_golden: Vectors
) -> None:
    output = {"scale": 1 / 16, "zero_point": 0, "activation": "none"}
    with pytest.raises(LitesightError, match="scale"):
        create_slots(root).receive(make_bundle(golden=true_golden, output=output))
    assert list((root / "slots").iterdir()) == []


def test_the_copy_is_what_is_checked(
    root: Path, make_good: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody writes to the upload, or the disk returns another byte, after the first look."""
    directory, path, read = create_slots(root), make_good(1), slot_files.read

    def other_byte(file: Path) -> bytes:
        return read(file).replace(b"green", b"GREEN")

    monkeypatch.setattr(slot_files, "read", other_byte)
    with pytest.raises(LitesightError, match=r"labels\.txt is damaged"):
        directory.receive(path)
    assert list((root / "slots").iterdir()) == []


def test_a_damaged_slot_is_mended_by_receiving_the_bundle_again(root: Path, make_good: Callable[[int], Path]) -> None:
    directory = create_slots(root)
    slot = put(directory, make_good(1))
    (slot / bundle.LABELS).write_text("x\n")
    assert put(directory, make_good(1)) == slot
    assert bundle.load(directory.current()).labels == ("red", "green", "blue")
    assert directory.previous() is None, "a model is not its own predecessor"


def test_keys_in_the_directory_demand_a_signature(root: Path, tmp_path: Path, make_good: Callable[[int], Path]) -> None:
    directory, path = create_slots(root), make_good(1)
    private, public = new_key(tmp_path / "release")
    (root / "keys").mkdir()
    with pytest.raises(SlotError, match="demands signatures but holds no key"):
        directory.receive(path)
    shutil.copy(public, root / "keys")
    with pytest.raises(LitesightError, match="is not signed, and a signature is demanded"):
        directory.receive(path)
    sign(path, new_key(tmp_path / "stranger")[0])
    with pytest.raises(LitesightError, match="was made with the key"):
        directory.receive(path)
    assert list((root / "slots").iterdir()) == []
    sign(path, private)
    slot = directory.receive(path).slot
    assert (slot / bundle.SIGNATURE).read_bytes() == (path / bundle.SIGNATURE).read_bytes()


def test_a_signature_makes_another_slot(root: Path, tmp_path: Path, make_good: Callable[[int], Path]) -> None:
    """Or else the copy without one would be taken for whole, and the signature be left out."""
    directory, path = create_slots(root), make_good(1)
    private, public = new_key(tmp_path / "release")
    unsigned = directory.receive(path).slot
    sign(path, private)
    signed = directory.receive(path, [public]).slot
    assert signed != unsigned
    assert (signed / bundle.SIGNATURE).exists()


def test_old_slots_are_removed_but_never_the_active_or_the_previous_one(root: Path) -> None:
    directory = create_slots(root)
    all_slots = [empty_slot(directory, digit) for digit in "123456"]
    for age, slot in enumerate(all_slots):
        os.utime(slot, (age, age))
    oldest, *_, fourth, fifth, newest = all_slots
    directory.switch(oldest)
    directory.switch(fourth)
    assert {slot.name for slot in (root / "slots").iterdir()} == {slot.name for slot in (oldest, fourth, fifth, newest)}
    directory.switch(newest)
    assert {slot.name for slot in (root / "slots").iterdir()} == {slot.name for slot in (fourth, fifth, newest)}
    assert KEEP == 3


def test_a_model_is_given_up_for_the_previous_one_with_the_reason(root: Path) -> None:
    directory = create_slots(root)
    first, second = empty_slot(directory, "1"), empty_slot(directory, "2")
    directory.switch(first)
    directory.switch(second)
    assert directory.fall_back("it \x1b[31mfailed\nbadly") == first
    status = directory.status()
    assert (directory.current(), directory.previous()) == (first, None), "one does not fall back to what failed"
    assert status.fallback is not None
    assert (status.fallback.slot, status.fallback.to) == (second.name, first.name)
    assert status.fallback.reason == "it ?[31mfailed badly"
    assert status.since == status.fallback.at
    assert directory.fall_back("again") is None
    assert directory.current() == first, "without another model nothing changes"
    directory.switch(second)
    assert directory.status().fallback is not None, "the reason is kept when a new model comes"


def test_a_fall_back_that_comes_too_late_changes_nothing(root: Path) -> None:
    directory = create_slots(root)
    first, second, third = (empty_slot(directory, digit) for digit in "123")
    for slot in (first, second, third):
        directory.switch(slot)
    assert directory.fall_back("the second failed", failed=second) == third
    assert (directory.current(), directory.status().fallback) == (third, None)


def test_a_runner_falls_back_to_what_it_runs_not_to_what_was_before(root: Path) -> None:
    directory = create_slots(root)
    first, second, third = (empty_slot(directory, digit) for digit in "123")
    for slot in (first, second, third):
        directory.switch(slot)
    assert directory.fall_back("no", failed=third, to=first) == first
    assert directory.previous() is None, "what came in between never worked"
    directory.switch(third)
    shutil.rmtree(first)
    directory.switch(second)
    assert directory.fall_back("no", to=first) == third, "what is gone cannot be fallen back to"


def test_two_bad_models_in_a_row_leave_the_proved_one_to_fall_back_to(root: Path) -> None:
    directory = create_slots(root)
    good, bad, worse = (empty_slot(directory, digit) for digit in "123")
    directory.switch(good)
    directory.prove(good)
    assert directory.status().proved
    directory.switch(bad)
    assert not directory.status().proved
    directory.switch(worse)
    assert directory.fall_back("no") == good


def test_the_active_model_received_again_leaves_the_previous_one(root: Path) -> None:
    directory = create_slots(root)
    first, second = empty_slot(directory, "1"), empty_slot(directory, "2")
    for slot in (first, second, second):
        directory.switch(slot)
    assert (directory.current(), directory.previous()) == (second, first)


def test_a_model_is_not_its_own_predecessor(root: Path) -> None:
    """So a crash between the two links of a switch leaves them."""
    directory = create_slots(root)
    first = empty_slot(directory, "1")
    directory.switch(first)
    shutil.copy(root / "current", root / "previous", follow_symlinks=False)
    assert directory.previous() is None
    with pytest.raises(SlotError, match="has no previous model"):
        directory.back()
    assert directory.fall_back("no") is None


def test_back_and_forth(root: Path) -> None:
    directory = create_slots(root)
    first, second = empty_slot(directory, "1"), empty_slot(directory, "2")
    directory.switch(first)
    with pytest.raises(SlotError, match="has no previous model"):
        directory.back()
    directory.switch(second)
    assert [directory.back(), directory.back()] == [first, second]
    assert directory.current() == second


def test_the_link_tells_of_every_switch_to_the_same_model_too(root: Path) -> None:
    directory = create_slots(root)
    assert directory.link_state() is None
    slot, seen = empty_slot(directory, "1"), set()
    for _ in range(3):
        directory.switch(slot)
        seen.add(directory.link_state())
        os.utime(root / "current", ns=(0, len(seen)), follow_symlinks=False)
    assert len(seen) == 3


def test_only_slots_of_the_directory_become_active(root: Path, tmp_path: Path) -> None:
    directory = create_slots(root)
    elsewhere = tmp_path / ("1" * 16)
    elsewhere.mkdir()
    for wrong in (elsewhere, root / "slots", root / "slots" / ("2" * 16), root / "slots" / ".." / "slots"):
        with pytest.raises(SlotError, match="is not a slot of"):
            directory.switch(wrong)
    assert directory.link_state() is None


@pytest.mark.parametrize("target", ["/etc", "slots/../../etc", "slots/short", "slots/" + "g" * 16, "slots"])
def test_a_link_that_leads_elsewhere_is_not_followed(root: Path, target: str) -> None:
    directory = create_slots(root)
    (root / "current").symlink_to(target)
    with pytest.raises(SlotError, match=r"current: expected a link to a slot, found '.*slot switch"):
        directory.current()
    assert directory.status().active is None
    directory.switch(empty_slot(directory, "1"))
    assert directory.current().name == "1" * 16


def test_an_active_slot_that_is_gone_is_told_and_the_way_back_works(root: Path) -> None:
    directory = create_slots(root)
    first, second = empty_slot(directory, "1"), empty_slot(directory, "2")
    directory.switch(first)
    directory.switch(second)
    shutil.rmtree(second)
    with pytest.raises(SlotError, match=r"the active slot .* is missing \(run: litesight slot back"):
        directory.current()
    assert directory.fall_back("gone") == first


def test_something_else_in_the_place_of_a_link_is_left_alone(root: Path) -> None:
    directory = create_slots(root)
    (root / "current").mkdir()
    (root / "current" / "mine").write_text("x")
    with pytest.raises(SlotError, match="expected a link to a slot, found something else"):
        directory.current()
    with pytest.raises(LitesightError, match="cannot write"):
        directory.switch(empty_slot(directory, "1"))
    assert (root / "current" / "mine").exists()
    assert not list(root.glob(".current*"))


def test_a_full_disk_leaves_the_old_model_active(
    root: Path, make_good: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = create_slots(root)
    first, second = put(directory, make_good(1)), make_good(2)

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(slot_files, "write_synced", full)
        with pytest.raises(LitesightError, match=r"No space left on device \(free some space"):
            directory.receive(second)
    assert [path.name for path in (root / "slots").iterdir()] == [first.name]
    slot = directory.receive(second).slot
    with monkeypatch.context() as patched:
        patched.setattr(Path, "symlink_to", full)
        with pytest.raises(LitesightError, match="No space left on device"):
            directory.switch(slot)
    assert directory.current() == first
    with monkeypatch.context() as patched:
        patched.setattr("device.atomic.write_file", lambda *arguments: (_ for _ in ()).throw(LitesightError("full")))
        directory.switch(slot)
    assert directory.status().active == slot.name, "the links count, not the status file"
    assert directory.status().since


def test_everything_is_on_the_disk_before_a_link_points_to_it(
    root: Path, make_good: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a power cut would lose otherwise: a link of the new model to files that were never written."""
    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc")
    directory, path = create_slots(root), make_good(1)
    done: list[str] = []
    fsync, rename, replace = os.fsync, Path.rename, Path.replace

    def record_fsync(descriptor: int) -> None:
        fsync(descriptor)
        done.append(f"sync {Path(f'/proc/self/fd/{descriptor}').readlink()}")

    def record_rename(self: Path, target: Path) -> Path:
        done.append(f"name {Path(target)}")
        return rename(self, target)

    def record_replace(self: Path, target: Path) -> Path:
        done.append(f"name {Path(target)}")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(Path, "rename", record_rename)
    monkeypatch.setattr(Path, "replace", record_replace)
    slot = put(directory, path)
    named, linked = done.index(f"name {slot}"), done.index(f"name {root / 'current'}")
    files = {Path(step.removeprefix("sync ")).name for step in done[:named]}
    assert {file.name for file in slot.iterdir()} <= files
    assert f"sync {slot.parent}" in done[named:linked]
    assert f"sync {root}" in done[linked:]


def test_two_deploys_at_once_end_with_one_of_both_active_and_both_whole(
    root: Path, make_good: Callable[[int], Path]
) -> None:
    directory = create_slots(root)
    paths = [make_good(number) for number in (1, 2)]
    start, faults = threading.Barrier(2), list[Exception]()

    def deploy(path: Path) -> None:
        start.wait(10)
        try:
            for _ in range(3):
                put(Slots(root), path)
        except Exception as error:
            faults.append(error)

    threads = [threading.Thread(target=deploy, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert faults == []
    active, previous = directory.current(), directory.previous()
    assert previous is not None
    assert {bundle.load(slot).manifest.macs for slot in (active, previous)} == {1, 2}
    assert len(list((root / "slots").iterdir())) == 2


def test_a_lock_that_another_process_holds_is_waited_for_and_then_told(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = create_slots(root)
    slot = empty_slot(directory, "1")
    monkeypatch.setattr(slot_files, "LOCK_WAIT_S", 0.0)
    with slot_files.locked(root / "lock"):
        with pytest.raises(SlotError, match=r"is busy: another process has held its lock for 0 s"):
            directory.switch(slot)
        assert directory.link_state() is None
    directory.switch(slot)
    assert directory.current() == slot


def test_uploads_lie_where_no_model_is_looked_for_and_old_ones_are_removed(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = create_slots(root)
    first = directory.stage()
    (first / "model.tflite").write_bytes(b"half")
    second = directory.stage()
    assert first != second
    assert first.exists(), "another deploy may go on"
    assert directory.is_staged(first)
    monkeypatch.setattr(slots, "STALE_UPLOAD_S", -1.0)
    third = directory.stage()
    assert not first.exists()
    directory.discard(third)
    directory.discard(third)
    assert not third.exists()
    elsewhere = [root / "slots" / "upload-x", second / "upload-x", root / "incoming" / "upload-x" / ".." / ".."]
    for wrong in (root, root / "incoming", root / "slots", tmp_path, *elsewhere):
        with pytest.raises(SlotError, match="expected a directory that `slot stage` made"):
            directory.discard(wrong)
    (tmp_path / "outside").mkdir()
    (root / "incoming" / "upload-link").symlink_to(tmp_path / "outside")
    directory.discard(root / "incoming" / "upload-link")
    assert (tmp_path / "outside").exists()


def test_what_crashes_left_is_removed_but_not_what_another_process_has_just_begun(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = create_slots(root)
    dead, alive = root / "slots" / ".1.a.partial", root / "slots" / ".1.b.partial"
    for path in (dead, alive):
        path.mkdir()
    directory.switch(empty_slot(directory, "1"))
    assert dead.exists(), "it may be a second old, and not locked yet"
    lock = atomic.lock_directory(alive)
    assert lock is not None
    monkeypatch.setattr(slots, "STALE_PARTIAL_S", -1.0)
    directory.switch(directory.current())
    os.close(lock)
    assert (dead.exists(), alive.exists()) == (False, True)


def test_a_directory_with_other_things_in_it_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"x")
    with pytest.raises(SlotError, match=r"is not a slots directory: it holds 'a\.jpg'"):
        create_slots(tmp_path / "photos")
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["a.jpg"]
    with pytest.raises(SlotError, match="is not a slots directory"):
        Slots(tmp_path / "missing")
    with pytest.raises(LitesightError, match="cannot write"):
        create_slots(tmp_path / "photos" / "a.jpg" / "models")


def test_a_slot_is_found_by_the_first_digits_of_its_name(root: Path) -> None:
    directory = create_slots(root)
    slot = empty_slot(directory, "1")
    (slot.parent / ("12" * 8)).mkdir()
    assert directory.find("11") == slot
    for wrong in ("1", "", "3", ".."):
        with pytest.raises(SlotError, match=f"expected one slot that begins with '{wrong}', found"):
            directory.find(wrong)


def call(*arguments: str | Path) -> int:
    return litesight.main(["slot", *map(str, arguments)])


def test_the_command_shows_switches_and_goes_back(
    root: Path, make_good: Callable[[int], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("status", root) == 1
    assert "is not a slots directory" in capsys.readouterr().err
    assert call("receive", root, make_good(1)) == 0
    first = create_slots(root).current().name
    assert "3 of 3 golden vectors give the same answer" in capsys.readouterr().out
    assert call("receive", root, make_good(2), "--json") == 0
    out = capsys.readouterr().out
    told = json.loads(out)
    assert out.count("\n") == 1
    assert (told["name"], told["previous"], told["golden"]["same_answer"]) == ("tiny", first, 3)
    assert call("back", root) == 0
    assert call("switch", root, told["slot"][:6], "--json") == 0
    out = capsys.readouterr().out
    assert json.loads(out.splitlines()[-1])["slot"] == told["slot"]
    create_slots(root).fall_back("frames failed")
    (root / "slots" / first / bundle.LABELS).write_text("x")
    assert call("status", root) == 0
    out = capsys.readouterr().out
    assert "frames failed" in out
    assert "labels.txt is damaged" in out


def test_the_command_removes_an_upload_whether_or_not_it_was_good(
    root: Path, make_good: Callable[[int], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_good(1)
    for damage in (b"x", b""):
        assert call("stage", root, "--json") == 0
        told = json.loads(capsys.readouterr().out)
        assert told["free_bytes"] > 0
        staging = Path(told["staging"])
        shutil.copytree(path, staging, dirs_exist_ok=True)
        if damage:
            (staging / bundle.MODEL).write_bytes(damage)
        assert call("receive", root, staging) == (1 if damage else 0)
        assert list((root / "incoming").iterdir()) == []
        assert is_slots(root)
    assert create_slots(root).status().active is not None
    assert path.exists(), "a bundle of the user's own is not an upload"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["receive"], "litesight slot receive DIR BUNDLE: expected BUNDLE, found nothing"),
        (["switch"], "expected SLOT, found nothing"),
        (["status", "more"], "litesight slot status takes nothing after DIR, found 'more'"),
        (["back", "--require-signature", "k.pub"], "belongs to litesight slot receive"),
    ],
)
def test_a_wrong_call_of_the_command_is_status_2(
    root: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    action, *rest = arguments
    assert call(action, root, *rest) == 2
    assert said in capsys.readouterr().err
    assert not root.exists()


def test_the_command_demands_a_signature_if_told_to(
    root: Path, tmp_path: Path, make_good: Callable[[int], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_good(1)
    private, public = new_key(tmp_path / "a")
    _, other = new_key(tmp_path / "b")
    assert call("receive", root, path, "--require-signature", public) == 1
    assert "is not signed" in capsys.readouterr().err
    sign(path, private)
    assert call("receive", root, path, "--require-signature", other) == 1
    assert call("receive", root, path, "--require-signature", other, "--require-signature", public) == 0

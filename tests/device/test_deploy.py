# SPDX-License-Identifier: Apache-2.0
"""From one machine to another through a real sshd: what arrives is active, what does not arrive changes nothing."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import litesight
from device import bundle, deploy, remote
from device.errors import LitesightError
from device.remote import Answer, Target
from device.signature import new_key, sign
from device.slots import Slots, create_slots
from tests.device.ssh_server import SshServer, script, serve

REPOSITORY = Path(__file__).parents[2]
HERE = shlex.join([sys.executable, str(REPOSITORY / "litesight.py")])
"""This checkout, as the other machine's litesight."""

Vectors = tuple[NDArray[np.int8], NDArray[np.int8]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, require_tool: Callable[[str], str]) -> Iterator[SshServer]:
    with serve(tmp_path_factory.mktemp("sshd"), require_tool) as running:
        yield running


@pytest.fixture
def path(make_bundle: Callable[..., Path], true_golden: Vectors) -> Path:
    """A bundle to send, with characters in its path that shells would take for theirs."""
    return make_bundle('it\'s a $(bundle) "1"; *', golden=true_golden)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """The slots directory on the other machine; its path is as bad."""
    return tmp_path / "the other's" / 'my "models" $HOME; `x`'


def send(server: SshServer, path: Path, models: Path, *more: str, command: str = HERE) -> int:
    return litesight.main(
        [
            *("deploy", str(path), "pi", "--slots", str(models), "--ssh-config", str(server.config)),
            *("--remote-command", command, *more),
        ]
    )


def demanded_key(models: Path, tmp_path: Path) -> Path:
    """Have the other machine demand signatures; returns the private key."""
    create_slots(models)
    (models / "keys").mkdir()
    private, public = new_key(tmp_path / "release")
    shutil.copy(public, models / "keys")
    return private


def nothing_half(models: Path) -> None:
    """No upload is left, and nothing but whole slots."""
    assert not (models / "incoming").exists() or list((models / "incoming").iterdir()) == []
    for slot in (models / "slots").glob("*") if models.exists() else ():
        bundle.load(slot)


@pytest.mark.native
@pytest.mark.parametrize("copier", ["rsync", "scp"])
def test_a_bundle_becomes_active_on_the_other_machine(
    server: SshServer,
    path: Path,
    models: Path,
    tmp_path: Path,
    copier: str,
    require_tool: Callable[[str], str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With its signature, which is demanded there."""
    require_tool(copier)
    sign(path, demanded_key(models, tmp_path))
    (path / "notes.txt").write_text("not of the bundle")
    assert send(server, path, models, "--copy-with", copier, "--json") == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert (told["target"], told["copied_with"], told["name"]) == ("pi", copier, "tiny")
    assert told["golden"]["same_answer"] == told["golden"]["vectors"] == 3
    slot = Slots(models).current()
    assert slot.name == told["slot"]
    assert {file.name: file.read_bytes() for file in slot.iterdir()} == {
        name: (path / name).read_bytes() for name in bundle.load(path).device_files
    }
    assert told["bytes"] == sum(file.stat().st_size for file in slot.iterdir())
    assert f"copied to pi with {copier}; checking there" in err
    nothing_half(models)


@pytest.mark.native
def test_a_second_model_takes_over_and_the_first_stays_at_hand(
    server: SshServer,
    path: Path,
    models: Path,
    make_bundle: Callable[..., Path],
    true_golden: Vectors,
    capsys: pytest.CaptureFixture[str],
) -> None:
    directory = create_slots(models)
    first = directory.receive(path).slot
    directory.switch(first)
    assert send(server, make_bundle("second", golden=true_golden, macs=2), models) == 0
    out = capsys.readouterr().out
    active = directory.current()
    assert out.startswith(f"tiny is active on pi: slot {active.name}, previous {first.name}; 3 of 3 golden vectors")
    assert bundle.load(active).manifest.macs == 2
    assert directory.previous() == first


@pytest.mark.native
def test_port_user_and_identity_are_handed_on(
    server: SshServer, path: Path, models: Path, tmp_path: Path, require_tool: Callable[[str], str]
) -> None:
    """The identity's path has spaces and quotes, which rsync's -e splits by rules of its own."""
    require_tool("rsync")
    config = tmp_path / "only known hosts"
    config.write_text(f'Host *\n  UserKnownHostsFile "{server.known_hosts}"\n  IdentitiesOnly yes\n')
    arguments = [
        *("deploy", str(path), f"{server.user}@127.0.0.1", "--port", str(server.port), "--copy-with", "rsync"),
        *("--identity", str(server.identity), "--ssh-config", str(config)),
        *("--slots", str(models), "--remote-command", HERE),
    ]
    assert litesight.main(arguments) == 0
    assert bundle.load(Slots(models).current()).manifest == bundle.load(path).manifest


@pytest.mark.native
def test_a_bundle_damaged_on_the_way_is_refused_and_the_old_model_stays(
    server: SshServer,
    path: Path,
    models: Path,
    tmp_path: Path,
    make_bundle: Callable[..., Path],
    true_golden: Vectors,
    capsys: pytest.CaptureFixture[str],
) -> None:
    directory = create_slots(models)
    first = directory.receive(path).slot
    directory.switch(first)
    # Between the copy and the check one byte changes, as on a worn-out card.
    damage = script(
        tmp_path / "bin dir" / "damage", f'[ "$2" != receive ] || printf X >> "$6/model.tflite"\nexec {HERE} "$@"'
    )
    assert send(server, make_bundle("second", golden=true_golden, macs=2), models, command=damage) == 1
    err = capsys.readouterr().err.splitlines()[-1]
    assert err.startswith("litesight: error: pi says: ")
    assert "model.tflite is damaged: the manifest says" in err
    assert directory.current() == first
    nothing_half(models)


@pytest.mark.native
def test_a_signature_that_the_other_machine_demands_is_checked_there(
    server: SshServer, path: Path, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    demanded_key(models, tmp_path)
    assert send(server, path, models) == 1
    assert "is not signed, and a signature is demanded" in capsys.readouterr().err
    assert Slots(models).status().active is None
    nothing_half(models)


@pytest.mark.native
def test_who_is_not_let_in_is_told_why(
    server: SshServer, path: Path, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other_key = tmp_path / "other_hosts"
    other_key.write_text(f"[127.0.0.1]:{server.port} {Path(f'{server.stranger}.pub').read_text()}")
    for options, said in (
        ({"IdentityFile": str(server.stranger)}, "pi does not let you in with a key (copy your key there: ssh-copy-id"),
        ({"UserKnownHostsFile": "/dev/null"}, "the host key of pi is not known here (log in once by hand"),
        ({"UserKnownHostsFile": str(other_key)}, "pi shows another host key than it used to (if you wrote its card"),
        ({"Port": "1"}, "pi refuses connections (switch ssh on there"),
        ({"HostName": "no-such-host.invalid"}, "there is no host pi in this network"),
    ):
        config = server.client_config(tmp_path / "config", **options)
        arguments = ["deploy", str(path), "pi", "--ssh-config", str(config), "--slots", str(models)]
        assert litesight.main(arguments) == 1
        err = capsys.readouterr().err
        assert f"litesight: error: {said}" in err
        assert err.count("\n") == 2, "what was checked here, and one line of error"
    assert not models.exists()


@pytest.mark.native
def test_a_machine_without_litesight_is_told_with_what_to_do(
    server: SshServer, path: Path, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert send(server, path, models, command="/no/such/litesight") == 1
    err = capsys.readouterr().err
    assert "no litesight on pi" in err
    assert "docs/raspberry-pi.md says how to install it there" in err
    assert not models.exists()


@pytest.mark.native
def test_a_copy_that_breaks_off_leaves_nothing(
    server: SshServer,
    path: Path,
    models: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The upload has begun when the program that copies fails, or the user has enough."""
    copy_words, began = deploy._copy_words, list[str]()

    def broken(files: list[Path], target: Target, staging: str, copier: str) -> list[str]:
        shutil.copy(files[0], staging)
        began.append(staging)
        if len(began) == 2:
            raise KeyboardInterrupt
        return [*copy_words(files, target, staging, copier)[:-1], "pi:/proc/nowhere/"]

    monkeypatch.setattr(deploy, "_copy_words", broken)
    assert send(server, path, models) == 1
    assert "the bundle was not copied to pi: " in capsys.readouterr().err
    assert send(server, path, models) == 1
    assert "stopped" in capsys.readouterr().err
    assert len(began) == 2
    nothing_half(models)
    assert Slots(models).status().active is None


def test_a_damaged_bundle_is_not_even_sent(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (path / bundle.LABELS).write_text("x\n")
    monkeypatch.setattr(subprocess, "run", lambda *arguments, **named: pytest.fail("something was called"))
    assert litesight.main(["deploy", str(path), "pi"]) == 1
    assert "labels.txt is damaged" in capsys.readouterr().err


def test_a_dry_run_calls_nothing_and_shows_what_would_be_called(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deploy, "call", lambda *arguments: pytest.fail("something was called"))
    assert litesight.main(["deploy", str(path), "me@pi", "--port", "22", "--copy-with", "scp", "--dry-run"]) == 0
    stage, copy, receive = (shlex.split(line) for line in capsys.readouterr().out.splitlines())
    assert shlex.split(stage[-1])[-5:] == ["slot", "stage", "--json", "--", "~/litesight-models"]
    assert str(path / bundle.MODEL) in copy
    assert shlex.split(receive[-1])[-6:] == ["slot", "receive", "--json", "--", "~/litesight-models", "/STAGING"]
    assert litesight.main(["deploy", str(path), "me@pi", "--dry-run", "--json", "--copy-with", "rsync"]) == 0
    assert len(json.loads(capsys.readouterr().out)["commands"]) == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-oProxyCommand=x"], ""),
        (["--", "-oProxyCommand=x"], "expected user@host, found '-oProxyCommand=x'"),
        (["-x@pi"], ""),
        (["--", "me@-pi"], "expected user@host, found 'me@-pi'"),
        (["pi:models"], "expected user@host, found 'pi:models' (a port goes after --port"),
        (["me@pi;reboot"], "expected user@host"),
        (["me@$(x)"], "expected user@host"),
        (["me@"], "expected user@host"),
        ([""], "expected user@host"),
        (["pi", "--port", "0"], "expected a port from 1 to 65535, found '0'"),
        (["pi", "--identity", "/no/such/key"], "expected a file, found none at /no/such/key"),
        (["pi", "--remote-command", "'a"], "a quote is not closed"),
        (["pi", "--slots", ""], "expected a directory after --slots"),
    ],
)
def test_a_wrong_call_is_status_2_and_nothing_is_started(
    path: Path, arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *arguments, **named: pytest.fail("something was called"))
    try:
        status = litesight.main(["deploy", str(path), *arguments])
    except SystemExit as stop:
        status = int(stop.code or 0)
    assert status == 2
    assert said in capsys.readouterr().err


class OtherMachine:
    """Answers of a machine that is not there; counts the calls."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, copied: Answer, **answers: Answer) -> None:
        self.calls: list[str] = []
        self.answers = {"discard": Answer(0, "{}", "", ""), **answers}
        monkeypatch.setattr(deploy, "call", self.call)
        monkeypatch.setattr(deploy, "run", lambda *arguments: copied)

    def call(self, target: Target, words: list[str], timeout_s: float = 0.0) -> Answer:
        self.calls.append(words[1])
        return self.answers[words[1]]


def said(out: str, status: int = 0, log: str = "") -> Answer:
    lines = log.splitlines()
    return Answer(status, out, lines[-1] if lines else "", log)


STAGED = said('Welcome to pi!\n{"staging": "/x/incoming/upload-1", "free_bytes": 1000000000, "rsync": false}\n')


@pytest.mark.parametrize(
    ("staged", "copied", "received", "message", "calls"),
    [
        (
            said('{"staging": "/x", "free_bytes": 2000, "rsync": true}'),
            said(""),
            said("{}"),
            r"the disk of pi is full: 2,000 bytes are free, .* are needed",
            ["stage", "discard"],
        ),
        (
            STAGED,
            said("", 1, "rsync: write failed: No space left on device (28)\nrsync error"),
            said("{}"),
            r"the disk of pi is full; nothing has changed there \(free some",
            ["stage", "discard"],
        ),
        (
            STAGED,
            said("", 255, "client_loop: Connection refused"),
            said("{}"),
            "pi refuses connections",
            ["stage", "discard"],
        ),
        (
            STAGED,
            said("", 1),
            said("{}"),
            "was not copied to pi: scp ended with status 1 .*--copy-with rsync",
            ["stage", "discard"],
        ),
        (
            STAGED,
            said(""),
            said("", 1, "noise\nlitesight: error: \x1b[31mno\nmore"),
            r"pi says: \?\[31mno$",
            ["stage", "receive", "discard"],
        ),
        (STAGED, said(""), said("", 137), "exit status 137 without a message", ["stage", "receive", "discard"]),
        (
            STAGED,
            said(""),
            said("[1]\nnot json"),
            "expected a JSON object from litesight on pi, found",
            ["stage", "receive", "discard"],
        ),
        (said('{"staging": "-rf"}'), said(""), said("{}"), "expected a directory from pi, found '-rf'", ["stage"]),
        (said('{"staging": 7}'), said(""), said("{}"), "expected a directory from pi, found 7", ["stage"]),
        (
            said("", 2, "litesight: error: unknown command 'slot'"),
            said(""),
            said("{}"),
            "pi says: unknown command 'slot'",
            ["stage"],
        ),
    ],
)
def test_what_goes_wrong_on_the_way_is_one_line_and_the_upload_is_removed(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    staged: Answer,
    copied: Answer,
    received: Answer,
    message: str,
    calls: list[str],
) -> None:
    machine = OtherMachine(monkeypatch, copied, stage=staged, receive=received)
    with pytest.raises(LitesightError, match=message) as caught:
        deploy.deploy(path, Target("pi"), "models", lambda line: None, "scp")
    assert str(caught.value).isprintable()
    assert machine.calls == calls


def test_there_must_be_room_for_the_copy_and_for_the_slot(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size_bytes = sum((path / name).stat().st_size for name in bundle.load(path).device_files)
    for missing in (0, 1):
        free_bytes = 2 * size_bytes + deploy.SPARE_BYTES - missing
        staged = said(json.dumps({"staging": "/x", "free_bytes": free_bytes, "rsync": False}))
        machine = OtherMachine(monkeypatch, said(""), stage=staged, receive=said("{}"))
        if missing:
            with pytest.raises(LitesightError, match="the disk of pi is full"):
                deploy.deploy(path, Target("pi"), "models", lambda line: None, "scp")
        else:
            deploy.deploy(path, Target("pi"), "models", lambda line: None, "scp")
            assert machine.calls == ["stage", "receive"]


@pytest.mark.parametrize("loss", [remote.RemoteError("pi does not answer"), KeyboardInterrupt()])
def test_what_ends_the_wait_for_the_check_does_not_claim_to_know_what_is_active(
    path: Path, loss: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over there it may go on."""
    machine = OtherMachine(monkeypatch, said(""), stage=STAGED)

    def lost(target: Target, words: list[str], timeout_s: float = 0.0) -> Answer:
        if words[1] == "stage":
            return STAGED
        if words[1] == "receive":
            raise loss
        return said("{}")

    monkeypatch.setattr(deploy, "call", lost)
    with pytest.raises(LitesightError, match=r"the old model or the new one is active \(ask there: litesight slot"):
        deploy.deploy(path, Target("pi"), "models", lambda line: None, "scp")
    assert machine.calls == []


@pytest.mark.parametrize(
    ("asked", "there", "here", "taken"),
    [
        ("auto", "true", True, "rsync"),
        ("auto", "false", True, "scp"),
        ("auto", "true", False, "scp"),
        ("scp", "true", True, "scp"),
        ("rsync", "false", False, "rsync"),
    ],
)
def test_rsync_is_taken_where_both_have_it(
    path: Path, monkeypatch: pytest.MonkeyPatch, asked: str, there: str, here: bool, taken: str
) -> None:
    staged = said(f'{{"staging": "/x", "free_bytes": 1000000000, "rsync": {there}}}')
    OtherMachine(monkeypatch, said(""), stage=staged, receive=said('{"slot": "1"}'))
    monkeypatch.setattr(deploy, "has_rsync", lambda: here)
    done = deploy.deploy(path, Target("pi"), "models", lambda line: None, asked)
    assert (done.copier, done.verdict) == (taken, {"slot": "1"})

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import pwd
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

import litesight
from device import service, service_plan
from device.errors import LitesightError
from device.service import Systemd
from device.signature import new_key, sign
from device.slots import create_slots
from device.systemd_unit import MARKER, Service

REPOSITORY = Path(__file__).parents[2]
FAKE = Path(__file__).with_name("fake_systemd.py")
CAMERA_MISSING = (
    "2025-11-24T17:58:02+0000 pi litesight[812]: litesight: error: camera 7 not found: there is no /dev/video7"
)
JOURNAL = (
    "2025-11-24T17:58:01+0000 pi systemd[1]: Starting litesight.service - Litesight image classifier...",
    CAMERA_MISSING,
    "2025-11-24T17:58:02+0000 pi systemd[1]: litesight.service: Main process exited, code=exited, status=1/FAILURE",
    "2025-11-24T17:58:02+0000 pi systemd[1]: litesight.service: Failed with result 'exit-code'.",
)
ANYBODY = next(entry.pw_name for entry in pwd.getpwall() if entry.pw_uid not in (0, os.getuid()))
USER = ANYBODY if os.geteuid() == 0 else pwd.getpwuid(os.getuid()).pw_name


@dataclass
class Machine:
    """A machine under a stand-in for systemd."""

    home: Path

    @property
    def units(self) -> Path:
        return self.home / "units"

    @property
    def unit(self) -> Path:
        return self.units / "litesight.service"

    def state(self, **changes: Any) -> dict[str, Any]:
        path = self.home / "state.json"
        state: dict[str, Any] = {**json.loads(path.read_text()), **changes}
        path.write_text(json.dumps(state))
        return state

    def calls(self) -> list[list[str]]:
        """How systemctl and journalctl were called since the last time."""
        path = self.home / "calls"
        found = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        path.unlink(missing_ok=True)
        return found

    def verbs(self) -> list[str]:
        """What changed something."""
        return [call[1] for call in self.calls() if call[1] in ("enable", "disable", "restart", "daemon-reload")]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    home = tmp_path / "machine"
    (home / "units").mkdir(parents=True)
    (home / "bin").mkdir()
    (home / "journal").write_text("\n".join(JOURNAL) + "\n")
    state = {"loaded": "", "active": "inactive", "enabled": False, "breaks": {}, "fail": {}, "foreign": "", "hang": []}
    (home / "state.json").write_text(json.dumps(state))
    for name in ("systemctl", "journalctl"):
        program = home / "bin" / name
        program.write_text(
            f'#!/bin/sh\nexec {shlex.join([sys.executable, "-I", "-S", str(FAKE), name, str(home)])} "$@"\n'
        )
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{home / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(service, "Systemd", lambda: Systemd(home / "units", home))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("SUDO_USER", USER)
    monkeypatch.setattr(sys, "argv", [str(REPOSITORY / "litesight.py"), "service", "…"])
    # The access of another user is a test of its own: he may not enter a directory of pytest's.
    monkeypatch.setattr(service, "_check_access", lambda service, reads: None)
    monkeypatch.chdir(tmp_path)
    return Machine(home)


def install(bundle: Path, *more: str) -> int:
    return litesight.main(["service", "install", str(bundle), "--source", "usb:0", *more])


def test_install_writes_the_unit_starts_it_and_has_it_start_at_boot(
    machine: Machine, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert install(tiny_bundle, "--", "--threshold", "0.8") == 0
    out = capsys.readouterr().out
    assert "litesight.service is active (pid 812) and starts at boot" in out
    text = machine.unit.read_text()
    assert text.startswith(MARKER)
    assert f"\nUser={USER}\n" in text
    command = f"{sys.executable} {REPOSITORY / 'litesight.py'} run {tiny_bundle} --source usb:0 --threshold 0.8"
    assert f"\nExecStart=:{command}\n" in text
    assert machine.unit.stat().st_mode & 0o777 == 0o644
    assert machine.verbs() == ["daemon-reload", "enable", "restart"]
    assert machine.state()["enabled"]


def test_a_unit_is_readable_to_all_whatever_the_umask_of_root(machine: Machine, tiny_bundle: Path) -> None:
    before = os.umask(0o077)
    try:
        assert install(tiny_bundle) == 0
    finally:
        os.umask(before)
    assert machine.unit.stat().st_mode & 0o777 == 0o644


def test_print_shows_the_unit_and_changes_nothing(
    machine: Machine, tiny_bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert install(tiny_bundle, "--print", "--name", "door", "--memory-max", "300M", "--quiet") == 0
    out = capsys.readouterr().out
    assert out.startswith(MARKER)
    for line in ("SyslogIdentifier=door", "MemoryMax=300M", "StandardOutput=null"):
        assert line in out.splitlines()
    assert list(machine.units.iterdir()) == []
    assert machine.verbs() == []


@pytest.mark.parametrize("action", ["install", "remove"])
def test_an_ordinary_user_gets_the_command_that_works(
    machine: Machine,
    tiny_bundle: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    action: str,
) -> None:
    arguments = [
        "service",
        action,
        *([str(tiny_bundle), "--source", "usb:0", "--", "--top", "1"] if action == "install" else []),
    ]
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(sys, "argv", [str(REPOSITORY / "litesight.py"), *arguments])
    assert litesight.main(arguments) == 1
    command = shlex.join(["sudo", sys.executable, str(REPOSITORY / "litesight.py"), *arguments])
    assert f"(run: {command})" in capsys.readouterr().err
    assert list(machine.units.iterdir()) == []


FAULTS: dict[str, tuple[list[str], int, str]] = {
    "an option that run does not know": (["--", "--treshold", "0.8"], 2, "unrecognized arguments: --treshold"),
    "a value that run does not take": (["--", "--threshold", "8"], 2, "expected a probability from 0 to 1, found '8'"),
    "help among the options": (["--", "--help"], 2, "unrecognized arguments: --help"),
    "a bad name": (["--name", "a/b"], 2, "expected a service's name"),
    "root": (["--user", "root"], 2, "does not run as root"),
    "nobody": (["--user", "no-such-user"], 2, "there is no user 'no-such-user'"),
    "a bad limit": (["--memory-max", "much"], 2, "such as 400M, found 'much'"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_call_is_refused_now_and_not_at_the_next_boot(
    machine: Machine, tiny_bundle: Path, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    arguments, status, said = FAULTS[fault]
    assert install(tiny_bundle, *arguments) == status
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert list(machine.units.iterdir()) == []
    assert machine.verbs() == []


def test_a_damaged_bundle_is_refused_now(
    machine: Machine, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tiny_bundle / "labels.txt").write_text("other\n")
    assert install(tiny_bundle) == 1
    assert "is damaged" in capsys.readouterr().err
    assert list(machine.units.iterdir()) == []


@pytest.mark.parametrize("source", ["ubs:0", "usb:x", "clip.mp5", ""])
def test_a_source_that_is_nothing_is_refused_now(
    machine: Machine, tiny_bundle: Path, capsys: pytest.CaptureFixture[str], source: str
) -> None:
    assert litesight.main(["service", "install", str(tiny_bundle), "--source", source]) in (1, 2)
    assert "source" in capsys.readouterr().err
    assert list(machine.units.iterdir()) == []


def test_what_is_missing_is_named(machine: Machine, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert litesight.main(["service", "install"]) == 2
    assert litesight.main(["service", "install", str(tiny_bundle)]) == 2
    err = capsys.readouterr().err
    assert "expected a bundle" in err
    assert "expected --source" in err


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--reject", "gren", "did you mean 'green'?"),
        ("--require-signature", "typo.pub", "no key at typo.pub"),
        ("--require-signature", "release.pub", "is not signed, and a signature is demanded"),
    ],
)
def test_what_the_runner_would_refuse_of_the_bundle_is_told_at_installation(
    machine: Machine,
    tiny_bundle: Path,
    tmp_path: Path,
    option: str,
    value: str,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Or else the service ends at each boot, and a key that is not there becomes a directory."""
    new_key(tmp_path / "release")
    assert install(tiny_bundle, "--", option, value) != 0
    assert said in capsys.readouterr().err
    assert not machine.unit.exists()
    assert not (tmp_path / "typo.pub").exists()


def test_root_without_sudo_must_name_a_user(
    machine: Machine, tiny_bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SUDO_USER")
    monkeypatch.setattr(os, "getuid", lambda: 0)
    assert install(tiny_bundle) == 2
    assert "does not run as root (name an ordinary user with --user)" in capsys.readouterr().err


@pytest.fixture
def unit_of(machine: Machine, capfd: pytest.CaptureFixture[str]) -> Callable[..., dict[str, str]]:
    """``unit_of(bundle, option, …, source=…)``: the settings of the unit that would be written, and "stderr"."""

    def settings(bundle: Path, *more: str, source: str = "usb:0") -> dict[str, str]:
        assert litesight.main(["service", "install", str(bundle), "--source", source, "--print", *more]) == 0
        out, err = capfd.readouterr()
        lines = out.splitlines()
        return {"stderr": err} | dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))

    return settings


def test_paths_are_absolute_and_a_video_waits_for_its_disk(
    unit_of: Callable[..., dict[str, str]], tiny_bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "my clip.mp4").touch()
    found = unit_of(Path(os.path.relpath(tiny_bundle)), source="my clip.mp4")
    assert f'run {tiny_bundle} --source "{tmp_path}/my clip.mp4"' in found["ExecStart"]
    assert f'"{tmp_path}/my clip.mp4"' in found["RequiresMountsFor"]
    assert found["WorkingDirectory"] == str(tmp_path)
    assert "has an end" in found["stderr"]


def test_a_link_to_a_bundle_stays_a_link(
    unit_of: Callable[..., dict[str, str]], tiny_bundle: Path, tmp_path: Path
) -> None:
    """Or else a model that is deployed behind it is never seen."""
    (tmp_path / "current").symlink_to(tiny_bundle)
    assert f" run {tmp_path}/current " in unit_of(tmp_path / "current")["ExecStart"]


def test_a_directory_of_slots_may_be_written_and_its_bundle_is_checked(
    unit_of: Callable[..., dict[str, str]], good_bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    models = tmp_path / "models"
    slots = create_slots(models)
    staging = slots.stage()
    shutil.copytree(good_bundle, staging, dirs_exist_ok=True)
    slots.switch(slots.receive(staging).slot)
    found = unit_of(models)
    assert found["ReadWritePaths"] == f"-{models}"
    (models / "current" / "model.tflite").write_bytes(b"")
    assert install(models, "--print") == 1
    assert "is damaged" in capfd.readouterr().err


def test_more_directories_to_write_to_are_made(machine: Machine, tiny_bundle: Path, tmp_path: Path) -> None:
    assert install(tiny_bundle, "--writable", "new/frames", "--writable", str(tmp_path)) == 0
    assert f"\nReadWritePaths=-{tmp_path}/new/frames -{tmp_path}\n" in machine.unit.read_text()
    assert (tmp_path / "new/frames").is_dir()
    if os.getuid() == 0:
        wanted = pwd.getpwnam(USER).pw_uid
        assert [(tmp_path / each).stat().st_uid for each in ("new", "new/frames")] == [wanted, wanted]


def test_directories_among_the_options_may_be_written_and_files_are_read(
    unit_of: Callable[..., dict[str, str]], tiny_bundle: Path, tmp_path: Path
) -> None:
    private, _ = new_key(tmp_path / "a")
    sign(tiny_bundle, private)
    found = unit_of(tiny_bundle, "--", "--save", "all", "--save-to", "frames", "--require-signature", "a.pub")
    assert found["ReadWritePaths"] == f"-{tmp_path}/frames"
    assert f"{tmp_path}/a.pub" in found["RequiresMountsFor"].split()
    assert not (tmp_path / "frames").exists(), "only shown"


def test_a_service_that_saves_frames_is_told_where(
    machine: Machine, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert install(tiny_bundle, "--", "--save", "all") == 2
    assert "--save-to DIR" in capsys.readouterr().err


@pytest.mark.parametrize(("source", "network"), [("rtsp://10.0.0.7/a b", True), ("picamera2:1", False), ("0", False)])
def test_only_a_source_on_the_network_waits_for_it(
    unit_of: Callable[..., dict[str, str]], tiny_bundle: Path, source: str, network: bool
) -> None:
    assert ("After" in unit_of(tiny_bundle, source=source)) == network


def test_who_puts_a_password_into_a_unit_is_told_that_it_can_be_read(
    unit_of: Callable[..., dict[str, str]], tiny_bundle: Path
) -> None:
    assert "seen by every user" in unit_of(tiny_bundle, source="rtsp://me:secret@10.0.0.7/a")["stderr"]
    assert "seen by every user" not in unit_of(tiny_bundle, source="rtsp://10.0.0.7/a")["stderr"]


def test_installing_again_replaces_the_unit_and_restarts(machine: Machine, tiny_bundle: Path) -> None:
    assert install(tiny_bundle) == 0
    first = machine.unit.read_text()
    machine.calls()
    assert install(tiny_bundle, "--", "--top", "1") == 0
    assert machine.unit.read_text() == first.replace("usb:0\n", "usb:0 --top 1\n")
    assert machine.verbs() == ["daemon-reload", "enable", "restart"]
    assert [path.name for path in machine.units.iterdir()] == ["litesight.service"]


def test_a_first_service_that_does_not_come_up_says_why_and_is_left_to_systemd(
    machine: Machine, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.state(breaks={"usb:0": "activating"})
    assert install(tiny_bundle) == 1
    err = capsys.readouterr().err.splitlines()[-1]
    assert "is activating (exit-code, exit status 1), systemd tries again" in err
    assert "; its last words: litesight: error: camera 7 not found: there is no /dev/video7 (all of its log: " in err
    assert machine.unit.exists()
    assert machine.state()["enabled"]


@pytest.mark.parametrize(
    "change",
    [
        {"breaks": {"--top 1": "failed"}},
        {"fail": {"enable": "Failed to enable unit"}},
        {"fail": {"daemon-reload": "Connection timed out"}},
    ],
)
def test_an_update_that_fails_leaves_the_old_service_running(
    machine: Machine, tiny_bundle: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any]
) -> None:
    assert install(tiny_bundle) == 0
    old = machine.unit.read_text()
    machine.state(**change)
    assert install(tiny_bundle, "--", "--top", "1") == 1
    assert "; the old service was put back" in capsys.readouterr().err.splitlines()[-1]
    assert machine.unit.read_text() == old
    state = machine.state()
    assert state["active"] == "active"
    assert state["loaded"] == old
    assert [path.name for path in machine.units.iterdir()] == ["litesight.service"]


def test_a_first_unit_that_systemd_does_not_take_is_not_left_behind(
    machine: Machine, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.state(fail={"enable": "Failed to enable unit: Access denied"})
    assert install(tiny_bundle) == 1
    assert "systemctl enable litesight.service failed: Failed to enable unit: Access denied" in capsys.readouterr().err
    assert list(machine.units.iterdir()) == []


def test_a_unit_that_is_not_ours_is_never_touched(
    machine: Machine, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.unit.write_text("[Service]\nExecStart=/usr/bin/mine\n")
    for arguments in (["install", str(tiny_bundle), "--source", "usb:0"], ["remove"], ["status"]):
        assert litesight.main(["service", *arguments]) == 1
        assert "was not written by litesight service install" in capsys.readouterr().err
    assert machine.unit.read_text() == "[Service]\nExecStart=/usr/bin/mine\n"
    assert machine.verbs() == []


def test_a_masked_unit_is_not_written_through(
    machine: Machine, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.unit.symlink_to(os.devnull)
    assert install(tiny_bundle) == 1
    assert "is a link: the unit is masked" in capsys.readouterr().err
    assert machine.unit.is_symlink()


def test_a_unit_of_the_system_is_not_hidden_by_ours(
    machine: Machine, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.state(foreign="/lib/systemd/system/ssh.service")
    assert install(tiny_bundle, "--name", "ssh") == 1
    assert "there is a service ssh already: /lib/systemd/system/ssh.service" in capsys.readouterr().err
    assert list(machine.units.iterdir()) == []


def test_remove_stops_it_and_deletes_the_unit(
    machine: Machine, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert install(tiny_bundle) == 0
    machine.calls()
    assert litesight.main(["service", "remove"]) == 0
    assert not machine.unit.exists()
    assert machine.verbs() == ["disable", "daemon-reload"]
    state = machine.state()
    assert (state["active"], state["enabled"], state["loaded"]) == ("inactive", False, "")
    assert litesight.main(["service", "remove"]) == 4
    assert "no service litesight is installed" in capsys.readouterr().err


def test_a_service_that_does_not_stop_keeps_its_unit(
    machine: Machine, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert install(tiny_bundle) == 0
    machine.state(fail={"disable": "Failed to stop"})
    assert litesight.main(["service", "remove"]) == 1
    assert "systemctl disable --now litesight.service failed: Failed to stop" in capsys.readouterr().err
    assert machine.unit.exists()


def test_status_tells_what_systemd_knows(
    machine: Machine, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert litesight.main(["service", "status"]) == 4
    assert install(tiny_bundle) == 0
    capsys.readouterr()
    assert litesight.main(["service", "status"]) == 0
    out = capsys.readouterr().out
    for told in (
        "active (running) since 2025-11-2",
        "frames a second = all",
        "every 30s",
        "120 MiB",
        "812",
        CAMERA_MISSING,
    ):
        assert told in out
    machine.state(active="failed")
    assert litesight.main(["service", "status"]) == 3
    assert "failed (failed): exit-code, exit status 1" in capsys.readouterr().out


def test_status_as_json_has_the_same_facts(
    machine: Machine, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert install(tiny_bundle) == 0
    capsys.readouterr()
    assert litesight.main(["service", "status", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == {
        "name": "litesight",
        "path": str(machine.unit),
        "active": "active",
        "sub": "running",
        "enabled": "enabled",
        "result": "success",
        "exit_status": 0,
        "pid": 812,
        "restarts": 0,
        "since": 1764000000.0,
        "text": "usb:0, 30.0 frames a second = all",
        "watchdog": "30s",
        "memory_bytes": 120 << 20,
        "log": list(JOURNAL),
    }
    machine.state(active="inactive")
    assert litesight.main(["service", "status", "--json"]) == 3
    found = json.loads(capsys.readouterr().out)
    assert (found["pid"], found["since"], found["memory_bytes"]) == (None, None, None)


@pytest.mark.parametrize(
    ("journal", "words"),
    [(JOURNAL[:1], "Starting litesight.service - Litesight image classifier..."), ((), "the journal tells nothing")],
)
def test_a_program_that_said_nothing_is_spoken_for(
    machine: Machine,
    tiny_bundle: Path,
    capsys: pytest.CaptureFixture[str],
    journal: tuple[str, ...],
    words: str,
) -> None:
    (machine.home / "journal").write_text("\n".join(journal))
    machine.state(breaks={"usb:0": "failed"})
    assert install(tiny_bundle) == 1
    assert f"systemd has given it up; its last words: {words} (" in capsys.readouterr().err


def test_a_log_that_may_not_be_read_is_told_by_the_command_that_reads_it(
    machine: Machine, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert install(tiny_bundle) == 0
    (machine.home / "journal").write_text("")
    assert litesight.main(["service", "status"]) == 0
    assert "sudo journalctl -u litesight" in capsys.readouterr().out


def test_a_terminal_obeys_nothing_that_the_journal_holds(
    machine: Machine, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert install(tiny_bundle) == 0
    (machine.home / "journal").write_text("x \x1b]0;evil\x07 y\n")
    assert litesight.main(["service", "status"]) == 0
    assert "x ?]0;evil? y" in capsys.readouterr().out


def test_a_systemd_that_never_answers_does_not_hang_the_command(
    machine: Machine, tiny_bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert install(tiny_bundle) == 0
    machine.state(hang=["show"])
    ask = service.ask
    monkeypatch.setattr(service, "ask", lambda *arguments, timeout_s=1.0: ask(*arguments, timeout_s=0.2))
    assert litesight.main(["service", "status"]) == 1
    assert "did not answer within" in capsys.readouterr().err


@pytest.mark.parametrize("without", ["directory", "systemctl"])
@pytest.mark.parametrize("action", ["install", "remove"])
def test_a_machine_without_systemd_is_told_in_one_line(
    machine: Machine,
    tiny_bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    without: str,
    action: str,
) -> None:
    if without == "directory":
        monkeypatch.setattr(service, "Systemd", lambda: Systemd(machine.units, tmp_path / "nothing"))
    else:
        monkeypatch.setenv("PATH", str(tmp_path))
    arguments = [str(tiny_bundle), "--source", "usb:0"] if action == "install" else []
    assert litesight.main(["service", action, *arguments]) == 1
    err = capsys.readouterr().err
    assert "systemd does not run this machine" in err
    assert err.count("\n") == 1


def test_status_and_remove_take_no_bundle(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert litesight.main(["service", "remove", "door"]) == 2
    assert "--name NAME" in capsys.readouterr().err


def test_a_user_without_access_is_told_which_path_he_cannot_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.getuid() == 0:
        program, user = "/usr/bin/python3", ANYBODY
        if not Path(program).exists():
            pytest.skip("no Python that another user may run")
    else:
        program, user = sys.executable, USER
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o000)
    made = Service("x", (program, "run"), user, PurePosixPath("/"), writable=(PurePosixPath(closed),))
    with pytest.raises(LitesightError, match=f"{user} has no access to {closed}"):
        service._check_access(made, (Path("/usr"),))
    made = Service("x", (program, "run"), user, PurePosixPath("/"))
    service._check_access(made, (Path("/usr"),))
    with pytest.raises(LitesightError, match=f"no access to {closed}"):
        service._check_access(made, (closed,))


def test_the_program_is_named_so_that_sudo_and_a_service_find_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "bin/litesight"
    script.parent.mkdir()
    script.touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["bin/litesight"])
    assert service_plan.program() == (sys.executable, str(script))
    monkeypatch.setattr(sys, "argv", ["-c"])
    assert service_plan.program() == (sys.executable, "-m", "litesight")
    done = subprocess.run(
        [*service_plan.program(), "--version"], cwd=REPOSITORY, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0


def test_a_bundle_in_tmp_is_seen_by_the_service_and_warned_of(
    unit_of: Callable[..., dict[str, str]], tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_plan, "_TEMPORARY", (str(tiny_bundle.parent),))
    found = unit_of(tiny_bundle)
    assert "PrivateTmp" not in found
    assert "is emptied at boot" in found["stderr"]
    monkeypatch.setattr(service_plan, "_TEMPORARY", (f"{tiny_bundle.parent}/other",))
    found = unit_of(tiny_bundle)
    assert found["PrivateTmp"] == "yes"
    assert found["stderr"] == ""

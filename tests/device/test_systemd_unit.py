# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
import string
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from device.errors import LitesightError, UsageError
from device.systemd_unit import MARKER, Service, is_ours, memory_limit, quote_command, unit_name, unit_text

SERVICE = Service(
    name="litesight",
    command=(sys.executable, "-m", "litesight", "run", "/home/pi/solar.bundle", "--source", "usb:0"),
    user="pi",
    directory=PurePosixPath("/home/pi"),
)

# systemd.syntax(7), "Supported escapes".
ESCAPES = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"', "'": "'",
    "s": " ",
}  # fmt: skip


def as_systemd_reads(line: str) -> list[str]:
    """An argument list out of the value of ExecStart=, written from the manual pages alone.

    Words end at spaces; quotes stand at the beginning of a word and end it; escapes are those of C; then "%%" is a
    percent sign and any other specifier is refused. Without ":" a dollar sign would be expanded, so it is refused too.
    """
    words, position = [], 0
    while position < len(line):
        if line[position] in " \t":
            position += 1
            continue
        assert line[position] != ";" or line[position + 1 : position + 2].strip(), "a separator of commands"
        closing = line[position] if line[position] in "\"'" else ""
        position += bool(closing)
        word = ""
        while True:
            assert position < len(line) or not closing, "an open quote"
            if position == len(line) or (not closing and line[position] in " \t"):
                break
            if closing and line[position] == closing:
                position += 1
                assert line[position : position + 1].strip() == "", "text behind a closing quote"
                break
            if line[position] == "\\":
                escape = line[position + 1]
                if escape == "x":
                    word += chr(int(line[position + 2 : position + 4], 16))
                    position += 4
                else:
                    word += ESCAPES[escape]
                    position += 2
                continue
            word += line[position]
            position += 1
        assert not re.search(r"%", word.replace("%%", "")), f"a specifier in {word!r}"
        words.append(word.replace("%%", "%"))
    assert words[0].startswith(":"), "dollar signs would be expanded"
    return [words[0][1:], *words[1:]]


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
AWKWARD = st.text(string.whitespace + "\\\"'%$;{}#:@-+!*?~xn0a", max_size=12)
PROGRAM = st.text(
    st.characters(categories=["L", "N", "P", "S"]) | st.sampled_from(" %$'\"\\;"), min_size=1, max_size=20
)


@given(PROGRAM, st.lists(TEXT | AWKWARD, max_size=6))
@example("a b$c%d", [";", "", "$HOME", "${X}", "%h", "a\\", "\n", "'", '"', " ", "\x01" + "1"])
def test_systemd_gives_the_process_the_arguments_that_were_meant(program: str, arguments: list[str]) -> None:
    path = f"/{program.strip()}x"
    assert as_systemd_reads(quote_command((path, *arguments))) == [path, *arguments]


@pytest.mark.parametrize("bad", ["\udcff", "a\0b"])
def test_an_argument_that_is_no_text_is_refused(bad: str) -> None:
    with pytest.raises(LitesightError, match="not UTF-8"):
        quote_command(("/usr/bin/python3", bad))


@pytest.mark.parametrize("bad", ["/a\nUser=root", "/a\tb", "/a ", "/a\\"])
@pytest.mark.parametrize("field", ["directory", "writable", "needs", "command"])
def test_a_path_that_a_unit_cannot_name_is_refused(bad: str, field: str) -> None:
    value = {"directory": PurePosixPath(bad), "command": (bad, "run")}.get(field, (PurePosixPath(bad),))
    with pytest.raises(LitesightError, match="cannot be named in a unit"):
        unit_text(replace(SERVICE, **{field: value}))  # type: ignore[arg-type]


def settings(text: str) -> dict[str, str]:
    lines = [line for line in text.splitlines() if "=" in line and not line.startswith("#")]
    names = [line.partition("=")[0] for line in lines]
    assert len(names) == len(set(names)), "a setting twice"
    return dict(line.split("=", 1) for line in lines)


def test_the_unit_says_what_a_camera_that_one_leaves_running_needs() -> None:
    found = settings(unit_text(replace(SERVICE, groups=("video",), writable=(PurePosixPath("/home/pi/my frames"),))))
    assert found["Type"] == "notify"
    assert found["WatchdogSec"] == "30"
    assert found["Restart"] == "always"
    assert found["RestartPreventExitStatus"] == "2 78"
    assert found["User"] == "pi"
    assert found["SupplementaryGroups"] == "video"
    assert found["ProtectSystem"] == "strict"
    assert found["ReadWritePaths"] == '"-/home/pi/my frames"'
    assert found["NoNewPrivileges"] == "yes"
    assert found["PrivateTmp"] == "yes"
    assert found["Environment"] == "PYTHONUNBUFFERED=1"
    assert found["WorkingDirectory"] == "/home/pi"
    assert found["SyslogIdentifier"] == "litesight"
    assert found["StandardOutput"] == found["StandardError"] == "journal"
    assert found["WantedBy"] == "multi-user.target"
    assert as_systemd_reads(found["ExecStart"]) == list(SERVICE.command)
    assert not {"PrivateDevices", "DevicePolicy", "ProtectClock", "MemoryMax", "After"} & found.keys()


def test_a_percent_sign_in_a_path_is_no_specifier() -> None:
    path = PurePosixPath("/home/pi/50%h")
    found = settings(unit_text(replace(SERVICE, directory=path, writable=(path,), needs=(path,))))
    assert found["WorkingDirectory"] == "/home/pi/50%%h"
    assert found["ReadWritePaths"] == '"-/home/pi/50%%h"'
    assert found["RequiresMountsFor"] == '"/home/pi/50%%h"'


def test_restarts_never_reach_the_limit_that_ends_a_loop() -> None:
    """Or else a camera that is missing for a minute is given up for ever."""
    for version in (0, 252, 257):
        found = settings(unit_text(replace(SERVICE, systemd=version)))
        first = float(found["RestartSec"])
        steps = int(found.get("RestartSteps", 0))
        longest = float(found.get("RestartMaxDelaySec", first))
        # systemd.service(5): the pause grows exponentially from the first to the longest in so many steps.
        pauses = [first * (longest / first) ** (min(n, steps) / steps) if steps else first for n in range(100)]
        within = next(n for n in range(100) if sum(pauses[:n]) > float(found["StartLimitIntervalSec"]))
        assert within < int(found["StartLimitBurst"])
        assert ("RestartSteps" in found) == (version >= 254), "an older systemd warns of a key that it does not know"


def test_what_is_asked_for_is_there_and_nothing_else() -> None:
    plain = settings(unit_text(SERVICE))
    for change, setting, value in (
        ({"memory_max": "400M"}, "MemoryMax", "400M"),
        ({"network": True}, "After", "network-online.target"),
        ({"quiet": True}, "StandardOutput", "null"),
    ):
        assert plain.get(setting) != value
        assert settings(unit_text(replace(SERVICE, **change)))[setting] == value
    assert "PrivateTmp" not in settings(unit_text(replace(SERVICE, private_tmp=False)))
    assert "SupplementaryGroups" not in plain
    assert "ReadWritePaths" not in plain


def test_a_unit_is_known_by_its_first_line_alone() -> None:
    assert is_ours(unit_text(SERVICE))
    assert not is_ours(f"[Unit]\n{MARKER}\n")
    assert not is_ours(MARKER + " not")
    assert not is_ours("")


@pytest.mark.parametrize("bad", ["", "a/b", "../x", "a b", "a@b", "-x", ".service", "x" * 101, "a\n", "ä", "a%b"])
def test_a_name_that_is_no_unit_is_refused(bad: str) -> None:
    with pytest.raises(UsageError, match="expected a service's name"):
        unit_name(bad)


def test_a_name_may_be_written_as_systemd_writes_it() -> None:
    assert unit_name("door.service") == unit_name("door") == "door"


@pytest.mark.parametrize("bad", ["", "0", "400 M", "-1", "400MB", "50%", "1\nUser=root", "infinity"])
def test_a_limit_that_is_no_amount_of_memory_is_refused(bad: str) -> None:
    with pytest.raises(UsageError, match="such as 400M"):
        memory_limit(bad)


@pytest.mark.parametrize("systemd", ["as installed", "unknown"])
def test_systemd_itself_has_no_complaint(tmp_path: Path, require_tool: Callable[[str], str], systemd: str) -> None:
    tool = require_tool("systemd-analyze")
    version = int(
        subprocess.run([tool, "--version"], capture_output=True, text=True, timeout=60, check=True).stdout.split()[1]
    )
    spaced = tmp_path / "a b%c$d"
    spaced.mkdir()
    (spaced / "python3").symlink_to(sys.executable)
    service = Service(
        name="litesight-probe",
        command=(str(spaced / "python3"), "-m", "litesight", "run", "/x y/100%.bundle", "rtsp://a;b/$HOME", ";", "\n"),
        user="daemon",
        directory=PurePosixPath("/tmp/with space/50%"),
        groups=("daemon",),
        writable=(PurePosixPath("/tmp/save me/50%"),),
        needs=(PurePosixPath("/usr"),),
        network=True,
        quiet=True,
        memory_max="300M",
        systemd=version if systemd == "as installed" else 0,
    )  # fmt: skip
    unit = tmp_path / "litesight-probe.service"
    unit.write_text(unit_text(service))
    done = subprocess.run([tool, "verify", "--man=no", unit], capture_output=True, text=True, timeout=60, check=False)
    ours = [line for line in done.stderr.splitlines() if "litesight-probe" in line]
    assert (done.returncode, ours) == (0, [])
    # What would make it complain does so, or else the line above proves nothing.
    unit.write_text(unit_text(service).replace("WatchdogSec=", "WatchDogSec=").replace("python3", "python4"))
    done = subprocess.run([tool, "verify", "--man=no", unit], capture_output=True, text=True, timeout=60, check=False)
    assert "WatchDogSec" in done.stderr
    assert "python4" in done.stderr

# SPDX-License-Identifier: Apache-2.0
"""What the user writes must reach the other machine word for word, and never a shell or an option of ssh."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device import remote
from device.errors import LitesightError
from device.remote import Answer, RemoteError, Target, connection_error, parse_target, run
from tests.device.ssh_server import script

WORDS = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8), max_size=4)


def shell(remote_command: str, home: Path, path: str = "/usr/bin:/bin") -> str:
    """What the other machine's login shell would make of it."""
    done = subprocess.run(
        ["sh", "-c", remote_command],
        env={"HOME": str(home), "PATH": path},
        capture_output=True,
        timeout=60,
        check=False,
    )
    return done.stdout.decode() + (f"status {done.returncode}" if done.returncode else "")


@settings(max_examples=40)
@given(WORDS)
def test_every_word_reaches_the_command_as_it_is(words: list[str]) -> None:
    target = Target("pi", command=("/usr/bin/printf", "<%s>"))
    expected = "".join(f"<{word}>" for word in words) or "<>"
    assert shell(target.litesight(words)[-1], Path("/")) == expected


def test_litesight_is_found_on_the_path_and_where_the_guide_installs_it(tmp_path: Path) -> None:
    home = tmp_path / "the $HOME's"
    words = ["slot", "status", "a b"]
    command = Target("pi").litesight(words)[-1]
    assert shell(command, home) == "status 127"
    for number, place in enumerate([".local/bin", ".venv/bin", "litesight/.venv/bin"]):
        script(home / place / "litesight", f'echo {number} "$3"')
        assert shell(command, home) == f"{number} a b\n"
    script(tmp_path / "bin" / "litesight", 'echo path "$3"')
    assert shell(command, home, f"{tmp_path}/bin:/usr/bin:/bin") == "path a b\n"


def test_a_command_in_the_home_over_there_is_meant_over_there(tmp_path: Path) -> None:
    home = tmp_path / "the $HOME's"
    script(home / "my env" / "litesight", 'echo "$0" "$1" "$2"')
    command = Target("pi", command=("~/my env/litesight", "x")).litesight(["a b"])[-1]
    assert shell(command, home) == f"{home}/my env/litesight x a b\n"


@pytest.mark.parametrize(
    ("text", "user", "host"),
    [
        ("pi@raspberrypi.local", "pi", "raspberrypi.local"),
        ("camera_1", None, "camera_1"),
        ("a.b-c@192.168.1.20", "a.b-c", "192.168.1.20"),
        ("pi@[fe80::1%eth0]", "pi", "fe80::1%eth0"),
        ("::1", None, "::1"),
    ],
)
def test_a_target_is_a_user_and_a_host(text: str, user: str | None, host: str) -> None:
    assert parse_target(text) == (user, host)


@given(st.text(max_size=12))
def test_no_target_is_an_option_or_is_expanded(text: str) -> None:
    try:
        user, host = parse_target(text)
    except LitesightError as error:
        assert str(error).isprintable()  # noqa: PT017 - most texts are no targets, and some are
        return
    for part in (user or "x", host):
        assert not part.startswith("-")
        assert not set(part) & set(" \t\n;&|<>$`\"'\\*?(){}!#~/@,")


def test_the_argument_lists() -> None:
    target = Target("fe80::1", "me", 2222, Path("/keys/it's"), Path("/a config"))
    options = [
        *("-F", "/a config", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=5"),
        *("-o", "ServerAliveCountMax=3", "-o", "ClearAllForwardings=yes", "-o", "Port=2222", "-i", "/keys/it's"),
    ]
    assert target.ssh("x") == ["ssh", *options, "--", "me@fe80::1", "x"]
    files = [Path("/b/-a"), Path("/b/c:d")]
    assert target.scp(files, "/s p", sftp=True) == [
        *("scp", "-q", "-s", *options, "--", "/b/-a", "/b/c:d", "me@[fe80::1]:/s p/"),
    ]
    assert target.scp(files, "/s p", sftp=False)[-1] == "me@[fe80::1]:'/s p'/"
    assert "-s" not in target.scp(files, "/s p", sftp=False)
    words = target.rsync(files, "/s p")
    assert words[:5] == ["rsync", "--protect-args", "--copy-links", "--timeout=30", "-e"]
    assert words[5].startswith("'ssh' '-F' '/a config' ")
    assert words[5].endswith("'-i' '/keys/it''s'")
    assert words[6:] == ["--", "/b/-a", "/b/c:d", "me@[fe80::1]:/s p/"]


def test_relative_paths_cannot_be_taken_for_hosts_or_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    target = Target("pi")
    for words in (
        target.scp([Path("a:b"), Path("-c")], "/d", sftp=True),
        target.rsync([Path("a:b"), Path("-c")], "/d"),
    ):
        assert words[-3:-1] == [f"{tmp_path}/a:b", f"{tmp_path}/-c"]


def test_a_program_that_is_missing_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for program, package in (("ssh", "openssh-client"), ("scp", "openssh-client"), ("rsync", "rsync")):
        with pytest.raises(RemoteError, match=f"expected the program {program}, found none .*apt install {package}"):
            run([program], 5, "x")
    assert not remote.has_rsync()


def test_a_program_that_hangs_is_ended(tmp_path: Path) -> None:
    hang = shlex.split(script(tmp_path / "hang", "exec sleep 60"))
    with pytest.raises(RemoteError, match=r"asking pi: no answer within 0 s \(is the network up"):
        run(hang, 0.2, "asking pi")


def test_messages_are_asked_for_in_english_and_told_printable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    tool = shlex.split(script(tmp_path / "tool", 'echo "$LC_ALL"; printf "one\\n\\033[31mtwo \\377\\n\\n" >&2; exit 3'))
    answer = run(tool, 60, "x")
    assert (answer.status, answer.out, answer.error) == (3, "C\n", "?[31mtwo �")


@pytest.mark.parametrize("version", ["openrsync: protocol version 29", "rsync  version 2.6.9  protocol version 29"])
def test_an_rsync_that_lacks_options_is_as_good_as_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    script(tmp_path / "rsync", f"echo '{version}'")
    assert not remote.has_rsync()
    script(tmp_path / "rsync", "echo 'rsync  version 3.2.7  protocol version 31'")
    assert remote.has_rsync()


@pytest.mark.parametrize(
    ("version", "able"),
    [("OpenSSH_8.4p1 Debian", False), ("OpenSSH_8.7p1", True), ("OpenSSH_10.0p2", True), ("Dropbear", False)],
)
def test_scp_speaks_sftp_since_openssh_8_7(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, able: bool
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    script(tmp_path / "ssh", f"echo '{version}, OpenSSL' >&2")
    assert remote.scp_has_sftp() is able


def test_an_unknown_fault_of_the_connection_is_handed_on() -> None:
    assert str(connection_error(Target("pi", "me", 22), Answer(255, "", "kex: no match", "kex: no match"))) == (
        "no connection to me@pi: kex: no match (try: ssh -p 22 me@pi)"
    )
    assert "ssh says nothing" in str(connection_error(Target("pi"), Answer(255, "", "", "")))

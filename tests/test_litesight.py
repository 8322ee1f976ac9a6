# SPDX-License-Identifier: Apache-2.0
"""The front door: what every command owes its user, whatever the command."""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import litesight
from device.errors import LitesightError, UsageError


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A command ``probe`` whose ``run`` the test sets."""
    module = ModuleType("probe_command")
    module.__dict__.update(
        HELP="probes", EPILOG="example", configure=lambda parser: parser.add_argument("--n", type=int)
    )
    monkeypatch.setitem(sys.modules, "probe_command", module)
    monkeypatch.setitem(litesight.COMMANDS, "probe", "probe_command")
    return module


@pytest.mark.parametrize(
    ("fault", "said", "status"),
    [
        (LitesightError("expected a, found b", hint="do c"), "expected a, found b (do c)", 1),
        (LitesightError("two\nlines"), "two lines", 1),
        (UsageError("no"), "no", 2),
        (PermissionError(13, "Permission denied", "/x"), "the system refused /x: Permission denied", 1),
        (
            ImportError("libGL.so.1: cannot open shared object file"),
            "libGL.so.1: cannot open shared object file (lite",
            1,
        ),
        (KeyboardInterrupt(), "stopped", 1),
        (MemoryError(), "out of memory", 1),
        (ModuleNotFoundError("No module", name="cv2"), "litesight probe needs the Python package cv2", 1),
    ],
)
def test_a_fault_is_one_line_on_stderr_and_a_status(
    command: ModuleType, capsys: pytest.CaptureFixture[str], fault: BaseException, said: str, status: int
) -> None:
    def run(args: argparse.Namespace) -> int:
        raise fault

    command.run = run  # type: ignore[attr-defined]
    assert litesight.main(["probe"]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"litesight: error: {said}")
    assert err.count("\n") == 1


def test_a_mistake_of_our_own_is_not_hidden(command: ModuleType) -> None:
    def run(args: argparse.Namespace) -> int:
        raise ZeroDivisionError

    command.run = run  # type: ignore[attr-defined]
    with pytest.raises(ZeroDivisionError):
        litesight.main(["probe"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["prob"], "unknown command 'prob'; expected one of demo, train,"),
        (["probe", "--m", "1"], "unrecognized arguments: --m 1"),
        (["probe", "--n", "x"], "invalid int value: 'x'"),
    ],
)
def test_a_wrong_call_is_one_line_and_status_2(
    command: ModuleType, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    try:
        status = litesight.main(arguments)
    except SystemExit as stop:
        status = int(stop.code or 0)
    err = capsys.readouterr().err
    assert status == 2
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", litesight.COMMANDS)
def test_every_command_explains_itself_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        litesight.main([name, "--help"])
    text = capsys.readouterr().out
    assert f"litesight {name} " in text.split("usage:")[1], "the epilog shows a call"
    assert name in litesight.SUMMARY


@pytest.mark.parametrize("name", litesight.COMMANDS)
def test_a_commands_module_loads_without_heavy_packages(name: str) -> None:
    """Or else ``litesight doctor`` fails where it is needed most, and ``--help`` takes seconds."""
    importlib.invalidate_caches()
    code = f"import sys, {litesight.COMMANDS[name]}; print(sorted({{'tensorflow', 'cv2', 'numpy'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def start(code: str, shell: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """``litesight.main`` in a process of its own behind a shell's redirection."""
    return subprocess.run(
        ["sh", "-c", f'exec "$0" -c "$1" {shell}', sys.executable, code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONUNBUFFERED": "", **environment},
        cwd=Path(__file__).parents[1],
    )


MAIN = "import sys, litesight; sys.exit(litesight.main({arguments!r}))"
PROBE = """
import sys, types, litesight
probe = types.ModuleType("probe_command")
probe.HELP = probe.EPILOG = ""
probe.configure = lambda parser: None
def run(args):
    {body}
    return 0
probe.run = run
sys.modules["probe_command"] = probe
litesight.COMMANDS["probe"] = "probe_command"
sys.exit(litesight.main(['probe']))
"""


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"]])
def test_a_full_device_is_one_line_and_a_failure(arguments: list[str], unbuffered: str) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    done = start(MAIN.format(arguments=arguments), ">/dev/full", PYTHONUNBUFFERED=unbuffered)
    assert (done.returncode, done.stderr) == (1, "litesight: error: the system refused: No space left on device\n")


@pytest.mark.parametrize("flush", [True, False])
def test_a_device_that_is_full_when_a_command_prints_is_told_once(flush: bool) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    done = start(PROBE.format(body=f"print('answer', flush={flush})"), ">/dev/full")
    assert (done.returncode, done.stderr) == (1, "litesight: error: the system refused: No space left on device\n")


def test_a_reader_that_has_gone_is_no_traceback() -> None:
    done = start(PROBE.format(body="import time; time.sleep(0.5); print('answer')"), "| true")
    assert done.stderr == ""


@pytest.mark.parametrize("shell", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_do_not_fail_a_command_nor_lend_their_numbers_to_files(shell: str, tmp_path: Path) -> None:
    path = tmp_path / "result"
    body = (
        "import os; sys.stdout.write('text'); sys.stdout.flush(); sys.stderr.write('text');"
        f"stream = open({str(path)!r}, 'w'); stream.write(str(stream.fileno() > 2)); os.write(1, b'native')"
    )
    done = start(PROBE.format(body=body), shell)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert path.read_text() == "True"


def test_an_ascii_terminal_gets_escapes_instead_of_a_traceback() -> None:
    done = start(
        PROBE.format(body="print('16\\u00d716 \\u2026 \\udcff')"),
        "",
        PYTHONUTF8="0",
        PYTHONCOERCECLOCALE="0",
        LC_ALL="POSIX",
        PYTHONIOENCODING="ascii:strict",
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "16\\xd716 \\u2026 \\udcff\n", "")


def test_ctrl_c_while_a_command_is_loaded_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(name: str) -> ModuleType:
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib, "import_module", interrupt)
    assert litesight.main(["doctor"]) == 1
    assert capsys.readouterr().err == "litesight: error: stopped; nothing was written\n"


def test_a_missing_package_is_not_asked_of_the_package_index_by_our_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(name: str) -> ModuleType:
        raise ModuleNotFoundError("No module", name="jinja2")

    monkeypatch.setattr(importlib, "import_module", missing)
    assert litesight.main(["export"]) == 1
    assert capsys.readouterr().err == (
        "litesight: error: litesight export needs the Python package jinja2 "
        "(in a checkout of litesight: pip install '.[host]')\n"
    )


def test_a_camera_whose_driver_hangs_does_not_keep_the_process() -> None:
    hangs = "import threading; threading.Thread(target=threading.Event().wait, args=(600,), name='camera').start()"
    probe = PROBE.format(body=f"{hangs}; print('answer')")
    done = start(probe.replace("sys.exit(litesight.main(['probe']))", "litesight.process(['probe'])"), "")
    assert (done.returncode, done.stdout, done.stderr) == (0, "answer\n", "")

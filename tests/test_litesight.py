# SPDX-License-Identifier: Apache-2.0
"""The front door: what every command owes its user, whatever the command."""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
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

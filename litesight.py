# SPDX-License-Identifier: Apache-2.0
"""The command ``litesight``: loads the module of one sub-command and nothing else, and tells errors in one line."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import os
import sys
import threading
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NoReturn, TextIO

COMMANDS = {
    "demo": "train_host.commands.demo",
    "train": "train_host.commands.train",
    "pretrained": "train_host.commands.pretrained",
    "evaluate": "train_host.commands.evaluate",
    "verify": "firmware_export.commands.verify",
    "export": "firmware_export.commands.export",
    "boards": "boards.commands.boards",
    "fitcheck": "firmware_export.commands.fitcheck",
    "build": "firmware_export.commands.build",
    "emulate": "firmware_export.commands.emulate",
    "run": "device.commands.run",
    "bench": "device.commands.bench",
    "sign": "device.commands.sign",
    "deploy": "device.commands.deploy",
    "slot": "device.commands.slot",
    "doctor": "device.commands.doctor",
    "service": "device.commands.service",
}
"""Module of every sub-command, in the order in which a newcomer meets them."""

BOARD_BENCH = "firmware_export.commands.board_bench"
"""``litesight bench`` with ``--board``: a Pi has no use for it, and the room of the other one may not import it."""

SUMMARY = """\
From a folder of photos to an int8 classifier on a microcontroller or a Raspberry Pi.

commands:
  demo        the whole way on real photos, with a report to look at
  train       photos in class folders -> a bundle
  pretrained  a bundle of the ImageNet-trained network, nothing to train
  evaluate    float and int8 accuracy of a bundle on photos
  verify      prove a bundle in TensorFlow Lite Micro, byte for byte
  export      C sources for a microcontroller
  boards      the boards that the kit knows
  fitcheck    does a network fit a board?
  build       a program for a board
  emulate     classify on an emulated board
  run         classify a photo, a folder, a video or a camera
  bench       time every stage of a frame; --board: instructions and memory on an emulated board
  sign        sign a bundle, or make the keys for it
  deploy      a new model onto a Raspberry Pi, without a restart there
  slot        the models of a Raspberry Pi: status, switch, back
  doctor      check this machine and say how to mend it
  service     run the classifier as a systemd service

litesight COMMAND --help tells more, with examples."""

EXIT_FAILURE = 1
EXIT_USAGE = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run one sub-command.

    Args:
        argv: the arguments, without the program's name; those of the process by default.

    Returns:
        The exit status: 0 for success, 1 for a failure, 2 for a wrong call.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    _prepare_streams()
    try:
        status = _guarded(arguments)
        fault = _flush_stdout()
    except SystemExit:  # argparse has told its help, or what is wrong with the call
        fault = _flush_stdout()
        if fault is None:
            raise
    if fault is None:
        return status
    return EXIT_FAILURE if isinstance(fault, BrokenPipeError) else _fail(_refusal(fault), EXIT_FAILURE)


def _call(arguments: Sequence[str]) -> int:
    """What :func:`main` does, errors left to the caller."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(f"usage: litesight COMMAND …\n\n{SUMMARY}")
        return 0 if arguments else EXIT_USAGE
    if arguments[0] in ("-V", "--version"):
        print(f"litesight {_own_version()}")
        return 0
    name = arguments[0]
    if name not in COMMANDS:
        return _fail(f"unknown command {name!r}; expected one of {', '.join(COMMANDS)}", EXIT_USAGE)
    command = importlib.import_module(_module(arguments))
    parser = _Parser(
        prog=f"litesight {name}",
        description=command.HELP,
        epilog=command.EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.configure(parser)
    # Options may stand between a model and photos; parse_args would take the photos for too many arguments.
    args = parser.parse_intermixed_args(arguments[1:])
    return int(command.run(args))


def _module(arguments: Sequence[str]) -> str:
    """Where the command is."""
    on_a_board = any(argument.split("=")[0] == "--board" for argument in arguments[1:])
    return BOARD_BENCH if arguments[0] == "bench" and on_a_board else COMMANDS[arguments[0]]


class _Parser(argparse.ArgumentParser):
    """Tells a wrong call in one line, as every other error is told."""

    def _print_message(self, message: str, file: Any = None) -> None:
        # argparse passes over a failed write in silence, and help that went nowhere would be a success.
        (file or sys.stderr).write(message)

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USAGE, f"litesight: error: {message} (see {self.prog} --help)\n")


def _guarded(arguments: Sequence[str]) -> int:
    try:
        from device.errors import LitesightError

        try:
            return _call(arguments)
        except LitesightError as error:
            return _fail(str(error), error.exit_status)
    except ModuleNotFoundError as error:
        return _fail(_missing_module(arguments, error), EXIT_FAILURE)
    except ImportError as error:
        # A package is there but cannot be loaded: libGL is missing, or it was built against another numpy.
        return _fail(f"{error} (litesight doctor says what is missing)", EXIT_FAILURE)
    except KeyboardInterrupt:
        return _fail("stopped; nothing was written", EXIT_FAILURE)
    except BrokenPipeError:
        # The reader of our output went away (`litesight run … | head`): nobody is left to tell.
        _flush_stdout()
        return EXIT_FAILURE
    except OSError as error:
        # If it was stdout that failed, its rest fails again: that is told here and not a second time.
        _flush_stdout()
        return _fail(_refusal(error), EXIT_FAILURE)
    except MemoryError:
        return _fail("out of memory (close other programs, or take a smaller --size or --batch)", EXIT_FAILURE)


def _prepare_streams() -> None:
    """Make stdout and stderr take any text, whatever the caller left of them.

    Under an ASCII locale "×" would end the command; where the caller closed a stream (``>&-``) Python has None.
    """
    if sys.stdout is None or sys.stderr is None:
        # Or else the next file opened becomes descriptor 1 or 2, and native libraries write their messages into it.
        while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
            pass
        os.close(descriptor)
        sys.stdout = sys.stdout or _nowhere()
        sys.stderr = sys.stderr or _nowhere()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123 - open for as long as the process lives


def _flush_stdout() -> OSError | None:
    """Write out what is buffered. If that fails the rest is dropped, for Python would complain of it at exit."""
    try:
        sys.stdout.flush()
    except OSError as error:
        with contextlib.suppress(OSError):  # a stream without a descriptor, in a test
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return error
    return None


def _refusal(error: OSError) -> str:
    where = f" {error.filename}" if error.filename else ""
    return f"the system refused{where}: {error.strerror or error}"


def _fail(message: str, status: int) -> int:
    with contextlib.suppress(OSError):  # stderr on a full device: the status tells
        print(f"litesight: error: {' '.join(message.splitlines())}", file=sys.stderr)
    return status


def _missing_module(arguments: Sequence[str], error: ModuleNotFoundError) -> str:
    room = _module(arguments).split(".")[0]
    extra = "device" if room == "device" else "host"
    return (
        f"litesight {arguments[0]} needs the Python package {error.name} "
        f"(in a checkout of litesight: pip install '.[{extra}]')"
    )


def _own_version() -> str:
    try:
        return version("litesight")
    except PackageNotFoundError:
        return "(not installed)"


def process(argv: Sequence[str] | None = None) -> NoReturn:
    """The whole process ``litesight``: :func:`main`, and an end that no camera's driver can spoil."""
    status = main(argv)
    try:
        sys.stderr.flush()
    except OSError:
        # A full disk under the log: Python would try again at its end and turn the status into 120.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    if any(thread.name in ("camera", "network") for thread in threading.enumerate()):
        # It hangs in a driver or a large network. Python's end would take both from under it and might crash.
        os._exit(status)
    sys.exit(status)


if __name__ == "__main__":
    process()

# SPDX-License-Identifier: Apache-2.0
"""Makes a service out of a command line, and refuses now what would fail at the next boot."""

from __future__ import annotations

import argparse
import grp
import os
import pwd
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, NoReturn

from device.errors import LitesightError, UsageError
from device.systemd_unit import Service, memory_limit
from device.video import without_password

CAMERA_GROUP: Final = "video"
_CAMERA: Final = re.compile(r"(?:(?:usb|camera):)?\d{1,3}|/dev/video\d{1,3}|picamera2(?::\d)?")
_ADDRESS: Final = re.compile(r"[a-z][a-z0-9+.-]*://.+", re.IGNORECASE)
_TEMPORARY: Final = ("/tmp", "/var/tmp")


@dataclass(frozen=True)
class Plan:
    """A service, the files that its user must be able to read, and what the user of the command should know."""

    service: Service
    reads: tuple[Path, ...]
    notes: tuple[str, ...]


class _RunParser(argparse.ArgumentParser):
    """The run command's parser, whose complaint is an error like any other."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"litesight run would not take that: {message}", hint="see: litesight run --help")


def plan(args: argparse.Namespace, systemd: int) -> Plan:
    """Check everything that can be checked before the service exists.

    Args:
        args: of ``litesight service install``.
        systemd: the version, 0 if unknown.

    Raises:
        UsageError: options that ``litesight run`` does not take, or an unsuitable user.
        LitesightError: a bundle or a file that is missing or damaged.
    """
    if args.bundle is None or args.source is None:
        missing = "a bundle" if args.bundle is None else "--source"
        raise UsageError(f"expected {missing}", hint="litesight service install BUNDLE --source CAMERA")
    here = Path.cwd()
    source, notes = _source(args.source, here)
    bundle = Path(os.path.abspath(args.bundle))  # noqa: PTH100 - resolve() would follow a link that deploy changes
    options = tuple(args.options)
    parsed = _parse((str(bundle), "--source", source, *options))
    root = _check_bundle(bundle, parsed)
    writable = [*_writable(parsed, here), *(_absolute(Path(each), here) for each in args.writable)]
    if root is not None:
        writable.append(root)
    named = [bundle, *([Path(source)] if source.startswith("/") else []), *_existing_files(parsed, here)]
    executable = program()
    everything = [*map(Path, executable[:1]), here, *named, *writable]
    if any(str(path).startswith(f"{each}/") for path in (bundle, *map(Path, executable)) for each in _TEMPORARY):
        notes.append("the bundle or the program lies in a temporary directory, which is emptied at boot")
    return Plan(
        Service(
            name=args.name,
            command=(*executable, "run", str(bundle), "--source", source, *options),
            user=_user(args.user),
            directory=PurePosixPath(here),
            groups=_camera_group(),
            writable=tuple(dict.fromkeys(map(PurePosixPath, writable))),
            needs=tuple(dict.fromkeys(PurePosixPath(path) for path in named)),
            private_tmp=not any(_is_temporary(path) for path in everything),
            network=_ADDRESS.fullmatch(source) is not None,
            quiet=args.quiet,
            memory_max=memory_limit(args.memory_max) if args.memory_max else "",
            systemd=systemd,
        ),
        tuple(named),
        tuple(notes),
    )


def program() -> tuple[str, ...]:
    """This Python and this command by absolute paths, as a service or sudo must be told."""
    script = Path(os.path.abspath(sys.argv[0]))  # noqa: PTH100 - a link to a script of another environment stays one
    if script.name in ("litesight", "litesight.py") and script.is_file():
        return sys.executable, str(script)
    return sys.executable, "-m", "litesight"


def _parse(arguments: tuple[str, ...]) -> argparse.Namespace:
    from device.commands.run import configure

    parser = _RunParser(prog="litesight run", add_help=False, allow_abbrev=False)
    configure(parser)
    return parser.parse_intermixed_args(arguments)


def _source(source: str, here: Path) -> tuple[str, list[str]]:
    """The source with an absolute path if it is one, and what should be known of it."""
    if _CAMERA.fullmatch(source) or _ADDRESS.fullmatch(source):
        secret = without_password(source) != source
        return source, ["what stands in the address is seen by every user of this machine"] if secret else []
    path = _absolute(Path(source), here)
    if not source or not path.exists():
        raise LitesightError(
            f"no source {source!r}: no camera, no address, and no such file or folder",
            hint="a camera is named usb:0 or picamera2",
        )
    return str(path), [f"{path} has an end; the service begins it anew each time"]


def _check_bundle(path: Path, parsed: argparse.Namespace) -> Path | None:
    """Load the bundle; the directory that holds its slots if it is one of those, which the runner writes to."""
    from device.commands.run import fitting_bundle
    from device.slots import Slots, is_slots

    keys = tuple(parsed.require_signature)
    if is_slots(path):
        slots = Slots(path)
        fitting_bundle(parsed, slots.current(), (*keys, *slots.trusted_keys()))
        return path
    fitting_bundle(parsed, path, keys)
    return None


def _paths(parsed: argparse.Namespace) -> Iterator[Path]:
    """Every path among the options of the run command."""
    for name, value in vars(parsed).items():
        if name != "bundle":
            yield from (each for each in (value if isinstance(value, list) else [value]) if isinstance(each, Path))


def _writable(parsed: argparse.Namespace, here: Path) -> list[Path]:
    """Directories among the options, those to be made too; they are where the run command writes."""
    if getattr(parsed, "save", None) is not None and getattr(parsed, "save_to", None) is None:
        raise UsageError("a service that saves frames is told where", hint="add --save-to DIR behind the --")
    return [path for path in (_absolute(each, here) for each in _paths(parsed)) if not path.is_file()]


def _existing_files(parsed: argparse.Namespace, here: Path) -> list[Path]:
    return [path for path in (_absolute(each, here) for each in _paths(parsed)) if path.is_file()]


def _absolute(path: Path, here: Path) -> Path:
    return Path(os.path.normpath(here / path))


def _is_temporary(path: Path) -> bool:
    return any(path == Path(each) or Path(each) in path.parents for each in _TEMPORARY)


def _user(name: str | None) -> str:
    """The ordinary user that the service runs as.

    Raises:
        UsageError: root, or nobody.
    """
    chosen = name or os.environ.get("SUDO_USER") or ""
    if not chosen:
        try:
            chosen = pwd.getpwuid(os.getuid()).pw_name
        except KeyError:
            chosen = f"uid {os.getuid()}"
    try:
        entry = pwd.getpwnam(chosen)
    except KeyError as error:
        raise UsageError(f"there is no user {chosen!r}", hint="name one with --user") from error
    if entry.pw_uid == 0:
        raise UsageError("a camera service does not run as root", hint="name an ordinary user with --user")
    return entry.pw_name


def _camera_group() -> tuple[str, ...]:
    try:
        return (grp.getgrnam(CAMERA_GROUP).gr_name,)
    except KeyError:
        return ()

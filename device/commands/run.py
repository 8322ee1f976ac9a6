# SPDX-License-Identifier: Apache-2.0
"""``litesight run``: classify a photo, a folder, a video or a camera."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from device.commands import save_arguments
from device.commands.arguments import count, probability, threads
from device.live_page.address import DEFAULT_HOST, DEFAULT_PORT, WebAddress, web_address, web_token

if TYPE_CHECKING:
    from device.bundle import Bundle
    from device.camera_capture import CameraEvent
    from device.classifier import Classifier, Model
    from device.decision import Decision
    from device.errors import LitesightError
    from device.frames import Source
    from device.interpreter import Interpreter
    from device.live_page.page import LivePage
    from device.stop import Stop
    from device.watchdog import Notifier

HELP = "Classify a photo, a folder of photos, a video or a camera."

EPILOG = """\
One line per frame on stdout: the label and its probability, the next likeliest, and the milliseconds of every stage.
Which runtime ran, how many operators XNNPACK took, and what befell a camera is told on stderr.

A camera is read in a thread of its own and its newest frame is classified; it is opened again after a fault. Every
frame of a video is classified. With a directory of model slots instead of a bundle (litesight deploy), a new model is
taken over between two frames.

examples:
  litesight run solar.bundle --source cell.png                 one photo
  litesight run solar.bundle --source photos/ --top 1          every photo under a folder
  litesight run solar.bundle --source clip.mp4 --limit 100     the first frames of a video
  litesight run solar.bundle --source usb:0 --threshold 0.8    a USB camera, until Ctrl-C
  litesight run solar.bundle --source picamera2 --json         the Pi's ribbon-cable camera, as JSON lines
  litesight run solar.bundle --source rtsp://10.0.0.7/stream   a network camera
  litesight run solar.bundle --source usb:0 --web              and a page to look at on this machine
  litesight run solar.bundle --source usb:0 --web 0.0.0.0:8080 on the phone too; the address with its token is told
  litesight run solar.bundle --source usb:0 --save uncertain   keep what the model is unsure of for the next training
  litesight run solar.bundle --source usb:0 --smooth 10 --changes   a line when the label changes

exit status: 0 all frames classified; 1 something failed, or photos of the folder were unreadable and left out;
2 wrong call; 130 or 143 stopped by Ctrl-C or SIGTERM before the end (a camera has no end: 0); 78 as a service that no
restart can mend."""

MISCONFIGURED = 78
"""EX_CONFIG of sysexits(3): the service's unit says that it is of no use to start again."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="a bundle directory, or one of model slots")
    parser.add_argument(
        "--source",
        required=True,
        metavar="FILE|DIR|VIDEO|CAMERA|URL",
        help="photo, folder, video; a camera is usb:0 (V4L2), or picamera2 on a Raspberry Pi; rtsp:// or http://",
    )
    parser.add_argument("--limit", type=count, metavar="N", help="stop after N frames")
    parser.add_argument("--threads", type=threads, metavar="N", help="of the network (default: cores, up to 4)")
    parser.add_argument(
        "--require-signature",
        action="append",
        default=[],
        type=Path,
        metavar="KEY.pub",
        help="refuse a model that this key has not signed; may be given again for other keys",
    )
    answers = parser.add_argument_group("answers")
    answers.add_argument("--top", type=count, default=3, metavar="N", help="labels to show per frame (default: 3)")
    answers.add_argument(
        "--threshold",
        type=probability,
        default=0.0,
        metavar="P",
        help='below this probability the label is "unsure" (JSON: null); 0 to 1 (default: 0)',
    )
    answers.add_argument(
        "--reject",
        action="append",
        default=[],
        metavar="LABEL",
        help='a class that means nothing of interest: its frames are "unsure" too; may be given again',
    )
    answers.add_argument(
        "--smooth",
        type=count,
        default=1,
        metavar="N",
        help="decide by the mean of the last N frames' probabilities (default: 1)",
    )
    answers.add_argument("--changes", action="store_true", help="a line only when the label is another than before")
    answers.add_argument("--json", action="store_true", help="JSON lines on stdout")
    save_arguments.add_arguments(parser)
    web = parser.add_argument_group("live page")
    web.add_argument(
        "--web",
        nargs="?",
        type=web_address,
        const=WebAddress(),
        metavar="[ADDRESS:]PORT",
        help=f"show the picture and what is said of it in a browser (default: {DEFAULT_HOST}:{DEFAULT_PORT})",
    )
    web.add_argument(
        "--web-token", type=web_token, metavar="TOKEN", help="what viewers must know (default: made if one is needed)"
    )


def run(args: argparse.Namespace) -> int:
    """Classify until the source ends, the limit is reached or somebody stops it."""
    from device.errors import LitesightError, UsageError
    from device.stop import Stop
    from device.watchdog import Notifier

    if args.web_token is not None and args.web is None:
        raise UsageError("--web-token needs --web", hint="--web 0.0.0.0:8080")
    with Stop() as stop, ExitStack() as opened:
        notifier = opened.enter_context(Notifier.from_environment())
        try:
            model = _open_model(args)
            opened.callback(model.close)
        except LitesightError as error:
            if notifier.active:
                # No restart of the service mends a damaged bundle or a missing runtime, as it may mend a camera.
                error.exit_status = MISCONFIGURED
            raise
        _say(describe_interpreter(model.current().interpreter))
        return _Session(args, model, stop, notifier, opened).run()


def _open_model(args: argparse.Namespace) -> Model:
    """The bundle, or the active model of a directory of slots."""
    from device.classifier import FixedModel, open_classifier
    from device.slots import Slots, is_slots

    keys: tuple[Path, ...] = tuple(args.require_signature)
    if not is_slots(args.bundle):
        return FixedModel(open_classifier(fitting_bundle(args, args.bundle, keys), args.threads))
    from device.model_slot import SlotModel

    slots = Slots(args.bundle)

    def load(path: Path) -> Classifier:
        # The keys are read each time: with a new model there may be a new one.
        bundle = fitting_bundle(args, path, (*keys, *slots.trusted_keys()))
        return open_classifier(bundle, args.threads)

    return SlotModel(slots, load, lambda text: _say(f"litesight: {text}"))


def fitting_bundle(args: argparse.Namespace, path: Path, keys: Sequence[Path]) -> Bundle:
    """The bundle at ``path``, if its files, its signature and its labels are such as the call demands.

    Raises:
        LitesightError: they are not; told before a camera is opened, and by ``litesight service install``.
    """
    from device import bundle as bundles
    from device.signature import load_signed

    bundle = load_signed(path, keys) if keys else bundles.load(path)
    _decision(args, bundle)
    return bundle


class _Session:
    """One run: what is opened for it, and what happens to each result."""

    def __init__(
        self, args: argparse.Namespace, model: Model, stop: Stop, notifier: Notifier, opened: ExitStack
    ) -> None:
        """Open the source and whatever looks at the results; all is closed with ``opened``, the source first."""
        from device.answer_lines import Summary
        from device.commands.save_arguments import open_saver
        from device.runner import open_capture

        self._args, self._model, self._stop, self._notifier = args, model, stop, notifier
        self._bad = 0
        self._page: LivePage | None = None
        source = self._open_source()
        self._live, self._name = source.live, source.name
        # Once it is read, the thread that reads it closes it: no driver likes both at the same time.
        unread = opened.enter_context(ExitStack())
        unread.callback(source.close)
        self._saver = open_saver(args, _warn, patient=not source.live)
        if self._saver is not None:
            opened.callback(self._saver.close)
        if args.web is not None:
            self._page = opened.enter_context(_open_page(args, model.current()))
            _say(f"litesight: live page at {self._page.start()}")
        self._capture = open_capture(source, self._open_source, model, self._tell, limit=args.limit)
        unread.pop_all()
        opened.callback(self._capture.close)
        self._summary = Summary()

    def run(self) -> int:
        """Classify; the exit status."""
        from device.answer_lines import json_line, text_line
        from device.runner import results

        args, line = self._args, json_line if self._args.json else text_line
        told: tuple[str | None] | None = None
        self._notifier.ready(f"classifying {self._name}" if self._live else "classifying")
        answers = results(self._capture, self._model, lambda bundle: _decision(args, bundle), self._turn)
        try:
            for number, result in enumerate(answers, 1):
                self._summary.add(result)
                if not args.changes or told != (result.label,):
                    # One write: print() makes two, and a signal between them would leave a line without its end.
                    sys.stdout.write(f"{line(result)}\n")
                    sys.stdout.flush()
                    told = (result.label,)
                if self._saver is not None:
                    self._saver.offer(result)
                if self._page is not None:
                    self._page.publish(result)
                if number == args.limit:
                    break
        except KeyboardInterrupt:
            return 0 if self._live else 130
        except BrokenPipeError:
            # The reader (`… | head`) has seen enough. Python would complain at exit when it flushes stdout.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        return self._end()

    def _end(self) -> int:
        if self._saver is not None:
            self._saver.close()
            _say(f"litesight: {self._saver.summary()}")
        if self._live:
            _say(f"litesight: {self._summary.text(self._capture.counts)}")
        if self._bad:
            photos = "1 photo was" if self._bad == 1 else f"{self._bad} photos were"
            _warn(f"{photos} unreadable and left out")
        if self._stop.signal is not None and not self._live:
            return 128 + self._stop.signal
        return 1 if self._bad else 0

    def _turn(self) -> bool:
        self._notifier.alive()
        return not self._stop.requested

    def _open_source(self) -> Source:
        from device.sources import open_source

        return open_source(self._args.source, self._report_bad, min(self._model.current().input_shape[:2]))

    def _report_bad(self, error: LitesightError) -> None:
        self._bad += 1
        _warn(f"{error}; left out")

    def _tell(self, event: CameraEvent) -> None:
        _warn(event.text)
        self._notifier.status(event.text)
        if self._page is not None:
            self._page.note(event.text)


def _open_page(args: argparse.Namespace, classifier: Classifier) -> LivePage:
    from device.live_page.page import LivePage
    from device.video import without_password

    return LivePage(
        args.web.host,
        args.web.port,
        args.web_token,
        top=args.top,
        source=without_password(args.source),
        describe=describe_interpreter(classifier.interpreter).splitlines()[0],
    )


def _decision(args: argparse.Namespace, bundle: Bundle) -> Decision:
    from device.decision import Decision

    return Decision(bundle.labels, bundle.manifest.output, args.threshold, tuple(args.reject), args.smooth, args.top)


def _warn(text: str) -> None:
    _say(f"litesight: warning: {text}")


def _say(text: str) -> None:
    # A full disk under a log, or a reader that has gone away, is no reason to stop classifying.
    with suppress(OSError):
        # One write, for several threads have something to tell.
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def describe_interpreter(interpreter: Interpreter) -> str:
    """The runtime and XNNPACK's share, for people."""
    threads = "1 thread" if interpreter.threads == 1 else f"{interpreter.threads} threads"
    share = f"XNNPACK runs {interpreter.ops_xnnpack} of {interpreter.ops_total} operators"
    note = f"\nlitesight: warning: {interpreter.runtime_note}" if interpreter.runtime_note else ""
    return f"{interpreter.runtime}, {threads}, {share}{note}"

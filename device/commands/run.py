# SPDX-License-Identifier: Apache-2.0
"""``litesight run``: classify a photo, a folder, a video or a camera."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from device.commands.arguments import count, probability, threads

if TYPE_CHECKING:
    from device.bundle import Bundle
    from device.classifier import Model
    from device.decision import Decision
    from device.errors import LitesightError
    from device.frames import Source
    from device.interpreter import Interpreter
    from device.stop import Stop

HELP = "Classify a photo, a folder of photos, a video or a camera."

EPILOG = """\
One line per frame on stdout: the label and its probability, the next likeliest, and the milliseconds of every stage.
Which runtime ran, how many operators XNNPACK took, and what befell a camera is told on stderr.

A camera is read in a thread of its own and its newest frame is classified; it is opened again after a fault. Every
frame of a video is classified.

examples:
  litesight run solar.bundle --source cell.png                 one photo
  litesight run solar.bundle --source photos/ --top 1          every photo under a folder
  litesight run solar.bundle --source clip.mp4 --limit 100     the first frames of a video
  litesight run solar.bundle --source usb:0 --threshold 0.8    a USB camera, until Ctrl-C
  litesight run solar.bundle --source picamera2 --json         the Pi's ribbon-cable camera, as JSON lines
  litesight run solar.bundle --source rtsp://10.0.0.7/stream   a network camera
  litesight run solar.bundle --source usb:0 --smooth 10 --changes   a line when the label changes

exit status: 0 all frames classified; 1 something failed, or photos of the folder were unreadable and left out;
2 wrong call; 130 or 143 stopped by Ctrl-C or SIGTERM before the end (a camera has no end: 0)."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="a bundle directory")
    parser.add_argument(
        "--source",
        required=True,
        metavar="FILE|DIR|VIDEO|CAMERA|URL",
        help="photo, folder, video; a camera is usb:0 (V4L2), or picamera2 on a Raspberry Pi; rtsp:// or http://",
    )
    parser.add_argument("--top", type=count, default=3, metavar="N", help="labels to show per frame (default: 3)")
    parser.add_argument(
        "--threshold",
        type=probability,
        default=0.0,
        metavar="P",
        help='below this probability the label is "unsure" (JSON: null); 0 to 1 (default: 0)',
    )
    parser.add_argument(
        "--reject",
        action="append",
        default=[],
        metavar="LABEL",
        help='a class that means nothing of interest: its frames are "unsure" too; may be given again',
    )
    parser.add_argument(
        "--smooth",
        type=count,
        default=1,
        metavar="N",
        help="decide by the mean of the last N frames' probabilities (default: 1)",
    )
    parser.add_argument("--changes", action="store_true", help="a line only when the label is another than before")
    parser.add_argument("--limit", type=count, metavar="N", help="stop after N frames")
    parser.add_argument("--threads", type=threads, metavar="N", help="of the network (default: cores, up to 4)")
    parser.add_argument("--json", action="store_true", help="JSON lines on stdout")


def run(args: argparse.Namespace) -> int:
    """Classify until the source ends, the limit is reached or somebody stops it."""
    from device.classifier import FixedModel, load_classifier
    from device.stop import Stop

    with Stop() as stop:
        classifier = load_classifier(args.bundle, args.threads)
        _decision(args, classifier.bundle)  # a label that does not exist is told before a camera is opened
        print(describe_interpreter(classifier.interpreter), file=sys.stderr)
        return _classify(args, FixedModel(classifier), stop)


def _classify(args: argparse.Namespace, model: Model, stop: Stop) -> int:
    from device.answer_lines import Summary, json_line, text_line
    from device.runner import open_capture, results
    from device.sources import open_source

    bad = 0

    def report_bad(error: LitesightError) -> None:
        nonlocal bad
        bad += 1
        _warn(f"{error}; left out")

    def open_again() -> Source:
        side = min(model.current().input_shape[:2])
        return open_source(args.source, report_bad, side)

    live = False
    line = json_line if args.json else text_line
    summary = Summary()
    told: tuple[str | None] | None = None
    try:
        source = open_again()
        live = source.live
        with ExitStack() as opened:
            capture = open_capture(source, open_again, model, lambda event: _warn(event.text))
            opened.callback(capture.close)
            answers = results(capture, model, lambda bundle: _decision(args, bundle), lambda: not stop.requested)
            for number, result in enumerate(answers, 1):
                summary.add(result)
                if not args.changes or told != (result.label,):
                    # One write: print() makes two, and a signal between them would leave a line without its end.
                    sys.stdout.write(f"{line(result)}\n")
                    sys.stdout.flush()
                    told = (result.label,)
                if number == args.limit:
                    break
    except KeyboardInterrupt:
        return 0 if live else 130
    except BrokenPipeError:
        # The reader (`… | head`) has seen enough. Python would complain at exit when it flushes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    if live:
        print(f"litesight: {summary.text(capture.counts)}", file=sys.stderr)
    if bad:
        photos = "1 photo was" if bad == 1 else f"{bad} photos were"
        _warn(f"{photos} unreadable and left out")
    if stop.signal is not None and not live:
        return 128 + stop.signal
    return 1 if bad else 0


def _decision(args: argparse.Namespace, bundle: Bundle) -> Decision:
    from device.decision import Decision

    return Decision(bundle.labels, bundle.manifest.output, args.threshold, tuple(args.reject), args.smooth, args.top)


def _warn(text: str) -> None:
    # One write, for several threads have something to tell.
    sys.stderr.write(f"litesight: warning: {text}\n")
    sys.stderr.flush()


def describe_interpreter(interpreter: Interpreter) -> str:
    """The runtime and XNNPACK's share, for people."""
    threads = "1 thread" if interpreter.threads == 1 else f"{interpreter.threads} threads"
    share = f"XNNPACK runs {interpreter.ops_xnnpack} of {interpreter.ops_total} operators"
    note = f"\nlitesight: warning: {interpreter.runtime_note}" if interpreter.runtime_note else ""
    return f"{interpreter.runtime}, {threads}, {share}{note}"

# SPDX-License-Identifier: Apache-2.0
"""``litesight run``: classify a photo, a folder, a video or a camera."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from device.commands.arguments import count, probability, threads

if TYPE_CHECKING:
    from device.errors import LitesightError
    from device.interpreter import Interpreter
    from device.runner import Result

HELP = "Classify a photo, a folder of photos, a video or a camera."

EPILOG = """\
One line per frame on stdout: the label and its probability, the next likeliest, and the milliseconds of every stage.
Which runtime ran, and how many operators XNNPACK took, is told on stderr.

examples:
  litesight run solar.bundle --source cell.png                one photo
  litesight run solar.bundle --source photos/ --top 1         every photo under a folder
  litesight run solar.bundle --source clip.mp4 --limit 100    the first frames of a video
  litesight run solar.bundle --source usb:0 --threshold 0.8   a USB camera, until Ctrl-C
  litesight run solar.bundle --source picamera2 --json        the Pi's ribbon-cable camera, as JSON lines

exit status: 0 all frames classified; 1 something failed, or photos of the folder were unreadable and left out;
2 wrong call; 130 stopped by Ctrl-C before the end (a camera has no end: 0)."""

INTERRUPTED = 130


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="a bundle directory")
    parser.add_argument(
        "--source",
        required=True,
        metavar="FILE|DIR|VIDEO|CAMERA",
        help="photo, folder, video; a camera is usb:0 (V4L2), or picamera2 on a Raspberry Pi",
    )
    parser.add_argument("--top", type=count, default=3, metavar="N", help="labels to show per frame (default: 3)")
    parser.add_argument(
        "--threshold",
        type=probability,
        default=0.0,
        metavar="P",
        help='below this probability the label is "unsure" (JSON: null); 0 to 1 (default: 0)',
    )
    parser.add_argument("--limit", type=count, metavar="N", help="stop after N frames")
    parser.add_argument("--threads", type=threads, metavar="N", help="of the network (default: cores, up to 4)")
    parser.add_argument("--json", action="store_true", help="JSON lines on stdout")


def run(args: argparse.Namespace) -> int:
    """Classify until the source ends, the limit is reached or the user stops it."""
    from device.runner import classify_all, load_classifier
    from device.sources import open_source

    bad = 0

    def report_bad(error: LitesightError) -> None:
        nonlocal bad
        bad += 1
        print(f"litesight: warning: {error}; left out", file=sys.stderr)

    live = False
    try:
        classifier = load_classifier(args.bundle, args.threads)
        print(describe_interpreter(classifier.interpreter), file=sys.stderr)
        with open_source(args.source, report_bad) as source:
            live = source.live
            for number, result in enumerate(classify_all(classifier, source, args.top), 1):
                line = json_line(result, args.threshold) if args.json else text_line(result, args.threshold)
                # One write: print() makes two, and a Ctrl-C between them would leave a line without its end.
                sys.stdout.write(f"{line}\n")
                sys.stdout.flush()
                if number == args.limit:
                    break
    except KeyboardInterrupt:
        return 0 if live else INTERRUPTED
    except BrokenPipeError:
        # The reader (`… | head`) has seen enough. Python would complain at exit when it flushes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    if bad:
        photos = "1 photo was" if bad == 1 else f"{bad} photos were"
        print(f"litesight: warning: {photos} unreadable and left out", file=sys.stderr)
    return 1 if bad else 0


def describe_interpreter(interpreter: Interpreter) -> str:
    """The runtime and XNNPACK's share, for people."""
    threads = "1 thread" if interpreter.threads == 1 else f"{interpreter.threads} threads"
    share = f"XNNPACK runs {interpreter.ops_xnnpack} of {interpreter.ops_total} operators"
    note = f"\nlitesight: warning: {interpreter.runtime_note}" if interpreter.runtime_note else ""
    return f"{interpreter.runtime}, {threads}, {share}{note}"


def text_line(result: Result, threshold: float) -> str:
    """A frame's answer for people."""
    from device.images import printable

    best, *others = result.classification.predictions
    label = printable(best.label) if best.probability >= threshold else "unsure"
    rest = ", ".join(f"{printable(other.label)} {other.probability:.1%}" for other in others)
    ms = result.classification.ms
    return (
        f"{printable(result.frame.name)}: {label} {best.probability:.1%}"
        + (f" ({rest})" if rest else "")
        + f"  capture {ms.capture:.2f}, preprocess {ms.preprocess:.2f}, invoke {ms.invoke:.2f}, "
        f"postprocess {ms.postprocess:.2f} ms"
    )


def json_line(result: Result, threshold: float) -> str:
    """A frame's answer for programs; every character outside ASCII is escaped, so any file name survives."""
    best = result.classification.predictions[0]
    ms = result.classification.ms
    return json.dumps(
        {
            "index": result.frame.index,
            "name": result.frame.name,
            "label": best.label if best.probability >= threshold else None,
            "probability": round(best.probability, 6),
            "predictions": [
                {"index": each.index, "label": each.label, "probability": round(each.probability, 6)}
                for each in result.classification.predictions
            ],
            "ms": {
                "capture": round(ms.capture, 3),
                "preprocess": round(ms.preprocess, 3),
                "invoke": round(ms.invoke, 3),
                "postprocess": round(ms.postprocess, 3),
            },
        }
    )

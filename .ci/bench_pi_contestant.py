#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One contestant of make bench-pi in a process of its own: video in, labels out, a pass over the clip when asked.

Usage: bench_pi_contestant.py NAME THREADS CLIP BUNDLE MODELS

Says how it is configured in one line of JSON, then answers every line on standard input with another: the seconds of a
whole pass, from opening the clip to the last label, the processor seconds, and the likeliest classes of every frame.
``NAME`` is one of CONTESTANTS; ``…+thread`` decodes in a thread of its own, as the kit does.
"""

from __future__ import annotations

import json
import queue
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

TOP = 3
MAX_AHEAD = 2
"""Decoded frames that wait for a peer."""

Answers = list[list[int]]
"""Per frame the likeliest three classes, likeliest first; empty where nothing is classified."""

Pass = Callable[[], Answers]
"""Runs the clip once."""

Classify = Callable[[Any], list[int]]
"""The likeliest three classes of a BGR frame, after their names were looked up."""


def ours(threads: int, clip: str, bundle: Path, models: Path) -> tuple[str, Pass]:
    """The kit's pipeline, as ``litesight run`` has it."""
    from device.classifier import FixedModel, load_classifier
    from device.decision import Decision
    from device.runner import open_capture, results
    from device.sources import open_source

    classifier = load_classifier(bundle, threads)
    model = FixedModel(classifier)

    def whole() -> Answers:
        source = open_source(clip)
        capture = open_capture(source, lambda: source, model, lambda event: None)
        answers = results(capture, model, lambda each: Decision(each.labels, each.manifest.output, top=TOP))
        labels = [[prediction.index for prediction in result.predictions] for result in answers]
        capture.close()
        return labels

    interpreter = classifier.interpreter
    share = f"XNNPACK {interpreter.ops_xnnpack} of {interpreter.ops_total} operators"
    return f"{interpreter.runtime}, model.tflite (int8), {share}", whole


def invoke(threads: int, clip: str, bundle: Path, models: Path) -> tuple[str, Pass]:
    """Nothing but the network, as often as the clip has frames: what no pipeline can beat on one interpreter."""
    from device.classifier import load_classifier

    interpreter = load_classifier(bundle, threads).interpreter
    interpreter.invoke(np.zeros(interpreter.input.shape, np.int8))
    native, total = interpreter._native, frame_count(clip)

    def whole() -> Answers:
        for _ in range(total):
            native.invoke()
        return []

    return f"{interpreter.runtime}, bare invoke()", whole


def decode(threads: int, clip: str, bundle: Path, models: Path) -> tuple[str, Pass]:
    """Nothing but decoding: where the rest of an end-to-end time goes."""

    def whole() -> Answers:
        for _ in frames(clip):
            pass
        return []

    return f"OpenCV {cv2.__version__}, cv2.VideoCapture.read()", whole


def mediapipe(threads: int, bundle: Path, models: Path) -> tuple[str, Classify]:
    """Its ImageClassifier, which crops, resizes, normalises and names the labels itself."""
    import mediapipe as mp
    from mediapipe.tasks.python.components.containers.rect import RectF
    from mediapipe.tasks.python.core.base_options import BaseOptions
    from mediapipe.tasks.python.vision import ImageClassifier, ImageClassifierOptions
    from mediapipe.tasks.python.vision.core.image_processing_options import ImageProcessingOptions

    options = ImageClassifierOptions(
        base_options=BaseOptions(model_asset_path=str(models / "mediapipe.tflite")), max_results=TOP
    )
    classifier = ImageClassifier.create_from_options(options)
    # The part of the picture that the others see; without it MediaPipe squeezes the whole frame, at the same speed.
    square = ImageProcessingOptions(region_of_interest=RectF(left=80 / 640, top=0.0, right=560 / 640, bottom=1.0))

    def classify(frame: Any) -> list[int]:
        image = mp.Image(image_format=mp.ImageFormat.SRGB, data=cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
        categories = classifier.classify(image, square).classifications[0].categories
        assert all(category.category_name for category in categories)
        return [int(category.index) for category in categories]

    note = "its number of threads cannot be set: 1 on Linux"
    return f"MediaPipe {mp.__version__} ImageClassifier, the same int8 network with uint8 in and out; {note}", classify


def onnxruntime(threads: int, bundle: Path, models: Path) -> tuple[str, Classify]:
    """cv2.resize, and a network that takes the pixels as they are."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = ort.InferenceSession(str(models / "int8.onnx"), options, providers=["CPUExecutionProvider"])
    name, labels = session.get_inputs()[0].name, read_labels(bundle)

    def classify(frame: Any) -> list[int]:
        small = cv2.resize(square(frame), (224, 224), interpolation=cv2.INTER_LINEAR)
        pixels = cv2.cvtColor(small, cv2.COLOR_BGR2RGB)[np.newaxis]
        return best(session.run(None, {name: pixels})[0][0], labels)

    how = "QDQ uint8/int8 per channel by its own quantiser, all graph optimisations, uint8 pixels in"
    return f"ONNX Runtime {ort.__version__}, {how}, threads {threads}", classify


def opencv(threads: int, bundle: Path, models: Path) -> tuple[str, Classify]:
    """blobFromImage and OpenCV's own engine."""
    # The engine of OpenCV 5 takes 13 ms where the one of OpenCV 4, which it still has, takes 33.
    engine = getattr(cv2.dnn, "ENGINE_OPENCV", getattr(cv2.dnn, "ENGINE_NEW", None))
    path = str(models / "float_planes.onnx")
    net = cv2.dnn.readNetFromONNX(path) if engine is None else cv2.dnn.readNetFromONNX(path, engine)
    cv2.setNumThreads(threads)
    labels = read_labels(bundle)

    def classify(frame: Any) -> list[int]:
        blob = cv2.dnn.blobFromImage(frame, 1 / 128, (224, 224), (128, 128, 128), swapRB=True, crop=True)
        net.setInput(blob)
        return best(net.forward()[0], labels)

    how = "float32 ONNX on its new engine: it refuses or garbles this network in int8"
    return f"OpenCV {cv2.__version__} DNN, {how}, threads {threads}", classify


WHOLE = {"ours": ours, "invoke": invoke, "decode": decode}
PEERS = {"mediapipe": mediapipe, "onnxruntime": onnxruntime, "opencv": opencv}


def frames(clip: str) -> Iterator[Any]:
    """BGR frames, as OpenCV decodes them."""
    video = cv2.VideoCapture(clip)
    while True:
        ok, frame = video.read()
        if not ok:
            return
        yield frame


def frames_from_thread(clip: str) -> Iterator[Any]:
    """The same, decoded while the peer computes."""
    ahead: queue.Queue[Any] = queue.Queue(MAX_AHEAD)

    def read() -> None:
        for frame in frames(clip):
            ahead.put(frame)
        ahead.put(None)

    threading.Thread(target=read, daemon=True).start()
    while (frame := ahead.get()) is not None:
        yield frame


def frame_count(clip: str) -> int:
    """How many frames can be decoded."""
    return sum(1 for _ in frames(clip))


def square(frame: Any) -> Any:
    """The largest square in the middle."""
    height, width = frame.shape[:2]
    side = min(height, width)
    x, y = (width - side) // 2, (height - side) // 2
    return frame[y : y + side, x : x + side]


def best(scores: Any, labels: list[str]) -> list[int]:
    """The likeliest classes, likeliest first, with their names looked up, as every contestant does."""
    order = np.argpartition(scores, -TOP)[-TOP:]
    order = order[np.argsort(scores[order])[::-1]]
    assert all(labels[index] for index in order)
    return [int(index) for index in order]


def read_labels(bundle: Path) -> list[str]:
    """One a line."""
    return (bundle / "labels.txt").read_text(encoding="utf-8").splitlines()


def prepared(name: str, threads: int, clip: str, bundle: Path, models: Path) -> tuple[str, Pass]:
    """The contestant's configuration and its pass over the clip."""
    if name in WHOLE:
        return WHOLE[name](threads, clip, bundle, models)
    peer, _, thread = name.partition("+")
    config, classify = PEERS[peer](threads, bundle, models)
    source = frames_from_thread if thread else frames
    how = "decoding in a thread of its own" if thread else "one frame after another"
    return f"{config}; {how}", lambda: [classify(frame) for frame in source(clip)]


def main() -> int:
    """Serve."""
    name, threads, clip, bundle, models = sys.argv[1:]
    config, whole = prepared(name, int(threads), clip, Path(bundle), Path(models))
    print(json.dumps({"config": config}), flush=True)
    for _ in sys.stdin:
        started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
        answers = whole()
        seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(json.dumps({"seconds": seconds, "cpu_seconds": cpu, "answers": answers}), flush=True)
    return 0


if __name__ == "__main__":
    # The kit's modules, from the checkout that this file is part of.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    sys.exit(main())

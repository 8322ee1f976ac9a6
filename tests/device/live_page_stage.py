# SPDX-License-Identifier: Apache-2.0
"""What the live page's tests share: results of a real classifier, and somebody who keeps publishing them."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from device.classifier import Classifier
from device.frames import Frame
from device.live_page.page import LivePage
from device.preprocess import PixelFormat
from device.results import Result


def result_of(
    classifier: Classifier,
    pixels: NDArray[np.uint8],
    format: PixelFormat = PixelFormat.RGB888,
    index: int = 0,
    **changes: Any,
) -> Result:
    """The classifier's answer to one frame; ``changes`` replace fields of the result."""
    answer = classifier.classify(pixels, format, top=3)
    given = np.empty(classifier.input_shape, np.int8)
    classifier.prepare(pixels, format, given)
    frame = Frame(pixels, f"camera 0#{index}", index, time.monotonic(), format)
    fields = {"predictions": answer.predictions, "label": answer.predictions[0].label, **changes}
    return Result(frame, answer, input=given, bundle=classifier.bundle, **fields)


class Publishing:
    """Publishes one result again and again from a thread of its own, as the runner's main thread does."""

    def __init__(self, page: LivePage, result: Result) -> None:
        self._page = page
        self.result = result
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._publish)

    def _publish(self) -> None:
        while not self._stop.wait(0.002):
            self._page.publish(self.result)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()


def ask(
    url: str, path: str = "/", method: str = "GET", headers: Mapping[str, str] | None = None, body: str | None = None
) -> tuple[int, dict[str, str], bytes]:
    """(status, headers in lower case, body) of one request; the path goes out as it is."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    try:
        connection.putrequest(method, path, skip_host="Host" in (headers or {}), skip_accept_encoding=True)
        for name, value in (headers or {}).items():
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(None if body is None else body.encode())
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()

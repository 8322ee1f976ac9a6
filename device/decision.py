# SPDX-License-Identifier: Apache-2.0
"""What is told of a frame: the likeliest classes over the last few frames, and a label or none."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from device.errors import LitesightError, UsageError
from device.manifest import OutputSpec
from device.postprocess import Prediction, probabilities, top_k

MAX_SMOOTH: Final = 1000
"""Frames; at 30 a second more than half a minute, and 8 kB of memory for each class."""

# Probabilities are kept as whole multiples of 2**-40. A float64 holds every sum of up to 2**13 of them exactly, so
# adding the new frame and taking away the oldest leaves no rounding error behind, not even after a year.
_STEPS: Final = 2.0**40
# So many searches for the largest are faster than one sort of all classes.
_FEW: Final = 8


class Decision:
    """Smoothing, threshold and reject classes of one model. One instance serves one thread.

    Args:
        labels: of the model, one per output.
        spec: how to read the outputs.
        threshold: below this probability no label is told.
        reject: classes that mean "nothing of interest", such as a background; they are told as no label.
        smooth: probabilities are the mean of this many frames, of fewer at the beginning; 1 to ``MAX_SMOOTH``.
        top: how many classes to name.

    Raises:
        UsageError: a value is out of range, or the model has no such class.
    """

    def __init__(
        self,
        labels: tuple[str, ...],
        spec: OutputSpec,
        threshold: float = 0.0,
        reject: Collection[str] = (),
        smooth: int = 1,
        top: int = 3,
    ) -> None:
        if not 0 <= threshold <= 1:
            raise UsageError(f"expected a threshold from 0 to 1, found {threshold}")
        if not 1 <= smooth <= MAX_SMOOTH:
            raise UsageError(f"expected 1 to {MAX_SMOOTH} frames to smooth over, found {smooth}")
        if top < 1:
            raise UsageError(f"expected at least one label to show, found {top}")
        for label in reject:
            if label not in labels:
                raise _unknown(label, labels)
        self._labels, self._spec, self._top = labels, spec, min(top, len(labels))
        self._threshold, self._reject = threshold, frozenset(reject)
        # In units of 1 / _STEPS: a row for every frame of the window, their sum, and a copy of it to search.
        self._window: NDArray[np.float64] = np.zeros((smooth, len(labels)))
        self._sum: NDArray[np.float64] = np.zeros(len(labels))
        self._search: NDArray[np.float64] = np.empty(len(labels))
        self._seen = 0

    @property
    def smooth(self) -> int:
        """Over how many frames the probabilities are averaged."""
        return len(self._window)

    def decide(self, output: NDArray[Any]) -> tuple[tuple[Prediction, ...], str | None]:
        """Take the next frame's answer into account.

        Args:
            output: (classes,) int8, what the network said of every class; it is not kept.

        Returns:
            The likeliest classes, likeliest first, of equal ones the lower index; their scores are those of this
            frame. And the label to tell: the first of them, or None below the threshold or for a reject class. Without
            smoothing the classes are exactly those of :func:`device.postprocess.top_k`.

        Raises:
            LitesightError: as many outputs as labels are needed.
        """
        if len(self._window) == 1:
            predictions = top_k(output, self._labels, self._spec, self._top)
        else:
            if len(output) != len(self._labels):
                raise LitesightError(f"expected {len(self._labels)} outputs, one per label, found {len(output)}")
            predictions = self._smoothed(output)
        best = predictions[0]
        is_told = best.probability >= self._threshold and best.label not in self._reject
        return predictions, best.label if is_told else None

    def reset(self) -> None:
        """Forget the frames so far: the next one has nothing to do with them, as after a change of source."""
        self._window.fill(0)
        self._sum.fill(0)
        self._seen = 0

    def _smoothed(self, output: NDArray[Any]) -> tuple[Prediction, ...]:
        row = self._window[self._seen % len(self._window)]
        self._sum -= row
        probabilities(output, self._spec, out=row)
        row *= _STEPS
        np.rint(row, out=row)
        self._sum += row
        self._seen += 1
        unit = _STEPS * min(self._seen, len(self._window))
        return tuple(
            Prediction(i, self._labels[i], float(self._sum[i]) / unit, output[i].item()) for i in self._likeliest()
        )

    def _likeliest(self) -> list[int]:
        if self._top > _FEW:
            order: list[int] = np.argsort(-self._sum, kind="stable")[: self._top].tolist()
            return order
        np.copyto(self._search, self._sum)
        found = []
        for _ in range(self._top):
            # Of equal ones argmax finds the first.
            found.append(int(self._search.argmax()))
            self._search[found[-1]] = -1.0
        return found


def _unknown(label: str, labels: tuple[str, ...]) -> UsageError:
    by_lower_case = {each.lower(): each for each in labels}
    near = [by_lower_case[each] for each in difflib.get_close_matches(label.lower(), by_lower_case)]
    if near:
        hint = f"did you mean {' or '.join(map(repr, near))}?"
    else:
        shown = ", ".join(map(repr, labels[:5]))
        hint = f"its classes are {shown}" + (f" and {len(labels) - 5} more" if len(labels) > 5 else "")
    return UsageError(f"expected a class of the model to reject, found {label!r}", hint=hint)

# SPDX-License-Identifier: Apache-2.0
"""What comes out of the classifier: the times of one frame's stages, the answer, and the label that is told."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device.bundle import Bundle
from device.frames import Frame
from device.postprocess import Prediction


@dataclass(frozen=True)
class StageTimes:
    """Milliseconds of one frame's way.

    Attributes:
        capture: reading, decoding or waiting for the camera; 0 if unmeasured.
        preprocess: crop, resize, quantise.
        wait: from there until the network was free; 0 where the stages run one after another.
        invoke: the network.
        postprocess: from the network's answer to the label: probabilities, smoothing, the likeliest classes.
    """

    preprocess: float
    invoke: float
    postprocess: float
    capture: float = 0.0
    wait: float = 0.0

    @property
    def total(self) -> float:
        """Sum of the stages."""
        return self.capture + self.latency

    @property
    def latency(self) -> float:
        """From the frame's delivery to its label."""
        return self.preprocess + self.wait + self.invoke + self.postprocess


@dataclass(frozen=True)
class Classification:
    """The network's answer to one picture.

    Attributes:
        predictions: the likeliest classes of this picture alone, likeliest first.
        ms: how long each stage took.
        output: (classes,) int8, what the network said of every class.
    """

    predictions: tuple[Prediction, ...]
    ms: StageTimes
    output: NDArray[np.int8]


@dataclass(frozen=True)
class Result:
    """A frame of a source, its classification, and what is told of it.

    Attributes:
        frame: its pixels are valid until the next result: their memory is used again.
        classification: the network's answer to this frame alone.
        predictions: the likeliest classes over the frames that are smoothed, likeliest first; those of
            ``classification`` where nothing is smoothed.
        label: the likeliest class; None below the threshold, or if it is one that counts as nothing.
        input: int8 (height, width, channels), what the network was given; valid until the next result.
        bundle: the model that answered; its manifest says how to read ``input``.
    """

    frame: Frame
    classification: Classification
    predictions: tuple[Prediction, ...]
    label: str | None
    input: NDArray[np.int8]
    bundle: Bundle

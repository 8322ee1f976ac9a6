# SPDX-License-Identifier: Apache-2.0
"""How to train, as plain numbers: they can be checked before TensorFlow is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from device.errors import LitesightError

CHECKPOINT_NAME: Final = "checkpoint.npz"
"""The file in a training's work directory from which it can be resumed."""


@dataclass(frozen=True)
class Recipe:
    """How to train. The defaults suit a few hundred to a few thousand photos and a pretrained start.

    Attributes:
        epochs: passes over the training photos.
        learning_rate: at the top, after the warm-up; falls to 0 along a cosine.
        weight_decay: AdamW's, on convolution and classifier kernels only.
        warmup_epochs: of a linearly rising learning rate.
        label_smoothing: share of the target spread over all classes.
        batch_size: photos a step; whoever makes the batches uses it too.
        seed: of order, augmentation and dropout.

    Raises:
        LitesightError: a value is out of range.
    """

    epochs: int = 20
    learning_rate: float = 3e-3
    weight_decay: float = 0.02
    warmup_epochs: float = 1.0
    label_smoothing: float = 0.1
    batch_size: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        limits: dict[str, tuple[float, float]] = {
            "epochs": (1, 10_000),
            "learning_rate": (1e-7, 10.0),
            "weight_decay": (0.0, 1.0),
            "warmup_epochs": (0.0, 1000.0),
            "label_smoothing": (0.0, 0.9),
            "batch_size": (2, 65_536),
            "seed": (0, 2**63 - 1),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise LitesightError(f"{name} must be between {low} and {high}. Received: {value}")

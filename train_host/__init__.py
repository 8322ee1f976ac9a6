# SPDX-License-Identifier: Apache-2.0
"""From photos to a bundle: the scaling rule, the network, data, training, quantisation and evaluation.

The only room that may import TensorFlow.
"""

from __future__ import annotations

import logging
import os

# Before TensorFlow's import anywhere in this room: its start-up chatter would bury a one-line error of ours.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
logging.getLogger("tensorflow").setLevel(logging.ERROR)

# SPDX-License-Identifier: Apache-2.0
"""From a bundle to C: reading a .tflite, running it in TensorFlow Lite Micro, and emitting the sources for a chip."""

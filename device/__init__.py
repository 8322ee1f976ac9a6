# SPDX-License-Identifier: Apache-2.0
"""What runs on a Raspberry Pi: the bundle, preprocessing, the interpreter, sources, the runner and the bench.

This room imports nothing of the others and never TensorFlow. Nothing is imported here, so that ``litesight doctor``
works before numpy or OpenCV are installed.
"""

# SPDX-License-Identifier: Apache-2.0
"""The row-streaming static engine: .tflite -> graph of layers -> plan -> C sources. ``docs/engine.md`` tells how."""

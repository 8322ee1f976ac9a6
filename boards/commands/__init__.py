# SPDX-License-Identifier: Apache-2.0
"""One thin module a sub-command: its arguments and what it prints. The work is done by the room around it."""

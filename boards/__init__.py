# SPDX-License-Identifier: Apache-2.0
"""What is known about boards: one TOML file a board, one port a chip family; building for, emulating, talking to it.

Nothing here knows about models.
"""

# SPDX-License-Identifier: Apache-2.0
"""What is known about boards: one TOML file a board, one port a chip family; building for, emulating, flashing it.

Nothing here knows about models. The first boards arrive with the static engine.
"""

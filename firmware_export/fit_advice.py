# SPDX-License-Identifier: Apache-2.0
"""What helps when a network does not fit a board: the other form of input, a smaller one, another board."""

from __future__ import annotations

from boards.board import FLASH, RAM, Board
from boards.catalogue import all_boards
from firmware_export import firmware
from firmware_export.fit import Fit, refuse
from firmware_export.narrower_network import most_channels_that_fit
from firmware_export.network_fit import PlannedNetwork, fit_firmware, plan_network
from firmware_export.smaller_network import largest_input_that_fits
from firmware_export.static_engine.kernel import kernel_set_for


def advice(planned: PlannedNetwork, board: Board, form: str) -> tuple[str, ...]:
    """What would fit, most alike first; empty when the network fits.

    Args:
        planned: with the board's kernel set.
        board: which.
        form: FRAME or ROWS of ``firmware``.
    """
    fit = fit_firmware(planned, board, form)
    if fit.fits:
        return ()
    found = []
    if form == firmware.FRAME and fit_firmware(planned, board, firmware.ROWS).fits:
        found.append("with --input rows it fits")
    if _is_short(fit, RAM) and not _is_short(fit, FLASH):
        size = largest_input_that_fits(planned, board, form)
        if size is not None:
            found.append(f"with an input of {size[0]}×{size[1]} it would fit")
    if _is_short(fit, FLASH):
        percent = most_channels_that_fit(planned, board, form)
        fewer = "fewer channels need less flash" if percent is None else f"with {percent}% of the channels it would fit"
        found.append(f"{fewer} (litesight train --width)")
    others = boards_that_fit(planned, form)
    if others:
        found.append(f"it fits {', '.join(others)}")
    return tuple(found) or ("no board of the kit has room for it; train a smaller network",)


def boards_that_fit(planned: PlannedNetwork, form: str) -> tuple[str, ...]:
    """The kit's boards that have room for the network, by id."""
    plans = {planned.kernel_set: planned}
    found = []
    for board in all_boards():
        kernel_set = kernel_set_for(board.mcu.features)
        if kernel_set not in plans:
            plans[kernel_set] = plan_network(planned.network, kernel_set)
        if fit_firmware(plans[kernel_set], board, form).fits:
            found.append(board.id)
    return tuple(found)


def require_fit(planned: PlannedNetwork, board: Board, form: str) -> None:
    """Refuse a network that does not fit before anything is compiled.

    Raises:
        LitesightError: region, bytes over, and what would fit.
    """
    fit = fit_firmware(planned, board, form)
    if not fit.fits:
        refuse(fit, hint="; ".join(advice(planned, board, form)))


def _is_short(fit: Fit, kind: str) -> bool:
    return any(region.kind == kind and region.left < 0 for region in fit.regions)

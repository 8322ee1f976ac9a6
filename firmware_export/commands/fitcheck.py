# SPDX-License-Identifier: Apache-2.0
"""``litesight fitcheck``: does a network fit a board?"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from boards.board import Board
    from firmware_export.fit import Fit
    from firmware_export.network_fit import Network, PlannedNetwork

HELP = "Say whether a network fits a board, region by region, before anything is compiled."
EPILOG = """\
The network is planned as for a build, so arena, weights and tables are exact. Nothing is compiled: code and the serial
line's variables are allowances (32 kB and 256 bytes), which the kit's tests hold against linked images.

examples:
  litesight fitcheck mybundle                                  all boards, a line each
  litesight fitcheck mybundle --board netduinoplus2            every region, and what is biggest
  litesight fitcheck network.tflite --board mps2-an386 --input rows
  litesight fitcheck mybundle --board my-board.toml --json

exit status: 0 it fits (without --board: one board at least), 1 it does not, 2 wrong usage or an unknown board."""

INPUTS = ("frame", "rows")
BIGGEST = 5


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("model", metavar="BUNDLE_OR_TFLITE", type=Path, help="bundle directory, or an int8 .tflite")
    parser.add_argument("--board", metavar="ID", help="one board, by id or file (default: all)")
    parser.add_argument(
        "--input", choices=INPUTS, default="frame", help="a frame in RAM (default), or rows as they come"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")


def run(args: argparse.Namespace) -> int:
    """Plan the network and add up."""
    from boards.catalogue import all_boards, find
    from firmware_export.fit_advice import advice
    from firmware_export.network_fit import fit_firmware, plan_network, read_network
    from firmware_export.static_engine.kernel import kernel_set_for

    boards = all_boards() if args.board is None else (find(args.board),)
    network = read_network(args.model)
    plans: dict[str, PlannedNetwork] = {}
    fits: list[tuple[Board, PlannedNetwork, Fit]] = []
    for board in boards:
        kernel_set = kernel_set_for(board.mcu.features)
        if kernel_set not in plans:
            plans[kernel_set] = plan_network(network, kernel_set)
        fits.append((board, plans[kernel_set], fit_firmware(plans[kernel_set], board, args.input)))
    advices = advice(fits[0][1], boards[0], args.input) if args.board is not None else ()
    if args.json:
        print(json.dumps(_document(network, args.input, fits, advices), indent=1))
    elif args.board is None:
        print(_overview(network, args.input, fits))
    else:
        print(_details(network, args.input, *fits[0], advices))
    return 0 if any(fit.fits for _, _, fit in fits) else 1


def _overview(network: Network, form: str, fits: list[tuple[Board, PlannedNetwork, Fit]]) -> str:
    rows = [("board", "core", "kernels", "region", "needed", "available", "left", "fits")]
    for board, planned, fit in fits:
        for index, region in enumerate(fit.regions):
            head = (board.id, board.mcu.core, planned.kernel_set) if index == 0 else ("", "", "")
            verdict = "" if index else "yes" if fit.fits else "NO"
            numbers = (f"{region.needed:,}", f"{region.available:,}", f"{region.left:,}")
            rows.append((*head, f"{region.name} ({region.kind})", *numbers, verdict))
    return "\n".join([_title(network, form), "", *_aligned(rows, left=(0, 1, 2, 3, 7))])


def _details(
    network: Network, form: str, board: Board, planned: PlannedNetwork, fit: Fit, advices: tuple[str, ...]
) -> str:
    from firmware_export.fit import shortage
    from firmware_export.network_fit import biggest_layers, biggest_tensors

    regions = [("region", "needed", "available", "left")]
    regions += [
        (f"{region.name} ({region.kind})", f"{region.needed:,}", f"{region.available:,}", f"{region.left:,}")
        for region in fit.regions
    ]
    parts = [("part", "bytes"), *((part.name, f"{part.bytes:,}") for part in fit.parts)]
    tensors = [("biggest in the arena", "map", "rows kept", "bytes")]
    tensors += [
        (tensor.name, "×".join(map(str, tensor.shape)), f"{tensor.rows}", f"{tensor.bytes:,}")
        for tensor in biggest_tensors(planned, BIGGEST)
    ]
    layers = [("most weights", "bytes"), *((name, f"{size:,}") for name, size in biggest_layers(planned, BIGGEST))]
    lines = [f"{_title(network, form)}; {board.id} ({board.mcu.core}), {planned.kernel_set} kernels"]
    tables: tuple[Sequence[tuple[str, ...]], ...] = (regions, parts, tensors, layers)
    for table in tables:
        lines += ["", *_aligned(table)]
    lines += ["", f"fits {board.id}" if fit.fits else f"DOES NOT FIT {board.id}: {shortage(fit)}"]
    return "\n".join([*lines, *advices])


def _title(network: Network, form: str) -> str:
    source = network.graph.features[network.graph.input]
    told = "a frame in RAM" if form == "frame" else "rows as they come"
    return f"{network.name}, {source.height}×{source.width}×{source.channels}, {told}"


def _document(
    network: Network, form: str, fits: list[tuple[Board, PlannedNetwork, Fit]], advices: tuple[str, ...]
) -> dict[str, Any]:
    from firmware_export.network_fit import biggest_layers, biggest_tensors

    return {
        "model": network.name,
        "input": form,
        "boards": [
            {
                "board": board.id,
                "kernels": planned.kernel_set,
                "fits": fit.fits,
                "regions": [asdict(region) | {"left": region.left} for region in fit.regions],
                "parts": [asdict(part) for part in fit.parts],
                "biggest_tensors": [asdict(tensor) for tensor in biggest_tensors(planned, BIGGEST)],
                "biggest_weights": [{"layer": name, "bytes": size} for name, size in biggest_layers(planned, BIGGEST)],
            }
            for board, planned, fit in fits
        ],
        "advice": list(advices),
    }


def _aligned(rows: Sequence[tuple[str, ...]], left: tuple[int, ...] = (0,)) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            f"{cell:<{width}}" if column in left else f"{cell:>{width}}"
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]

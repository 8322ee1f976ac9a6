#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures the static engine on emulated boards and prints one line per figure: reached, asked for, what TFLM needs.

Usage: make bench-mcu [NETWORKS=DIR], where DIR holds the test networks efflite_w025_96.tflite (M1) and
efflite_w035_d05_48.tflite (M2). Instructions are exact counts of the emulator; they say nothing of milliseconds or
cycles. TFLM's figures are those of TFLM + CMSIS-NN, measured once on the same networks (docs/engine.md).
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LITESIGHT = [sys.executable, "-m", "litesight"]
WORK = Path("build/bench-mcu")
M1, M2 = "efflite_w025_96.tflite", "efflite_w035_d05_48.tflite"
MILLION = 1_000_000
KIB = 1024
BOARDS = ("mps2-an385", "mps2-an386", "mps2-an500", "mps2-an505", "mps3-an547", "netduinoplus2")


@dataclass(frozen=True)
class Line:
    """One figure; a smaller one is better."""

    what: str
    reached: float
    asked: float
    stretch: float | None
    tflm: float | None
    unit: str

    def text(self) -> str:
        """The row of the table."""
        mark = "MISS" if self.reached > self.asked else "ok"
        if mark == "ok" and self.stretch is not None and self.reached <= self.stretch:
            mark = "ok+"
        return (
            f"{mark:<5}{self.what:<44}{self._number(self.reached):>12}{self._number(self.asked):>12}"
            f"{self._number(self.stretch):>12}{self._number(self.tflm):>12}{self._ratio():>8}"
        )

    def _number(self, value: float | None) -> str:
        if value is None:
            return "–"
        return f"{value / MILLION:.2f} M" if self.unit == "instructions" else f"{value:,.0f}"

    def _ratio(self) -> str:
        return "" if self.tflm is None else f"{self.tflm / self.reached:.2f}x"


def main(networks: Path) -> int:
    """Bench, print, and keep the records beside the table in build/bench-mcu."""
    models = [networks / name for name in (M1, M2)]
    missing = [str(path) for path in models if not path.is_file()]
    if missing:
        print(f"missing: {', '.join(missing)} (make bench-mcu NETWORKS=DIR names the folder)", file=sys.stderr)
        return 1
    WORK.mkdir(parents=True, exist_ok=True)
    m1 = {(board, "frame"): bench(models[0], board, "frame") for board in BOARDS}
    m1 |= {(board, "rows"): bench(models[0], board, "rows") for board in ("mps2-an386", "mps3-an547")}
    m2 = {board: bench(models[1], board, "frame") for board in ("mps2-an386", "mps3-an547")}
    lite0 = bench_lite0()
    records = {f"M1 {board} {form}": record for (board, form), record in m1.items()}
    records |= {f"M2 {board} frame": r for board, r in m2.items()}
    records["Lite0 224x224 mps2-an386 rows"] = lite0
    print(f"{'':<32}{'instructions':>14}{'RAM':>9}{'stack':>7}{'flash':>11}{'bytes that differ from TFLM':>30}")
    for name, record in records.items():
        print(
            f"{name:<32}{record['instructions_per_inference']:>14,.0f}{record['ram_bytes']:>9,}{record['stack_bytes']:>7,}"
            f"{record['flash_bytes']:>11,}{record['mismatched_bytes']:>30}"
        )
    m4, m7, m55, m3 = (m1[b, "frame"] for b in ("mps2-an386", "mps2-an500", "mps3-an547", "mps2-an385"))
    count = "instructions_per_inference"
    tables, code = m4["constants_bytes"], m4["flash_bytes"] - m4["constants_bytes"]
    lines = [
        Line("M1 RAM, frame in RAM (bytes)", m4["ram_bytes"], 48 * KIB, 44 * KIB, 194_892, "bytes"),
        Line("M1 RAM, rows (bytes)", m1["mps2-an386", "rows"]["ram_bytes"], 20 * KIB, 17 * KIB, None, "bytes"),
        Line("M1 instructions, M4", m4[count], 22.3 * MILLION, 15 * MILLION, 44.65 * MILLION, "instructions"),
        Line("M1 instructions, M7", m7[count], 22.1 * MILLION, 15 * MILLION, 44.30 * MILLION, "instructions"),
        Line("M1 instructions, M55", m55[count], 5.9 * MILLION, 4 * MILLION, 11.87 * MILLION, "instructions"),
        Line("M1 instructions, M3, portable kernels", m3[count], 80 * MILLION, None, 160.97 * MILLION, "instructions"),
        Line("M2 instructions, M4", m2["mps2-an386"][count], 5.2e6, 3.6e6, 10.47e6, "instructions"),
        Line("M2 instructions, M55", m2["mps3-an547"][count], 1.37e6, 1.0e6, 2.74e6, "instructions"),
        Line("M1 flash: weights and tables (bytes)", tables, 330_000, 315_000, 478_988, "bytes"),
        Line("M1 flash: code (bytes)", code, 20_000, 14_000, 56_033, "bytes"),
        Line("Lite0 224x224 RAM, rows (bytes)", lite0["ram_bytes"], 192 * KIB, 170 * KIB, 1_500_000, "bytes"),
    ]
    print(f"\n{'':<49}{'reached':>12}{'asked for':>12}{'stretch':>12}{'TFLM':>12}{'less':>8}")
    for line in lines:
        print(line.text())
    mismatched = sum(record["mismatched_bytes"] for record in records.values())
    print(f"\n{mismatched} output bytes differ from TFLM, over {len(records)} benches")
    (WORK / "records.json").write_text(json.dumps(records, indent=1, sort_keys=True) + "\n")
    return 1 if mismatched or any(line.reached > line.asked for line in lines) else 0


def bench(model: Path, board: str, form: str, *more: str) -> dict[str, Any]:
    """The figures of one bench."""
    command = ["bench", str(model), "--board", board, "--input", form, "--json", *more]
    print("$ litesight", *command, file=sys.stderr)
    done = subprocess.run([*LITESIGHT, *command], check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, Any] = json.loads(done.stdout)["runs"][0]["figures"]
    return figures


def bench_lite0() -> dict[str, Any]:
    """The ImageNet-trained Lite0; its bundle is made once."""
    bundle = WORK / "lite0"
    if not bundle.is_dir():
        command = ["pretrained", "lite0", "-o", str(bundle)]
        print("$ litesight", *command, file=sys.stderr)
        subprocess.run([*LITESIGHT, *command], check=True, stdout=subprocess.DEVNULL)
    # One of its vectors is 1000 output bytes and half a billion instructions.
    return bench(bundle, "mps2-an386", "rows", "--vectors", "1")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/baselines")))

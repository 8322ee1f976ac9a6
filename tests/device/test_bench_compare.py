# SPDX-License-Identifier: Apache-2.0
"""Two records are compared only where that is fair, and a difference is told only where the samples support it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.bench_cautions import cautions, throttle_faults
from device.bench_compare import MARGIN, Comparison, Row, Verdict, compare, judge
from device.bench_record import Conditions, Record, Run
from device.bench_rules import match_runs
from device.bootstrap import block_length, ratio_interval, resample, resamples_for
from device.machine import MachineState
from tests.device.bench_maker import (
    COOL,
    MACHINE,
    MODEL,
    QUIET,
    board_record,
    board_run,
    host_record,
    host_run,
    records,
    times,
)


def rows(comparison: Comparison, pair: int = 0) -> dict[str, Row]:
    return {row.name: row for row in comparison.pairs[pair].rows}


def invoke_row(this: Run, other: Run) -> Row:
    return rows(compare(host_record(this), host_record(other)))["invoke"]


def throttled(bits: int) -> MachineState:
    return MachineState(80.0, bits, "ondemand", 1500.0)


def given_source(**changes: Any) -> dict[str, Any]:
    return {"kind": "given", "name": "clip.mp4", "width": 640, "height": 480} | changes


def with_capture(run: Run) -> Run:
    return replace(run, stages={"capture": run.stages["preprocess"], **run.stages}, source=given_source())


FAIR = host_record(host_run())

UNFAIR: dict[str, tuple[Record, str]] = {
    "model": (
        host_record(host_run(), model=replace(MODEL, sha256="cd" * 32)),
        "another model: cells abababababab… against",
    ),
    "input": (
        host_record(host_run(), model=replace(MODEL, input=(64, 64, 3))),
        "another input size: 96×96×3 against 64×64×3",
    ),
    "engine": (host_record(host_run(engine="tflite-runtime")), "no run has a partner"),
    "threads": (host_record(host_run(settings={"threads": 1, "xnnpack": True})), "no run has a partner"),
    "xnnpack": (host_record(host_run(settings={"threads": 2, "xnnpack": False})), "no run has a partner"),
    "width": (host_record(host_run(source=given_source(width=320))), "another source size: 640×480 against 320×480"),
    "height": (host_record(host_run(source=given_source(height=240))), "another source size: 640×480 against 640×240"),
    "capture": (host_record(with_capture(host_run())), "only one of them times capture"),
    "before": (
        host_record(host_run(before=throttled(0x1))),
        "of other was throttled: under-voltage now (use the official",
    ),
    "after": (host_record(host_run(after=throttled(0x8))), "of other was throttled: soft temperature limit now (mount"),
    "during": (
        host_record(host_run(conditions=replace(QUIET, throttled=0x4))),
        "of other was throttled: throttled now",
    ),
    "in between": (host_record(host_run(after=throttled(0x40000))), "throttled: was throttled since boot"),
    "in between, seen": (
        host_record(host_run(conditions=replace(QUIET, throttled=0x20000))),
        "frequency was capped since",
    ),
    "disturbed": (
        host_record(host_run(figures=dict(host_run().figures) | {"waited_percent": 30.0})),
        "of other was disturbed: its threads waited 30% of the time",
    ),
    "crowded": (
        host_record(host_run(figures=dict(host_run().figures) | {"others_cpu_percent": 16.0})),
        "of other was disturbed: other programs took 16% of all cores' time (end other programs",
    ),
    "wrong bytes": (host_record(host_run(figures={"mismatched_bytes": 3})), "of other gives 3 wrong output bytes"),
}


@pytest.mark.parametrize("name", UNFAIR)
def test_an_unfair_pair_is_refused_with_the_reason_and_compared_when_forced(name: str) -> None:
    other, why = UNFAIR[name]
    refused = compare(FAIR, other)
    assert refused.refused
    assert not refused.pairs
    assert why in "; ".join(map(str, refused.reasons))
    assert all(reason.remedy for reason in refused.reasons)
    forced = compare(FAIR, other, force=True)
    assert not forced.refused
    assert forced.forced
    assert why in "; ".join(map(str, forced.reasons)), "the reasons remain, as warnings"


@pytest.mark.parametrize("name", ["before", "after", "during", "in between", "disturbed", "crowded", "wrong bytes"])
def test_a_fault_of_the_new_record_is_refused_as_well(name: str) -> None:
    refused = compare(UNFAIR[name][0], FAIR)
    assert refused.refused
    assert " of this " in str(refused.reasons[0])


def test_a_fair_pair_is_not_refused_and_nothing_was_forced() -> None:
    comparison = compare(FAIR, host_record(host_run(times(10.0, seed=1))), force=True)
    assert not comparison.reasons
    assert not comparison.forced
    assert not comparison.refused


def test_what_every_machine_does_beside_is_no_reason() -> None:
    figures = dict(host_run().figures) | {"waited_percent": 10.0, "others_cpu_percent": 15.0}
    assert not compare(FAIR, host_record(host_run(figures=figures))).refused


def test_what_happened_before_the_run_is_no_fault() -> None:
    """The bits "since boot" stay for ever: a Pi that was once weak would never be comparable again."""
    old = throttled(0x50000)
    run = host_run(before=old, after=old, conditions=replace(QUIET, throttled=0x50000))
    assert throttle_faults(run) == ()
    assert not compare(FAIR, host_record(run)).refused


def test_a_machine_that_tells_nothing_of_throttling_is_not_refused() -> None:
    unknown = MachineState(None, None, None, None)
    run = host_run(before=unknown, after=unknown, conditions=replace(QUIET, throttled=None))
    assert not compare(host_record(run), host_record(run)).refused
    assert not compare(host_record(replace(run, before=None, after=None, conditions=None)), FAIR).refused
    # Nobody knows whether this bit is older than the run.
    assert throttle_faults(replace(run, after=throttled(0x40000))) == ()


def test_the_lasting_bit_of_what_is_told_as_now_is_not_told_twice() -> None:
    assert throttle_faults(host_run(after=throttled(0x40004))) == ("throttled now",)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (
            host_record(host_run(), machine=replace(MACHINE, board="Raspberry Pi 4")),
            "another machine: Raspberry Pi 5, 4",
        ),
        (
            host_record(host_run(), machine=replace(MACHINE, cores=2)),
            "another machine: Raspberry Pi 5, 4 cores against",
        ),
        (
            host_record(host_run(), machine=replace(MACHINE, system="Linux 6.6")),
            "the same kind of machine with another",
        ),
        (host_record(host_run(version="2.1.0")), "another version: 2.3.0 against 2.1.0"),
        (
            host_record(host_run(figures={"ops_xnnpack": 3, "ops_total": 61})),
            "XNNPACK ran 61 of 61 operators against 3",
        ),
        (host_record(host_run(source=given_source(kind="synthetic"))), "another source: synthetic against clip.mp4"),
        (
            host_record(host_run(before=replace(COOL, governor="powersave"))),
            "another governor: ondemand against powersave",
        ),
        (replace(FAIR, litesight="0.0.9"), "another version of litesight: 0.1.0 against 0.0.9"),
    ],
)
def test_what_may_be_the_question_is_said_and_not_refused(other: Record, said: str) -> None:
    comparison = compare(FAIR, other)
    assert not comparison.refused
    assert len(comparison.notes) == 1
    assert said in comparison.notes[0]


def test_how_long_was_measured_is_neither_a_reason_nor_a_note() -> None:
    other = host_run(times(10.0, 50, seed=3), settings={"threads": 2, "xnnpack": True, "warmup": 1, "duration_s": 4.0})
    comparison = compare(FAIR, host_record(other))
    assert (comparison.reasons, comparison.notes) == ((), ())


def test_runs_are_matched_by_their_settings_and_the_lonely_ones_are_named() -> None:
    one, two, four = (
        host_run(times(20.0 / threads), settings={"threads": threads, "xnnpack": True}) for threads in (1, 2, 4)
    )
    comparison = compare(host_record(four, one), host_record(one, two, four))
    assert [pair.title for pair in comparison.pairs] == ["ai-edge-litert, 4 threads", "ai-edge-litert, 1 thread"]
    assert all(rows(comparison, pair)["invoke"].ratio == 1.0 for pair in (0, 1)), "each with its own kind"
    assert comparison.unpaired == ("ai-edge-litert, 2 threads of other",)
    assert compare(host_record(one, two), host_record(two)).unpaired == ("ai-edge-litert, 1 thread of this",)


def test_two_runs_of_the_same_settings_are_matched_in_order() -> None:
    first, second = host_run(times(10.0)), host_run(times(20.0))
    pairs, left = match_runs((first, second), (first, second))
    assert pairs == [(first, first), (second, second)]
    assert left == ([], [])


def test_forced_runs_are_matched_by_threads_before_anything_else() -> None:
    these = [host_run(settings={"threads": threads}) for threads in (1, 2)]
    others = [host_run(engine="onnxruntime", settings={"threads": threads}) for threads in (2, 4)]
    pairs, left = match_runs(these, others, force=True)
    assert pairs == [(these[0], others[1]), (these[1], others[0])]
    assert left == ([], [])
    assert match_runs(these, others)[0] == []


@pytest.mark.parametrize(
    ("this", "other", "verdict"),
    [
        (10.0, 12.0, Verdict.FASTER),
        (12.0, 10.0, Verdict.SLOWER),
        (10.0, 10.3, Verdict.FASTER),
        (10.0, 10.0, Verdict.SAME),
        # Certain, and smaller than what two starts of one program differ by.
        (10.0, 10.1, Verdict.SAME),
        (10.1, 10.0, Verdict.SAME),
    ],
)
def test_a_difference_is_told_by_its_size_and_its_certainty(this: float, other: float, verdict: Verdict) -> None:
    row = invoke_row(host_run(times(this, seed=1)), host_run(times(other, seed=2)))
    assert row.verdict is verdict
    assert row.interval is not None
    assert row.ratio is not None
    assert row.ratio == pytest.approx(this / other, rel=0.005)
    assert row.interval[0] <= row.ratio <= row.interval[1]


@pytest.mark.parametrize(
    ("ratio", "interval", "verdict"),
    [
        (0.985, (0.970, 0.995), Verdict.UNDECIDED),
        (1.015, (1.005, 1.030), Verdict.UNDECIDED),
        (0.970, (0.950, 1.001), Verdict.UNDECIDED),
        (1.030, (0.999, 1.050), Verdict.UNDECIDED),
        (0.970, (0.960, 0.999), Verdict.FASTER),
        (1.030, (1.001, 1.040), Verdict.SLOWER),
        (0.995, (0.985, 1.015), Verdict.SAME),
        (None, (0.9, 1.1), Verdict.UNDECIDED),
        (2.0, None, Verdict.UNDECIDED),
    ],
)
def test_a_verdict_wants_both_size_and_certainty(
    ratio: float | None, interval: tuple[float, float] | None, verdict: Verdict
) -> None:
    assert judge(ratio, interval) is verdict


def test_scattered_samples_support_no_difference() -> None:
    noisy = [host_run(times(median, 25, seed, spread=1.0)) for seed, median in ((1, 10.0), (2, 10.5))]
    assert invoke_row(noisy[0], noisy[1]).verdict is Verdict.UNDECIDED


def test_too_few_samples_have_no_verdict_whatever_they_say() -> None:
    row = invoke_row(host_run(times(1.0, 19)), host_run(times(100.0, 19)))
    assert (row.verdict, row.interval) == (Verdict.FEW, None)
    assert invoke_row(host_run(times(1.0, 20)), host_run(times(100.0, 20))).verdict is Verdict.FASTER
    assert invoke_row(host_run(times(1.0, 20)), host_run(times(100.0, 19))).verdict is Verdict.FEW


def test_a_difference_below_the_clock_is_not_told() -> None:
    assert invoke_row(host_run((0.0105,) * 50), host_run((0.0100,) * 50)).verdict is Verdict.UNDECIDED
    assert invoke_row(host_run((0.0125,) * 50), host_run((0.0100,) * 50)).verdict is Verdict.SLOWER


def test_stages_that_took_no_time_are_no_division_by_zero() -> None:
    row = invoke_row(host_run((0.0,) * 30), host_run((0.0,) * 30))
    assert (row.ratio, row.verdict) == (None, Verdict.UNDECIDED)
    assert invoke_row(host_run((0.0,) * 30), host_run((1.0,) * 30)).ratio == 0


def test_more_frames_a_second_are_faster() -> None:
    comparison = compare(host_record(host_run(times(10.0, seed=1))), host_record(host_run(times(20.0, seed=2))))
    speed, total = rows(comparison)["frames_per_second"], rows(comparison)["total"]
    assert (speed.verdict, total.verdict) == (Verdict.FASTER, Verdict.FASTER)
    assert speed.this == pytest.approx(1000 / 10.7, rel=0.01)
    assert speed.ratio is not None
    assert total.ratio is not None
    assert speed.ratio == pytest.approx(1 / total.ratio, rel=0.01)
    back = compare(host_record(host_run(times(20.0, seed=1))), host_record(host_run(times(10.0, seed=2))))
    assert rows(back)["frames_per_second"].verdict is Verdict.SLOWER


def test_where_only_one_has_a_capture_stage_the_totals_are_not_compared_even_when_forced() -> None:
    names = rows(compare(host_record(with_capture(host_run())), FAIR, force=True))
    assert "invoke" in names
    assert not {"capture", "total", "frames_per_second"} & names.keys()


def test_single_measurements_get_a_ratio_and_no_verdict() -> None:
    other = host_run(figures={"open_ms": 40.0, "cold_start_ms": 900.0, "rss_bytes": 101_000_000})
    names = rows(
        compare(host_record(host_run(figures={"open_ms": 80.0, "rss_bytes": 100_000_000})), host_record(other))
    )
    assert (names["open_ms"].ratio, names["open_ms"].verdict) == (2.0, Verdict.SINGLE)
    assert "cold_start_ms" not in names, "only one has it"
    assert names["rss_bytes"].verdict is Verdict.SAME
    more = host_run(figures={"rss_bytes": 103_000_000})
    assert rows(compare(host_record(more), FAIR))["rss_bytes"].verdict is Verdict.MORE


def test_boards_are_compared_by_what_was_counted() -> None:
    other = board_run(
        figures={"instructions_per_inference": 20_000_001, "ram_bytes": 60_000, "mismatched_bytes": 0},
        settings=dict(board_run().settings) | {"kernels": "mve", "vectors": 1},
    )
    comparison = compare(board_record(board_run()), board_record(other, board="mps3-an547"))
    names = rows(comparison)
    assert names["instructions_per_inference"].verdict is Verdict.LESS, "a count is exact: one less is less"
    assert names["instructions_per_inference"].unit == "instructions"
    assert names["ram_bytes"].verdict is Verdict.EQUAL
    assert (
        rows(compare(board_record(other), board_record(board_run())))["instructions_per_inference"].verdict
        is Verdict.MORE
    )
    assert comparison.notes == (
        "another machine: mps2-an386 against mps3-an547",
        "static, frame, dsp: another kernels: dsp against mve",
    )


def test_boards_with_another_input_form_or_wrong_bytes_are_refused() -> None:
    rows_form = board_run(settings=dict(board_run().settings) | {"input": "rows"})
    assert compare(board_record(board_run()), board_record(rows_form)).refused
    wrong = board_run(figures={"instructions_per_inference": 1, "mismatched_bytes": 7})
    assert "7 wrong output bytes" in str(compare(board_record(wrong), board_record(board_run())).reasons[0])


@pytest.mark.parametrize("force", [False, True])
def test_milliseconds_and_instructions_are_never_compared(force: bool) -> None:
    comparison = compare(FAIR, board_record(board_run()), force=force)
    assert comparison.refused
    assert "instructions" in "; ".join(map(str, comparison.reasons))


@settings(max_examples=40)
@given(records, records, st.booleans())
def test_any_two_records_are_compared_or_refused(this: Record, other: Record, force: bool) -> None:
    comparison = compare(this, other, force=force)
    assert comparison.refused == (not comparison.pairs)
    assert comparison.pairs or comparison.reasons, "a refusal has a reason"
    assert not comparison.pairs or force or not comparison.reasons
    comparison.to_json()


def test_a_record_against_itself_is_never_faster_nor_slower() -> None:
    for seed in range(10):
        record = host_record(host_run(times(10.0, 40, seed, spread=0.5)))
        verdicts = {row.verdict for row in rows(compare(record, record)).values()}
        assert not verdicts & {Verdict.FASTER, Verdict.SLOWER, Verdict.LESS, Verdict.MORE}


def test_two_series_are_drawn_apart() -> None:
    """Drawn alike, they would seem to vary together, and the interval would be too narrow; here it would vanish."""
    record = host_record(host_run(times(10.0, 40, spread=0.5)))
    interval = rows(compare(record, record))["invoke"].interval
    assert interval is not None
    assert interval[0] < 0.99 < 1.01 < interval[1]


def test_forced_partners_of_another_kind_are_told_as_such() -> None:
    ours, theirs = host_run(), host_run(engine="onnxruntime", settings={"threads": 1, "xnnpack": True})
    forced = compare(host_record(ours, ours), host_record(ours, theirs), force=True)
    assert [str(reason).partition(" (")[0] for reason in forced.reasons] == [
        "another runtime: ai-edge-litert against onnxruntime",
        "another setting: threads 2 against 1",
    ]
    assert len(forced.pairs) == 2
    fair = compare(host_record(ours, ours), host_record(ours, theirs))
    assert len(fair.pairs) == 1, "unforced, what has no partner is left out and the rest compared"
    assert not fair.reasons


def test_the_same_files_give_the_same_verdict() -> None:
    this, other = host_record(host_run(times(10.0, seed=1))), host_record(host_run(times(10.1, seed=2)))
    assert compare(this, other) == compare(this, other)


def coverage(draw: Callable[[np.random.Generator], Any], trials: int, n: int) -> float:
    """How often the interval holds the ratio 1 of two series that come from the same source."""
    held = 0
    for trial in range(trials):
        source = np.random.default_rng((7, trial))
        this, other = (
            resample(np.asarray(draw(source)), 300, np.random.default_rng((trial, side))).medians for side in (0, 1)
        )
        low, high = ratio_interval(this, other)
        held += low <= 1 <= high
    return held / trials


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    assert coverage(lambda rng: 10 + rng.gamma(2.0, 1.0, 200), 200, 200) >= 0.90


def correlated(rng: np.random.Generator) -> Any:
    """Each sample resembles the one before (an autoregressive process of 0.6)."""
    noise, values = rng.normal(0, 1, 300), np.empty(300)
    values[0] = noise[0]
    for index in range(1, 300):
        values[index] = 0.6 * values[index - 1] + noise[index]
    return 20 + values


def test_neighbours_that_resemble_each_other_do_not_feign_certainty(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = coverage(correlated, 150, 300)
    monkeypatch.setattr("device.bootstrap.block_length", lambda n: 1)
    singles = coverage(correlated, 150, 300)
    assert blocks >= 0.85
    assert blocks > singles + 0.1, "blocks of one sample are the ordinary bootstrap, which believes too much"


def test_the_resamples_are_of_what_was_measured() -> None:
    samples = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    drawn = resample(samples, 400, np.random.default_rng(0))
    assert drawn.medians.shape == drawn.means.shape == (400,)
    assert set(drawn.medians.tolist()) <= set(samples.tolist()), "nearest rank: always a sample"
    assert drawn.means.mean() == pytest.approx(samples.mean(), rel=0.05)
    assert (samples == [1.0, 2.0, 4.0, 8.0, 16.0]).all(), "the samples are the caller's"
    alone = resample(np.array([3.0]), 5, np.random.default_rng(0))
    assert alone.medians.tolist() == alone.means.tolist() == [3.0] * 5


def test_blocks_are_of_consecutive_samples() -> None:
    """1000 samples in blocks of 10: the mean of 0 … 999 scatters as that of 100 draws, not of 1000."""
    drawn = resample(np.arange(1000.0), 2000, np.random.default_rng(0))
    assert block_length(1000) == 10
    assert float(drawn.means.std()) == pytest.approx(1000 / np.sqrt(12 * 100), rel=0.1)


def test_long_series_are_resampled_less_often_but_often_enough() -> None:
    assert [resamples_for(n) for n in (20, 10_000, 20_000, 10_000_000)] == [2000, 2000, 1000, 300]


def test_what_makes_a_run_doubtful_is_said() -> None:
    assert list(cautions(host_run())) == []
    figures = dict(host_run().figures)
    for run, said in (
        (host_run(after=throttled(0x4)), "throttled during the run (throttled now): mount a heat sink"),
        (host_run(conditions=Conditions((0,), 4, 2.1, (), None, None)), "busy before: load average 2.1 on 4 cores"),
        (
            host_run(figures=figures | {"others_cpu_percent": 26.0}),
            "other programs took 26% of all cores' time: end other",
        ),
        (host_run(figures=figures | {"waited_percent": 11.0}), "its threads waited 11% of the time for a core"),
        (host_run(figures=figures | {"slowdown_ratio": 1.2}), "20% slower than the first"),
        # Others who came meanwhile made it slower: letting it run on would not help.
        (host_run(figures=figures | {"slowdown_ratio": 1.2, "waited_percent": 30.0}), "its threads waited 30%"),
        (host_run(before=replace(COOL, governor="powersave")), "the governor powersave keeps the clock low"),
    ):
        found = list(cautions(run))
        assert len(found) == 1
        assert said in found[0]
    assert not host_run(conditions=Conditions((0,), 4, 2.0, (), None, None)).conditions.busy  # type: ignore[union-attr]


def test_the_margin_is_the_one_that_is_documented() -> None:
    assert MARGIN == 0.02
    assert Verdict.SAME.value == "the same within 2%"

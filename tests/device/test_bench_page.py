# SPDX-License-Identifier: Apache-2.0
"""The bench's page: whole, self-contained, harmless, and drawn to scale."""

from __future__ import annotations

import re
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import litesight
from device import bench_pictures as pictures
from device.bench_compare import compare
from device.bench_page import page
from device.bench_record import Reading, Record, Series
from device.machine import MachineState
from tests.device.bench_maker import (
    MODEL,
    QUIET,
    board_record,
    board_run,
    host_record,
    host_run,
    records,
    times,
)


class Outline(HTMLParser):
    """Checks that tags nest, and collects them."""

    VOID = frozenset({"meta", "link", "br"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def ids(self) -> list[str]:
        return [attributes["id"] or "" for _, attributes in self.tags if "id" in attributes]


def outline(record: Record, other: Record | None = None, **options: Any) -> Outline:
    comparison = None if other is None else compare(record, other, ("new.json", "old.json"), **options)
    return Outline(page(record, comparison).decode("utf-8"))


def drawings(html: str) -> list[ET.Element]:
    return [ET.fromstring(drawn) for drawn in re.findall(r"<svg.*?</svg>", html, re.DOTALL)]


def test_the_page_tells_the_figures() -> None:
    run = host_run(after=MachineState(81.5, 0x4, "ondemand", 1500.0))
    text = " ".join(outline(host_record(run)).texts)
    for words in (
        "cells", "96×96×3", MODEL.sha256, "Raspberry Pi 5", "asimddp", "ai-edge-litert 2.3.0", "61 of 61", "ondemand",
        "81.5 °C", "throttled now", "open 80.0 ms", "first frame 20.0 ms", "100", "waited 0.5% for a core",
    ):  # fmt: skip
        assert words in text, words


def test_each_run_has_its_section_and_the_links_lead_somewhere() -> None:
    runs = [host_run(settings={"threads": threads}) for threads in (1, 2, 4)]
    found = outline(host_record(*runs), host_record(*runs))
    assert found.ids() == ["comparison", "stages", "run-1", "run-2", "run-3", "facts"]
    links = [attributes["href"] for tag, attributes in found.tags if tag == "a"]
    assert links == [f"#{place}" for place in found.ids()]


def test_nothing_is_fetched_and_nothing_runs() -> None:
    html = page(host_record(host_run())).decode()
    assert not re.search(r"https?://|<script|@import|url\(|javascript:|\son[a-z]+=", html)
    assert "default-src 'none'" in html


EVIL = "</title><script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;\x1b\u202e\ud800"


def test_no_text_of_a_file_becomes_part_of_the_page() -> None:
    source = {"kind": "given", "name": EVIL, "width": 640, "height": 480}
    settings = {"threads": EVIL, "input": EVIL, EVIL: EVIL}
    run = host_run(engine=EVIL, version=EVIL, source=source, settings=settings)
    run = replace(run, before=MachineState(50.0, 4, EVIL, 1.0), stages={**run.stages, EVIL: run.stages["invoke"]})
    record = host_record(run, model=replace(MODEL, name=EVIL))
    assert record.target.machine is not None
    machine = replace(record.target.machine, board=EVIL, cpu=EVIL, features=(EVIL,), system=EVIL, python=EVIL)
    record = replace(record, created=EVIL, litesight=EVIL, target=replace(record.target, id=EVIL, machine=machine))
    other = replace(record, litesight="x", target=replace(record.target, machine=replace(machine, cores=1, board="y")))
    comparison = compare(record, other, (EVIL, EVIL), force=True)
    html = page(record, comparison).decode("utf-8")
    plain = Outline(page(host_record(host_run(), host_run()), None).decode())
    assert {tag for tag, _ in Outline(html).tags} <= {tag for tag, _ in plain.tags} | {"ul", "li"}
    assert not {"\x1b", "\u202e", "\ud800"} & set(html)
    drawings(html)


@settings(max_examples=30)
@given(records, st.none() | records)
def test_any_record_has_a_page(record: Record, other: Record | None) -> None:
    comparison = None if other is None else compare(record, other, force=True)
    html = page(record, comparison).decode("utf-8")
    Outline(html)
    drawings(html)
    assert not re.search(r"\b(nan|inf)\b", " ".join(re.findall(r'(?:d|x|y|cx|cy|width|height)="([^"]*)"', html)))


def test_the_same_record_gives_the_same_bytes() -> None:
    record = host_record(host_run())
    assert page(record) == page(record)


def test_a_boards_record_has_a_page_without_times() -> None:
    found = outline(board_record(board_run()), board_record(board_run()))
    assert found.ids() == ["comparison", "run-1", "facts"]
    assert "20,000,000" in " ".join(found.texts)


def test_a_refused_comparison_says_why_and_shows_no_ratios() -> None:
    found = outline(host_record(host_run()), host_record(host_run(), model=replace(MODEL, sha256="cd" * 32)))
    text = " ".join(found.texts)
    assert "Not comparable:" in text
    assert "another model" in text
    assert "verdict" not in text
    forced = outline(host_record(host_run()), host_record(host_run(engine="onnxruntime")), force=True)
    assert "Compared all the same, although:" in " ".join(forced.texts)


def test_cautions_stand_on_top() -> None:
    hot = host_run(after=MachineState(85.0, 4, None, None))
    html = page(host_record(hot)).decode()
    assert html.index('<ul class="cautions">') < html.index("<main>")
    assert '<ul class="cautions">' not in page(host_record(host_run())).decode()


def test_the_bar_of_a_stage_is_as_long_as_its_median() -> None:
    html = page(host_record(host_run((9.3,) * 30), host_run((4.3,) * 30))).decode()
    widths = [float(width) for width in re.findall(r'<i class="s-\w+" style="width:([\d.]+)%', html)]
    assert widths == [5.0, 93.0, 2.0, 5.0, 43.0, 2.0]


def rectangles(drawn: str, kind: str) -> list[dict[str, str]]:
    return [element.attrib for element in ET.fromstring(drawn).iter() if element.get("class") == kind]


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=300))
def test_a_histogram_shows_every_sample_or_counts_it_as_beyond(samples: list[float]) -> None:
    drawn, beyond = pictures.distribution("t", Series("ms", tuple(samples)), "s-invoke")
    heights = [float(bar["height"]) for bar in rectangles(drawn, "s-invoke")]
    assert heights, "something is drawn"
    assert beyond <= len(samples) / 50 + 1
    # The tallest bar's count is unknown here, so heights are compared with each other.
    unit = min(heights)
    assert len(samples) - beyond >= len(heights)
    assert all(height >= unit > 0 for height in heights)


def test_a_histogram_is_to_scale() -> None:
    drawn, beyond = pictures.distribution("t", Series("ms", (1.0,) * 30 + (2.0,) * 10 + (500.0,) * 0), "s-invoke")
    heights = [float(bar["height"]) for bar in rectangles(drawn, "s-invoke")]
    assert beyond == 0
    assert len(heights) == 2
    assert heights[0] == pytest.approx(3 * heights[1], abs=0.2)


def test_a_straggler_is_a_triangle_and_does_not_flatten_the_rest() -> None:
    samples = (*times(10.0, 300), 5000.0)
    drawn, above = pictures.strip("t", Series("ms", samples), 1.0, ())
    assert above == 1
    dots = rectangles(drawn, "dot")
    assert len(dots) == 300
    heights = [float(dot["cy"]) for dot in dots]
    assert max(heights) - min(heights) > 50


def test_the_dots_are_in_the_order_of_the_frames() -> None:
    drawn, _ = pictures.strip("t", Series("ms", (1.0, 2.0, 3.0)), 1.0, ())
    dots = [(float(dot["cx"]), -float(dot["cy"])) for dot in rectangles(drawn, "dot")]
    assert dots == sorted(dots)
    assert len({x for x, _ in dots}) == len({y for _, y in dots}) == 3


def test_of_many_samples_the_range_and_the_median_are_drawn() -> None:
    drawn, _ = pictures.strip("t", Series("ms", times(10.0, 50_000)), 4.0, ())
    assert not rectangles(drawn, "dot")
    assert len(rectangles(drawn, "range")) == len(rectangles(drawn, "line")) == 1
    assert len(drawn) < 40_000


def test_the_time_in_which_it_throttled_is_shaded() -> None:
    readings = [Reading(0, 60.0, 0, None), Reading(50, 85.0, 0x4_0004, None), Reading(75, 70.0, 0x4_0000, None)]
    drawn, _ = pictures.strip("t", Series("ms", times(10.0, 100)), 1.0, readings)
    (zone,) = rectangles(drawn, "zone")
    width = 840 - 54 - 12
    assert float(zone["x"]) == pytest.approx(54 + 0.5 * width, abs=0.1)
    assert float(zone["width"]) == pytest.approx(0.25 * width, abs=0.1)


def test_the_temperature_is_a_line_where_there_is_one() -> None:
    assert pictures.temperature("t", 100.0, [Reading(0, 60.0, None, None)]) == ""
    assert pictures.temperature("t", 100.0, [Reading(0, None, None, None)] * 5) == ""
    drawn = pictures.temperature("t", 100.0, [Reading(0, 60.0, None, None), Reading(100, 80.0, None, None)])
    (line,) = rectangles(drawn, "heat")
    start, end = (float(point.split()[1]) for point in line["d"][1:].split("L"))
    assert start > end, "up is hotter"


def test_the_mark_of_a_ratio_lies_left_for_less() -> None:
    def at(ratio: float) -> float:
        return float(rectangles(pictures.ratio_mark(ratio, None, 0.02), "dot")[0]["cx"])

    assert at(0.0) == at(0.1) == 4.0
    assert [at(0.5), at(1.0), at(2.0), at(100.0)] == [4.0, 60.0, 116.0, 116.0]


def test_the_faster_of_two_lines_is_further_left() -> None:
    drawn = pictures.shares_below("t", [("new", Series("ms", times(10.0))), ("old", Series("ms", times(12.0)))])
    lines = [rectangles(drawn, f"line {kind}")[0]["d"] for kind in ("main", "aside")]
    first, second = (min(float(point.split()[0]) for point in line[1:].split("L")) for line in lines)
    assert first < second


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (9.97, 10.03), (1e-4, 2e-4), (0.0, 1e6)])
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    found = pictures.ticks(low, high, 5)
    assert 2 <= len(found) <= 11
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in found)


def test_the_command_writes_the_page_of_a_file_of_records(tmp_path: Path) -> None:
    for name, seed in (("new.json", 1), ("old.json", 2)):
        (tmp_path / name).write_bytes(host_record(host_run(times(10.0, seed=seed))).to_bytes())
    target = tmp_path / "folder" / "page.html"
    arguments = [str(tmp_path / "new.json"), "--compare", str(tmp_path / "old.json"), "--html", str(target)]
    assert litesight.main(["bench", *arguments]) == 0
    assert "new.json against old.json" in target.read_text(encoding="utf-8")


@pytest.fixture
def in_chromium(tmp_path: Path, require_tool: Callable[[str], str]) -> Callable[..., bytes]:
    """``in_chromium(page, width, option)``: what Chromium prints when it shows the page in a frame of that width.

    A frame, since the browser makes no window as narrow as a phone's. Its real width is the title of the whole.
    """

    def show(html: bytes, width: int, option: str) -> bytes:
        (tmp_path / "page.html").write_bytes(html)
        (tmp_path / "frame.html").write_text(
            f'<body style="margin:0;background:#000"><iframe src="page.html" width="{width}" height="6000" '
            'style="border:0" onload="document.title = contentDocument.documentElement.scrollWidth"></iframe></body>'
        )
        options = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--hide-scrollbars",
        ]
        options += ["--allow-file-access-from-files", "--window-size=1200,6000", "--virtual-time-budget=5000"]
        command = [require_tool("chromium"), *options, f"--user-data-dir={tmp_path / 'profile'}", option]
        url = (tmp_path / "frame.html").as_uri()
        return subprocess.run([*command, url], check=True, capture_output=True, timeout=120).stdout

    return show


@pytest.fixture
def large_page() -> bytes:
    """Everything that a page can hold, and a name without any place to break it."""
    runs = [host_run(times(10.0 / threads, seed=threads), settings={"threads": threads}) for threads in (1, 2)]
    readings = tuple(Reading(frame, 50.0 + frame / 10, 0, None) for frame in range(0, 200, 20))
    runs[0] = replace(runs[0], conditions=replace(QUIET, readings=readings), after=MachineState(85.0, 4, None, None))
    record = host_record(*runs, model=replace(MODEL, name="a_name_without_any_place_to_break_it_" * 4))
    return page(record, compare(record, host_record(*runs), ("new" * 30, "old" * 30), force=True))


def test_a_phone_need_not_scroll_sideways(large_page: bytes, in_chromium: Callable[..., bytes]) -> None:
    assert b"<title>360</title>" in in_chromium(large_page, 360, "--dump-dom"), "what is wider scrolls by itself"


def test_a_browser_paints_the_pictures(large_page: bytes, in_chromium: Callable[..., bytes], tmp_path: Path) -> None:
    in_chromium(large_page, 1100, f"--screenshot={tmp_path / 'shot.png'}")
    picture = cv2.imread(str(tmp_path / "shot.png"))
    assert picture is not None
    for name, colour in (("invoke", (178, 114, 0)), ("preprocess", (115, 158, 0)), ("postprocess", (167, 121, 204))):
        assert (picture == np.array(colour, np.uint8)).all(axis=2).sum() > 100, f"no {name}"

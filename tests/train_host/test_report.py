# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import dataclasses
import math
import re
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from train_host import report_pictures
from train_host.evaluate import Evaluation
from train_host.report import (
    FACT_ARENA,
    FACT_GOLDEN,
    MAX_DOTS,
    MAX_SAMPLES,
    ReportData,
    Sample,
    duration,
    kilobytes,
    percent,
    render,
    wilson_interval,
)

SECTIONS = {"samples", "training", "confusion", "formats", "classes", "frames", "stages", "facts"}
HOSTILE = "<script>alert('1')</script> & \"quoted\" größe"
VOID = {"meta", "link", "img", "br", "circle", "path", "rect", "polyline"}


class Page(HTMLParser):
    """What a reader of the page finds: text under an element's id, tables row by row, tags and attributes."""

    def __init__(self, html: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self.tables: dict[str, list[list[str]]] = {}
        self._open: list[tuple[str, str | None]] = []
        self.feed(html.decode())
        self.close()
        assert not self._open, "a tag was left open"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if tag in VOID:
            return
        self._open.append((tag, attributes.get("id")))
        table = self._table()
        if tag == "tr" and table:
            self.tables.setdefault(table, []).append([])
        if tag in ("td", "th") and table:
            self.tables[table][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        opened, _ = self._open.pop()
        assert opened == tag, f"<{opened}> was closed by </{tag}>"

    def handle_data(self, data: str) -> None:
        for _, identity in self._open:
            if identity:
                self.texts[identity] = self.texts.get(identity, "") + data
        table = self._table()
        if table and any(tag in ("td", "th") for tag, _ in self._open):
            self.tables[table][-1][-1] += data.strip()

    def _table(self) -> str | None:
        return next((identity for tag, identity in self._open if tag == "table"), None)

    def ids(self) -> set[str]:
        return {str(attributes["id"]) for _, attributes in self.tags if "id" in attributes}


def evaluation(labels: tuple[str, ...], n: int, *, seed: int = 5) -> Evaluation:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, len(labels), n)
    logits = rng.normal(0, 1, (n, len(labels))).astype(np.float32)
    logits[np.arange(n), truth] += 2
    noise = rng.normal(0, 0.3, logits.shape).astype(np.float32)
    int8 = (logits + noise).astype(np.float32)
    return Evaluation(labels, truth, {"int8": int8, "float": logits, "float16": logits * np.float32(1.001)})


def samples(labels: tuple[str, ...], n: int, side: int) -> list[Sample]:
    rng = np.random.default_rng(4)
    pixels = [rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for _ in range(n)]
    return [Sample(p, labels[i % 2], labels[0], 0.876, f"photo {i}.png") for i, p in enumerate(pixels)]


def report_data(labels: tuple[str, ...] = ("cat", "dog", "owl"), n: int = 60) -> ReportData:
    return ReportData(
        name="pets",
        intro="Tells pets apart.",
        labels=labels,
        evaluation=evaluation(labels, n),
        history=[
            {"epoch": 1, "loss": 1.0, "accuracy": 0.5, "val_loss": 1.1, "val_accuracy": 0.4},
            {"epoch": 2, "loss": 0.8, "accuracy": 0.7, "val_loss": 0.9, "val_accuracy": 0.625},
            {"epoch": 3, "loss": 0.7, "accuracy": 0.8, "val_loss": 1.0, "val_accuracy": 0.6},
        ],
        format_bytes={"int8": 612_384, "float": 2_012_004, "float16": 1_031_200},
        samples=samples(labels, 4, 32),
        facts={"Parameters": "411,202", FACT_ARENA: "241,664 bytes", FACT_GOLDEN: "0 of 24"},
        stage_seconds={"train": 83.2, "quantise": 0.25},
        frame_ms={"preprocess": (0.213, 0.262), "inference": (3.91, 14.4)},
        frame_machine="Raspberry Pi 5, 2 threads",
    )


EMPTY = ReportData("pets", "Tells pets apart.", ("cat", "dog"), None, [], {}, [], {}, {}, {}, "")


def test_the_headline_figures_are_those_of_the_data() -> None:
    data = report_data()
    assert data.evaluation is not None
    int8, floating = data.evaluation.top1("int8"), data.evaluation.top1("float")
    assert int8 is not None
    assert floating is not None
    assert int8 < floating, "the data must show a loss for its sign to be tested"
    texts = Page(render(data)).texts
    assert f"{100 * int8:.2f} %" in texts["tile-int8-top1"]
    assert f"{100 * floating:.2f} %" in texts["tile-float-top1"]
    assert f"−{100 * (floating - int8):.2f} points" in texts["tile-drop"]
    assert "612 kB" in texts["tile-size"]
    assert "612,384 bytes" in texts["tile-size"]
    assert "242 kB" in texts["tile-arena"]
    assert "241,664 bytes" in texts["tile-arena"]
    assert "0 of 24 ✓" in texts["tile-golden"]


@pytest.mark.parametrize(("fact", "shown"), [("3 of 24", "3 of 24 ✗"), ("10 of 24", "10 of 24 ✗")])
def test_golden_bytes_that_differ_are_not_shown_as_a_success(fact: str, shown: str) -> None:
    texts = Page(render(dataclasses.replace(EMPTY, facts={FACT_GOLDEN: fact}))).texts
    assert shown in texts["tile-golden"]


def test_golden_bytes_that_nobody_compared_get_no_verdict() -> None:
    tile = Page(render(dataclasses.replace(EMPTY, facts={FACT_GOLDEN: "not compared"}))).texts["tile-golden"]
    assert "✓" not in tile
    assert "✗" not in tile


def test_the_confusion_matrix_is_int8s_with_the_truth_in_rows() -> None:
    data = report_data()
    assert data.evaluation is not None
    header, *rows = Page(render(data)).tables["matrix"]
    assert header == ["", "cat", "dog", "owl"]
    assert [row[0] for row in rows] == ["cat", "dog", "owl"]
    assert [[int(cell) for cell in row[1:]] for row in rows] == data.evaluation.confusion("int8").tolist()
    assert not np.array_equal(data.evaluation.confusion("int8"), data.evaluation.confusion("float"))


def test_the_table_of_formats_shows_sizes_top1_and_agreement_of_the_data() -> None:
    data = report_data()
    assert data.evaluation is not None
    _, int8, floating, half = Page(render(data)).tables["format-table"]
    assert int8 == ["int8", "612,384", "", percent(data.evaluation.top1("int8"), 2), percent(_agreement(data), 2)]
    assert floating == ["float32", "2,012,004", "", percent(data.evaluation.top1("float"), 2), "–"]
    assert half[:2] == ["float16", "1,031,200"]


def _agreement(data: ReportData) -> float | None:
    assert data.evaluation is not None
    return data.evaluation.agreement


def test_the_class_table_shows_recall_and_precision_of_every_class_lowest_recall_first() -> None:
    data = report_data()
    assert data.evaluation is not None
    _, *rows = Page(render(data)).tables["class-table"]
    figures = ("int8_recall", "float_recall", "int8_precision")
    expected = [
        [row["label"], str(row["n"]), "", *(percent(row[key]) for key in figures)]
        for row in sorted(data.evaluation.per_class(), key=lambda row: float(row["int8_recall"]))
    ]
    assert rows == expected


def test_disagreements_are_counted_by_who_is_right() -> None:
    # Truth 0 throughout. int8 and float: both right, only float, only int8, neither.
    floating = np.array([[2, 0, 0], [2, 0, 0], [2, 0, 0], [0, 2, 0], [0, 2, 0], [0, 2, 0], [0, 2, 0]], np.float32)
    int8 = np.array([[2, 0, 0], [0, 2, 0], [0, 0, 2], [2, 0, 0], [0, 0, 2], [0, 2, 0], [0, 2, 0]], np.float32)
    measured = Evaluation(("a", "b", "c"), np.zeros(7, np.int64), {"int8": int8, "float": floating})
    text = Page(render(dataclasses.replace(EMPTY, labels=measured.labels, evaluation=measured))).texts
    sentence = text["disagreements"]
    assert "different answers on 4 of 7 photos" in sentence
    assert "Both are right on 1, only float32 on 2, only int8 on 1, neither on 3." in sentence


def test_the_scatter_crosses_exactly_the_photos_that_change_their_answer() -> None:
    data = report_data()
    assert data.evaluation is not None
    page = render(data).decode()
    crosses = [path.count("M") for path in re.findall(r'class="cross" d="([^"]+)"', page)]
    changed = int((data.evaluation.answers("int8") != data.evaluation.answers("float")).sum())
    assert changed > 0
    assert crosses == [changed, 1]  # the second is the legend's
    assert page.count('class="dot faint"') == 60 - changed


def test_thousands_of_photos_do_not_become_thousands_of_dots() -> None:
    data = dataclasses.replace(report_data(n=3000), samples=[])
    assert 0 < render(data).decode().count('class="dot faint"') <= MAX_DOTS


def test_samples_say_right_or_wrong_in_signs_and_words_and_give_the_probability() -> None:
    page = Page(render(report_data()))
    text = re.sub(r"\s+", " ", page.texts["samples"])
    assert text.count("✓ cat 88%") == 2
    assert text.count("✗ cat 88% wrong, is dog") == 2


def test_a_photo_of_unknown_class_is_neither_right_nor_wrong() -> None:
    unknown = Sample(np.zeros((8, 8, 3), np.uint8), None, "cat", 0.5, "x.png")
    page = Page(render(dataclasses.replace(EMPTY, samples=[unknown])))
    assert not [a for tag, a in page.tags if tag == "li" and "class" in a]
    assert "cat 50%" in re.sub(r"\s+", " ", page.texts["samples"])
    assert "wrong, is" not in page.texts["samples"]


def test_sample_pictures_keep_their_colours() -> None:
    pixels = np.zeros((6, 9, 3), np.uint8)
    pixels[..., 0] = 200
    pixels[2, 3] = (10, 20, 30)
    assert np.array_equal(_decoded(report_pictures.photo_uri(pixels, 16)), pixels)


def test_grey_pictures_survive_the_smaller_encoding() -> None:
    pixels = np.repeat(np.arange(48, dtype=np.uint8).reshape(6, 8, 1), 3, axis=2)
    assert np.array_equal(_decoded(report_pictures.photo_uri(pixels, 16)), pixels)


def _decoded(uri: str) -> NDArray[np.generic]:
    data = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return picture[..., ::-1]


def test_the_marked_epoch_is_the_one_that_the_bundle_holds() -> None:
    assert "shipped: 60.0%, epoch 3" in Page(render(report_data())).texts["training"]


def test_a_training_that_diverged_still_gives_a_report() -> None:
    nan = {"epoch": 2, "loss": math.nan, "accuracy": 0.5, "val_loss": math.inf, "val_accuracy": 0.5}
    data = report_data()
    page = render(dataclasses.replace(data, history=[data.history[0], nan, data.history[2]])).decode()
    assert not re.search(r'points="[^"]*(nan|inf)', page)
    assert page.count('<polyline class="line main"') == 1 + 2, "the loss must break at the epoch it has no value for"
    hopeless = {"epoch": 1, "loss": math.nan, "accuracy": math.nan, "val_loss": math.nan, "val_accuracy": math.nan}
    assert "training" not in Page(render(dataclasses.replace(data, history=[hopeless]))).ids()


def test_one_epoch_is_drawn_as_points() -> None:
    page = Page(render(dataclasses.replace(report_data(), history=report_data().history[:1])))
    assert sum(tag == "circle" and a["class"] in ("dot main", "dot aside") for tag, a in page.tags) == 4


def test_times_are_shown_with_their_units() -> None:
    page = Page(render(report_data()))
    assert [row[2] for row in page.tables["stage-table"]] == ["1 min 23 s", "250 ms"]
    assert [row[2] for row in page.tables["frame-table"]] == ["p50 · p90, ms", "0.21 · 0.26", "3.91 · 14.4"]
    assert "Raspberry Pi 5, 2 threads" in page.texts["frames"]


def test_sections_without_data_are_left_out_whole() -> None:
    assert Page(render(EMPTY)).ids() == set()
    assert Page(render(report_data())).ids() >= SECTIONS
    full = report_data()
    for data, section in (
        (dataclasses.replace(full, samples=[]), "samples"),
        (dataclasses.replace(full, history=[]), "training"),
        (dataclasses.replace(full, frame_ms={}), "frames"),
        (dataclasses.replace(full, stage_seconds={}), "stages"),
        (dataclasses.replace(full, facts={}), "facts"),
    ):
        page = Page(render(data))
        assert page.ids() & SECTIONS == SECTIONS - {section}
        assert f"#{section}" not in {attributes.get("href") for _, attributes in page.tags}
    without = Page(render(dataclasses.replace(report_data(), evaluation=None))).ids()
    assert without & SECTIONS == SECTIONS - {"confusion", "classes"}


def test_a_model_measured_in_int8_only_has_no_comparison() -> None:
    data = report_data()
    assert data.evaluation is not None
    only = Evaluation(data.labels, data.evaluation.truth, {"int8": data.evaluation.logits["int8"]})
    page = Page(render(dataclasses.replace(data, evaluation=only)))
    assert not {"tile-float-top1", "tile-drop", "disagreements"} & page.ids()
    assert page.tables["format-table"][0][-1] == "top-1"


def test_the_error_of_the_logits_has_the_sign_of_int8_minus_float() -> None:
    logits = np.array([[1, 0], [0, 1], [3, 0]], np.float32)
    shifted = logits + np.float32(0.25)
    measured = Evaluation(("a", "b"), np.zeros(3, np.int64), {"int8": shifted, "float": logits})
    text = Page(render(dataclasses.replace(EMPTY, evaluation=measured))).texts["formats"]
    assert "mean +0.25, standard deviation 0.000, largest 0.250" in text


def test_float_logits_that_are_not_numbers_leave_the_comparison_out() -> None:
    int8, floating = np.zeros((3, 2), np.float32), np.full((3, 2), np.nan, np.float32)
    measured = Evaluation(("a", "b"), np.zeros(3, np.int64), {"int8": int8, "float": floating})
    assert "disagreements" not in Page(render(dataclasses.replace(EMPTY, evaluation=measured))).ids()


def test_identical_networks_and_silent_logits_are_drawn() -> None:
    logits = np.zeros((5, 2), np.float32)
    same = Evaluation(("a", "b"), np.zeros(5, np.int64), {"int8": logits, "float": logits})
    texts = Page(render(dataclasses.replace(EMPTY, evaluation=same))).texts
    assert "0.00 points" in texts["tile-drop"]
    assert "different answers on 0 of 5" in texts["disagreements"]


def test_hostile_names_stay_text() -> None:
    labels = (HOSTILE, "b")
    data = report_data(labels)
    hostile = dataclasses.replace(
        data,
        name=HOSTILE,
        intro=HOSTILE,
        samples=[Sample(np.zeros((8, 8, 3), np.uint8), "b", HOSTILE, 0.5, HOSTILE)],
        facts={HOSTILE: HOSTILE, FACT_ARENA: HOSTILE, FACT_GOLDEN: HOSTILE},
        stage_seconds={HOSTILE: 1.0},
        frame_ms={HOSTILE: (1.0, 2.0)},
        frame_machine=HOSTILE,
        format_bytes={HOSTILE: 5},
    )
    page = Page(render(hostile))
    assert not [tag for tag, _ in page.tags if tag == "script"]
    allowed = {tag for tag, _ in Page(render(data)).tags}
    assert {tag for tag, _ in page.tags} <= allowed
    assert page.tables["matrix"][0] == ["", HOSTILE, "b"]
    assert [HOSTILE, HOSTILE] in page.tables["fact-table"]
    alts = [attributes["alt"] for tag, attributes in page.tags if tag == "img"]
    assert alts == [HOSTILE]


def test_a_file_name_that_is_not_utf8_does_not_stop_the_report() -> None:
    sample = Sample(np.zeros((8, 8, 3), np.uint8), None, "cat", 0.5, "caf\udce9.png")
    assert b"caf?.png" in render(dataclasses.replace(EMPTY, samples=[sample]))


def test_a_thousand_classes_and_noisy_photos_give_a_page_below_3_mb() -> None:
    labels = tuple(f"class {index}" for index in range(1000))
    data = dataclasses.replace(report_data(labels, 2000), samples=samples(labels, MAX_SAMPLES + 8, 224))
    html = render(data)
    assert len(html) < 3_000_000
    page = Page(html)
    assert sum(tag == "img" for tag, _ in page.tags) == MAX_SAMPLES
    assert "matrix" not in page.tables
    assert len(page.tables["pairs"]) <= 21
    assert len(page.tables["class-table"]) == 21
    assert "The 20 classes with the lowest recall" in page.texts["classes"]


def test_the_most_frequent_mistake_of_many_classes_comes_first() -> None:
    labels = tuple(f"c{index}" for index in range(30))
    truth = np.array([4] * 5 + [9] * 3 + list(range(30)), np.int64)
    said = np.array([7] * 5 + [2] * 3 + list(range(30)), np.int64)
    measured = Evaluation(labels, truth, {"int8": np.eye(30, dtype=np.float32)[said]})
    html = render(dataclasses.replace(EMPTY, labels=labels, evaluation=measured))
    _, *rows = Page(html).tables["pairs"]
    assert rows == [["c4", "c7", "5", "83%"], ["c9", "c2", "3", "75%"]]
    assert b'class="cells"' in html


def test_the_picture_of_a_large_matrix_has_the_truth_in_rows_and_strength_as_opacity() -> None:
    shares = np.zeros((3, 3))
    shares[0, 2], shares[1, 1] = 0.25, 1.0
    data = base64.b64decode(report_pictures.matrix_uri(shares).partition(",")[2])
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert picture is not None
    assert picture[..., 3].tolist() == [[0, 0, 128], [0, 255, 0], [0, 0, 0]]
    assert picture[0, 2, :3].tolist() != picture[1, 1, :3].tolist()


def test_the_same_data_give_the_same_bytes() -> None:
    assert render(report_data()) == render(report_data())


def test_the_page_needs_no_other_file_and_no_network() -> None:
    html = render(report_data())
    page = Page(html)
    for tag, attributes in page.tags:
        for key in ("src", "href", "data", "action", "srcset", "poster", "xlink:href"):
            if key in attributes:
                assert str(attributes[key]).startswith(("data:", "#")), (tag, attributes)
    assert b"://" not in html
    assert b"@import" not in html
    assert b"url(" not in html
    policy = [a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_every_link_of_the_page_has_its_section() -> None:
    page = Page(render(report_data()))
    targets = {str(a["href"])[1:] for tag, a in page.tags if tag == "a"}
    assert targets == SECTIONS


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (99_499, "99.5 kB"),
        (612_384, "612 kB"),
        (999_499, "999 kB"),
        (4_700_000, "4.70 MB"),
    ],
)
def test_sizes_are_decimal(size: int, text: str) -> None:
    assert kilobytes(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0 ms"), (0.42, "420 ms"), (1.0, "1.0 s"), (59.6, "1 min 00 s"), (83.2, "1 min 23 s"), (3720, "1 h 02 min")],
)
def test_durations_read_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_interval_is_wilsons() -> None:
    # Newcombe 1998, table I: 81 of 263 gives 0.2553 to 0.3662.
    assert wilson_interval(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(1.0, 10)[1] == pytest.approx(1.0)
    assert wilson_interval(0.0, 10)[0] == pytest.approx(0.0)


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(2, 9))
def test_ticks_lie_within_the_axis_and_are_few(low: float, width: float, about: int) -> None:
    high = low + width
    if high - low < 1e-9 * max(abs(low), 1):
        return
    found = report_pictures.ticks(low, high, about)
    slack = 1e-6 * (high - low) + 1e-11
    assert all(low - slack <= tick <= high + slack for tick in found)
    assert len(found) <= about + 1

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from device.errors import LitesightError
from device.preprocess import InputSpec, PixelFormat, Preprocessor, crop_box, crop_geometry

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "firmware_export" / "c"
DRIVER = Path(__file__).parent / "data" / "preprocess_driver.c"
STRICT = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wsign-conversion", "-Wshadow", "-pedantic"]
OK, BAD_ARGUMENT, SOURCE_FAILED, WORKSPACE_TOO_SMALL, FINISHED = range(5)
FORMATS = list(PixelFormat)  # in the order of the C enumeration
DEPTHS = {PixelFormat.RGB888: 3, PixelFormat.BGR888: 3, PixelFormat.GREY8: 1}
COLORS = ["RGB", "BGR", "GREY"]

RowSource = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int32)


class CSpec(ctypes.Structure):
    _fields_ = (
        ("width", ctypes.c_int32),
        ("height", ctypes.c_int32),
        ("color", ctypes.c_int),
        ("table", ctypes.c_void_p),
    )


class CFrame(ctypes.Structure):
    _fields_ = (
        ("width", ctypes.c_int32),
        ("height", ctypes.c_int32),
        ("format", ctypes.c_int),
        ("source", RowSource),
        ("context", ctypes.c_void_p),
    )


class CGeometry(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_int32) for name in ("x", "y", "factor", "columns", "rows"))


@dataclass(frozen=True)
class Case:
    """A frame with ``padding`` bytes between its rows, and what is to be made of it."""

    format: PixelFormat
    width: int
    height: int
    spec: InputSpec
    padding: int = 0
    seed: int = 0

    def rows(self) -> NDArray[np.uint8]:
        depth = DEPTHS.get(self.format, 2)
        size = (self.height, self.width * depth + self.padding)
        return np.random.default_rng(self.seed).integers(0, 256, size, np.uint8)

    def expected(self) -> NDArray[np.int8]:
        depth = DEPTHS.get(self.format, 2)
        frame = self.rows()[:, : self.width * depth].reshape(self.height, self.width, depth)
        return Preprocessor(self.spec)(frame, self.format)

    def c_spec(self, table: NDArray[np.int8] | None) -> CSpec:
        pointer = None if table is None else table.ctypes.data
        return CSpec(self.spec.width, self.spec.height, COLORS.index(self.spec.color), pointer)


def spec_of(width: int, height: int, color: str, table: bool) -> InputSpec:
    channels = 1 if color == "GREY" else 3
    if not table:
        return InputSpec(height, width, channels, color)
    mean, std = (123.7, 116.3, 103.5)[:channels], (58.4, 57.1, 57.4)[:channels]
    return InputSpec(height, width, channels, color, mean=mean, std=std, scale=0.0187, zero_point=-14)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    format = draw(st.sampled_from(FORMATS))
    width = draw(st.integers(1, 300))
    spec = spec_of(
        draw(st.integers(1, 70)), draw(st.integers(1, 70)), draw(st.sampled_from(COLORS)), draw(st.booleans())
    )
    if format is PixelFormat.YUYV:
        width += width % 2
    return Case(format, width, draw(st.integers(1, 300)), spec, draw(st.integers(0, 9)), draw(st.integers(0, 99)))


CHOSEN = [
    Case(PixelFormat.RGB888, 640, 480, spec_of(224, 224, "RGB", False)),
    Case(PixelFormat.BGR888, 800, 600, spec_of(256, 256, "RGB", True), padding=7),  # ties in the coefficients
    Case(PixelFormat.RGB888, 767, 511, spec_of(512, 256, "BGR", False)),
    Case(PixelFormat.YUYV, 320, 240, spec_of(96, 96, "RGB", False)),
    Case(PixelFormat.YUYV, 6, 2, spec_of(3, 2, "BGR", True)),  # the crop starts at an odd column
    Case(PixelFormat.RGB565, 320, 240, spec_of(96, 96, "GREY", True), padding=1),
    Case(PixelFormat.RGB565_BE, 17, 33, spec_of(40, 50, "RGB", False)),
    Case(PixelFormat.GREY8, 1700, 1601, spec_of(100, 100, "RGB", True)),  # factor 16, the last with 16-bit sums
    Case(PixelFormat.GREY8, 1700, 1800, spec_of(100, 100, "GREY", False)),  # factor 17
    Case(PixelFormat.RGB888, 900, 900, spec_of(3, 3, "BGR", False)),  # factor 300
    Case(PixelFormat.RGB888, 1, 1, spec_of(3, 3, "RGB", False)),
    Case(PixelFormat.GREY8, 2, 300, spec_of(70, 1, "GREY", False)),
]


@pytest.fixture(scope="session")
def library(require_tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    path = tmp_path_factory.mktemp("preprocess") / "preprocess.so"
    source = SOURCES / "litesight_preprocess.c"
    command = [require_tool("gcc"), *STRICT, "-O2", "-shared", "-fPIC", str(source), "-o", str(path)]
    subprocess.run(command, check=True, timeout=120)
    loaded = ctypes.CDLL(str(path))
    loaded.litesight_preprocess_workspace_bytes.restype = ctypes.c_size_t
    return loaded


def whole(library: ctypes.CDLL, case: Case, rows: NDArray[np.uint8], *, upside_down: bool = False) -> NDArray[np.int8]:
    """The C side's answer, from a workspace of exactly the size it asks for."""
    table = case.spec.table()
    spec = case.c_spec(table)
    frame = CFrame(case.width, case.height, FORMATS.index(case.format))
    workspace_bytes = library.litesight_preprocess_workspace_bytes(ctypes.byref(spec), ctypes.byref(frame))
    assert workspace_bytes
    workspace = np.zeros(workspace_bytes // 2, np.uint16)
    out = np.zeros((case.spec.height, case.spec.width, case.spec.channels), np.int8)
    stride = rows.strides[0]
    first = rows.ctypes.data + (stride * (case.height - 1) if upside_down else 0)
    status = library.litesight_preprocess_whole(
        ctypes.byref(spec),
        FORMATS.index(case.format),
        ctypes.c_int32(case.width),
        ctypes.c_int32(case.height),
        ctypes.c_int32(-stride if upside_down else stride),
        ctypes.c_void_p(first),
        ctypes.c_void_p(workspace.ctypes.data),
        ctypes.c_size_t(workspace_bytes),
        ctypes.c_void_p(out.ctypes.data),
    )
    assert status == OK
    return out


@given(cases())
def test_c_gives_the_bytes_that_python_gives(library: ctypes.CDLL, case: Case) -> None:
    np.testing.assert_array_equal(whole(library, case, case.rows()), case.expected())


@pytest.mark.parametrize("case", CHOSEN, ids=str)
def test_c_gives_the_bytes_that_python_gives_in_chosen_cases(library: ctypes.CDLL, case: Case) -> None:
    np.testing.assert_array_equal(whole(library, case, case.rows()), case.expected())


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("color", COLORS)
@pytest.mark.parametrize("table", [False, True])
def test_every_format_and_colour_order_agrees(
    library: ctypes.CDLL, format: PixelFormat, color: str, table: bool
) -> None:
    case = Case(format, 98, 71, spec_of(31, 24, color, table), padding=5)
    np.testing.assert_array_equal(whole(library, case, case.rows()), case.expected())


def test_negative_stride_reads_the_frame_from_the_bottom_up(library: ctypes.CDLL) -> None:
    case = Case(PixelFormat.RGB888, 60, 50, spec_of(20, 20, "RGB", False), padding=3)
    upright = case.rows()
    np.testing.assert_array_equal(
        whole(library, case, np.ascontiguousarray(upright[::-1]), upside_down=True), case.expected()
    )


def test_whites_at_the_largest_factor_do_not_overflow(library: ctypes.CDLL) -> None:
    row = np.full(4096, 255, np.uint8)
    frame = CFrame(4096, 4096, FORMATS.index(PixelFormat.GREY8), RowSource(lambda _context, _row: row.ctypes.data))
    spec = CSpec(1, 1, COLORS.index("GREY"))
    workspace = np.zeros(100, np.uint16)
    state = ctypes.create_string_buffer(512)
    out = np.zeros(1, np.int8)
    assert init(library, state, spec, frame, workspace) == OK
    assert library.litesight_preprocess_row(state, ctypes.c_void_p(out.ctypes.data)) == OK
    assert out[0] == 127


@pytest.mark.parametrize("factor", [2, 16, 17, 257, 258])
def test_white_stays_white_at_any_factor(library: ctypes.CDLL, factor: int) -> None:
    case = Case(PixelFormat.RGB888, 3 * factor, 2 * factor, spec_of(3, 2, "RGB", False))
    white = np.full((2 * factor, 9 * factor), 255, np.uint8)
    assert (whole(library, case, white) == 127).all()
    assert (Preprocessor(case.spec)(white.reshape(2 * factor, 3 * factor, 3)) == 127).all()


sides = st.one_of(st.integers(1, 300), st.integers(-3, 16390))
outputs = st.one_of(st.integers(1, 30), st.integers(-3, 2050))


@given(sides, sides, outputs, outputs)
@example(4097, 4097, 1, 1)
@example(4096, 4096, 1, 1)
def test_c_and_python_crop_and_refuse_alike(
    library: ctypes.CDLL, width: int, height: int, out_width: int, out_height: int
) -> None:
    geometry = CGeometry()
    status = library.litesight_preprocess_geometry(
        ctypes.byref(CSpec(out_width, out_height, 0)),
        ctypes.c_int32(width),
        ctypes.c_int32(height),
        ctypes.byref(geometry),
    )
    try:
        expected = crop_geometry(width, height, InputSpec(out_height, out_width))
    except LitesightError:
        assert status == BAD_ARGUMENT
        return
    assert status == OK
    found = tuple(getattr(geometry, name) for name in ("x", "y", "factor", "columns", "rows"))
    assert found == (expected.x, expected.y, expected.factor, expected.columns, expected.rows)


def init(library: ctypes.CDLL, state: Any, spec: CSpec, frame: CFrame, workspace: NDArray[Any]) -> int:
    return int(
        library.litesight_preprocess_init(
            state,
            ctypes.byref(spec),
            ctypes.byref(frame),
            ctypes.c_void_p(workspace.ctypes.data),
            ctypes.c_size_t(workspace.nbytes),
        )
    )


class Rows:
    """A row source that notes what it is asked for, and fails at row ``broken``."""

    def __init__(self, pixels: NDArray[np.uint8], broken: int = -1) -> None:
        self.pixels = pixels
        self.asked: list[int] = []
        self.broken = broken
        self.callback = RowSource(self._row)

    def _row(self, _context: int | None, row: int) -> int | None:
        self.asked.append(row)
        return None if row == self.broken else self.pixels[row].ctypes.data


@given(cases())
def test_rows_are_asked_for_in_order_once_and_only_inside_the_crop(library: ctypes.CDLL, case: Case) -> None:
    rows = Rows(case.rows())
    frame = CFrame(case.width, case.height, FORMATS.index(case.format), rows.callback)
    table = case.spec.table()
    spec = case.c_spec(table)
    workspace = np.zeros(4 * 3 * 3 * 70, np.uint16)
    state = ctypes.create_string_buffer(512)
    assert init(library, state, spec, frame, workspace) == OK
    out = np.zeros((case.spec.height, case.spec.width, case.spec.channels), np.int8)
    for row in out:
        assert library.litesight_preprocess_row(state, ctypes.c_void_p(row.ctypes.data)) == OK
    np.testing.assert_array_equal(out, case.expected())
    _, y, _, crop_height = crop_box(case.width, case.height, case.spec)
    assert rows.asked == sorted(set(rows.asked))
    assert rows.asked[0] >= y
    assert rows.asked[-1] < y + crop_height
    assert library.litesight_preprocess_row(state, ctypes.c_void_p(out.ctypes.data)) == FINISHED


def test_a_frame_of_the_right_size_needs_one_row_for_each_row(library: ctypes.CDLL) -> None:
    rows = Rows(np.zeros((8, 8), np.uint8))
    frame = CFrame(8, 8, FORMATS.index(PixelFormat.GREY8), rows.callback)
    state, workspace, out = ctypes.create_string_buffer(512), np.zeros(100, np.uint16), np.zeros(8, np.int8)
    assert init(library, state, CSpec(8, 8, COLORS.index("GREY")), frame, workspace) == OK
    for count in range(1, 9):
        assert library.litesight_preprocess_row(state, ctypes.c_void_p(out.ctypes.data)) == OK
        assert rows.asked == list(range(count))


def test_failed_source_is_reported_until_the_next_frame(library: ctypes.CDLL) -> None:
    rows = Rows(np.zeros((8, 8), np.uint8), broken=3)
    frame = CFrame(8, 8, FORMATS.index(PixelFormat.GREY8), rows.callback)
    spec = CSpec(8, 8, COLORS.index("GREY"))
    state, workspace = ctypes.create_string_buffer(512), np.zeros(100, np.uint16)
    out = np.full(8, 99, np.int8)
    assert init(library, state, spec, frame, workspace) == OK
    statuses = []
    for _ in range(5):
        out[:] = 99
        statuses.append(library.litesight_preprocess_row(state, ctypes.c_void_p(out.ctypes.data)))
    assert statuses == [OK, OK, OK, SOURCE_FAILED, SOURCE_FAILED]
    assert (out == 99).all()
    assert rows.asked == [0, 1, 2, 3]
    assert init(library, state, spec, frame, workspace) == OK
    assert library.litesight_preprocess_row(state, ctypes.c_void_p(out.ctypes.data)) == OK


@pytest.mark.parametrize(
    ("spec", "frame"),
    [
        ((0, 8, 0), (8, 8, 0)),
        ((-1, 8, 0), (8, 8, 0)),
        ((8, 2049, 0), (8, 8, 0)),
        ((8, 8, 3), (8, 8, 0)),
        ((8, 8, -1), (8, 8, 0)),
        ((8, 8, 0), (0, 8, 0)),
        ((8, 8, 0), (8, -5, 0)),
        ((8, 8, 0), (16385, 8, 0)),
        ((8, 8, 0), (2**31 - 1, 2**31 - 1, 0)),
        ((8, 8, 0), (-(2**31), -(2**31), 5)),
        ((8, 8, 0), (8, 8, 6)),
        ((8, 8, 0), (8, 8, -1)),
        ((8, 8, 0), (7, 8, 5)),
    ],
)
def test_impossible_sizes_and_values_are_refused(
    library: ctypes.CDLL, spec: tuple[int, int, int], frame: tuple[int, int, int]
) -> None:
    rows = Rows(np.zeros((8, 24), np.uint8))
    c_spec, c_frame = CSpec(*spec), CFrame(*frame, rows.callback)
    state = ctypes.create_string_buffer(512)
    assert library.litesight_preprocess_workspace_bytes(ctypes.byref(c_spec), ctypes.byref(c_frame)) == 0
    assert init(library, state, c_spec, c_frame, np.zeros(1000, np.uint16)) == BAD_ARGUMENT
    assert library.litesight_preprocess_row(state, state) == BAD_ARGUMENT
    assert rows.asked == []


def test_null_pointers_are_refused(library: ctypes.CDLL) -> None:
    spec, frame = CSpec(8, 8, 2), CFrame(8, 8, 2, Rows(np.zeros((8, 8), np.uint8)).callback)
    sourceless = CFrame(8, 8, 2)
    state, workspace = ctypes.create_string_buffer(512), np.zeros(1000, np.uint16)
    place, size = ctypes.c_void_p(workspace.ctypes.data), ctypes.c_size_t(workspace.nbytes)
    calls = [
        (None, ctypes.byref(spec), ctypes.byref(frame), place, size),
        (state, None, ctypes.byref(frame), place, size),
        (state, ctypes.byref(spec), None, place, size),
        (state, ctypes.byref(spec), ctypes.byref(sourceless), place, size),
        (state, ctypes.byref(spec), ctypes.byref(frame), None, size),
    ]
    assert [library.litesight_preprocess_init(*call) for call in calls] == [BAD_ARGUMENT] * len(calls)
    assert init(library, state, spec, frame, workspace) == OK
    assert library.litesight_preprocess_row(state, None) == BAD_ARGUMENT
    assert library.litesight_preprocess_row(None, place) == BAD_ARGUMENT
    assert library.litesight_preprocess_row(state, place) == OK


@pytest.mark.parametrize("stride", [0, 23, -23, 131072, -131072, -(2**31), 2**31 - 1])
def test_stride_that_overlaps_or_overflows_is_refused(library: ctypes.CDLL, stride: int) -> None:
    buffer = np.zeros(4096, np.uint16)
    place = ctypes.c_void_p(buffer.ctypes.data)
    status = library.litesight_preprocess_whole(
        ctypes.byref(CSpec(8, 8, 0)), 0, 8, 8, ctypes.c_int32(stride), place, place, ctypes.c_size_t(4096), place
    )
    assert status == BAD_ARGUMENT


def test_small_or_odd_workspace_is_refused(library: ctypes.CDLL) -> None:
    spec, frame = CSpec(8, 8, 2), CFrame(8, 8, 2, Rows(np.zeros((8, 8), np.uint8)).callback)
    needed = library.litesight_preprocess_workspace_bytes(ctypes.byref(spec), ctypes.byref(frame))
    assert needed == 2 * 8 * 2 + 8 * 2
    state, workspace = ctypes.create_string_buffer(512), np.zeros(needed + 2, np.uint8)
    assert init(library, state, spec, frame, workspace[:needed]) == OK
    assert init(library, state, spec, frame, workspace[: needed - 1]) == WORKSPACE_TOO_SMALL
    assert init(library, state, spec, frame, workspace[1:]) == WORKSPACE_TOO_SMALL


@given(sides, sides, outputs, outputs, st.sampled_from(COLORS), st.sampled_from(range(6)))
def test_the_constant_bound_is_enough_for_any_frame(
    library: ctypes.CDLL, width: int, height: int, out_width: int, out_height: int, color: str, format: int
) -> None:
    spec, frame = CSpec(out_width, out_height, COLORS.index(color)), CFrame(width, height, format)
    needed = library.litesight_preprocess_workspace_bytes(ctypes.byref(spec), ctypes.byref(frame))
    channels = 1 if color == "GREY" else 3
    if needed:
        assert needed <= 4 * channels * (out_width + (18 * out_width - 1) // 17)


@pytest.fixture(scope="session", params=["gcc", "clang"])
def sanitized_driver(
    request: pytest.FixtureRequest, require_tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("sanitized") / "driver"
    sanitize = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    sources = [str(DRIVER), str(SOURCES / "litesight_preprocess.c")]
    command = [require_tool(request.param), *STRICT, *sanitize, f"-I{SOURCES}", *sources, "-o", str(path)]
    built = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    if "cannot find" in built.stderr and os.environ.get("REQUIRE_TOOLS") != "1":
        pytest.skip(f"{request.param} has no sanitizer runtime")  # Debian keeps clang's in libclang-rt-dev
    assert built.returncode == 0, built.stderr
    return path


@pytest.mark.parametrize("guard_bytes", [0, 64])
def test_sanitizers_and_guard_bytes_find_nothing(sanitized_driver: Path, guard_bytes: int) -> None:
    tried = [*CHOSEN]
    for index, format in enumerate(FORMATS):
        for color in COLORS:
            for width, height, size in ((98, 40, 13), (14, 31, 23), (64, 64, 64), (2, 3, 5)):
                spec = spec_of(size, size + index, color, index % 2 == 0)
                tried.append(Case(format, width, height, spec, padding=index, seed=index))
    request = b""
    for case in tried:
        rows, table = case.rows(), case.spec.table()
        numbers = [FORMATS.index(case.format), case.width, case.height, rows.shape[1]]
        numbers += [case.spec.width, case.spec.height, COLORS.index(case.spec.color), table is not None]
        request += np.array(numbers, np.int32).tobytes() + rows.tobytes() + (b"" if table is None else table.tobytes())
    finished = subprocess.run(
        [str(sanitized_driver), str(guard_bytes)], input=request, capture_output=True, check=False, timeout=300
    )
    assert finished.stderr.decode() == ""
    assert finished.returncode == 0
    expected = b"".join(np.int32(OK).tobytes() + case.expected().tobytes() for case in tried)
    assert finished.stdout == expected


@pytest.mark.parametrize("core", ["cortex-m0plus", "cortex-m4", "cortex-m7", "cortex-m55"])
@pytest.mark.parametrize("optimization", ["-Os", "-O3"])
def test_compiles_for_the_core_without_a_warning_heap_or_global(
    require_tool: Callable[[str], str], tmp_path: Path, core: str, optimization: str
) -> None:
    target = tmp_path / "preprocess.o"
    source = str(SOURCES / "litesight_preprocess.c")
    flags = [*STRICT, "-Wvla", f"-mcpu={core}", "-mthumb", optimization, "-ffreestanding", "-c"]
    subprocess.run([require_tool("arm-none-eabi-gcc"), *flags, source, "-o", str(target)], check=True, timeout=120)
    listing = subprocess.run(
        [require_tool("arm-none-eabi-nm"), str(target)], check=True, capture_output=True, text=True, timeout=60
    ).stdout
    kinds = {line.split()[-1]: line.split()[-2] for line in listing.splitlines()}
    assert not {name for name, kind in kinds.items() if kind in "dDbBcC"}
    outside = {name for name, kind in kinds.items() if kind == "U"}
    assert not {name for name in outside if not name.startswith(("__aeabi_", "__gnu_thumb1_", "mem"))}


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_header_serves_cpp_and_the_bound_is_a_constant(
    require_tool: Callable[[str], str], tmp_path: Path, compiler: str
) -> None:
    source = tmp_path / "user.cc"
    source.write_text(
        '#include "litesight_preprocess.h"\n'
        "static uint16_t workspace[LITESIGHT_PREPROCESS_WORKSPACE_BYTES(224, 3) / 2];\n"
        'static_assert(sizeof workspace == 5532, "");\n'
        'static_assert(LITESIGHT_PREPROCESS_WORKSPACE_BYTES(96, 3) == 2364, "");\n'
        "int main() { return workspace[0]; }\n",
        encoding="utf-8",
    )
    flags = ["-std=c++11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only", f"-I{SOURCES}"]
    subprocess.run([require_tool(compiler), *flags, str(source)], check=True, timeout=120)

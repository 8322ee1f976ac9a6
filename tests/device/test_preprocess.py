# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from device import pixel_steps
from device.errors import LitesightError
from device.pixel_steps import UInt8Array
from device.preprocess import (
    MAX_OUTPUT_SIDE,
    InputSpec,
    PixelFormat,
    Preprocessor,
    crop_box,
    crop_geometry,
)


def random_frame(height: int, width: int, depth: int = 3, seed: int = 0) -> UInt8Array:
    return np.random.default_rng(seed).integers(0, 256, (height, width, depth), np.uint8)


def slow_pixels(frame: UInt8Array, spec: InputSpec) -> UInt8Array:
    """The rule for an RGB888 frame and an RGB network, written from docs/preprocessing.md with a loop per pixel."""
    height, width = frame.shape[:2]
    if width * spec.height > height * spec.width:
        crop_width, crop_height = max(1, height * spec.width // spec.height), height
    else:
        crop_width, crop_height = width, max(1, width * spec.height // spec.width)
    k = max(1, min(crop_width // spec.width, crop_height // spec.height))
    columns, rows = crop_width // k, crop_height // k
    x0, y0 = (width - columns * k) // 2, (height - rows * k) // 2
    cells = [
        [
            [
                (int(frame[y0 + j * k : y0 + j * k + k, x0 + i * k : x0 + i * k + k, c].sum()) + k * k // 2) // (k * k)
                for c in range(3)
            ]
            for i in range(columns)
        ]
        for j in range(rows)
    ]

    def place(index: int, size: int, outputs: int) -> tuple[int, int, int]:
        p = min(max((2 * (2 * index + 1) * size * 128 + outputs) // (2 * outputs) - 128, 0), (size - 1) * 256)
        return p >> 8, min((p >> 8) + 1, size - 1), p & 255

    out = np.empty((spec.height, spec.width, 3), np.uint8)
    for y in range(spec.height):
        j0, j1, g = place(y, rows, spec.height)
        for x in range(spec.width):
            i0, i1, f = place(x, columns, spec.width)
            for c in range(3):
                above = cells[j0][i0][c] * (256 - f) + cells[j0][i1][c] * f
                below = cells[j1][i0][c] * (256 - f) + cells[j1][i1][c] * f
                out[y, x, c] = (above * (256 - g) + below * g + 32768) >> 16
    return out


sides = st.integers(1, 40)


@given(sides, sides, st.integers(1, 12), st.integers(1, 12), st.integers(0, 9))
def test_agrees_with_the_rule_written_as_loops(
    width: int, height: int, out_width: int, out_height: int, seed: int
) -> None:
    spec = InputSpec(out_height, out_width)
    frame = random_frame(height, width, seed=seed)
    np.testing.assert_array_equal(Preprocessor(spec).pixels(frame), slow_pixels(frame, spec))


@pytest.mark.parametrize(("cells", "outputs"), [(255, 256), (300, 256), (480, 256), (767, 512), (128, 256), (3, 768)])
def test_agrees_with_the_rule_where_a_coefficient_may_be_a_tie(cells: int, outputs: int) -> None:
    spec = InputSpec(2, outputs)
    frame = random_frame(2, cells)
    if cells < outputs:  # the crop would otherwise cut the frame to the shape of the output
        frame = random_frame(max(1, cells * 2 // outputs), cells)
    np.testing.assert_array_equal(Preprocessor(spec).pixels(frame), slow_pixels(frame, spec))


@given(
    arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3))),
    st.one_of(st.integers(1, 70), st.sampled_from([256, 512])),
    st.one_of(st.integers(1, 70), st.sampled_from([256, 512])),
    st.booleans(),
)
@example(np.tile(np.arange(255, dtype=np.uint8)[:, np.newaxis], (1, 3))[np.newaxis], 256, 1, True)
def test_opencv_and_numpy_give_the_same_resize(image: UInt8Array, width: int, height: int, is_color: bool) -> None:
    cells = image if is_color else np.ascontiguousarray(image[..., 0])
    columns = pixel_steps.Positions.of(cells.shape[1], width)
    rows = pixel_steps.Positions.of(cells.shape[0], height)
    found, expected = (np.empty((height, width, *cells.shape[2:]), np.uint8) for _ in range(2))
    pixel_steps.bilinear(cells, columns, rows, found, pixel_steps.Buffers())
    pixel_steps.bilinear_reference(cells, columns, rows, expected)
    np.testing.assert_array_equal(found, expected)


@given(
    arrays(np.uint8, st.tuples(st.integers(1, 30), st.integers(1, 30), st.just(3))), st.integers(2, 5), st.booleans()
)
def test_box_is_the_mean_rounded_half_up(image: UInt8Array, factor: int, is_color: bool) -> None:
    # As a crop of a larger frame, so that rows are not adjacent in memory.
    large = np.tile(image, (factor, factor + 1, 1))[:, : image.shape[1] * factor]
    source = large if is_color else large[..., 1]
    blocks = source.reshape(image.shape[0], factor, image.shape[1], factor, *source.shape[2:])
    expected = (blocks.sum(axis=(1, 3), dtype=np.int64) + factor * factor // 2) // (factor * factor)
    np.testing.assert_array_equal(pixel_steps.box(source, factor, pixel_steps.Buffers()), expected)


def test_a_block_of_more_than_257_white_rows_does_not_overflow() -> None:
    white = np.full((600, 600, 3), 255, np.uint8)
    assert (Preprocessor(InputSpec(2, 2)).pixels(white) == 255).all()


@pytest.mark.parametrize("width", [640, 97])
@pytest.mark.parametrize("format", list(PixelFormat))
@pytest.mark.parametrize("color", ["RGB", "BGR", "GREY"])
def test_without_opencv_the_result_is_the_same(
    width: int, format: PixelFormat, color: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    depth = {"RGB888": 3, "BGR888": 3, "GREY8": 1}.get(format.value, 2)
    frame = random_frame(120, width - width % 2, depth)
    spec = InputSpec(50, 60, 1 if color == "GREY" else 3, color)
    with_opencv = Preprocessor(spec).pixels(frame, format)
    monkeypatch.setattr(pixel_steps, "opencv", lambda: None)
    np.testing.assert_array_equal(Preprocessor(spec).pixels(frame, format), with_opencv)


def test_opencv_is_used_where_it_is_right_and_dropped_where_it_is_not() -> None:
    fast = pixel_steps.opencv()
    assert fast is not None
    assert pixel_steps.agrees_with_reference(fast)

    def off_by_one(source: UInt8Array, out: UInt8Array) -> None:
        fast.halve(source, out)
        out[-1, -1] ^= 1

    wrong = pixel_steps.OpenCV(off_by_one, fast.bilinear, fast.interleave, fast.swap, fast.mirror)
    assert not pixel_steps.agrees_with_reference(wrong)
    nearest = pixel_steps.OpenCV(fast.halve, fast.halve, fast.interleave, fast.swap, fast.mirror)
    assert not pixel_steps.agrees_with_reference(nearest)


def test_importing_does_not_import_opencv() -> None:
    code = "import sys, device.preprocess; sys.exit('cv2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def only_value(frame: NDArray[Any], format: PixelFormat, color: str = "RGB") -> list[int]:
    spec = InputSpec(1, 1, 1 if color == "GREY" else 3, color)
    return [int(value) for value in Preprocessor(spec).pixels(frame, format).reshape(-1)]


def test_two_by_two_becomes_its_mean_with_halves_up() -> None:
    frame = np.array([[10, 11], [12, 13]], np.uint8)  # 46 / 4 = 11.5
    assert only_value(frame, PixelFormat.GREY8, "GREY") == [12]


def test_three_by_three_becomes_its_mean() -> None:
    frame = np.array([[0, 0, 0], [0, 0, 0], [0, 0, 4]], np.uint8)  # 4 / 9 = 0.44
    assert only_value(frame, PixelFormat.GREY8, "GREY") == [0]
    frame[2, 2] = 5  # 0.56
    assert only_value(frame, PixelFormat.GREY8, "GREY") == [1]


def test_one_pixel_fills_any_output() -> None:
    frame = np.array([[[1, 2, 3]]], np.uint8)
    pixels = Preprocessor(InputSpec(3, 3)).pixels(frame)
    assert pixels.reshape(-1, 3).tolist() == [[1, 2, 3]] * 9


def test_doubling_two_pixels_weighs_them_by_quarters() -> None:
    frame = np.array([[0, 100]], np.uint8)
    pixels = Preprocessor(InputSpec(2, 4, 1, "GREY")).pixels(frame, PixelFormat.GREY8)
    assert pixels[..., 0].tolist() == [[0, 25, 75, 100]] * 2


def test_a_half_in_the_bilinear_sum_is_rounded_up() -> None:
    # 3 -> 2 pixels: the second output lies at 1.75, the first at 0.25: (3 * 0 + 2) / 4 = 0.5 and (0 + 3 * 2) / 4 = 1.5.
    frame = np.array([[0, 2, 0], [0, 2, 0], [0, 2, 0]], np.uint8)
    pixels = Preprocessor(InputSpec(2, 2, 1, "GREY")).pixels(frame, PixelFormat.GREY8)
    assert pixels[..., 0].tolist() == [[1, 1], [1, 1]]


def test_same_size_is_left_alone() -> None:
    frame = random_frame(24, 32)
    np.testing.assert_array_equal(Preprocessor(InputSpec(24, 32)).pixels(frame), frame)


@pytest.mark.parametrize(
    ("rgb", "expected"), [((255, 255, 255), 255), ((255, 0, 0), 77), ((0, 255, 0), 149), ((0, 0, 255), 29)]
)
def test_luma_of_known_colours(rgb: tuple[int, int, int], expected: int) -> None:
    frame = np.array([[rgb]], np.uint8)
    assert only_value(frame, PixelFormat.RGB888, "GREY") == [expected]
    assert only_value(frame[..., ::-1].copy(), PixelFormat.BGR888, "GREY") == [expected]


@pytest.mark.parametrize(
    ("word", "rgb"),
    [
        (0xF800, [255, 0, 0]),
        (0x07E0, [0, 255, 0]),
        (0x001F, [0, 0, 255]),
        (0x8410, [132, 130, 132]),
        (0x0841, [8, 8, 8]),
        (0x1234, [16, 69, 165]),
    ],
)
def test_known_rgb565_colours(word: int, rgb: list[int]) -> None:
    low_first = np.array([[[word & 255, word >> 8]]], np.uint8)
    assert only_value(low_first, PixelFormat.RGB565) == rgb
    assert only_value(low_first[..., ::-1], PixelFormat.RGB565_BE) == rgb
    assert only_value(np.array([[word]], np.dtype("<u2")), PixelFormat.RGB565) == rgb
    assert only_value(np.array([[word]], np.dtype("<u2")).byteswap(), PixelFormat.RGB565_BE) == rgb


@pytest.mark.parametrize(
    ("yuv", "rgb"),
    [
        ((100, 128, 128), [100, 100, 100]),
        ((76, 85, 255), [254, 0, 0]),  # pure red is Y 76, U 85, V 255
        ((150, 44, 21), [0, 255, 1]),  # green
        ((29, 255, 107), [0, 0, 254]),  # blue
        ((255, 128, 255), [255, 164, 255]),
        ((0, 128, 0), [0, 92, 0]),
        ((100, 131, 128), [100, 99, 105]),  # 454 * 3 / 256 = 5.3
    ],
)
def test_known_yuyv_colours(yuv: tuple[int, int, int], rgb: list[int]) -> None:
    y, u, v = yuv
    frame = np.array([[[y, u], [y, v]]] * 2, np.uint8)
    assert only_value(frame, PixelFormat.YUYV) == rgb
    assert only_value(frame, PixelFormat.YUYV, "BGR") == rgb[::-1]
    assert only_value(frame, PixelFormat.YUYV, "GREY") == [y]


def test_every_chroma_of_yuyv_follows_the_formula() -> None:
    u, v = np.meshgrid(np.arange(256), np.arange(256))
    for y in (0, 1, 77, 128, 254, 255):
        frame = np.full((256, 512, 2), y, np.uint8)
        frame[:, 0::2, 1] = u
        frame[:, 1::2, 1] = v
        found = Preprocessor(InputSpec(256, 512)).pixels(frame, PixelFormat.YUYV)[:, ::2]
        formulas = (359 * (v - 128), -88 * (u - 128) - 183 * (v - 128), 454 * (u - 128))
        for channel, formula in enumerate(formulas):
            np.testing.assert_array_equal(found[..., channel], np.clip((256 * y + formula + 128) >> 8, 0, 255))


def test_yuyv_pixel_at_an_odd_start_of_the_crop_keeps_its_own_chroma() -> None:
    frame = random_frame(2, 6, 2)  # a 3 x 2 output begins at column (6 - 3) // 2 = 1
    assert crop_box(6, 2, InputSpec(2, 3)) == (1, 0, 3, 2)
    whole = Preprocessor(InputSpec(2, 6)).pixels(frame, PixelFormat.YUYV)
    np.testing.assert_array_equal(Preprocessor(InputSpec(2, 3)).pixels(frame, PixelFormat.YUYV), whole[:, 1:4])


@pytest.mark.parametrize("format", [PixelFormat.RGB888, PixelFormat.BGR888])
def test_color_order_only_reorders(format: PixelFormat) -> None:
    frame = random_frame(50, 70)
    rgb = Preprocessor(InputSpec(20, 20)).pixels(frame, format)
    bgr = Preprocessor(InputSpec(20, 20, color="BGR")).pixels(frame, format)
    np.testing.assert_array_equal(rgb, bgr[..., ::-1])
    straight = rgb if format is PixelFormat.RGB888 else bgr
    np.testing.assert_array_equal(straight, slow_pixels(frame, InputSpec(20, 20)))


def test_grey_frame_fills_all_three_channels() -> None:
    frame = random_frame(50, 70, 1)
    pixels = Preprocessor(InputSpec(20, 20)).pixels(frame, PixelFormat.GREY8)
    np.testing.assert_array_equal(pixels, slow_pixels(np.repeat(frame, 3, axis=2), InputSpec(20, 20)))


@given(sides, sides, sides, sides, st.integers(0, 255))
def test_a_constant_picture_stays_constant(
    width: int, height: int, out_width: int, out_height: int, value: int
) -> None:
    frame = np.full((height, width, 3), value, np.uint8)
    assert (Preprocessor(InputSpec(out_height, out_width)).pixels(frame) == value).all()


@pytest.mark.parametrize(
    "view",
    [
        (slice(None), slice(None, None, -1)),
        (slice(None, None, -1), slice(None)),
        (slice(None), slice(None), slice(None, None, -1)),
        (slice(None), slice(None, None, -1), slice(None, None, -1)),
        (slice(3, 90), slice(5, 101)),
        (slice(None, None, 2), slice(None, None, 3)),
    ],
)
@pytest.mark.parametrize("size", [20, 45, 80])
@pytest.mark.parametrize("color", ["RGB", "BGR", "GREY"])
def test_any_view_of_a_frame_is_read_as_its_copy_would_be(view: tuple[slice, ...], size: int, color: str) -> None:
    for format, depth in ((PixelFormat.RGB888, 3), (PixelFormat.GREY8, 1), (PixelFormat.RGB565, 2)):
        if depth < 3 and len(view) == 3:
            continue
        frame = random_frame(100, 140, depth)[view]
        preprocess = Preprocessor(InputSpec(size, size, 1 if color == "GREY" else 3, color))
        np.testing.assert_array_equal(preprocess(frame, format), preprocess(np.ascontiguousarray(frame), format))


def test_transposed_frame_is_read_as_its_copy_would_be() -> None:
    frame = random_frame(100, 140).transpose(1, 0, 2)
    preprocess = Preprocessor(InputSpec(30, 30))
    np.testing.assert_array_equal(preprocess(frame), preprocess(frame.copy()))


@pytest.mark.parametrize("format", list(PixelFormat))
@pytest.mark.parametrize("size", [8, 20, 60])
def test_the_frame_is_never_modified(format: PixelFormat, size: int) -> None:
    depth = {"RGB888": 3, "BGR888": 3, "GREY8": 1}.get(format.value, 2)
    frame = random_frame(40, 60, depth)
    before = frame.copy()
    frame.flags.writeable = False
    Preprocessor(InputSpec(size, size))(frame, format)
    np.testing.assert_array_equal(frame, before)


def test_a_result_is_not_changed_by_the_next_call() -> None:
    preprocess = Preprocessor(InputSpec(20, 20))
    first = preprocess.pixels(random_frame(50, 50))
    quantized = preprocess(random_frame(50, 50))
    kept, kept_quantized = first.copy(), quantized.copy()
    preprocess.pixels(random_frame(50, 50, seed=1))
    preprocess(random_frame(50, 50, seed=1))
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(quantized, kept_quantized)


def test_alternating_frame_sizes_and_formats_do_not_disturb_each_other() -> None:
    reused = Preprocessor(InputSpec(21, 30))
    for round_ in range(2):
        for height, width in ((40, 60), (60, 40), (90, 90), (30, 30), (130, 70), (61, 200)):
            for format, depth in ((PixelFormat.RGB888, 3), (PixelFormat.YUYV, 2), (PixelFormat.GREY8, 1)):
                frame = random_frame(height, width, depth, seed=round_)
                expected = Preprocessor(InputSpec(21, 30))(frame, format)
                np.testing.assert_array_equal(reused(frame, format), expected)


def test_memory_is_kept_for_a_few_frame_sizes_only() -> None:
    preprocess = Preprocessor(InputSpec(4, 4))
    for width in range(10, 40):
        preprocess(random_frame(20, width))
    assert len(preprocess._workspaces) <= 4


def test_out_is_filled_and_returned() -> None:
    spec = InputSpec(20, 24)
    frame = random_frame(50, 50)
    out = np.zeros((20, 24, 3), np.int8)
    assert Preprocessor(spec)(frame, out=out) is out
    np.testing.assert_array_equal(out, Preprocessor(spec)(frame))
    pixels = np.zeros((20, 24, 3), np.uint8)
    assert Preprocessor(spec).pixels(frame, out=pixels) is pixels
    np.testing.assert_array_equal(out, (pixels.astype(int) - 128))


# Quantisation


def test_default_quantisation_is_x_xor_0x80() -> None:
    assert InputSpec(1, 1).table() is None
    assert InputSpec(1, 1, mean=(0.0,) * 3, std=(1.0,) * 3, scale=1.0, zero_point=-128).table() is None
    found = Preprocessor(InputSpec(1, 256, 1, "GREY")).quantize(np.arange(256, dtype=np.uint8).reshape(1, 256, 1))
    assert found.reshape(-1).tolist() == list(range(-128, 128))


def test_table_rounds_halves_away_from_zero_and_clamps() -> None:
    table = InputSpec(1, 1, 1, "GREY", mean=(128.0,), std=(1.0,), scale=2.0, zero_point=3).table()
    assert table is not None
    assert table.shape == (1, 256)
    assert table.dtype == np.int8
    assert [int(table[0, x]) for x in (125, 126, 127, 128, 129, 130, 131)] == [1, 2, 2, 3, 4, 4, 5]
    steep = InputSpec(1, 1, 1, "GREY", mean=(128.0,), std=(1.0,), scale=0.25, zero_point=0).table()
    assert steep is not None
    assert [int(steep[0, x]) for x in (0, 96, 97, 159, 160, 255)] == [-128, -128, -124, 124, 127, 127]


def test_each_channel_has_its_own_table_in_the_networks_order() -> None:
    spec = InputSpec(1, 1, color="BGR", mean=(0.0, 100.0, 200.0), std=(1.0,) * 3, scale=1.0)
    assert Preprocessor(spec)(np.array([[[201, 102, 3]]], np.uint8)).tolist() == [[[3, 2, 1]]]


@given(
    st.floats(-500, 500),
    st.floats(0.01, 500),
    st.floats(1e-4, 10),
    st.integers(-128, 127),
)
def test_table_is_the_nearest_step(mean: float, std: float, scale: float, zero_point: int) -> None:
    table = InputSpec(1, 1, 1, "GREY", mean=(mean,), std=(std,), scale=scale, zero_point=zero_point).table()
    values = np.arange(-128, 128) if table is None else table[0].astype(int)
    exact = (np.arange(256) - mean) / std / scale + zero_point
    assert (np.abs(values - np.clip(exact, -128, 127)) <= 0.5 + 1e-6).all()


def test_extreme_but_finite_normalisation_gives_no_warning() -> None:
    table = InputSpec(1, 1, 1, "GREY", mean=(1.0,), std=(1e-300,), scale=1e-300, zero_point=5).table()
    assert table is not None
    assert [int(table[0, x]) for x in (0, 1, 2)] == [-128, 5, 127]


# Geometry


@pytest.mark.parametrize(
    ("size", "output", "box"),
    [
        ((640, 480), (224, 224), (80, 0, 480, 480)),
        ((480, 640), (224, 224), (0, 80, 480, 480)),
        ((4000, 3000), (224, 224), (505, 5, 2990, 2990)),
        ((640, 480), (96, 48), (2, 81, 636, 318)),
        ((1, 1), (3, 3), (0, 0, 1, 1)),
        ((1, 500), (100, 50), (0, 249, 1, 1)),
    ],
)
def test_crop_box_of_known_sizes(
    size: tuple[int, int], output: tuple[int, int], box: tuple[int, int, int, int]
) -> None:
    assert crop_box(*size, InputSpec(output[1], output[0])) == box


frame_side = st.one_of(st.integers(1, 300), st.integers(1, 16384))
output_side = st.one_of(st.integers(1, 20), st.integers(1, MAX_OUTPUT_SIDE))


@given(frame_side, frame_side, output_side, output_side)
@example(3, 3, 2, 2)
@example(4095, 4095, 2048, 2048)
def test_crop_lies_centred_in_the_frame_and_cells_stay_within_the_bound(
    width: int, height: int, out_width: int, out_height: int
) -> None:
    spec = InputSpec(out_height, out_width)
    try:
        geometry = crop_geometry(width, height, spec)
    except LitesightError:
        assert min(width // out_width, height // out_height) > 4096
        return
    x, y, crop_width, crop_height = crop_box(width, height, spec)
    assert 0 <= x <= width - crop_width
    assert 0 <= width - crop_width - 2 * x <= 1
    assert 0 <= y <= height - crop_height
    assert 0 <= height - crop_height - 2 * y <= 1
    assert 1 <= geometry.columns <= 2 * out_width - 1
    assert 1 <= geometry.rows <= 2 * out_height - 1
    if geometry.factor >= 17:
        assert geometry.columns <= (18 * out_width - 1) // 17


# Errors


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"height": 0}, "input height must be a whole number from 1 to 2048, found 0"),
        ({"width": 4096}, "input width"),
        ({"width": 2.0}, "input width"),
        ({"color": "YUV"}, "input color must be RGB, BGR or GREY, found 'YUV'"),
        ({"color": "GREY"}, r"input color GREY has 1 channel\(s\), found channels=3"),
        ({"channels": 1}, "input color RGB has 3"),
        ({"resize": "box-bilinear-2"}, 'input resize rule must be "box-bilinear-1"'),
        ({"mean": (1.0,)}, r"input mean must have 3 value\(s\)"),
        ({"mean": (1.0, 2.0, float("nan"))}, "finite numbers, found nan"),
        ({"mean": ("1", 2.0, 3.0)}, "finite numbers"),
        ({"std": (1.0, 0.0, 1.0)}, "input std must be greater than 0"),
        ({"scale": 0.0}, "input scale must be greater than 0"),
        ({"scale": 10**400}, "finite numbers, found one beyond float64"),
        ({"scale": float("inf")}, "finite"),
        ({"zero_point": 128}, "input zero_point must be a whole number from -128 to 127, found 128"),
        ({"zero_point": True}, "zero_point"),
    ],
)
def test_impossible_input_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(LitesightError, match=message):
        InputSpec(**{"height": 8, "width": 8, **changes})


def test_defaults_are_written_out_so_that_specs_compare() -> None:
    assert InputSpec(8, 8) == InputSpec(8, 8, mean=(128.0,) * 3, std=(128, 128, 128), scale=1 / 128)
    assert InputSpec(8, 8, 1, "GREY").mean == (128.0,)


@pytest.mark.parametrize(
    ("frame", "format", "message"),
    [
        (
            np.zeros((4, 4), np.uint8),
            PixelFormat.RGB888,
            r"RGB888 frame must be uint8 \(H, W, 3\), found uint8 \(4, 4\)",
        ),
        (np.zeros((4, 4, 4), np.uint8), PixelFormat.BGR888, r"\(H, W, 3\)"),
        (np.zeros((4, 4, 3), np.float32), PixelFormat.RGB888, "found float32"),
        (np.zeros((4, 4, 3), np.uint8), PixelFormat.GREY8, r"\(H, W\) or \(H, W, 1\)"),
        (np.zeros((4, 4), np.uint8), PixelFormat.RGB565, r"\(H, W, 2\)"),
        (np.zeros((4, 4), np.uint16), PixelFormat.YUYV, r"\(H, W, 2\)"),
        (np.zeros((4, 4), np.dtype(">u2")), PixelFormat.RGB565_BE, "found >u2"),
        (np.zeros((4, 5, 2), np.uint8), PixelFormat.YUYV, "even width, found 5x4"),
        (np.zeros((4, 6, 2), np.uint8)[:, ::-1], PixelFormat.YUYV, "mirrored or thinned-out"),
        (np.zeros((0, 4, 3), np.uint8), PixelFormat.RGB888, "height must be 1 to 16384 pixels, found 4x0"),
        (np.zeros((1, 16385), np.uint8), PixelFormat.GREY8, "width must be 1 to 16384 pixels"),
    ],
)
def test_wrong_frame_is_refused_with_what_was_expected(frame: NDArray[Any], format: PixelFormat, message: str) -> None:
    with pytest.raises(LitesightError, match=message):
        Preprocessor(InputSpec(4, 4)).pixels(frame, format)


def test_block_too_large_to_sum_is_refused() -> None:
    frame = np.broadcast_to(np.uint8(7), (4097, 4097))
    with pytest.raises(LitesightError, match="at most 4096 times the network's input, found 4097x4097 for 1x1"):
        Preprocessor(InputSpec(1, 1)).pixels(frame, PixelFormat.GREY8)


@pytest.mark.parametrize(
    "out", [np.zeros((4, 4), np.int8), np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 6), np.int8)[..., ::2]]
)
def test_wrong_out_is_refused(out: NDArray[Any]) -> None:
    with pytest.raises(LitesightError, match=r"out must be writable C-contiguous int8 \(4, 4, 3\)"):
        Preprocessor(InputSpec(4, 4))(np.zeros((8, 8, 3), np.uint8), out=out)


def test_out_inside_the_frame_is_refused() -> None:
    frame = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(LitesightError, match="out must not overlap the frame"):
        Preprocessor(InputSpec(4, 4)).pixels(frame, out=frame)


def test_wrong_pixels_are_refused() -> None:
    with pytest.raises(LitesightError, match=r"pixels must be uint8 \(4, 4, 3\), found uint8 \(4, 4\)"):
        Preprocessor(InputSpec(4, 4)).quantize(np.zeros((4, 4), np.uint8))

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno
import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from device.errors import LitesightError
from device.images import read_image
from device.preprocess import InputSpec, Preprocessor
from train_host.dataset import Photo
from train_host.input_pipeline import Augmentation, PixelCache, build_cache, class_weights, make_batches

SPEC = InputSpec(12, 16, mean=(128.0, 100.0, 90.0), std=(128.0, 60.0, 50.0))
COUNT = 23


def make_photos(folder: Path, count: int = COUNT) -> list[Photo]:
    """Photos of different sizes, content and classes."""
    folder.mkdir(parents=True, exist_ok=True)
    photos = []
    for index in range(count):
        pixels = np.random.default_rng(index).integers(0, 256, (20 + index, 41 - index, 3), dtype=np.uint8)
        data = cv2.imencode(".png", pixels)[1].tobytes()
        path = folder / f"{index:02}.png"
        path.write_bytes(data)
        photos.append(Photo(path, index % 3, hashlib.sha256(data).hexdigest()))
    return photos


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Photo]:
    return make_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def cache(photos: list[Photo], tmp_path_factory: pytest.TempPathFactory) -> PixelCache:
    return build_cache(photos, SPEC, tmp_path_factory.mktemp("work"))


LABELS = np.arange(COUNT)  # a label of its own tells which photo a row is


def epoch_of(cache: PixelCache, **options: Any) -> list[tuple[NDArray[np.float32], NDArray[np.int32]]]:
    batches = make_batches(cache, LABELS, **({"batch_size": 5} | options))
    return [(x.numpy(), y.numpy()) for x, y in batches]


def same(one: Any, other: Any) -> bool:
    return len(one) == len(other) and all(
        np.array_equal(a[0], b[0]) and np.array_equal(a[1], b[1]) for a, b in zip(one, other, strict=True)
    )


def test_the_cache_holds_what_the_chip_sees_in_the_order_given(photos: list[Photo], cache: PixelCache) -> None:
    pixels = cache.pixels()
    assert isinstance(pixels, np.memmap)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (COUNT, 12, 16, 3)
    for row, photo in zip(pixels, photos, strict=True):
        assert np.array_equal(row, Preprocessor(SPEC).pixels(read_image(photo.path)))


def test_validation_batches_are_the_preprocessed_photos_and_nothing_else(
    photos: list[Photo], cache: PixelCache
) -> None:
    batches = epoch_of(cache)
    assert [len(y) for _, y in batches] == [5, 5, 5, 5, 3]
    assert all(x.dtype == np.float32 and y.dtype == np.int32 for x, y in batches)
    found = np.concatenate([x for x, _ in batches])
    preprocess = Preprocessor(SPEC)
    pixels = np.stack([preprocess.pixels(read_image(photo.path)) for photo in photos]).astype(np.float32)
    expected = (pixels - np.array(SPEC.mean, np.float32)) / np.array(SPEC.std, np.float32)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    assert np.concatenate([y for _, y in batches]).tolist() == LABELS.tolist()


@settings(max_examples=15)
@given(batch_size=st.integers(1, COUNT + 3), seed=st.integers(0, 2**31), epoch=st.integers(0, 1000))
def test_every_photo_comes_once_an_epoch(cache: PixelCache, batch_size: int, seed: int, epoch: int) -> None:
    batches = make_batches(cache, LABELS, batch_size=batch_size, seed=seed, epoch=epoch, shuffle=True)
    assert int(batches.cardinality()) == -(-COUNT // batch_size)
    assert Counter(int(y) for _, classes in batches for y in classes.numpy()) == Counter(range(COUNT))


def test_labels_stay_with_their_photos_when_shuffled(cache: PixelCache) -> None:
    plain = np.concatenate([x for x, _ in epoch_of(cache)])
    for x, y in epoch_of(cache, shuffle=True, seed=4):
        assert np.array_equal(x, plain[y])


def test_a_resumed_epoch_repeats_exactly_and_another_one_differs(cache: PixelCache) -> None:
    options: dict[str, Any] = {"shuffle": True, "augment": Augmentation(), "seed": 7}
    first = epoch_of(cache, **options, epoch=3)
    assert same(first, epoch_of(cache, **options, epoch=3))
    for other in (epoch_of(cache, **options, epoch=4), epoch_of(cache, **(options | {"seed": 8}), epoch=3)):
        assert not np.array_equal(np.concatenate([y for _, y in first]), np.concatenate([y for _, y in other]))


def by_photo(batches: list[tuple[NDArray[np.float32], NDArray[np.int32]]]) -> NDArray[np.float32]:
    order = np.argsort(np.concatenate([y for _, y in batches]))
    varied: NDArray[np.float32] = np.concatenate([x for x, _ in batches])[order]
    return varied


def test_augmentation_depends_on_the_photo_and_the_epoch_not_on_the_batch(cache: PixelCache) -> None:
    options: dict[str, Any] = {"augment": Augmentation(), "seed": 7}
    one = by_photo(epoch_of(cache, **options, epoch=1, shuffle=True))
    assert np.array_equal(one, by_photo(epoch_of(cache, **options, epoch=1, batch_size=8)))
    other = by_photo(epoch_of(cache, **options, epoch=2))
    plain = by_photo(epoch_of(cache))
    for index in range(COUNT):
        assert not np.array_equal(one[index], other[index])
        assert not np.array_equal(one[index], plain[index])


def test_batches_say_their_shape_so_that_a_model_can_be_built(cache: PixelCache) -> None:
    images, classes = make_batches(cache, LABELS, batch_size=5, augment=Augmentation()).element_spec
    assert images.shape.as_list() == [None, 12, 16, 3]
    assert classes.shape.as_list() == [None]


def test_an_empty_split_gives_no_batches(tmp_path: Path) -> None:
    empty = build_cache([], SPEC, tmp_path)
    assert list(make_batches(empty, [], batch_size=4, shuffle=True, augment=Augmentation())) == []


def test_a_cache_is_used_again_only_for_the_same_photos_and_pixels(photos: list[Photo], tmp_path: Path) -> None:
    first = build_cache(photos, SPEC, tmp_path)
    written = first.path.stat().st_mtime_ns
    assert build_cache(photos, SPEC, tmp_path) == first
    assert build_cache(photos, replace(SPEC, mean=(1.0, 2.0, 3.0)), tmp_path).path == first.path
    assert first.path.stat().st_mtime_ns == written
    others = [
        build_cache(photos[::-1], SPEC, tmp_path),
        build_cache(photos[1:], SPEC, tmp_path),
        build_cache(photos, replace(SPEC, width=12), tmp_path),
        build_cache(photos, replace(SPEC, color="BGR"), tmp_path),
    ]
    assert len({cache.path for cache in (first, *others)}) == 5
    assert np.array_equal(others[0].pixels(), first.pixels()[::-1])
    assert np.array_equal(others[3].pixels(), first.pixels()[..., ::-1])


def test_a_photo_that_changed_since_the_check_is_refused_and_no_cache_stays(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", 4)
    photos[2].path.write_bytes(photos[1].path.read_bytes())
    with pytest.raises(LitesightError, match=r"02\.png: the photo has changed since it was checked"):
        build_cache(photos, SPEC, tmp_path / "work")
    photos[2].path.unlink()
    with pytest.raises(LitesightError, match=r"02\.png: expected a photo, found nothing there"):
        build_cache(photos, SPEC, tmp_path / "work")
    assert list((tmp_path / "work").iterdir()) == []


def test_ctrl_c_leaves_no_half_written_cache(photos: list[Photo], tmp_path: Path) -> None:
    def interrupted(iterable: Iterable[Any], label: str, total: int | None = None) -> Iterator[Any]:
        yield next(iter(iterable))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_cache(photos, SPEC, tmp_path, progress=interrupted)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_line_and_leaves_nothing(
    photos: list[Photo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.FileIO):
        def write(self, _: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "open", lambda path, mode: Full(str(path), mode))
    with pytest.raises(LitesightError, match=r"cannot write .*: No space left on device .*free some space"):
        build_cache(photos, SPEC, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_work_folder_that_cannot_be_made_is_named(photos: list[Photo], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LitesightError, match=r"cannot write .*file/work: Not a directory"):
        build_cache(photos, SPEC, tmp_path / "file" / "work")


def test_numbers_that_do_not_fit_are_refused(cache: PixelCache) -> None:
    with pytest.raises(LitesightError, match="a label for each of 23 photos, found 3"):
        make_batches(cache, [0, 1, 2], batch_size=4)
    with pytest.raises(LitesightError, match="batch size must be at least 1, found 0"):
        make_batches(cache, LABELS, batch_size=0)
    with pytest.raises(LitesightError, match="rot90 needs a square input, found 16 x 12"):
        make_batches(cache, LABELS, batch_size=4, augment=Augmentation(rot90=True))


@given(st.lists(st.integers(0, 4), min_size=1, max_size=200))
def test_class_weights_make_every_class_count_alike_and_average_one(labels: list[int]) -> None:
    weights = class_weights(labels, 6)
    assert weights.dtype == np.float32
    assert weights.shape == (6,)
    assert np.mean(weights[labels]) == pytest.approx(1, rel=1e-5)
    counts = np.bincount(labels, minlength=6)
    shares = (weights * counts)[counts > 0]
    assert shares == pytest.approx(np.full(len(shares), shares[0]), rel=1e-5)
    assert (weights[counts == 0] == 0).all()


def test_a_label_out_of_range_is_refused() -> None:
    with pytest.raises(LitesightError, match="class indices from 0 to 1, found 0 to 2"):
        class_weights([0, 1, 2], 2)

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import zarr

from specdis.components import ComponentsSettings, Sums, add_moments, basis_of_moments, vectors_of
from specdis.errors import ProductError
from specdis.spectra.normalise import normalise
from specdis.spectra.pixels import Pixels
from specdis.spectra.sky import ErrorStack
from specdis.spectra.transform import Transform
from specdis.storage import FORMAT_VERSION, Provenance
from specdis.stores.pixels import PixelStore
from specdis.stores.zarr import BLOCK, array, create_array, open_group, store_damage, values, write_rows
from synthetic_spectra import model, spectra

PROVENANCE = Provenance("pixels", "key", 1)
STARS = 2 * BLOCK + 30


@pytest.fixture(scope="module")
def made():
    return model()


def create(path, made, stars=STARS):
    return PixelStore.create(
        path, np.arange(stars, dtype=np.uint64), made.grid, [(4100.0, 4110.0)], ErrorStack(), PROVENANCE
    )


def normalised(made, stars, seed=3, **kinds):
    block = spectra(stars, seed=seed, **kinds)
    return normalise(block, made.grid, made.settings.spectra), block


def test_what_is_written_is_read(made, tmp_path):
    store = create(tmp_path / "pixels.zarr", made)
    assert len(store) == STARS
    assert [rows.stop - rows.start for rows in store.blocks()] == [BLOCK, BLOCK, 30]
    pixels, block = normalised(made, 30, velocity=np.linspace(-100, 100, 30))
    for start in (0, BLOCK):
        others, _ = normalised(made, BLOCK)
        store.write(slice(start, start + BLOCK), others)
    store.write(slice(2 * BLOCK, STARS), pixels)
    store.keep(np.ones(STARS, bool), 0.1)
    store = PixelStore.open(tmp_path / "pixels.zarr")
    flux, sigma, bad, velocity = store.read(slice(2 * BLOCK, STARS))
    # Eleven bits: half a unit of the last is 2.4e-4 between 0.5 and 1.
    np.testing.assert_allclose(flux, pixels.flux, rtol=5e-4)
    np.testing.assert_allclose(sigma, pixels.sigma, rtol=5e-4)
    np.testing.assert_array_equal(bad, pixels.bad)
    np.testing.assert_array_equal(velocity, block.native_velocity)
    np.testing.assert_array_equal(store.velocity[2 * BLOCK :], velocity)
    np.testing.assert_array_equal(store.grid.wavelength, made.grid.wavelength)
    for found, expected in zip(store.grid.arms, made.grid.arms, strict=True):
        assert found.name == expected.name
        assert (found.start, found.stop) == (expected.start, expected.stop)
        np.testing.assert_array_equal(found.native, expected.native)
    assert store.sky == ((4100.0, 4110.0),)
    transform = store.transform(made.settings.spectra)
    assert transform[1:] == (True, True, True, None)


def test_a_star_that_was_not_written_is_bad(made, tmp_path):
    store = create(tmp_path / "pixels.zarr", made, 5)
    pixels, _ = normalised(made, 5)
    pixels.bad[3] = True
    store.write(slice(0, 5), pixels)
    assert store.read(slice(0, 5)).bad[3].all()


def test_pixels_bad_in_too_many_stars_are_removed_for_all(made, tmp_path):
    # 1000 stars with a spectrum: 100 bad are 10 % and stay, 101 are too many; other bad pixels are 0 throughout.
    store, random = create(tmp_path / "pixels.zarr", made), np.random.default_rng(1)
    pixels = len(made.grid.wavelength)
    flux, bad = 1 + 0.1 * random.standard_normal((STARS, pixels)), np.zeros((STARS, pixels), bool)
    bad[:100, 7] = bad[:101, 8] = bad[500:, 9] = True
    bad[1000:] = True  # no spectrum: these do not count
    selected = np.ones(STARS, bool)
    for rows in store.blocks():
        given = np.where(bad, 0, flux)[rows].astype(np.float32)
        store.write(rows, Pixels(given, None, bad[rows], np.zeros(len(given))))
    kept = store.keep(selected, 0.10)
    np.testing.assert_array_equal(np.setdiff1d(np.arange(pixels), kept), [8, 9])
    transformed = np.asarray(store.transform(made.settings.spectra)(store.read(slice(0, 3)).flux, bad[:3]))
    assert transformed.shape == (3, pixels - 2)
    assert not transformed[:, 7].any()
    assert transformed[:, 6].all()
    # Stars that were not selected do not count either.
    selected[:50] = False
    np.testing.assert_array_equal(np.setdiff1d(np.arange(pixels), store.keep(selected, 0.10)), [9])
    assert len(store.keep(np.zeros(STARS, bool), 0.10)) == 0


def test_numbers_beyond_half_precision_stay_finite(made, tmp_path):
    store = create(tmp_path / "pixels.zarr", made, 1)
    pixels, _ = normalised(made, 1)
    pixels.flux[0, :2], pixels.sigma[0, :2] = [1e9, -1e9], [1e9, np.inf]
    store.write(slice(0, 1), pixels)
    flux, sigma, _, _ = store.read(slice(0, 1))
    assert flux[0, :2].tolist() == [65504, -65504]
    assert sigma[0, :2].tolist() == [65504, 65504]


def test_a_survey_without_errors_has_sigma_zero(made, tmp_path):
    store = create(tmp_path / "pixels.zarr", made, 3)
    pixels, _ = normalised(made, 3)
    store.write(slice(0, 3), pixels._replace(sigma=None))
    assert not store.read(slice(0, 3)).sigma.any()


def test_stores_of_equal_content_are_equal_bytes(made, tmp_path):
    pixels, _ = normalised(made, 4)
    for name in ("one", "two"):
        store = create(tmp_path / name, made, 4)
        store.write(slice(0, 4), pixels)
        store.keep(np.ones(4, bool), 0.1)
    files = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file()]
    assert files
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes(), file


def test_chunks_of_zeros_are_written_and_the_library_keeps_its_settings(made, tmp_path):
    """A missing chunk is a lost one; and who imports this package writes their own arrays as before.

    All arrays of a star are zeros, its identifier too.
    """
    before = dict(zarr.config.get("array"))
    create(tmp_path / "pixels.zarr", made, 1)
    nothing = np.zeros((1, len(made.grid.wavelength)), np.float32)
    store = PixelStore.open(tmp_path / "pixels.zarr", writable=True)
    store.write(slice(0, 1), Pixels(nothing, nothing, nothing > 0, np.zeros(1)))
    assert store.read(slice(0, 1)).flux.shape == nothing.shape
    assert list(store_damage(tmp_path / "pixels.zarr", "pixels")) == []
    assert zarr.config.get("array") == before
    assert not before["write_empty_chunks"]
    theirs = zarr.create_array(tmp_path / "theirs.zarr", data=np.zeros(4))
    assert theirs.nchunks_initialized == 0


def test_threads_that_write_at_one_time_write_every_chunk(tmp_path):
    rows = [slice(start, start + BLOCK) for start in range(0, 200 * BLOCK, BLOCK)]
    group = zarr.create_group(tmp_path / "some.zarr")
    found = create_array(group, "bad", (200 * BLOCK,), np.bool_)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # so that threads interrupt each other anywhere
    try:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda block: write_rows(group, "bad", block, np.zeros(BLOCK, np.bool_)), rows))
    finally:
        sys.setswitchinterval(interval)
    assert found.nchunks_initialized == len(rows)
    assert not zarr.config.get("array.write_empty_chunks")


def test_another_kind_or_a_damaged_store_says_so(made, tmp_path):
    create(tmp_path / "pixels.zarr", made, 1)
    with pytest.raises(
        ProductError, match=rf"is a pixels of format {FORMAT_VERSION} \(specdis .*\), expected a coefficients"
    ):
        open_group(tmp_path / "pixels.zarr", "coefficients")
    with pytest.raises(ProductError, match="cannot be read"):
        PixelStore.open(tmp_path / "nowhere")
    group = zarr.open_group(tmp_path / "pixels.zarr", mode="r+")
    with pytest.raises(ProductError, match="lacks the array kept"):
        array(group, "kept")
    assert create_array(group, "more", (7, 3), np.float32).chunks == (BLOCK, 3)


@pytest.mark.parametrize("name", ["flux", "velocity", "wavelength", "native_B", "kept"])
def test_a_flipped_bit_in_any_array_is_found(made, tmp_path, name):
    path = tmp_path / "pixels.zarr"
    store = create(path, made, 4)
    pixels, _ = normalised(made, 4)
    store.write(slice(0, 4), pixels)
    store.keep(np.ones(4, bool), 0.1)
    assert list(store_damage(path, "pixels")) == []
    (chunk,) = (file for file in (path / name / "c").rglob("*") if file.is_file())
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    chunk.write_bytes(content)
    (error,) = store_damage(path, "pixels")
    assert f"{path / name} is damaged" in str(error)
    chunk.unlink()
    (error,) = store_damage(path, "pixels")
    assert "chunk 0 is missing" in str(error)


def test_a_store_of_another_form_is_refused(tmp_path):
    old = tmp_path / "old.zarr"
    group = zarr.create_group(old, zarr_format=2)
    group.attrs["provenance"] = Provenance("pixels", "key", 1).to_dict()
    with pytest.raises(ProductError, match="cannot be read"):
        open_group(old, "pixels")
    group = zarr.create_group(tmp_path / "new.zarr")
    group.create_array("gzip", shape=(4,), dtype="f4", compressors=[zarr.codecs.GzipCodec()])
    with pytest.raises(ProductError, match="other codecs than bytes, zstd and crc32c"):
        array(group, "gzip")
    ours = [zarr.codecs.ZstdCodec(), zarr.codecs.Crc32cCodec()]
    group.create_array("huge", shape=(1 << 30,), chunks=(1 << 30,), dtype="f8", compressors=ours)
    with pytest.raises(ProductError, match="chunks of 8,589,934,592 bytes, expected"):
        array(group, "huge")
    group.create_array("long", shape=(1 << 40,), chunks=(512,), dtype="f8", compressors=ours)
    with pytest.raises(ProductError, match="chunk 0 is missing"):
        values(group, "long")
    (tmp_path / "new.zarr" / "long" / "zarr.json").write_text("{")
    with pytest.raises(ProductError, match="long is damaged"):
        array(group, "long")


def test_a_transform_of_the_store_is_the_one_that_the_settings_ask_for(made, tmp_path):
    store = create(tmp_path / "pixels.zarr", made, 1)
    pixels, _ = normalised(made, 1)
    store.write(slice(0, 1), pixels)
    store.keep(np.ones(1, bool), 0.1)
    settings = made.settings.spectra.model_copy(update={"signed_log": False, "unit_norm": False})
    found = store.transform(settings)
    assert isinstance(found, Transform)
    assert found[1:] == (True, False, False, None)


# Weights


@pytest.fixture
def noisy_end(made, tmp_path):
    """Return a store of stars that are ten times as noisy in the first twentieth of their pixels, and its pixels."""
    store, pixels = create(tmp_path / "pixels.zarr", made), len(made.grid.wavelength)
    block = spectra(STARS, seed=3, noise=False)
    flux, _, bad, velocity = normalise(block, made.grid, made.settings.spectra)
    random = np.random.default_rng(1)
    profile = np.where(np.arange(pixels) < pixels // 20, 10.0, 1.0) * np.linspace(1, 2, pixels)
    sigma = 0.02 * profile * random.uniform(0.5, 2, (STARS, 1))
    given = Pixels((flux + sigma * random.standard_normal(sigma.shape)).astype(np.float32), sigma, bad, velocity)
    for rows in store.blocks():
        store.write(rows, given.take(rows))
    selected = np.arange(STARS) % 3 > 0
    store.keep(selected, 0.1)
    return store, given, selected


def test_weights_are_one_over_the_noise_of_the_transformed_pixels(made, noisy_end):
    store, given, selected = noisy_end
    assert store.transform(made.settings.spectra).weight is None
    store.weigh(selected, made.settings.spectra)
    weight = store.transform(made.settings.spectra).weight
    # Noise on top of each star, through the transform: its scatter in every pixel, without a derivative.
    random, plain = np.random.default_rng(2), Transform(np.arange(len(weight)))
    small = 1e-2 * given.sigma * random.standard_normal(given.sigma.shape)
    moved = np.asarray(plain((given.flux + small).astype(np.float32), given.bad), float) - np.asarray(
        plain(given.flux, given.bad), float
    )
    noise = np.sqrt((moved[selected] ** 2).mean(0))
    expected = (1 / noise) / (1 / noise).mean()
    # 700 stars know a scatter to 2.7 %; four of them, and half precision.
    np.testing.assert_allclose(weight, expected, rtol=0.12)
    assert np.mean(weight / expected) == pytest.approx(1, abs=0.01)


def test_weights_are_none_where_none_are_wanted_and_without_errors(made, noisy_end, tmp_path):
    store, given, selected = noisy_end
    store.weigh(selected, made.settings.spectra.model_copy(update={"weights": "none"}))
    assert store.transform(made.settings.spectra).weight is None
    for rows in store.blocks():
        store.write(rows, given.take(rows)._replace(sigma=None))
    store.weigh(selected, made.settings.spectra)
    assert store.transform(made.settings.spectra).weight is None


def test_components_of_weighted_pixels_do_not_describe_a_noisy_end(made, noisy_end):
    store, given, selected = noisy_end
    described = []
    for weights in ("none", "noise"):
        settings = made.settings.spectra.model_copy(update={"weights": weights})
        store.weigh(selected, settings)
        transform = store.transform(settings)
        vectors = vectors_of(transform)(given, selected)
        basis = basis_of_moments(
            add_moments(Sums.zero(len(transform.kept)), vectors), ComponentsSettings(n_components=20)
        )
        power = np.cumsum(np.pad(basis.vectors.astype(float) ** 2, ((0, 0), (1, 0))), axis=1)
        window = len(transform.kept) // 20
        described.append(((power[:, window:] - power[:, :-window]).max(1) > 0.5).mean())
    assert described[0] > 0.5
    assert described[1] <= 0.05

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from specdis import rng

identifiers = st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=20)


@given(identifiers)
def test_a_number_depends_on_the_identifier_alone(values):
    column = np.array(values, np.int64)
    found = rng.uniform(rng.stream(1, "split"), column)
    assert ((found >= 0) & (found < 1)).all()
    for position, value in enumerate(values):
        alone = rng.uniform(rng.stream(1, "split"), np.array([value]))
        assert alone[0] == found[position]


def test_the_hash_is_splitmix64():
    # Seed 0 of Vigna's splitmix64.c gives these first numbers; the state is the key plus the golden gamma, plus 0.
    assert rng.hash64(0, np.zeros(1, np.int64))[0] == 0xE220A8397B1DCDAF
    second = np.array([0x9E3779B97F4A7C15]).view(np.int64)
    assert rng.hash64(0, second)[0] == 0x6E789E6AA1B965F4


def test_numbers_are_uniform_and_streams_independent():
    stars = np.arange(100_000)
    first, second = (rng.uniform(rng.stream(1, purpose), stars) for purpose in ("noise", "split"))
    # Standard errors of mean, variance and correlation of 1e5 uniform numbers, times four.
    assert first.mean() == pytest.approx(0.5, abs=4 * np.sqrt(1 / 12 / 1e5))
    assert first.var() == pytest.approx(1 / 12, abs=4 * np.sqrt(1 / 180 / 1e5))
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / np.sqrt(1e5)
    assert abs(np.corrcoef(first[:-1], first[1:])[0, 1]) < 4 / np.sqrt(1e5)
    assert len(np.unique(first)) == len(stars)


def test_every_part_of_a_compound_identifier_counts():
    key = rng.stream(1, "noise")
    number, survey = np.array([7, 7, 8]), np.array([b"main", b"sv1", b"main"])
    found = rng.hash64(key, number, survey)
    assert len(np.unique(found)) == 3
    assert not np.array_equal(found, rng.hash64(key, survey, number))


def test_strings_count_by_what_is_in_them():
    # The width of a column is a matter of the file and of the other rows.
    key = rng.stream(1, "noise")
    names = [b"main", b"a name of more than eight", b"a name of more than eighT", b"a name o", b""]
    wide = rng.hash64(key, np.array(names, "S40"))
    assert len(np.unique(wide)) == 5
    np.testing.assert_array_equal(wide, rng.hash64(key, np.array(names)))
    np.testing.assert_array_equal(wide[3:], rng.hash64(key, np.array(names[3:])))


def test_seed_and_purpose_name_a_stream():
    keys = {rng.stream(seed, purpose) for seed in (0, 1) for purpose in ("split", "noise", "")}
    assert len(keys) == 6
    assert all(0 <= key < 2**64 for key in keys)


def test_random_numbers_are_the_same_in_every_process():
    # Python salts its own hash of strings; these must not be.
    code = "from specdis import rng; print(rng.stream(3, 'noise'))"
    command = [sys.executable, "-c", code]
    found = {subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2)}
    assert found == {f"{rng.stream(3, 'noise')}\n"}


def test_generators_are_named_too():
    numbers = [rng.generator(*name).random() for name in ((1, "a"), (1, "a"), (1, "b"), (2, "a"), (1, "a", 1))]
    assert numbers[0] == numbers[1]
    assert len(set(numbers)) == 4

"""What a model remembers of its training stars, and what it says of stars that it meets again."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from specdis.sample import TrainedStars

STARS = {
    "TARGETID": np.arange(1, 9) * 10,
    "SOURCE_ID": 2**60 + np.array([1, 2, 3, 4, 5, 6, 7, 7]),
    "TRAINABLE": np.array([True, True, True, True, False, False, True, False]),
    "FOLD": np.array([0, 1, 2, -1, -1, 0, 1, 1], np.int16),
    "CALIBRATION": np.array([True, False, True, False, False, True, False, False]),
}
STARS["STAR_ID"] = STARS["SOURCE_ID"]


def asked(trained, **columns):
    found = trained.held_out({name: np.asarray(values) for name, values in columns.items()})
    assert found["FOLD"].dtype == np.int16
    return [found[name].tolist() for name in ("FOLD", "HELD_OUT", "CALIBRATION")]


def test_stars_that_trained_are_known_by_their_gaia_source():
    fold, held_out, calibration = asked(TrainedStars.of(STARS), SOURCE_ID=STARS["SOURCE_ID"], TARGETID=np.zeros(8, int))
    assert fold == [0, 1, 2, -1, -1, -1, 1, 1]
    # The fourth trained all networks; the fifth and the sixth trained none.
    assert held_out == [True, True, True, False, True, True, True, True]
    assert calibration == [True, False, True, False, False, False, False, False]


def test_without_a_gaia_source_they_are_known_by_their_target():
    fold, held_out, _ = asked(TrainedStars.of(STARS), SOURCE_ID=np.zeros(5, int), TARGETID=[10, 20, 40, 50, 999])
    assert fold == [0, 1, -1, -1, -1]
    assert held_out == [True, True, False, False, False]  # of the last two nothing can be known


def test_copies_are_known_by_their_parent():
    parents = {**STARS, "STAR_ID": np.array([7, 7, 8, 9, 7, 8, 9, 9])}
    fold, held_out, _ = asked(
        TrainedStars.of(parents), SOURCE_ID=2**61 + np.arange(3), TARGETID=np.arange(3), PARENT_ID=[8, 9, 77]
    )
    assert fold[0] == 2
    assert held_out[0]
    assert held_out[2]


def test_where_training_stars_had_no_gaia_source_another_source_proves_nothing():
    some = {**STARS, "SOURCE_ID": np.where(np.arange(8) == 2, 0, STARS["SOURCE_ID"])}
    assert asked(TrainedStars.of(some), SOURCE_ID=[5], TARGETID=[1])[1] == [False]
    assert asked(TrainedStars.of(STARS), SOURCE_ID=[5], TARGETID=[1])[1] == [True]


def test_a_model_that_remembers_nothing_holds_nobody_out():
    assert asked(TrainedStars.unknown(), SOURCE_ID=[5, 0], TARGETID=[1, 2]) == [[-1, -1], [False] * 2, [False] * 2]
    assert TrainedStars.unknown().is_sound()


@given(st.lists(st.integers(1, 2**63 - 1), min_size=1, max_size=30, unique=True), st.randoms())
def test_every_training_star_has_its_fold_whatever_the_order(sources, random):
    number = np.arange(len(sources))
    stars = {
        "TARGETID": -1 - number,
        "SOURCE_ID": np.array(sources),
        "STAR_ID": np.array(sources),
        "TRAINABLE": np.ones(len(sources), bool),
        "FOLD": (number % 5).astype(np.int16),
        "CALIBRATION": number % 2 == 0,
    }
    trained = TrainedStars.of(stars)
    assert trained.is_sound()
    order = np.array(random.sample(range(len(sources)), len(sources)))
    found = trained.held_out({"SOURCE_ID": stars["SOURCE_ID"][order], "TARGETID": 0 * order})
    np.testing.assert_array_equal(found["FOLD"], stars["FOLD"][order])
    assert found["HELD_OUT"].all()
    np.testing.assert_array_equal(found["CALIBRATION"], stars["CALIBRATION"][order])


@pytest.mark.parametrize(
    "change",
    [
        {"key": np.array([3, 2], np.uint64)},
        {"fold": np.zeros(1, np.int16)},
        {"key": np.array([1.0, 2.0])},
        {"complete": np.zeros(2, bool)},
        {"calibration": np.zeros(2, int)},
    ],
)
def test_arrays_that_are_no_list_of_stars_are_noticed(change):
    sound = TrainedStars(np.array([2, 3], np.uint64), np.zeros(2, np.int16), np.zeros(2, bool), np.asarray(True))
    assert sound.is_sound()
    assert not sound._replace(**change).is_sound()

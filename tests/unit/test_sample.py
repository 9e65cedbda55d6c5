"""The sample: every row accounted for by name, one spectrum per star, and a split that only the star decides."""

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from specdis.errors import InputError
from specdis.flags import Flag
from specdis.photometry import PhotometrySettings
from specdis.sample import SampleSettings, select
from specdis.surveys.base import IDENTIFIER, STAR_COLUMNS, Stars

ALL_COLUMNS = frozenset(STAR_COLUMNS)
PHOTOMETRY = PhotometrySettings()
DEFAULT = SampleSettings()

FAILURES = {
    "wrong-survey": {"SURVEY": b"sv1"},
    "wrong-programme": {"PROGRAM": b"dark"},
    "no-gaia-match": {"SOURCE_ID": 0, "ASTROMETRIC_PARAMS_SOLVED": 0, "PARALLAX": np.nan, "PHOT_G_MEAN_MAG": np.nan},
    "two-parameter-solution": {"ASTROMETRIC_PARAMS_SOLVED": 3, "PARALLAX": np.nan, "PARALLAX_ERROR": np.nan},
    "no-parallax": {"PARALLAX": np.nan},
    "invalid-parallax-error": {"PARALLAX_ERROR": 0.0},
    "no-g-magnitude": {"PHOT_G_MEAN_MAG": np.nan},
    "feh-missing": {"FEH": np.nan},
    "feh": {"FEH": -3.95},
    "ebv-missing": {"EBV": np.nan},
    "ebv": {"EBV": 0.5},
    "rvs-warn": {"RVS_WARN": 4},
    "ruwe-missing": {"RUWE": np.nan},
    "ruwe": {"RUWE": 1.2},
    "variable": {"PHOT_VARIABLE_FLAG": b"VARIABLE"},
}
LINES = [*FAILURES, "duplicate-identifier", "duplicate"]


def good(n, first=1):
    """Return `n` different stars that pass every cut."""
    number = np.arange(first, first + n)
    values = {
        "TARGETID": number,
        "SURVEY": b"main",
        "PROGRAM": np.where(number % 3, b"bright", b"backup"),
        "HEALPIX": number % 7,
        "SOURCE_ID": number * 1000 + 1,
        "PARALLAX": np.where(number % 5, 0.5, -0.1),
        "PARALLAX_ERROR": 0.1,
        "PHOT_G_MEAN_MAG": 16.0,
        "PHOT_BP_MEAN_MAG": 16.4,
        "PHOT_RP_MEAN_MAG": 15.5,
        "RUWE": 1.0,
        "PHOT_VARIABLE_FLAG": b"NOT_AVAILABLE",
        "ASTROMETRIC_PARAMS_SOLVED": 31,
        "NU_EFF_USED_IN_ASTROMETRY": 1.5,
        "ECL_LAT": 20.0,
        "EBV": 0.05,
        "VRAD": 10.0,
        "TEFF": 5500.0,
        "LOGG": 4.4,
        "FEH": -0.5,
        "SN": 20.0 + number % 11,
    }
    return Stars(
        {
            name: np.full(n, values.get(name, column.missing), dtype=column.dtype)
            if np.ndim(values.get(name, column.missing)) == 0
            else np.asarray(values[name]).astype(column.dtype)
            for name, column in STAR_COLUMNS.items()
        }
    )


def change(stars, row, **values):
    """Change some rows in place."""
    for name, value in values.items():
        stars.columns[name][row] = value
    return stars


def run(stars, sample=DEFAULT, *, columns=ALL_COLUMNS, block=None, seed=1, every=False, photometry=PHOTOMETRY):
    block = block or max(len(stars), 1)
    blocks = (stars.take(slice(start, start + block)) for start in range(0, len(stars), block))
    return select(blocks, columns, sample, photometry, seed, every)


def line(sample, name):
    return next(line for line in sample.cutflow.lines if line.name == name)


def check_identities(sample, rows):
    """Check that every row is accounted for, and that the table agrees with the cut flow."""
    lines, summary, stars = sample.cutflow.lines, sample.cutflow.summary, sample.stars
    assert [line.name for line in lines] == LINES
    assert lines[0].stars_in == summary["rows"] == rows
    assert all(line.stars_in == line.cut + line.stars_out for line in lines)
    assert all(before.stars_out == after.stars_in for before, after in pairwise(lines))
    assert all(line.applied == (line.reason == "") for line in lines)
    assert all(line.cut == 0 for line in lines if not line.applied)
    assert lines[-1].stars_out == summary["selected"] == stars["SELECTED"].sum()
    assert summary["selected"] + summary["predicted_outside"] == len(stars)
    assert (stars["SELECTED"] == (stars["CUT"] == b"")).all()
    assert summary["trainable"] == stars["TRAINABLE"].sum()
    assert summary["held_out"] == stars["HELD_OUT"].sum()
    assert sum(fold["stars"] for fold in summary["folds"]) == len(stars)
    assert sum(fold["trainable"] for fold in summary["folds"]) == summary["trainable"]
    if summary["predicted_outside"]:
        counted = {name: int((stars["CUT"] == name.encode()).sum()) for name in LINES}
        missing = sum(line.cut - counted[line.name] for line in lines)
        assert missing == summary["duplicates_outside"] + line_cut(lines, "duplicate-identifier")
    assert not (stars["TRAINABLE"] & ~stars["SELECTED"]).any()
    assert json.loads(json.dumps(sample.cutflow.to_dict()))["summary"] == summary


def line_cut(lines, name):
    return next(line.cut for line in lines if line.name == name)


def assert_equal(one, other):
    assert one.cutflow == other.cutflow
    assert list(one.stars.columns) == list(other.stars.columns)
    for name, values in one.stars.columns.items():
        np.testing.assert_array_equal(values, other.stars[name], err_msg=name)
        assert values.dtype == other.stars[name].dtype


# Cuts


@pytest.mark.parametrize("name", FAILURES)
def test_each_cut_takes_its_rows_and_no_others(name):
    sample = run(change(good(20), [3, 11], **FAILURES[name]))
    check_identities(sample, 20)
    assert {line.name: line.cut for line in sample.cutflow.lines if line.cut} == {name: 2}
    assert not np.isin([4, 12], sample.stars["TARGETID"]).any()


@pytest.mark.parametrize("name", FAILURES)
def test_rows_outside_the_cuts_are_kept_with_the_name_of_the_cut_where_asked(name):
    sample = run(change(good(20), [3, 11], **FAILURES[name]), every=True)
    check_identities(sample, 20)
    outside = sample.stars["CUT"] == name.encode()
    assert sample.stars["TARGETID"][outside].tolist() in ([4, 12], [12, 4])
    assert not sample.stars["TRAINABLE"][outside].any()
    assert sample.stars["HELD_OUT"][outside].all()


def test_a_row_counts_for_the_first_cut_that_it_fails():
    sample = run(change(good(5), 2, FEH=np.nan, RUWE=9.0, PROGRAM=b"dark"))
    assert {line.name: line.cut for line in sample.cutflow.lines if line.cut} == {"wrong-programme": 1}


TRAINING_ALONE = {
    *("wrong-survey", "wrong-programme", "no-gaia-match", "two-parameter-solution", "no-parallax"),
    *("invalid-parallax-error", "no-g-magnitude", "ruwe-missing", "ruwe", "variable"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_cut_says_whether_it_concerns_training_alone(name):
    stars = run(change(good(20), [3, 11], **FAILURES[name]), every=True).stars
    expected = Flag.NOT_TRAINABLE if name in TRAINING_ALONE else Flag.OUTSIDE_CUTS
    assert set(stars["CUT_FLAGS"][~stars["SELECTED"]]) == {int(expected)}
    assert not stars["CUT_FLAGS"][stars["SELECTED"]].any()


def test_a_row_has_the_flags_of_all_cuts_that_it_fails():
    stars = run(change(good(5), 2, RUWE=9.0, EBV=2.0), every=True).stars
    (found,) = stars["CUT_FLAGS"][~stars["SELECTED"]]
    assert found == Flag.OUTSIDE_CUTS | Flag.NOT_TRAINABLE


def test_the_worse_spectrum_of_a_star_is_predicted_as_well_as_any():
    stars = run(change(good(5), 2, SOURCE_ID=good(5)["SOURCE_ID"][1], SN=99.0), every=True).stars
    assert stars["CUT_FLAGS"][stars["CUT"] == b"duplicate"].tolist() == [Flag.NOT_TRAINABLE]


def test_limits_are_strict_as_in_the_paper():
    feh, ebv, ruwe = np.float32([-3.9, 0.5, 1.2])
    stars = change(good(6), [0, 1, 2], FEH=np.nextafter(feh, 0), EBV=np.nextafter(ebv, 0), RUWE=np.nextafter(ruwe, 0))
    change(change(change(stars, 3, FEH=feh), 4, EBV=ebv), 5, RUWE=ruwe)
    assert sorted(run(stars).stars["TARGETID"]) == [1, 2, 3]


def test_no_cut_on_parallax_sign_error_or_signal_to_noise():
    stars = change(good(100), slice(0, 50), PARALLAX=-5.0, PARALLAX_ERROR=20.0, SN=0.1)
    sample = run(stars)
    assert sample.stars["TRAINABLE"].sum() == 100


@pytest.mark.parametrize(
    ("key", "value", "failures"),
    [
        ("surveys", "none", ["wrong-survey"]),
        ("programs", "none", ["wrong-programme"]),
        ("feh_min", "none", ["feh-missing", "feh"]),
        ("ebv_max", "none", ["ebv"]),
        ("rvs_warn", "none", ["rvs-warn"]),
        ("ruwe_max", "none", ["ruwe-missing", "ruwe"]),
        ("exclude_variable", False, ["variable"]),
    ],
)
def test_a_cut_can_be_switched_off_and_says_so(key, value, failures):
    stars = good(20)
    for row, name in enumerate(failures):
        change(stars, row, **FAILURES[name])
    sample = run(stars, SampleSettings(**{key: value}))
    check_identities(sample, 20)
    assert sample.cutflow.summary["selected"] == 20
    assert {line.name: line.reason for line in sample.cutflow.lines if not line.applied} == dict.fromkeys(
        failures, f"switched off by sample.{key}"
    )


def test_tolerated_warning_bits():
    stars = change(good(4), [0, 1, 2], RVS_WARN=[1, 2, 3])
    assert sorted(run(stars, SampleSettings(rvs_warn=1)).stars["TARGETID"]) == [1, 4]


def test_a_star_without_reddening_is_never_trained_on_even_without_the_cut():
    sample = run(change(good(5), 2, EBV=np.nan), SampleSettings(ebv_max="none"))
    assert line(sample, "ebv-missing").cut == 1


def test_cuts_on_columns_that_a_survey_lacks_are_not_applied_and_reported():
    names = ("TARGETID", "SOURCE_ID", "PHOT_G_MEAN_MAG", "PARALLAX", "PARALLAX_ERROR", "SN")
    table = Stars({**{name: good(10)[name] for name in (*names, *IDENTIFIER)}, "NAME": np.arange(10).astype("S3")})
    sample = run(table, columns=frozenset(names), photometry=PhotometrySettings(zero_point="none"))
    check_identities(sample, 10)
    assert sample.cutflow.summary["trainable"] == 10
    applied = [line.name for line in sample.cutflow.lines if line.applied]
    assert applied == [
        *("no-gaia-match", "no-parallax", "invalid-parallax-error", "no-g-magnitude"),
        *("duplicate-identifier", "duplicate"),
    ]
    assert line(sample, "feh").reason == "the survey has no FEH"
    assert line(sample, "two-parameter-solution").reason == "the survey has no ASTROMETRIC_PARAMS_SOLVED"
    assert np.isnan(sample.stars["FEH"]).all()
    assert (sample.stars["A_G_SOURCE"] == 3).all()
    assert (sample.stars["G_0"] == 16.0).all()
    assert sorted(sample.stars["NAME"].tolist()) == sorted(table["NAME"].tolist())


def test_a_table_without_parallaxes_is_selected_but_trains_nothing():
    names = frozenset({"TARGETID", "SOURCE_ID", "TEFF"})
    sample = run(Stars({name: good(10)[name] for name in (*IDENTIFIER, "SOURCE_ID", "TEFF")}), columns=names)
    assert sample.cutflow.summary["selected"] == 10
    assert sample.cutflow.summary["trainable"] == 0
    assert sample.stars["HELD_OUT"].all()


def test_a_survey_of_which_nothing_is_left_says_where_it_went():
    stars = change(change(good(5), [0, 1], FEH=np.nan), [2, 3, 4], PROGRAM=b"dark")
    with pytest.raises(InputError, match=r"5 rows, cut as wrong-programme 3, feh-missing 2"):
        run(stars)
    with pytest.raises(InputError, match="0 rows"):
        run(good(0))


# Uniqueness


def test_of_the_spectra_of_a_star_the_one_with_the_highest_signal_to_noise_stays():
    stars = change(good(6), [0, 2, 4], SOURCE_ID=77, SN=[5.0, 50.0, np.nan])
    sample = run(stars)
    check_identities(sample, 6)
    assert sorted(sample.stars["TARGETID"]) == [2, 3, 4, 6]
    assert line(sample, "duplicate").cut == 2


def test_equal_signal_to_noise_leaves_the_lowest_identifier_whatever_the_order():
    stars = change(good(6), slice(None), SOURCE_ID=77, SN=9.0, HEALPIX=[3, 2, 1, 1, 2, 3], PROGRAM=b"bright")
    for order in ([0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0]):
        assert run(stars.take(order)).stars["TARGETID"].tolist() == [3]


def test_an_unknown_signal_to_noise_loses_even_to_a_negative_one():
    stars = change(good(2), slice(None), SOURCE_ID=77, SN=[np.nan, -1.0])
    assert run(stars).stars["TARGETID"].tolist() == [2]


def test_a_spectrum_that_fails_a_cut_does_not_displace_a_good_one():
    stars = change(good(4), [0, 1], SOURCE_ID=77, SN=[99.0, 1.0])
    change(stars, 0, RVS_WARN=1)
    assert 2 in run(stars).stars["TARGETID"]


def test_repeated_identifiers_are_counted_and_the_first_good_row_stays():
    stars = Stars.concatenate([good(5), good(5)])
    stars.columns["SOURCE_ID"][5:] += 5
    change(stars, 0, FEH=np.nan)
    sample = run(stars)
    check_identities(sample, 10)
    assert line(sample, "feh-missing").cut == 1
    assert line(sample, "duplicate-identifier").cut == 4
    assert len(sample.stars) == 5
    sample = run(stars, every=True)
    check_identities(sample, 10)
    assert sample.cutflow.summary["duplicates_outside"] == 1
    assert len(sample.stars) == 5


# Order, columns and blocks


def messy(random, n):
    """Return rows that fail cuts, repeat stars and repeat identifiers, in random order."""
    stars = good(n)
    for name in FAILURES:
        change(stars, random.random(n) < 0.05, **FAILURES[name])
    stars.columns["SOURCE_ID"][random.random(n) < 0.3] = 1001
    stars.columns["SN"][:] = np.where(random.random(n) < 0.1, np.nan, random.integers(1, 5, n))
    copies = random.integers(n, size=n // 5)
    whole = Stars.concatenate([stars, stars.take(copies)])
    whole.columns["PARALLAX"][n:] += 0.01
    return whole.take(random.permutation(len(whole)))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 80),
    block=st.integers(1, 100),
    every=st.booleans(),
    split=st.sampled_from([{}, {"n_folds": 3}, {"train_fraction": 0.5}]),
    lacking=st.sets(st.sampled_from(["FEH", "EBV", "RUWE", "RVS_WARN", "ASTROMETRIC_PARAMS_SOLVED", "PROGRAM"])),
)
def test_every_row_is_accounted_for_and_blocks_do_not_matter(seed, n, block, every, split, lacking):
    stars = messy(np.random.default_rng(seed), n)
    stars = Stars({k: v for k, v in stars.columns.items() if k not in lacking or k in IDENTIFIER})
    columns, sample = ALL_COLUMNS - lacking, SampleSettings(**split)
    try:
        whole = run(stars, sample, columns=columns, every=every)
    except InputError:
        assert not every
        return
    check_identities(whole, len(stars))
    assert_equal(whole, run(stars, sample, columns=columns, every=every, block=block))
    unique = whole.stars.take(whole.stars["SELECTED"] & (whole.stars["SOURCE_ID"] > 0))
    assert len(np.unique(unique["SOURCE_ID"])) == len(unique)
    assert len(set(zip(*(whole.stars[name].tolist() for name in IDENTIFIER)))) == len(whole.stars)


def test_rows_are_sorted_by_survey_programme_pixel_and_target():
    sample = run(messy(np.random.default_rng(1), 300), every=True).stars
    keys = list(zip(*(sample[name].tolist() for name in ("SURVEY", "PROGRAM", "HEALPIX", "TARGETID"))))
    assert keys == sorted(keys)


def test_columns_have_the_types_of_the_contract_whatever_the_survey_gives():
    stars = good(8)
    stars.columns["TEFF"] = stars["TEFF"].astype("f8")
    stars.columns["RVS_WARN"] = stars["RVS_WARN"].astype("i4")
    sample = run(stars).stars
    assert {name: sample[name].dtype for name in STAR_COLUMNS} == {
        n: np.dtype(c.dtype) for n, c in STAR_COLUMNS.items()
    }
    types = {name: sample[name].dtype.str[1:] for name in ("SELECTED", "TRAINABLE", "FOLD", "STAR_ID", "A_G", "G_0")}
    assert types == {"SELECTED": "b1", "TRAINABLE": "b1", "FOLD": "i2", "STAR_ID": "i8", "A_G": "f4", "G_0": "f8"}


def test_the_sample_takes_little_memory_per_star():
    stars = run(good(1000)).stars
    assert sum(values.nbytes for values in stars.columns.values()) / len(stars) < 350


# Split


def test_the_split_depends_on_nothing_but_star_and_seed():
    stars = good(500)
    whole = run(stars).stars
    fold = dict(zip(whole["SOURCE_ID"].tolist(), whole["FOLD"].tolist()))
    part = run(stars.take(np.random.default_rng(1).permutation(500)[:100])).stars
    assert [fold[source] for source in part["SOURCE_ID"].tolist()] == part["FOLD"].tolist()
    assert (run(stars, seed=2).stars["FOLD"] != whole["FOLD"]).any()


def test_eighty_per_cent_train():
    stars = run(good(20_000)).stars
    assert set(stars["FOLD"]) == {-1, 0}
    # Binomial error of a fraction of 0.2 over 20,000 stars: 0.0028; four of them.
    assert stars["HELD_OUT"].mean() == pytest.approx(0.2, abs=0.0113)
    np.testing.assert_array_equal(stars["HELD_OUT"], stars["FOLD"] == 0)


def test_folds_are_balanced():
    stars = run(good(20_000), SampleSettings(n_folds=5)).stars
    sizes = np.bincount(stars["FOLD"], minlength=5)
    assert len(sizes) == 5
    # Binomial error of 4,000 stars: 57; four and a half of them for the largest of five.
    np.testing.assert_allclose(sizes, 4000, atol=255)
    assert stars["HELD_OUT"].all()


def test_copies_of_a_star_share_their_fold():
    stars = good(600)
    parent = Stars({**stars.columns, "PARENT_ID": np.arange(600) // 3 + 1})
    for split in ({"n_folds": 4}, {"train_fraction": 0.5}):
        sample = run(parent, SampleSettings(**split)).stars
        folds = {}
        for star, fold in zip(sample["STAR_ID"].tolist(), sample["FOLD"].tolist()):
            folds.setdefault(star, set()).add(fold)
        assert len(folds) == 200
        assert {len(found) for found in folds.values()} == {1}


def test_star_id_falls_back_from_parent_to_gaia_to_target():
    stars = change(good(3), 2, SOURCE_ID=-5)
    sample = run(Stars({**stars.columns, "PARENT_ID": np.array([9, 0, 0])}), every=True).stars
    by_target = dict(zip(sample["TARGETID"].tolist(), sample["STAR_ID"].tolist()))
    assert by_target == {1: 9, 2: 2001, 3: 3}


def test_other_spectra_of_a_trained_star_are_not_held_out_by_mistake():
    stars = Stars.concatenate([good(300), good(300, first=1001)])
    stars.columns["SOURCE_ID"][300:] = stars["SOURCE_ID"][:300]
    sample = run(stars, every=True).stars
    trained = sample["STAR_ID"][sample["TRAINABLE"] & (sample["FOLD"] == -1)]
    duplicates = sample["CUT"] == b"duplicate"
    assert duplicates.sum() == 300
    np.testing.assert_array_equal(sample["HELD_OUT"], ~np.isin(sample["STAR_ID"], trained))
    folded = run(stars, SampleSettings(n_folds=3), every=True).stars
    fold = dict(zip(folded["STAR_ID"][folded["TRAINABLE"]].tolist(), folded["FOLD"][folded["TRAINABLE"]].tolist()))
    assert [fold[star] for star in folded["STAR_ID"].tolist()] == folded["FOLD"].tolist()
    assert folded["HELD_OUT"].all()


def test_stars_that_cannot_train_are_predicted_by_all_networks():
    sample = run(change(good(20), [0, 5], FEH=np.nan), SampleSettings(n_folds=3), every=True).stars
    outside = ~sample["SELECTED"]
    assert (sample["FOLD"][outside] == -1).all()
    assert (sample["FOLD"][~outside] >= 0).all()


def test_folds_from_a_column():
    fold = np.tile([0, 1, 2, -1, -9], 4)
    stars = Stars({**good(20).columns, "FOLD": fold.astype("i8")})
    sample = run(stars, SampleSettings(fold_column="FOLD")).stars
    by_target = dict(zip(sample["TARGETID"].tolist(), sample["FOLD"].tolist()))
    assert [by_target[target] for target in range(1, 21)] == np.maximum(fold, -1).tolist()
    np.testing.assert_array_equal(sample["TRAINABLE"], sample["FOLD"] >= 0)
    assert sample["HELD_OUT"].all()


@pytest.mark.parametrize(
    ("fold", "message"),
    [
        (None, "a column GROUP with whole numbers"),
        (np.linspace(0, 1, 6), "found float64"),
        (np.ones(6, dtype=int), "at least two folds"),
        (np.array([0, 1, 2, 0, 1, 40_000]), "at least two folds, numbered up to 32767"),
        (np.array([0, 1, 2, 1, 1, 2]), "one fold per star"),
    ],
)
def test_fold_columns_of_no_use_are_refused(fold, message):
    columns = {**good(6).columns, "PARENT_ID": np.array([1, 2, 3, 1, 4, 5])}
    if fold is not None:
        columns["GROUP"] = fold
    with pytest.raises(InputError, match=message):
        run(Stars(columns), SampleSettings(fold_column="GROUP"))


def test_ablation_by_parallax():
    stars = change(good(4), slice(None), PARALLAX=[1.0, 0.3, -0.1, -1.0], PARALLAX_ERROR=0.1)
    photometry = PhotometrySettings(zero_point="none")
    cases = {(None, False): [1, 2, 3, 4], (5.0, False): [1], (None, True): [1, 2], (0.0, True): [1, 2]}
    for (snr, drop), expected in cases.items():
        sample = SampleSettings(train_parallax_snr_min=snr, train_drop_negative=drop)
        found = run(stars, sample, photometry=photometry).stars
        assert found["SELECTED"].all()
        assert sorted(found["TARGETID"][found["TRAINABLE"]].tolist()) == expected


def test_ablation_uses_the_corrected_parallax():
    # The zero point at G = 16, nu = 1.5 and 20 deg is -0.035727 mas.
    stars = change(good(2), slice(None), PARALLAX=[-0.03, -0.04])
    found = run(stars, SampleSettings(train_drop_negative=True)).stars
    assert found["TARGETID"][found["TRAINABLE"]].tolist() == [1]


def test_predict_outside_overrules_the_survey():
    stars = change(good(5), 0, FEH=np.nan)
    assert len(run(stars, SampleSettings(predict_outside=True)).stars) == 5
    assert len(run(stars, SampleSettings(predict_outside=False), every=True).stars) == 4


# Settings


def test_the_defaults_are_the_papers():
    assert (DEFAULT.feh_min, DEFAULT.ebv_max, DEFAULT.ruwe_max, DEFAULT.rvs_warn) == (-3.9, 0.5, 1.2, 0)
    assert (DEFAULT.programs, DEFAULT.train_fraction, DEFAULT.exclude_variable) == (("bright", "backup"), 0.8, True)


@pytest.mark.parametrize("split", [{"n_folds": 5}, {"fold_column": "FOLD"}, {"train_fraction": 0.5}])
def test_one_split_replaces_the_default_and_survives_a_round_trip(split):
    sample = SampleSettings(**split)
    assert sample.model_dump(include={"n_folds", "fold_column", "train_fraction"}, exclude_none=True) == split
    assert SampleSettings(**sample.model_dump(exclude_none=True)) == sample


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_folds": 5, "train_fraction": 0.8}, "found train_fraction and n_folds"),
        ({"n_folds": 5, "fold_column": "FOLD"}, "found n_folds and fold_column"),
        ({"n_folds": 1}, "greater than or equal to 2"),
        ({"train_fraction": 1.0}, "less than 1"),
        ({"ebv_max": True}, 'expected a number, or "none"'),
        ({"ebv_max": "0.5"}, 'expected a number, or "none"'),
        ({"feh_min": float("nan")}, 'expected a number, or "none"'),
        ({"rvs_warn": 0.5}, "expected a whole number"),
        ({"rvs_warn": -1}, "expected a whole number"),
        ({"programs": "bright"}, "expected a list of names"),
        ({"programs": []}, "expected a list of names"),
        ({"exclude_variable": 1}, "valid boolean"),
        ({"programmes": ["bright"]}, "Extra inputs"),
    ],
)
def test_wrong_settings_are_refused(wrong, message):
    with pytest.raises(ValidationError, match=message):
        SampleSettings(**wrong)

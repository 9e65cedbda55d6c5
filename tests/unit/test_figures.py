"""Figures of known distances and rivals on a synthetic catalogue: what they draw is what was put in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from matplotlib.text import Text

from specdis import validation
from specdis.report.figures import binaries, distances, external, magnitudes, rivals
from specdis.storage import Provenance
from specdis.validation.stars import modulus
from synthetic_catalogue import Columns, catalogue, injected, members, rival


@pytest.fixture(scope="module")
def columns() -> Columns:
    return catalogue(3000)[0]


@pytest.fixture(scope="module")
def known() -> Columns:
    return members(*catalogue(3000))


def test_medians_by_parameter_are_those_of_the_metrics(columns: Columns) -> None:
    cells = validation.metrics(columns)["internal"]["by_parameter"]
    data = magnitudes.draw_parameters(columns, cells).data
    drawn = data[data["panel"] == "FEH, median"]
    expected = [cell for cell in cells["FEH"] if cell["n_finite"] >= 5]
    np.testing.assert_allclose(drawn["DELTA_M_G"], [cell["median_mag"] for cell in expected])
    np.testing.assert_allclose(drawn["error"], [cell["median_mag_err"] for cell in expected])


def test_members_and_blue_stars_stand_apart(known: Columns) -> None:
    both = external.draw_members(known), external.draw_blue_stars(known)
    for plot, mine in zip(both, (known["KIND"] != "bhb", known["KIND"] == "bhb"), strict=True):
        data = plot.data
        points = data[(data["panel"] == "all") & ~data["MODULUS"].mask]
        assert set(np.round(points["MODULUS_REF"], 9)) <= set(np.round(modulus(known["DIST_REF"])[mine], 9))
        precise = data[(data["panel"] == "error < 0.5 mag") & ~data["MODULUS"].mask]
        assert 0 < len(precise) <= len(points)


def test_medians_of_members_are_those_of_the_metrics(known: Columns) -> None:
    data = external.draw_members(known).data
    drawn = data[data["panel"] == "all, median"]
    cells = validation.external.measure_external(known, [])["members"]["by_modulus"]
    expected = [cell for cell in cells if cell["n_finite"] >= 5]
    np.testing.assert_allclose(drawn["median_difference"], [cell["median_mag"] for cell in expected])
    assert list(drawn["count"]) == [cell["n_finite"] for cell in expected]


def test_every_system_has_its_panel(known: Columns) -> None:
    data = external.draw_systems(known).data
    panels = list(dict.fromkeys(data["panel"]))
    assert set(panels[:2]) == {"NGC 6205", "Draco"}
    assert panels[2:] == [f"Sagittarius {number}" for number in range(1, 7)]
    mine = known["SYSTEM"] == "Draco"
    assert data["predicted"][data["panel"] == "Draco"].sum() <= mine.sum()


def test_parallaxes_alone_show_bailer_jones_where_there_are_any(columns: Columns, known: Columns) -> None:
    without = external.draw_parallaxes(known, {})
    assert without.caption.endswith("No rival catalogue is named after Bailer-Jones.")
    assert len(without.figure.axes) == 1  # and no empty panel
    named = external.draw_parallaxes(known, {"bailer-jones": rival(columns, -1.0)})
    data = named.data
    assert {"bailer-jones", "1 / parallax"} <= set(data["panel"])
    negative = np.count_nonzero(
        validation.stars.corrected_parallax({name: values[known["KIND"] != "bhb"] for name, values in known.items()})
        < 0
    )
    assert named.caption.startswith(f"Moduli from parallaxes against those of members. {negative} of")


def test_the_injected_bias_of_a_rival_is_drawn_with_its_size(columns: Columns, known: Columns) -> None:
    theirs = {"off": rival(columns, -0.5), "even": rival(columns, 0.0, seed=3)}
    data = rivals.draw_comparison(theirs).data
    for name, bias in (("off", -0.5), ("even", 0.0)):
        drawn = data[data["panel"] == f"{name}, median"]
        away = (drawn["median_difference"] - bias) / np.maximum(drawn["error"], 0.01)
        assert np.all(np.abs(away) < 5)  # a dozen medians within five of their errors
        assert np.average(drawn["median_difference"], weights=drawn["count"]) == pytest.approx(bias, abs=0.02)
    data = rivals.draw_external(theirs, known).data
    off, even = (data[data["panel"] == f"{name}, members, median"] for name in ("off", "even"))
    shared = np.intersect1d(off["MODULUS_REF"], even["MODULUS_REF"])
    apart = [
        float(
            off["median_difference"][off["MODULUS_REF"] == x][0]
            - even["median_difference"][even["MODULUS_REF"] == x][0]
        )
        for x in shared
    ]
    # other stars of the same population: what ours are off by cancels but for its scatter, 0.5 mag of some 25 stars
    assert np.mean(apart) == pytest.approx(-0.5, abs=0.3)


def test_a_kind_without_stars_has_no_panels(columns: Columns, known: Columns) -> None:
    theirs = {"one": rival(columns, 0.0), "two": rival(columns, 0.1)}
    assert len(rivals.draw_external(theirs, known).figure.axes) == 4
    for kind, rows in (("members", known["KIND"] != "bhb"), ("BHB stars", known["KIND"] == "bhb")):
        plot = rivals.draw_external(theirs, {name: values[rows] for name, values in known.items()})
        assert len(plot.figure.axes) == 2
        assert {"one, " + kind, "two, " + kind} <= set(plot.data["panel"])


def test_giants_have_a_curve_of_their_own(columns: Columns) -> None:
    data = distances.draw_errors_by_kind(columns).data
    giants, others = (data[np.char.startswith(np.asarray(data["panel"]), kind)] for kind in ("giants", "others"))
    both = np.isfinite(giants["RELATIVE_ERROR"]) & np.isfinite(others["RELATIVE_ERROR"])
    assert np.all(giants["RELATIVE_ERROR"][both] > others["RELATIVE_ERROR"][both])  # made 0.15 mag worse


def test_calibration_draws_the_transform_of_the_metrics(columns: Columns) -> None:
    metrics = validation.metrics(columns)
    data = distances.draw_calibration(metrics).data
    for kind, panel in (("informing", "parallaxes that inform"), ("others", "other parallaxes")):
        found = metrics["internal"]["parallax_z"][kind]
        density = data[data["panel"] == panel]["density"]
        np.testing.assert_allclose(density, 10 * np.array(found["pit"]) / found["z_n"])


def test_groups_are_drawn_even_outside_the_cuts(columns: Columns) -> None:
    group = np.where(np.arange(3000) < 30, "M 71", "")
    outside = columns | {"SELECTED": np.arange(3000) >= 30}
    data = magnitudes.draw_groups(outside, group).data
    assert set(data["panel"]) == {"M 71"}
    assert len(data) == np.count_nonzero(np.isfinite(columns["M_G_NN"][:30]))


def test_temperatures_stand_in_for_colours(columns: Columns) -> None:
    plain = columns | {"PHOT_BP_MEAN_MAG": np.full(3000, np.nan, np.float32)}
    plot = magnitudes.draw_hr_diagrams(plain)
    assert "TEFF" in plot.data.colnames
    assert plot.figure.axes[0].xaxis_inverted()
    assert "BP_RP" in magnitudes.draw_hr_diagrams(columns).data.colnames


# -- binaries ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def measured() -> dict:
    columns, truth = catalogue(3000)
    return validation.metrics(columns, validation.Known(truth), injected=injected(columns))


def test_binaries_and_single_stars_have_panels_of_their_own(columns: Columns, measured: dict) -> None:
    chosen = columns["SELECTED"] & validation.has_reference_magnitude(columns) & (columns["BINARY_FLAG"] >= 0)
    for draw, magnitude in (
        (binaries.draw_binary_hr_diagrams, "M_G_GEO"),
        (binaries.draw_binary_magnitudes, "M_G_GEO"),
    ):
        plot = draw(columns, measured["binaries"])
        assert "above 10 times its error" in plot.caption
        for flag, panel in ((0, "binary"), (1, "single")):
            drawn = plot.data[plot.data["panel"] == panel]
            expected = columns[magnitude][chosen & (columns["BINARY_FLAG"] == flag)]
            # What lies outside the axes is left out: one star in a thousand on either side of each.
            assert 0.98 * len(expected) < drawn["count"].sum() <= len(expected)
            assert set(np.round(drawn[magnitude], 6)) <= set(np.round(expected, 6))


def test_models_and_fractions_are_those_of_the_metrics(measured: dict) -> None:
    data = binaries.draw_models(measured["binaries"]).data
    drawn = data[data["panel"] == "pair of Gaussians (Eq. 7)"]
    cells = [cell["pair"] for cell in measured["binaries"]["models_by_magnitude"] if cell["pair"]["n_finite"] >= 20]
    np.testing.assert_allclose(drawn["DELTA_M_G"], [cell["mean_mag"] for cell in cells])
    np.testing.assert_allclose(drawn["spread"], [cell["std_mag"] for cell in cells])
    data = binaries.draw_fractions(measured["binaries"]).data
    drawn = data[data["panel"] == "FEH, found"]
    cells = [cell for cell in measured["binaries"]["by_parameter"]["FEH"] if cell["n"] >= 30]
    np.testing.assert_allclose(drawn["FRACTION"], [cell["fraction"] for cell in cells])
    true = data[data["panel"] == "FEH, the same, true"]
    assert len(true)


def test_estimators_and_recalibration_are_those_of_the_metrics(measured: dict) -> None:
    data = binaries.draw_estimators(measured["truth"]).data
    kinds = {panel.split(", ")[1] for panel in data["panel"]}
    assert kinds == {"label", "mixture", "posterior"}
    drawn = data[data["panel"] == "true, mixture, all"]
    cells = [cell for cell in measured["truth"]["estimators"]["mixture"]["by_distance"] if cell["n_finite"] >= 20]
    np.testing.assert_allclose(drawn["BIAS"], [100 * cell["median"] for cell in cells])
    data = binaries.draw_recalibration(measured["calibration"]).data
    cells = [cell for _, cell in validation.coverage_cells(measured["calibration"]) if cell["n"] >= 20]
    assert len(cells) > 8
    np.testing.assert_allclose(data[data["panel"] == "before"]["COVERAGE"], [c["coverage68_before"] for c in cells])


NAMES = ["a$\\foo$", "$\\frac{$", "a\\$b$c", "<b>&amp;</b>\n#%", "# {{ 1 / 0 }}", "x" * 300, "\t\x07'\",;"]


@pytest.mark.parametrize("name", [NAMES[0], *(pytest.param(name, marks=pytest.mark.slow) for name in NAMES[1:])])
def test_names_from_outside_are_drawn_as_they_are(name: str, columns: Columns, known: Columns, tmp_path: Path) -> None:
    theirs = {f"{name} bailer": rival(columns, 0.0)}
    systems = {**known, "SYSTEM": np.where(known["SYSTEM"] == "Draco", name, known["SYSTEM"])}
    group = np.where(np.arange(len(columns["TEFF"])) < 5, name, "")
    for plot in (
        rivals.draw_comparison(theirs),
        rivals.draw_external(theirs, known),
        external.draw_systems(systems),
        external.draw_parallaxes(known, theirs),
        magnitudes.draw_groups(columns, group),
    ):
        drawn = [text for text in plot.figure.findobj(Text) if name[:25] in text.get_text()]
        assert drawn, plot.name
        assert not any(text.get_parse_math() for text in drawn), plot.name
        plot.save(tmp_path, Provenance("report", "0123456789abcdef", 42))
        written = Table.read(tmp_path / f"{plot.name}.ecsv")["panel"]
        assert any(panel.startswith(" ".join(name.split())) for panel in written), plot.name
        narrow = [axes for axes in plot.figure.axes if axes.axison and axes.get_window_extent().width < 100]
        assert not narrow, plot.name  # no name takes the place of the picture

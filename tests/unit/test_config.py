"""The configuration: strict, every error in one message, paths expanded, and a round trip through TOML."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Literal, get_args

import pytest
from pydantic import Field, PositiveInt, model_validator

from specdis.errors import ConfigError
from specdis.pipeline.config import Config
from specdis.pipeline.strict_toml import Document
from specdis.pipeline.templates import Preset, template, templates
from specdis.pipeline.toml import merge, parse_overrides
from specdis.settings import Settings


class Files(Settings):
    catalogue: Path
    """The catalogue file."""
    truth: Path | None = None


class Grid(Settings):
    start: float | None = None
    step: float = 0.5


class Science(Settings):
    ebv_max: Annotated[float, Field(ge=0)] = 0.5
    sky: Literal["auto", "none"] | tuple[tuple[float, float], ...] = "auto"
    hidden: tuple[PositiveInt, ...] = (100, 100)
    label: str = "${HOME}"
    grid: Grid = Grid()
    folds: int | None = None
    fraction: float | None = None

    @model_validator(mode="after")
    def _one_split(self) -> Science:
        if self.folds is not None and self.fraction is not None:
            raise ValueError("give one of folds, fraction, found both")
        return self


class Listed(Settings):
    path: Path
    size: int = 1


class References(Settings):
    lists: dict[str, Listed] = Field(default={})
    names: dict[str, str] = Field(default={})


class Small(Document):
    files: Files
    science: Science = Science()
    references: References = References()


@pytest.fixture
def write(tmp_path):
    def _write(text: str, catalogue: str = 'catalogue = "a.fits"') -> Path:
        path = tmp_path / "small.toml"
        path.write_text(f"[files]\n{catalogue}\n{text}")
        return path

    return _write


def error(path: Path, *overrides: str, model: type[Document] = Small) -> str:
    with pytest.raises(ConfigError) as caught:
        model.load(path, overrides)
    return str(caught.value)


def test_defaults_fill_what_is_not_given(write):
    config = Small.load(write("[science]\nebv_max = 1\n"))
    assert config.science.ebv_max == 1.0
    assert config.science.hidden == (100, 100)


def test_every_error_is_in_one_message_with_file_section_and_key(write):
    path = write('[science]\nebv_mx = 0.3\nsky = "aut"\nhidden = [1, "a"]\n[sciense]\n')
    message = error(path)
    lines = [line.strip() for line in message.splitlines()]
    assert lines[0] == "4 errors in the configuration:"
    assert all(line.startswith(f"{path}: ") for line in lines[1:])
    for part in (
        "[science] ebv_mx: unknown key",
        "did you mean ebv_max?",
        "[science] sky: expected 'auto' or 'none' or a valid array, found \"aut\"; did you mean auto?",
        '[science] hidden: expected a valid integer, found [1, "a"]',
        "[sciense]: unknown section",
        "did you mean science?",
    ):
        assert part in message


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[science]\nebv_max = -1\n", ("[science] ebv_max: expected greater than or equal to 0, found -1",)),
        ('[science]\nebv_max = "0.5"\n', ("[science] ebv_max: expected a valid number, found", '"0.5"')),
        ("[science]\nfolds = true\n", ("[science] folds: expected a valid integer, found true",)),
        ("[science]\nfolds = 2.5\n", ("[science] folds: expected a valid integer, found 2.5",)),
        ("[science]\nfolds = 3\nfraction = 0.5\n", ("[science]: give one of folds, fraction, found both",)),
        ("[science.grid]\nstp = 1\n", ("[science.grid] stp: unknown key", "did you mean step?")),
        ("[science.grid]\nstep = 'x'\n", ('[science.grid] step: expected a valid number, found "x"',)),
        ("[science]\ngrid = 3\n", ("[science.grid]: expected a table, found 3",)),
        ("[science]\ncatalogue = 'x'\n", ("[science] catalogue: unknown key", "it belongs to [files]")),
        ("[science]\nqqq = 1\n", ("unknown key, expected one of ebv_max, sky, hidden",)),
        ("[science]\nlabel = 2024-01-01\nfolds = 'x'\n", ("[science] folds",)),
    ],
)
def test_message_says_what_was_expected_and_found(write, text, parts):
    message = error(write(text))
    for part in parts:
        assert part in message


def test_missing_key_and_missing_section_say_what_the_key_is(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text("[files]\n")
    assert "[files] catalogue: expected a value (The catalogue file), found none" in error(path)
    path.write_text("")
    assert "[files]: expected a value" in error(path)


def test_toml_syntax_error_names_file_and_line(write):
    message = error(write("[science]\nebv_max = = 3\n"))
    assert "small.toml" in message
    assert "line 4" in message


def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "my.toml")
    with pytest.raises(ConfigError, match=r"my\.toml: expected a TOML file, found a folder, a pipe or a device"):
        Config.load(tmp_path / "my.toml")


@pytest.mark.parametrize("name", ["absent.toml", "."])
def test_unreadable_file_is_named(tmp_path, name):
    assert f"{tmp_path / name}: expected a TOML file" in error(tmp_path / name)


def test_bytes_that_are_no_text_are_named(tmp_path):
    path = tmp_path / "small.toml"
    path.write_bytes(b"\xff\xfe")
    assert "UTF-8" in error(path)


# Paths


def test_paths_are_relative_to_the_file_and_in_overrides_to_the_working_directory(write, tmp_path, monkeypatch):
    path = write("", 'catalogue = "../data/a.fits"')
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    config = Small.load(path, ["files.truth=t.parquet"])
    assert config.files.catalogue == tmp_path.parent / "data" / "a.fits"
    assert config.files.truth == elsewhere / "t.parquet"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${SURVEY}/a.fits", "/survey/a.fits"),
        ("${SURVEY:-/default}/a.fits", "/survey/a.fits"),
        ("${UNSET:-/default}/a.fits", "/default/a.fits"),
        ("${EMPTY:-/default}/a.fits", "/default/a.fits"),
        ("~/a.fits", "/home/someone/a.fits"),
        ("${UNSET:-~/b}/a.fits", "/home/someone/b/a.fits"),
    ],
)
def test_variables_and_home_expand_in_paths(write, monkeypatch, text, expected):
    monkeypatch.setenv("SURVEY", "/survey")
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.delenv("UNSET", raising=False)
    assert Small.load(write("", f'catalogue = "{text}"')).files.catalogue == Path(expected)


def test_only_paths_expand(write):
    assert Small.load(write("")).science.label == "${HOME}"


def test_unset_variable_names_section_key_variable_and_remedy_beside_other_errors(write, monkeypatch):
    monkeypatch.delenv("SURVEY_ROOT", raising=False)
    message = error(write("[science]\nebv_mx = 1\n", 'catalogue = "${SURVEY_ROOT}/a.fits"'))
    assert "2 errors" in message
    assert "[files] catalogue: variable SURVEY_ROOT is not set" in message
    assert "export SURVEY_ROOT=" in message
    assert "${SURVEY_ROOT:-default}" in message


@pytest.mark.parametrize("text", ["${}/a", "${A:-${B}}", "${A"])
def test_malformed_variable_is_an_error(write, monkeypatch, text):
    monkeypatch.delenv("A", raising=False)
    monkeypatch.setenv("B", "b")
    assert "[files] catalogue: expected ${NAME} or ${NAME:-default}" in error(write("", f'catalogue = "{text}"'))


def test_unknown_home_is_an_error(write):
    assert "expected a known user" in error(write("", 'catalogue = "~no-such-user/a"'))


# Overrides


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("a=3", {"a": 3}),
        ("a.b=3", {"a": {"b": 3}}),
        ("a.b = 0.5", {"a": {"b": 0.5}}),
        ("a.b=true", {"a": {"b": True}}),
        ("a.b=[1, 2]", {"a": {"b": [1, 2]}}),
        ('a.b="x y"', {"a": {"b": "x y"}}),
        ("a.b=bare word", {"a": {"b": "bare word"}}),
        ("a.b=/some/path=1", {"a": {"b": "/some/path=1"}}),
        ("a.b.c=none", {"a": {"b": {"c": "none"}}}),
        ("a.b=1\nc = 2", {"a": {"b": "1\nc = 2"}}),
    ],
)
def test_override_value_is_toml_or_a_bare_string(override, expected):
    assert parse_overrides([override]) == expected


def test_the_last_override_wins_and_others_stay():
    assert parse_overrides(["a.b=1", "a.c=2", "a.b=3"]) == {"a": {"b": 3, "c": 2}}


@pytest.mark.parametrize("override", ["a.b", "=3", ".b=3", "a.=3"])
def test_malformed_override_is_an_error(override):
    with pytest.raises(ConfigError, match=r"expected section\.key=value"):
        parse_overrides([override])


def test_override_goes_over_the_file_and_its_errors_name_it(write):
    path = write("[science]\nebv_max = 0.3\n[science.grid]\nstart = 1.0\n")
    config = Small.load(path, ["science.ebv_max=0.4", "science.grid.step=2"])
    assert config.science.ebv_max == 0.4
    assert config.science.grid == Grid(start=1.0, step=2.0)
    assert error(path, "science.ebv_max=-1").startswith("--set: [science] ebv_max: expected greater")


# Round trip and comparison


def test_resolved_toml_gives_the_same_configuration_from_anywhere(write, tmp_path):
    config = Small.load(write('[science]\nsky = [[1.5, 2.0]]\nlabel = "a\\"b"\nebv_max = inf\n'))
    resolved = tmp_path / "other" / "resolved.toml"
    resolved.parent.mkdir()
    resolved.write_text(config.to_toml())
    assert Small.load(resolved).model_dump() == config.model_dump()


def test_source_is_what_the_user_wrote_and_remains_toml(write):
    path = write("[science] # a comment\n")
    config = Small.load(path, ["science.ebv_max=0.4"])
    assert config.source == path.read_text() + "# --set science.ebv_max=0.4\n"


def test_flat_chooses_sections_and_keys(write):
    config = Small.load(write(""))
    assert config.flat("science.grid", "science.ebv_max") == {
        "science.grid.start": None,
        "science.grid.step": 0.5,
        "science.ebv_max": 0.5,
    }
    assert config.flat() == {}
    with pytest.raises(KeyError, match="sciense"):
        config.flat("sciense")


def test_differences_name_what_is_not_default_in_sections_that_have_defaults(write):
    config = Small.load(write("[science]\nhidden = [50]\n[science.grid]\nstep = 1\n"))
    assert config.differences() == {"science.hidden": ((50,), (100, 100)), "science.grid.step": (1.0, 0.5)}
    assert Small.load(write("")).differences() == {}


# The real configuration


@pytest.fixture
def data(monkeypatch):
    monkeypatch.setenv("SPECDIS_DESI", "/desi")
    monkeypatch.setenv("SPECDIS_REAL_DATA", "/real")
    monkeypatch.delenv("SPECDIS_RUNS", raising=False)


@pytest.mark.parametrize("name", templates())
def test_every_template_loads_and_survives_resolving(data, tmp_path, name):
    config = Config.load(template(name))
    resolved = tmp_path / "resolved.toml"
    resolved.write_text(config.to_toml())
    assert Config.load(resolved).model_dump() == config.model_dump()


def test_the_defaults_are_the_choices_of_the_paper(data):
    assert Config.load(template("paper")).differences() == {}
    # its universe is no choice of the paper's
    assert Config.load(template("mock"), ["training.batch=64"]).differences() == {"training.batch": (64, 1024)}


def test_unknown_template_names_those_there_are():
    known = ["demo", "desi-dr1", "library", "miles", "mock", "mock-mixture", "paper", "table"]
    assert sorted(templates()) == known
    with pytest.raises(ConfigError, match=re.escape(f"one of {', '.join(templates())}")):
        template("nothing")
    with pytest.raises(ConfigError, match="did you mean desi-dr1"):
        template("desi_dr1")


# Presets


RUN = '[run]\nname = "x"\ndirectory = "run"\n[survey]\nkind = "mock"\n'


@pytest.fixture
def preset(tmp_path):
    def _load(name: str, text: str = "", *overrides: str) -> Config:
        path = tmp_path / "preset.toml"
        path.write_text(f'preset = "{name}"\n{RUN}{text}')
        return Config.load(path, overrides)

    return _load


@pytest.mark.parametrize("name", get_args(Preset))
def test_a_preset_gives_what_the_file_leaves_out(preset, name):
    values = Config.preset_of({"preset": name})
    assert values
    found = preset(name).model_dump(mode="json")
    assert merge(found, values) == found


DR4 = '[run]\nname = "x"\ndirectory = "run"\n[survey]\nkind = "table"\nspectra = "s.fits"\ngaia = "dr4"\n'


def test_a_recipe_that_was_measured_for_another_gaia_release_is_an_error(tmp_path):
    path = tmp_path / "dr4.toml"
    path.write_text(DR4 + '[photometry]\nerror_inflation = "el-badry2021"\n')
    message = error(path, model=Config)
    for key, value in (("zero_point", "lindegren2021"), ("error_inflation", "el-badry2021")):
        assert f"[photometry] {key}: expected none with survey.gaia = dr4" in message
        assert f"known to hold for Gaia DR4, found {value}" in message
    none = ['photometry.zero_point="none"', 'photometry.error_inflation="none"']
    assert Config.load(path, none).gaia == "dr4"
    assert Config.load(path, ['survey.gaia="dr3"']).gaia == "dr3"
    assert "[survey] gaia: expected 'dr3' or 'dr4', found" in error(path, 'survey.gaia="dr5"', model=Config)


def test_draws_need_a_prior(preset):
    assert preset("recommended", "", "catalogue.released_draws=32").catalogue.released_draws == 32
    with pytest.raises(ConfigError, match=r"released_draws.* needs a prior"):
        preset("paper", "", "catalogue.released_draws=32")


def test_the_mock_is_of_dr3(preset):
    with pytest.raises(ConfigError, match="takes gaia = 'dr3' only"):
        preset("paper", "", 'survey.gaia="dr4"')


def test_keys_of_the_user_go_over_the_preset_and_overrides_over_both(preset):
    config = preset(
        "recommended", "[network.label]\nhuber = 2.0\n[training]\nnoisy_copies = 3\n", "training.noisy_copies=5"
    )
    assert (config.network.label.huber, config.training.noisy_copies) == (2.0, 5)
    assert config.network.kind == "mixture"
    assert preset("recommended", "", "preset=paper").differences() == {}


def test_the_resolved_configuration_shows_what_the_preset_gives(preset, tmp_path):
    config = preset("recommended", '[sample]\nfold_column = "FOLD"\n')
    resolved = tmp_path / "resolved.toml"
    resolved.write_text(config.to_toml())
    assert 'kind = "mixture"' in resolved.read_text()
    assert Config.load(resolved).model_dump() == config.model_dump()


@pytest.mark.parametrize("key", ["fold_column", "train_fraction"])
def test_another_split_takes_the_place_of_that_of_the_preset(preset, key):
    value = {"fold_column": "FOLD", "train_fraction": 0.5}[key]
    config = preset("recommended", f"[sample]\n{key} = {value!r}\n")
    assert (getattr(config.sample, key), config.sample.n_folds) == (value, None)
    assert preset("recommended", f"[sample]\n{key} = {value!r}\n", "sample.n_folds=3").sample.n_folds == 3


def test_two_splits_of_the_user_are_an_error_still(preset):
    with pytest.raises(ConfigError, match="found train_fraction and n_folds"):
        preset("recommended", "[sample]\nn_folds = 3\ntrain_fraction = 0.5\n")


def test_values_of_the_preset_that_do_not_fit_those_of_the_user_are_named(preset):
    with pytest.raises(
        ConfigError, match=r"\[network\.label\]: .*the preset gives .*huber = 3.0, intrinsic_scatter = 0.1"
    ):
        preset("recommended", '[network.label]\nloss = "chi2"\n')


def test_an_unknown_preset_is_an_error_that_names_the_nearest(preset):
    with pytest.raises(
        ConfigError, match=r"toml: preset: expected 'paper' or 'recommended', found .* did you mean rec"
    ):
        preset("recomended")


def test_every_key_is_documented():
    """The text under a field is its documentation, in error messages and in the pages made from it."""
    undocumented = [
        f"{section}.{key}"
        for section, field in Config.model_fields.items()
        if section != "preset"
        for key, inner in field.annotation.model_fields.items()
        if not inner.description
    ]
    assert undocumented == []
    assert Config.model_fields["preset"].description


def test_one_bad_key_in_each_section_is_found(data, tmp_path):
    sections = [name for name in Config.model_fields if name != "preset"]
    path = tmp_path / "bad.toml"
    path.write_text("\n".join(f"[{section}]\nno_such_key = 1" for section in sections))
    message = error(path, model=Config)
    assert all(f"[{section}] no_such_key: unknown key" in message for section in sections)


# Tables of the user's own names


def test_tables_with_names_of_the_users_own(write, tmp_path, monkeypatch):
    path = write('[references.lists."Ursa Minor"]\npath = "umi.csv"\n[references.names]\nDIST = "d"')
    monkeypatch.chdir(tmp_path.parent)
    config = Small.load(path, ["references.lists.x.path=x.csv", "references.lists.x.size=3"])
    lists = config.references.lists
    assert lists["Ursa Minor"].path == tmp_path / "umi.csv"  # relative to the file
    assert (lists["x"].path, lists["x"].size) == (tmp_path.parent / "x.csv", 3)  # relative to the working directory
    assert config.references.names == {"DIST": "d"}
    again = tmp_path / "again.toml"
    again.write_text(config.to_toml())
    assert Small.load(again).model_dump() == config.model_dump()
    assert config.flat("references.lists")["references.lists.x.size"] == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[references.lists.x]\npath = "a"\nsise = 2', "[references.lists.x] sise: unknown key, expected one of path"),
        ("[references.lists.x]\nsize = 2", "[references.lists.x] path: expected a value"),
        (
            '[references.lists.x]\npath = "a"\nsize = "b"',
            '[references.lists.x] size: expected a valid integer, found "b"',
        ),
        ("[references.lists]\nx = 3", "[references.lists] x: expected"),
        ('[references.lists.x]\npath = "${NOWHERE}"', "[references.lists.x] path: variable NOWHERE is not set"),
    ],
)
def test_errors_in_such_tables_name_them(write, text, message):
    assert message in error(write(text))


def test_a_byte_order_mark_is_no_part_of_the_text(write):
    path = write("")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert Small.load(path).files.catalogue.name == "a.fits"


def test_what_is_nested_without_end_is_a_message(write):
    path = write("")
    path.write_text("a = " + "[" * 5000)
    assert f"{path}: expected keys and their values, found hundreds of nested levels" in error(path)
    assert "unknown section" in error(write(""), "a.b=" + "[" * 5000)

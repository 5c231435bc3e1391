from pathlib import Path

import pytest
from conftest import ROOT, change_params

from features.errors import InputError
from features.sources.demo_corpus import SynthesizeSpec
from features.spectrogram import FeatureSpec
from features.split.sets import SplitSpec
from features.store.layout import StoreSpec
from models.networks.cnn import CnnSpec
from models.settings import TrainSpec
from pipeline.shell.params import DataSpec, read_section

SPECS = {
    "data": DataSpec,
    "synthesize": SynthesizeSpec,
    "split": SplitSpec,
    "features": FeatureSpec,
    "store": StoreSpec,
    "train": TrainSpec,
    "models.base": CnnSpec,
    "models.skip": CnnSpec,
}


@pytest.fixture
def params(in_folder: Path) -> Path:
    path = in_folder / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text())
    return path


@pytest.mark.parametrize("section", SPECS)
def test_the_shipped_settings_are_valid(params: Path, section: str) -> None:
    assert params.exists()
    assert read_section(section, SPECS[section])


# setting, value                     | section | what the sentence must say
MISTAKES = [
    ("split.test_fractoin", 0.1, "split", r"unknown setting split.test_fractoin; did you mean split.test_fraction\?"),
    ("trian", {}, "train", r"unknown setting trian; did you mean train\?"),
    ("features.xyzzy", 1, "features", "unknown setting features.xyzzy; expected one of kind, n_fft"),
    ("split.test_fraction", "0.1", "split", "split.test_fraction is '0.1'; expected `float`, got `str`"),
    ("split.test_fraction", 1.5, "split", "split.test_fraction is 1.5; expected `float` < 1.0"),
    ("split.seed", 0.5, "split", "split.seed is 0.5; expected `int`, got `float`"),
    (
        "split.leave_out",
        ["wrong"],
        "split",
        r"split.leave_out is \['wrong'\]; expected a list of none or some of 'wrong label', 'bad audio'$",
    ),
    (
        "split.leave_out",
        "bad audio",
        "split",
        "split.leave_out is 'bad audio'; expected a list of none or some of 'wro",
    ),
    ("split.leave_out", None, "split", "split.leave_out is None; expected a list of none or some of 'wrong label'"),
    ("split.test_fraction", 0.95, "split", "section split: .* leave an empty train set"),
    ("store.chunk_clips", 100, "store", "shard_clips 256 is not a multiple of chunk_clips 100"),
    ("store.shard_clips", 32 * 10**20, "store", "store.shard_clips is 3200.*; expected `int` <= 1000000000000"),
    ("store.codec", "lz5", "store", "store.codec is 'lz5'; expected one of 'none', 'lz4', 'zstd'"),
    ("train.epochs", True, "train", "train.epochs is True; expected `int`, got `bool`"),
    ("models.base.dropout", None, "models.base", "models.base.dropout is None; expected `float`, got `null`"),
    ("models.skip.skip_connections", 1, "models.skip", "skip_connections is 1; expected `bool`, got `int`"),
    ("features.kind", "energy", "features", "features.kind is 'energy'; expected one of 'magnitude', 'power'"),
    ("features.hop_length", 300, "features", "section features: hop_length 300 is longer than n_fft 258"),
    ("train.learning_rate", float("inf"), "train", "train.learning_rate is inf; expected `float` <"),
    ("train.learning_rate", float("nan"), "train", "train.learning_rate is nan; expected `float` >"),
    ("data.npz", 3, "data", "data.npz is 3; expected `str`, got `int`"),
    ("models.base", 3, "models.base", "no section models.base; expected one with"),
]


@pytest.mark.parametrize(("setting", "value", "section", "sentence"), MISTAKES)
def test_mistakes_are_named(params: Path, setting: str, value: object, section: str, sentence: str) -> None:
    change_params(params, **{setting: value})
    with pytest.raises(InputError, match=sentence):
        read_section(section, SPECS[section])


def test_a_missing_setting_and_a_missing_section_are_named(params: Path) -> None:
    params.write_text("split: {seed: 0, test_fraction: 0.1}")
    with pytest.raises(InputError, match=r"section split: Object missing required field `validation_fraction`"):
        read_section("split", SplitSpec)
    with pytest.raises(InputError, match=r"no section models"):
        read_section("models.base", CnnSpec)


def test_settings_that_came_later_may_be_missing(params: Path) -> None:
    params.write_text("split: {seed: 0, test_fraction: 0.1, validation_fraction: 0.1}")
    assert read_section("split", SplitSpec).leave_out == ("wrong label", "bad audio")


def test_other_sections_are_not_looked_at(params: Path) -> None:
    change_params(params, **{"train.epochs": "many"})
    assert read_section("split", SplitSpec)


def test_exponents_are_numbers_as_dvc_reads_them(params: Path) -> None:
    params.write_text(params.read_text().replace("learning_rate: 0.0007", "learning_rate: 1e-4"))
    assert read_section("train", TrainSpec).learning_rate == 1e-4


def test_no_file_and_no_yaml(in_folder: Path) -> None:
    with pytest.raises(InputError, match=r"no params.yaml in .*; run this from the project's folder"):
        read_section("split", SplitSpec)
    for text, sentence in (
        ("split: [", "not valid YAML"),
        ("split: {seed: 2001-02-30}", r"not valid YAML \(day is out of range for month\)"),
    ):
        (in_folder / "params.yaml").write_text(text)
        with pytest.raises(InputError, match=sentence):
            read_section("split", SplitSpec)

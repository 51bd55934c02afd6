"""``fauxto train`` and ``fauxto tune``: which configuration comes of presets, files and options, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest

import fauxto.training
import fauxto.tuning
from fauxto.config import TrainConfig, to_toml
from fauxto.data.synthetic import NOTE

Run = Callable[..., tuple[int, str, str]]
GRID = Path(__file__).parents[2] / "examples" / "tune-notebook-grid.toml"


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch) -> mock.Mock:
    """Stands in for the training itself; it refuses arguments that the real one does not take."""
    stand_in = mock.create_autospec(fauxto.training.train, return_value=Path("some/detector"))
    monkeypatch.setattr(fauxto.training, "train", stand_in)
    return stand_in


@pytest.fixture
def tune(monkeypatch: pytest.MonkeyPatch) -> mock.Mock:
    stand_in = mock.create_autospec(fauxto.tuning.tune, return_value=Path("some/winner.toml"))
    monkeypatch.setattr(fauxto.tuning, "tune", stand_in)
    return stand_in


def config_of(train: mock.Mock) -> TrainConfig:
    config: TrainConfig = train.call_args.args[1]
    return config


def test_the_defaults_are_the_notebook(run: Run, train: mock.Mock, image_folder: Path, tmp_path: Path) -> None:
    code, out, err = run("train", "--data", image_folder, "--out", tmp_path / "run")
    assert (code, out, err) == (0, "some/detector\n", "")
    store, config, folder = train.call_args.args
    assert (len(store), config, folder) == (88, TrainConfig(), tmp_path / "run")
    assert train.call_args.kwargs == {"init": None, "teacher": None, "guests": {}, "resume": False, "name": "", "note": ""}


def test_set_goes_before_options_before_the_file_before_the_preset(
    run: Run, train: mock.Mock, image_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine.toml").write_text("batch_size = 32\nlearning_rate = 0.01\nseed = 5\npatience = 7\n")
    words = ("--preset", "notebook-cifar-stem", "--config", tmp_path / "mine.toml", "--learning-rate", 0.002, "--seed", 6)
    code, _, _ = run("train", "--data", image_folder, "--out", tmp_path / "run", *words, "--set", "seed=8", "--name", "mine")
    assert code == 0
    expected = TrainConfig(stem="cifar", batch_size=32, patience=7, learning_rate=0.002, seed=8)
    assert config_of(train) == expected
    assert train.call_args.kwargs["name"] == "mine"


def test_a_file_overrides_its_preset(run: Run, train: mock.Mock, image_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('stem = "imagenet"\n')
    run("train", "--data", image_folder, "--out", "x", "--preset", "notebook-cifar-stem", "--config", tmp_path / "mine.toml")
    assert config_of(train).stem == "imagenet"


def test_every_option_reaches_its_key(run: Run, train: mock.Mock, image_folder: Path) -> None:
    values = {
        "split": "notebook", "stem": "cifar", "subset": 0.5, "limit": 20, "max_epochs": 2,
        "batch_size": 4, "learning_rate": 0.1, "seed": 9, "device": "cpu",
    }  # fmt: skip
    words = [word for key, value in values.items() for word in (f"--{key.replace('_', '-')}", value)]
    run("train", "--data", image_folder, "--out", "x", *words)
    assert config_of(train) == TrainConfig(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "key", "value"),
    [
        ("patience = 2", "patience", 2),
        ("learning_rate=1e-3", "learning_rate", 0.001),
        ("subset=1", "subset", 1.0),
        ("split=notebook", "split", "notebook"),
        ("split='notebook'", "split", "notebook"),
        ("precision=bf16-mixed", "precision", "bf16-mixed"),
    ],
)
def test_set_reads_values_as_toml_and_bare_words_as_text(
    run: Run, train: mock.Mock, image_folder: Path, change: str, key: str, value: object
) -> None:
    assert run("train", "--data", image_folder, "--out", "x", "--set", change)[0] == 0
    assert getattr(config_of(train), key) == value


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--set", "batchsize=32"), "unknown key 'batchsize'; did you mean 'batch_size'?"),
        (("--set", "batch_size=many"), "batch_size must be a whole number, got 'many'"),
        (("--set", "batch_size=1.5"), "batch_size must be a whole number, got 1.5"),
        (("--set", "patience"), "--set takes KEY=VALUE, such as --set patience=2, got 'patience'"),
        (("--set", "learning_rate=[1"), "--set learning_rate: '[1' is no value"),
        (("--set", "a.b=1"), "--set takes KEY=VALUE"),
        (("--batch-size", "1"), "batch_size must be at least 2"),
        (("--subset", "0"), "subset must be above 0 and at most 1"),
        (("--split", "offical"), "split = 'offical' is not possible; did you mean 'official'?"),
        (("--preset", "notebok"), "no preset is called 'notebok'; did you mean 'notebook'?"),
        (("--config", "nowhere.toml"), "cannot read the configuration nowhere.toml"),
    ],
)
def test_an_impossible_configuration_is_refused_in_one_sentence(
    run: Run, train: mock.Mock, image_folder: Path, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    code, out, err = run("train", "--data", image_folder, "--out", tmp_path / "run", *words)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1
    assert not train.called
    assert not (tmp_path / "run").exists()


def test_resume_takes_the_interrupted_runs_configuration(run: Run, train: mock.Mock, image_folder: Path, tmp_path: Path) -> None:
    before = TrainConfig(stem="cifar", batch_size=64, seed=3)
    (tmp_path / "config.toml").write_text(to_toml(before))
    run("train", "--data", image_folder, "--out", tmp_path, "--resume")
    assert config_of(train) == before
    assert train.call_args.kwargs["resume"] is True
    run("train", "--data", image_folder, "--out", tmp_path, "--resume", "--seed", 4)  # refused by the training itself
    assert config_of(train).seed == 4


def test_data_of_the_environment_and_their_note(
    run: Run, train: mock.Mock, simulated_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAUXTO_DATA", str(simulated_folder))
    assert run("train", "--out", "x")[0] == 0
    assert len(train.call_args.args[0]) == 12
    assert train.call_args.kwargs["note"] == NOTE


def test_data_that_are_not_there(run: Run, train: mock.Mock, tmp_path: Path) -> None:
    code, out, err = run("train", "--data", tmp_path / "nowhere", "--out", tmp_path / "run")
    assert (code, out) == (5, "")
    assert "nowhere" in err
    assert not train.called


def test_tune_hands_over_the_study(
    run: Run, tune: mock.Mock, image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAUXTO_DATA", str(image_folder))
    code, out, err = run("tune", "--config", GRID, "--out", tmp_path / "study", "--resume")
    assert (code, out, err) == (0, "some/winner.toml\n", "")
    store, study, folder = tune.call_args.args
    assert (len(store), folder, tune.call_args.kwargs) == (88, tmp_path / "study", {"resume": True})
    assert study == fauxto.tuning.read_tune_config(GRID)


def test_tune_refuses_a_wrong_study(run: Run, tune: mock.Mock, image_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "grid.toml").write_text("[search]\nbatchsize = [16, 32]\n")
    code, out, err = run("tune", "--config", tmp_path / "grid.toml", "--data", image_folder, "--out", tmp_path / "study")
    assert (code, out) == (2, "")
    assert "did you mean 'batch_size'?" in err
    assert not tune.called

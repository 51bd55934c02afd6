"""The command line as a whole: help, version, wrong calls, interruption, and what is not installed."""

from __future__ import annotations

import errno
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import fauxto

Run = Callable[..., tuple[int, str, str]]
VERBS = ("train", "tune", "evaluate", "explain", "check", "data get", "data synthetic", "data info")
BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "torchvision", "lightning_fabric"}:
            raise ImportError(f"blocked {name}")
sys.meta_path.insert(0, Block())
from fauxto.cli import main
main()
"""


def test_version(run: Run) -> None:
    assert run("--version") == (0, f"fauxto {fauxto.__version__}\n", "")


def test_no_verb_shows_the_help_and_is_a_wrong_call(run: Run) -> None:
    code, out, err = run()
    assert (code, err) == (2, "")
    assert all(f" {verb.split()[0]} " in out for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_help_shows_an_example_that_the_verb_understands(run: Run, verb: str) -> None:
    code, out, _ = run(*verb.split(), "--help")
    examples = re.findall(rf"^ +(?:cat \S+ \| )?(fauxto {verb}\b.*?) *$", out, flags=re.MULTILINE)
    assert code == 0
    assert "Example" in out
    assert examples
    options = {word for example in examples for word in shlex.split(example) if word.startswith("--")}
    table = out[out.index("─ Options ─") :]
    assert all(re.search(rf"{option}\b", table) for option in options)
    assert run(*verb.split(), "-h")[1] == out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("trian",), "Did you mean 'train'?; see 'fauxto --help'"),
        (("train",), "'--out'; see 'fauxto train --help'"),
        (("train", "--out", "x", "--batch-size", "many"), "see 'fauxto train --help'"),
        (("check", "a.jpg", "--jsn"), "--json"),
        (("data", "get"), "see 'fauxto data get --help'"),
        (("evaluate", "runs/x", "--out", "x", "--n-resamples", "3"), "100"),
    ],
)
def test_wrong_calls_end_in_one_sentence(run: Run, words: tuple[str, ...], message: str) -> None:
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1


def test_interruption_says_how_to_go_on(run: Run, image_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fauxto.data.store.load_data", interrupted)
    code, out, err = run("data", "info", image_folder)
    assert (code, out) == (130, "")
    assert "--resume" in err


def test_an_error_of_the_system_names_the_path(run: Run, image_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(error: OSError) -> None:
        def load_data(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr("fauxto.data.store.load_data", load_data)

    refuse(PermissionError(errno.EACCES, "Permission denied", "some/place"))
    code, out, err = run("data", "info", image_folder)
    assert (code, out) == (1, "")
    assert err == "error: some/place: Permission denied; check this path and your rights on it\n"
    refuse(OSError("a library's own complaint"))  # nothing that a user could act on: a bug shows its traceback
    with pytest.raises(OSError, match="complaint"):
        run("data", "info", image_folder)


def test_an_error_stays_on_one_line(run: Run, tmp_path: Path) -> None:
    code, _, err = run("data", "info", tmp_path / "a\nb\x1b[2J")
    assert code == 5
    assert err.count("\n") == 1
    assert "\x1b" not in err


def test_a_reader_that_has_seen_enough_is_no_error(image_folder: Path, tmp_path: Path) -> None:
    for_reading, for_writing = os.pipe()
    os.close(for_reading)
    call = [sys.executable, "-c", "from fauxto.cli import main; main()", "data", "info", str(image_folder), "--json"]
    with os.fdopen(for_writing, "wb") as pipe:
        done = subprocess.run(call, stdout=pipe, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("verb", ["train", "tune", "explain"])
def test_where_torch_is_not_installed_the_extra_is_named(verb: str, image_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "grid.toml").write_text("[search]\nbatch_size = [16, 32]\n")
    words = {
        "train": ["--data", str(image_folder)],
        "tune": ["--data", str(image_folder), "--config", str(tmp_path / "grid.toml")],
        "explain": ["some-detector", "--data", str(image_folder)],
    }[verb]
    call = [sys.executable, "-c", BLOCK, verb, *words, "--out", str(tmp_path / "out")]
    done = subprocess.run(call, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 3, done.stderr
    refusal = (
        "error: this needs the package torch, which is not installed: pip install 'fauxto[train]' (in a checkout: '.[train]')"
    )
    assert done.stderr == refusal + "\n"
    assert not (tmp_path / "out").exists()

"""runs: a file is written whole or not at all, and what goes wrong with a disk is named."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import stat
import subprocess
from pathlib import Path

import numpy as np
import pytest

from fauxto import runs
from fauxto.errors import DiskFullError, FauxtoError, UsageError
from fauxto.runs import (
    cache_folder,
    disk_errors_named,
    environment_record,
    new_folder,
    seed_everything,
    sha256_of,
    sweep_parts,
    write_json,
    write_text,
    write_whole,
)

FULL = [OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EDQUOT, "Disk quota exceeded"),
        RuntimeError("I/O error: No space left on device (os error 28)")]  # fmt: skip


def raiser(error: BaseException):
    def fail(*args: object, **options: object) -> None:
        raise error

    return fail


# ---------------------------------------------------------------- write_whole


def test_write_whole_writes_and_makes_the_folder(tmp_path):
    path = tmp_path / "a" / "b" / "c.txt"
    write_whole(path, lambda part: part.write_bytes(b"all of it"))
    assert path.read_bytes() == b"all of it"
    assert os.listdir(path.parent) == ["c.txt"]


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    seen = []

    def write(part: Path) -> None:
        part.write_text("half")
        seen.append(path.read_text())
        assert part.parent == path.parent, "a rename is atomic only within one file system"
        part.write_text("new")

    write_whole(path, write)
    assert (seen, path.read_text()) == (["old"], "new")


@pytest.mark.parametrize("error", FULL, ids=["ENOSPC", "EDQUOT", "wrapped by a library"])
@pytest.mark.parametrize("there_before", [True, False])
def test_a_full_disk_leaves_nothing_and_keeps_the_old_file(tmp_path, error, there_before):
    path = tmp_path / "a.txt"
    if there_before:
        path.write_text("old")

    def half(part: Path) -> None:
        part.write_text("half")
        raise error

    with pytest.raises(DiskFullError, match=r"the disk is full: .*a\.txt was not written; free some space") as caught:
        write_whole(path, half)
    assert caught.value.__cause__ is error
    assert [p.name for p in tmp_path.iterdir()] == (["a.txt"] if there_before else [])
    assert not there_before or path.read_text() == "old"


@pytest.mark.parametrize("where", ["os.fsync", "os.replace", "tempfile.mkstemp"])
def test_a_disk_that_fills_at_any_step_is_named(tmp_path, monkeypatch, where):
    module, name = where.split(".")
    monkeypatch.setattr(getattr(runs, module), name, raiser(FULL[0]))
    with pytest.raises(DiskFullError):
        write_text(tmp_path / "a.txt", "new")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_really_full_device_is_named(tmp_path):
    with pytest.raises(DiskFullError):
        write_whole(tmp_path / "a", lambda part: Path("/dev/full").write_bytes(b"x" * 100_000))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("bug")])
def test_any_other_end_cleans_up_and_passes_through(tmp_path, error):
    with pytest.raises(type(error)):
        write_whole(tmp_path / "a", raiser(error))
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"cannot be written \((Not a directory|File exists)\): choose"):
        write_text(tmp_path / "file" / "a.txt", "x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match="cannot be written"):
        write_text(tmp_path / "folder", "x")
    monkeypatch.setattr(runs.tempfile, "mkstemp", raiser(PermissionError(errno.EACCES, "Permission denied")))
    with pytest.raises(UsageError, match="Permission denied"):
        write_text(tmp_path / "a.txt", "x")


def test_a_librarys_own_oserror_without_a_number_passes_through(tmp_path):
    with pytest.raises(OSError, match="cannot write mode") as caught:
        write_whole(tmp_path / "a", raiser(OSError("cannot write mode RGBA as JPEG")))
    assert not isinstance(caught.value, FauxtoError)


def test_our_own_errors_keep_their_class(tmp_path):
    error = UsageError("there was a message that said No space left")
    with pytest.raises(UsageError) as caught, disk_errors_named(tmp_path):
        raise error
    assert caught.value is error


@pytest.mark.skipif(os.name != "posix", reason="no umask here")
def test_the_file_gets_the_users_usual_rights(tmp_path):
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "a", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_sweep_parts_removes_what_a_killed_writer_left_and_nothing_else(tmp_path):
    for name in (".state.safetensors.abc123.part", ".hidden", "notes.part", "a.txt"):
        (tmp_path / name).touch()
    sweep_parts(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".hidden", "a.txt", "notes.part"]


def test_sweep_parts_finds_what_write_whole_makes(tmp_path):
    def write(part: Path) -> None:
        sweep_parts(tmp_path)
        assert not part.exists()
        part.touch()

    write_whole(tmp_path / "a", write)


# ---------------------------------------------------------------- text, JSON, checksum


def test_a_stray_byte_of_a_file_name_is_written_as_it_reads_back(tmp_path):
    write_text(tmp_path / "a.txt", "\udcff.jpg")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "\\udcff.jpg"
    write_json(tmp_path / "a.json", {"path": "\udcff.jpg"})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"path": "\udcff.jpg"}


def test_write_json_is_utf8_and_readable(tmp_path):
    write_json(tmp_path / "a.json", {"name": "é", "n": [1, 2.5, None]})
    assert json.loads((tmp_path / "a.json").read_bytes()) == {"name": "é", "n": [1, 2.5, None]}
    assert "é" in (tmp_path / "a.json").read_text(encoding="utf-8")


def test_write_json_refuses_nan_and_writes_nothing(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"auc": float("nan")})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("payload", [b"", b"abc", b"x" * (3 * (1 << 20) + 7)])
def test_sha256_of(tmp_path, payload):
    (tmp_path / "a").write_bytes(payload)
    assert sha256_of(tmp_path / "a") == hashlib.sha256(payload).hexdigest()


def test_sha256_of_the_standards_example(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    assert sha256_of(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


# ---------------------------------------------------------------- folders


def test_new_folder_takes_what_is_empty_or_not_there(tmp_path):
    assert new_folder(tmp_path / "a" / "b", overwrite_hint="").is_dir()
    assert new_folder(tmp_path / "a" / "b", overwrite_hint="") == tmp_path / "a" / "b"


def test_new_folder_refuses_what_holds_something(tmp_path):
    (tmp_path / "kept").touch()
    for path in (tmp_path, tmp_path / "kept"):
        with pytest.raises(UsageError, match="already exists and is not empty: choose another"):
            new_folder(path, overwrite_hint="choose another")
    with pytest.raises(UsageError, match="cannot be written"):
        new_folder(tmp_path / "kept" / "below", overwrite_hint="")
    assert (tmp_path / "kept").is_file()


def test_new_folder_names_a_full_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "mkdir", raiser(FULL[0]))
    with pytest.raises(DiskFullError):
        new_folder(tmp_path / "a", overwrite_hint="")


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("FAUXTO_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.setenv("FAUXTO_CACHE", "~/stores")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "stores"
    monkeypatch.delenv("FAUXTO_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "fauxto"
    monkeypatch.setenv("XDG_CACHE_HOME", "")  # by the XDG standard the same as unset
    assert cache_folder() == tmp_path / ".cache" / "fauxto"


# ---------------------------------------------------------------- seeds and records


def test_seed_everything_repeats_both_generators():
    def drawn() -> tuple[float, float]:
        return random.random(), float(np.random.rand())

    seed_everything(7)
    first = drawn()
    seed_everything(7)
    assert drawn() == first
    seed_everything(2**63 - 1)  # the largest that a configuration takes
    assert drawn() != first


def test_environment_record_is_json_and_says_what_matters():
    record = environment_record()
    assert json.loads(json.dumps(record)) == record
    assert set(record) == {"python", "system", "processor", "n_cores", "packages", "commit"}
    assert record["packages"]["numpy"] == np.__version__
    assert record["n_cores"] == os.cpu_count()


def test_the_commit_is_never_that_of_a_project_around_the_package(tmp_path, monkeypatch):
    installed = tmp_path / "venv" / "lib" / "site-packages" / "fauxto" / "runs.py"
    installed.parent.mkdir(parents=True)
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True, capture_output=True)
    monkeypatch.setattr(runs, "__file__", str(installed))
    assert environment_record()["commit"] is None


def test_no_git_and_no_processor_name_are_no_error(monkeypatch):
    monkeypatch.setattr(runs.subprocess, "run", raiser(FileNotFoundError("git")))
    monkeypatch.setattr(runs.Path, "exists", lambda path: path.name == ".git")
    monkeypatch.setattr(runs.platform, "processor", lambda: "")
    record = environment_record()
    assert (record["commit"], record["processor"]) == (None, "unknown")

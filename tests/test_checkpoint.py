"""checkpoint: tensors and cards are written whole, checked on reading, and a stranger's file runs nothing."""

from __future__ import annotations

import errno
import json
import os
import pickle
import struct

import numpy as np
import pytest

from fauxto import runs
from fauxto.checkpoint import CARD, MAX_CARD_BYTES, MODEL, WEIGHTS, load_tensors, read_card, save_tensors, verified, write_card
from fauxto.errors import DetectorError, DiskFullError
from fauxto.runs import sha256_of


@pytest.fixture
def folder(tmp_path):
    (tmp_path / MODEL).write_bytes(b"a model")
    save_tensors(tmp_path / WEIGHTS, {"w": np.arange(6, dtype=np.float32).reshape(2, 3)})
    write_card(tmp_path, {"name": "small", "threshold": 0.5})
    return tmp_path


def change_card(folder, **changes):
    card = json.loads((folder / CARD).read_text())
    (folder / CARD).write_text(json.dumps({**card, **changes}))


# ---------------------------------------------------------------- tensors


def test_tensors_go_out_and_come_back(tmp_path):
    rng = np.random.default_rng(0)
    tensors = {
        "a": rng.normal(size=(3, 4)).astype(np.float32),
        "transposed": rng.normal(size=(2, 3)).astype(np.float64).T,
        "scalar": np.array(7, np.int64),
        "empty": np.zeros((0, 2), np.float32),
    }
    about = {"epoch": 3, "loss": 0.1 + 0.2, "history": [{"x": 1.5}], "name": "é"}
    save_tensors(tmp_path / "t.safetensors", tensors, about=about)
    found, found_about = load_tensors(tmp_path / "t.safetensors")
    assert found_about == about
    assert set(found) == set(tensors)
    for name, value in tensors.items():
        np.testing.assert_array_equal(found[name], value)
        assert found[name].dtype == value.dtype


def test_others_can_read_the_file(tmp_path):
    from safetensors.numpy import load_file

    save_tensors(tmp_path / "t", {"a": np.ones(3, np.float32)})
    np.testing.assert_array_equal(load_file(tmp_path / "t")["a"], np.ones(3))


def test_loaded_tensors_do_not_depend_on_the_file_any_more(tmp_path):
    save_tensors(tmp_path / "t", {"a": np.ones(1000, np.float32)})
    found, _ = load_tensors(tmp_path / "t")
    (tmp_path / "t").write_bytes(b"\0" * 5000)
    assert (found["a"] == 1).all()
    found["a"][0] = 2  # and they may be changed


def test_without_about_there_is_an_empty_one(tmp_path):
    save_tensors(tmp_path / "t", {"a": np.ones(1)})
    assert load_tensors(tmp_path / "t")[1] == {}


def _header(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


DAMAGED = {
    "empty": b"",
    "text": b"these are not weights",
    "huge header": struct.pack("<Q", 2**63),
    "header is no JSON": _header(b"{]"),
    "beyond the end": _header(b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}}'),
    "a type that numpy lacks": _header(b'{"a":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}') + b"\0\0",
    "about is no JSON": _header(b'{"__metadata__":{"about":"{"}}'),
    "about is no mapping": _header(b'{"__metadata__":{"about":"[1]"}}'),
    "about without end": _header(b'{"__metadata__":{"about":"' + b"[" * 100_000 + b'"}}'),
}


@pytest.mark.parametrize("payload", DAMAGED.values(), ids=DAMAGED.keys())
def test_damaged_tensors_are_refused(tmp_path, payload):
    (tmp_path / "t").write_bytes(payload)
    with pytest.raises(DetectorError, match=r"cannot be read .*: train or copy them again"):
        load_tensors(tmp_path / "t")


def test_a_cut_file_is_refused(tmp_path):
    save_tensors(tmp_path / "t", {"a": np.ones(1000)})
    payload = (tmp_path / "t").read_bytes()
    (tmp_path / "t").write_bytes(payload[:-1])
    with pytest.raises(DetectorError, match="cannot be read"):
        load_tensors(tmp_path / "t")


def test_a_pickle_runs_nothing(tmp_path):
    class Attack:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "owned"),)

    (tmp_path / "t").write_bytes(pickle.dumps(Attack()))
    with pytest.raises(DetectorError):
        load_tensors(tmp_path / "t")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999"])
def test_a_card_with_a_number_that_is_not_finite_is_refused(folder, number):
    text = (folder / CARD).read_text()
    (folder / CARD).write_text(text.replace("0.5", number))
    with pytest.raises(DetectorError, match="impossible number, NaN or infinity"):
        read_card(folder)


def test_missing_tensors_are_refused(tmp_path):
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(DetectorError, match="cannot be read"):
            load_tensors(path)


def test_a_full_disk_keeps_the_old_tensors(tmp_path, monkeypatch):
    save_tensors(tmp_path / "t", {"a": np.ones(3)})

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(runs.os, "fsync", full)
    with pytest.raises(DiskFullError):
        save_tensors(tmp_path / "t", {"a": np.zeros(3)})
    assert os.listdir(tmp_path) == ["t"]
    assert load_tensors(tmp_path / "t")[0]["a"].tolist() == [1, 1, 1]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_inside_safetensors_is_named(tmp_path, monkeypatch):
    import safetensors.numpy

    def onto_full_device(tensors, path, metadata):
        with open("/dev/full", "wb") as stream:
            stream.write(safetensors.numpy.save(tensors, metadata))

    monkeypatch.setattr(safetensors.numpy, "save_file", onto_full_device)
    with pytest.raises(DiskFullError):
        save_tensors(tmp_path / "t", {"a": np.ones(100_000)})
    assert os.listdir(tmp_path) == []


# ---------------------------------------------------------------- the card


def test_the_card_holds_what_it_was_given_format_and_checksums(folder):
    card = read_card(folder)
    assert card == {
        "format": 1,
        "name": "small",
        "threshold": 0.5,
        "sha256": {MODEL: sha256_of(folder / MODEL), WEIGHTS: sha256_of(folder / WEIGHTS)},
    }


def test_a_card_that_is_sealed_again_gets_new_checksums_and_the_present_format(folder):
    (folder / MODEL).write_bytes(b"another model")
    write_card(folder, {**read_card(folder), "format": 0})
    assert read_card(folder)["format"] == 1
    assert verified(folder, read_card(folder), MODEL) == folder / MODEL


def test_a_card_counts_only_files_that_are_there(tmp_path):
    write_card(tmp_path, {})
    assert read_card(tmp_path)["sha256"] == {}


@pytest.mark.parametrize("where", ["nothing", "folder/below", "file"])
def test_a_missing_detector_is_named(tmp_path, where):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(DetectorError, match=r"there is no detector in .*: give a folder with"):
        read_card(tmp_path / where)


@pytest.mark.parametrize("format_", [0, 2, "1", None, [1]])
def test_a_card_of_another_version_is_refused(folder, format_):
    change_card(folder, format=format_)
    with pytest.raises(DetectorError, match="this fauxto reads 1"):
        read_card(folder)


@pytest.mark.parametrize("text", ["[]", "null", "3", '"card"', "{}", '[{"format": 1}]'])
def test_a_card_that_is_no_object_is_refused(folder, text):
    (folder / CARD).write_text(text)
    with pytest.raises(DetectorError, match="has format"):
        read_card(folder)


@pytest.mark.parametrize("payload", [b"", b"{", b"\xff\xfe\0", b"[" * 100_000, b'{"format": ' + b"1" * 10_000 + b"}"])
def test_a_damaged_card_is_refused(folder, payload):
    (folder / CARD).write_bytes(payload)
    with pytest.raises(DetectorError, match="cannot be read"):
        read_card(folder)


def test_a_huge_card_is_not_even_read(folder):
    with (folder / CARD).open("wb") as stream:
        stream.truncate(MAX_CARD_BYTES + 1)
    with pytest.raises(DetectorError, match="far too many for a card"):
        read_card(folder)


def test_a_folder_in_place_of_the_card_is_refused(tmp_path):
    (tmp_path / CARD).mkdir()
    with pytest.raises(DetectorError, match="cannot be read"):
        read_card(tmp_path)


# ---------------------------------------------------------------- checksums


def test_a_file_that_is_the_cards_passes(folder):
    card = read_card(folder)
    assert [verified(folder, card, name) for name in (MODEL, WEIGHTS)] == [folder / MODEL, folder / WEIGHTS]


def test_one_changed_bit_is_noticed(folder):
    payload = bytearray((folder / WEIGHTS).read_bytes())
    payload[-1] ^= 1
    (folder / WEIGHTS).write_bytes(payload)
    load_tensors(folder / WEIGHTS)  # safetensors itself does not notice
    with pytest.raises(DetectorError, match="another checksum than its card says"):
        verified(folder, read_card(folder), WEIGHTS)


def test_a_missing_file_is_named(folder):
    (folder / MODEL).unlink()
    with pytest.raises(DetectorError, match=r"model\.onnx cannot be read \(No such file"):
        verified(folder, read_card(folder), MODEL)


@pytest.mark.parametrize("sums", [None, [], "text", {}, {MODEL: None}])
def test_a_card_without_the_checksum_is_refused(folder, sums):
    change_card(folder, sha256=sums)
    with pytest.raises(DetectorError, match="has no checksum for model"):
        verified(folder, read_card(folder), MODEL)


@pytest.mark.parametrize("checksum", ["", "0" * 64, 3, ["a"]])
def test_a_wrong_checksum_of_any_kind_is_refused(folder, checksum):
    change_card(folder, sha256={MODEL: checksum})
    with pytest.raises(DetectorError, match="another checksum"):
        verified(folder, read_card(folder), MODEL)


def test_a_type_that_numpy_lacks_is_refused_even_where_another_package_has_taught_it(tmp_path):
    pytest.importorskip("ml_dtypes")
    (tmp_path / "t").write_bytes(DAMAGED["a type that numpy lacks"])
    with pytest.raises(DetectorError, match="bfloat16"):
        load_tensors(tmp_path / "t")

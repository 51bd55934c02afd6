"""The real client against a small server on this machine that answers as Kaggle does."""

from __future__ import annotations

import base64
import builtins
import errno
import os
import re
import socket
import sys
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from fauxto.data import kaggle
from fauxto.data.kaggle import get_cifake
from fauxto.data.sources import open_source
from fauxto.errors import DataError, DiskFullError, MissingExtraError, NetworkError, UsageError
from fauxto.vocabulary import Label

from .kaggle_server import Handler, Kaggle, archive

pytest.importorskip("kagglehub")
PARTS = {("train", Label.REAL): 3, ("train", Label.FAKE): 3, ("test", Label.REAL): 2, ("test", Label.FAKE): 2}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Kaggle]:
    """A Kaggle of our own; no credentials, no proxy, no waiting."""
    from kagglesdk import kaggle_env

    state = Kaggle(archive(PARTS))
    http = ThreadingHTTPServer(("127.0.0.1", 0), type("OwnHandler", (Handler,), {"kaggle": state}))
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    endpoint = f"http://127.0.0.1:{http.server_port}"
    monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.PROD, endpoint)
    isolate(monkeypatch, tmp_path)
    yield state
    state.over.set()
    http.shutdown()
    http.server_close()
    thread.join(timeout=10)


def isolate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from kagglehub import config

    for name in [name for name in os.environ if name.startswith("KAGGLE") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path / "home"))
    monkeypatch.setattr(config, "DEFAULT_CACHE_FOLDER", str(tmp_path / "kagglehub"))
    monkeypatch.setattr(kaggle, "FIRST_WAIT_S", 0.0)
    monkeypatch.setattr(kaggle, "N_IMAGES", PARTS)


def archives(folder: Path) -> list[Path]:
    return list(folder.rglob("*.archive"))


def test_downloads_without_credentials_what_open_source_reads(server, tmp_path, capfd):
    found = get_cifake(tmp_path / "data")
    records = open_source(found).records
    assert Counter((r.split, r.label) for r in records) == PARTS
    assert found.is_relative_to(tmp_path / "data")
    assert archives(tmp_path) == []
    assert server.paths == ["/v1/datasets.DatasetApiService/GetDataset", "/v1/datasets.DatasetApiService/DownloadDataset"]
    out, err = capfd.readouterr()
    assert out == ""
    assert "100%" in err


def test_a_second_call_downloads_nothing(server, tmp_path):
    first = get_cifake(tmp_path / "data", shown=False)
    assert get_cifake(tmp_path / "data", shown=False) == first
    assert server.ranges == [""]


def test_the_clients_own_cache_is_the_default(server, tmp_path):
    assert get_cifake(shown=False).is_relative_to(tmp_path / "kagglehub")


def test_quiet_means_quiet_and_nothing_stays_changed(server, tmp_path, capfd):
    import logging

    import kagglehub
    from requests.adapters import HTTPAdapter

    log = logging.getLogger("kagglehub")
    before = (HTTPAdapter.send, kagglehub.clients.tqdm, log.level, log.handlers, os.environ.get("KAGGLEHUB_CACHE"))
    get_cifake(tmp_path / "data", shown=False)
    assert capfd.readouterr() == ("", "")
    assert (HTTPAdapter.send, kagglehub.clients.tqdm, log.level, log.handlers, os.environ.get("KAGGLEHUB_CACHE")) == before


def test_goes_on_where_a_cut_connection_stopped(server, tmp_path, capfd):
    server.blob = archive(PARTS, padding=3_000_000)
    server.cuts = [2_500_000]
    get_cifake(tmp_path / "data")
    resumed = [asked for asked in server.ranges if asked]
    assert len(resumed) == 1
    n_kept = int(re.findall(r"\d+", resumed[0])[0])
    assert 1_000_000 < n_kept <= 2_500_000
    assert "the connection broke" in capfd.readouterr().err


def test_goes_on_in_a_later_call(server, tmp_path, monkeypatch):
    monkeypatch.setattr(kaggle, "N_ATTEMPTS", 1)
    server.blob = archive(PARTS, padding=3_000_000)
    server.cuts = [2_500_000]
    with pytest.raises(NetworkError, match="run the same command again and the download goes on"):
        get_cifake(tmp_path / "data", shown=False)
    kept = archives(tmp_path)[0].stat().st_size
    get_cifake(tmp_path / "data", shown=False)
    assert server.ranges[-1] == f"bytes={kept}-"


def test_attempts_are_bounded(server, tmp_path):
    server.cuts = [10] * 50
    with pytest.raises(NetworkError, match="cannot be reached"):
        get_cifake(tmp_path / "data", shown=False)
    assert len(server.ranges) <= 2 * kaggle.N_ATTEMPTS


def test_a_wrong_checksum_removes_the_download(server, tmp_path):
    server.md5 = base64.b64encode(b"0" * 16).decode()
    with pytest.raises(NetworkError, match="damaged on its way and has been removed: run the same command again"):
        get_cifake(tmp_path / "data", shown=False)
    assert archives(tmp_path) == []
    server.md5 = ""
    assert open_source(get_cifake(tmp_path / "data", shown=False)).records


@pytest.mark.parametrize("harm", [lambda blob: b"<html>" * 200, lambda blob: blob[:40] + b"\xff" * 400 + blob[440:]])
def test_a_damaged_archive_without_a_checksum_is_removed_too(server, tmp_path, harm):
    whole = server.blob
    server.says_md5 = False
    server.blob = harm(whole)
    with pytest.raises(NetworkError, match="has been removed"):
        get_cifake(tmp_path / "data", shown=False)
    assert archives(tmp_path) == []
    server.blob = whole
    assert open_source(get_cifake(tmp_path / "data", shown=False)).records


@pytest.mark.parametrize(
    ("status", "said"),
    [(401, "credentials"), (403, "refuses"), (404, "does not know"), (418, "does not answer as expected")],
)
def test_a_refusal_is_said_at_once(server, tmp_path, status, said):
    server.statuses = [status]
    with pytest.raises(NetworkError, match=said) as caught:
        get_cifake(tmp_path / "data", shown=False)
    assert f"HTTP {status}" in str(caught.value)
    assert "--data" in str(caught.value)
    assert len(server.paths) == 1


@pytest.mark.parametrize(("status", "said"), [(429, "asks to wait"), (503, "trouble of its own")])
def test_a_busy_server_is_asked_again(server, tmp_path, status, said):
    server.statuses = [status]
    assert get_cifake(tmp_path / "first", shown=False).is_dir()
    server.statuses = [status] * 50
    with pytest.raises(NetworkError, match=said):
        get_cifake(tmp_path / "second", shown=False)


def test_a_page_that_is_no_answer(server, tmp_path):
    server.page = b"<html>please log in to the hotel network</html>"
    with pytest.raises(NetworkError, match="did not answer as expected"):
        get_cifake(tmp_path / "data", shown=False)


def test_a_silent_server_does_not_hold_us(server, tmp_path, monkeypatch):
    monkeypatch.setattr(kaggle, "READ_TIMEOUT_S", 0.05)
    monkeypatch.setattr(kaggle, "N_ATTEMPTS", 1)
    server.silence_s = 30
    with pytest.raises(NetworkError, match="cannot be reached"):
        get_cifake(tmp_path / "data", shown=False)


def test_no_network(server, tmp_path, monkeypatch):
    from kagglesdk import kaggle_env

    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.PROD, f"http://127.0.0.1:{port}")
    with pytest.raises(NetworkError, match=r"cannot be reached .* --data") as caught:
        get_cifake(tmp_path / "data", shown=False)
    assert caught.value.exit_code == 9
    assert "\n" not in str(caught.value)


def test_a_full_disk_keeps_what_arrived(server, tmp_path, monkeypatch):
    server.blob = archive(PARTS, padding=3_000_000)
    really_open = builtins.open

    class Full:
        def __init__(self, stream):
            self.stream, self.n_left = stream, 2

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.stream.close()

        def write(self, block):
            self.n_left -= 1
            if self.n_left < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return self.stream.write(block)

    def full_open(path, mode="r", *args, **options):
        stream = really_open(path, mode, *args, **options)
        return Full(stream) if str(path).endswith(".archive") and "w" in mode else stream

    monkeypatch.setattr(builtins, "open", full_open)
    with pytest.raises(DiskFullError, match="disk is full"):
        get_cifake(tmp_path / "data", shown=False)
    monkeypatch.undo()
    assert archives(tmp_path)[0].stat().st_size == 2 * 1024 * 1024
    assert list((tmp_path / "data").rglob("*.jpg")) == []


def test_a_disk_that_fills_up_while_unpacking(server, tmp_path, monkeypatch):
    def extract(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(zipfile.ZipFile, "extractall", extract)
        with pytest.raises(DiskFullError):
            get_cifake(tmp_path / "data", shown=False)
    assert open_source(get_cifake(tmp_path / "data", shown=False)).records


def test_a_folder_that_cannot_be_written(server, tmp_path):
    (tmp_path / "data").write_text("a file")
    with pytest.raises(UsageError, match="cannot be written"):
        get_cifake(tmp_path / "data", shown=False)


def test_broken_credentials_are_named(server, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "kaggle.json").write_text("not json")
    with pytest.raises(UsageError, match=r"kaggle\.json.* needs no account"):
        get_cifake(tmp_path / "data", shown=False)


def test_an_incomplete_set_is_refused(server, tmp_path):
    server.blob = archive(PARTS | {("test", Label.FAKE): 1})
    with pytest.raises(DataError, match=r"1 of 2 test/FAKE.*delete this folder"):
        get_cifake(tmp_path / "data", shown=False)


def test_a_missing_client_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(MissingExtraError, match=r"fauxto\[train\]"):
        get_cifake()


def test_the_real_counts_are_cifakes():
    assert sum(kaggle.N_IMAGES.values()) == 120_000

"""Make the studies of the tests quick: their database needs no protection against a power cut."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from fauxto.tuning import study


class _UnsyncedConnection(sqlite3.Connection):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.execute("PRAGMA synchronous = OFF")


@pytest.fixture(autouse=True)
def _quick_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(study._SQLITE, "factory", _UnsyncedConnection)

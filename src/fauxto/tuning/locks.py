"""Locks between processes that a killed process lets go of, on every system that has SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fauxto.errors import UsageError


def take(path: Path, *, wait_s: float) -> sqlite3.Connection | None:
    """Take the lock that stands for ``path``; closing what comes back gives it free, and so does the end of the process.

    SQLite's own file lock is used: it is there on every system, needs no heartbeat and leaves nothing stale after a kill.

    Returns:
        The holder, or None if another thread or process had the lock for the whole of ``wait_s``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    holder = sqlite3.connect(path, timeout=wait_s, isolation_level=None, check_same_thread=False)
    try:
        holder.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as error:
        holder.close()
        if "locked" in str(error):
            return None
        raise
    return holder


@contextmanager
def held(path: Path, *, wait_s: float = 120.0) -> Iterator[None]:
    """Hold a lock for a moment.

    Raises:
        UsageError: Another process held it for the whole of ``wait_s``.
    """
    holder = take(path, wait_s=wait_s)
    if holder is None:
        raise UsageError(f"another process has held {path} for {wait_s:.0f} s: if it hangs, end it and go on with --resume")
    try:
        yield
    finally:
        holder.close()

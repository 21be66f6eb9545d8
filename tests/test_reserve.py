"""The reserve for a full disk: allocated at start, released by what frees space, and allocated again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from database import db
from database.reserve import Reserve
from tests.helpers.client import ApiClient

pytestmark = pytest.mark.sqlite


def blocks(path: Path) -> int:
    return os.stat(path).st_blocks * 512


def test_allocates_blocks_and_releases_them(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / "parley.db")
    reserve.release()
    reserve.allocate()
    reserve.allocate()
    assert reserve.path == tmp_path / "parley.reserve"
    assert reserve.path.stat().st_size == Reserve.SIZE <= blocks(reserve.path)
    assert reserve.path.stat().st_mode & 0o777 == 0o600
    reserve.release()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("available", "leave", "size"),
    [(0, 0, 0), (5_000_000, 0, 5_000_000), (5_000_000, 4_000_000, 1_000_000), (3_000_000, 4_000_000, 0)],
)
def test_is_no_larger_than_the_room_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, available: int, leave: int, size: int
) -> None:
    reserve = Reserve(tmp_path / "parley.db")
    monkeypatch.setattr(reserve, "_available", lambda: available)
    reserve.allocate(leave)
    assert reserve.path.stat().st_size == size
    monkeypatch.undo()
    reserve.allocate()
    assert reserve.path.stat().st_size == Reserve.SIZE


def test_unwritable_folder_has_no_reserve(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / "missing" / "parley.db")
    reserve.allocate()
    reserve.release()
    assert not reserve.is_needed()


def test_only_transactions_that_free_space_release_it(
    app: Flask, owner: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a disk that reports that it is full, triggers record whether the file exists during each write."""
    seen: list[bool] = []
    monkeypatch.setattr(db.reserve, "is_needed", lambda: True)
    connected: Any = db.connection()
    connected.create_function("see", 0, lambda: seen.append(db.reserve.path.exists()))
    for table, event in (("sessions", "INSERT"), ("sessions", "DELETE"), ("users", "UPDATE"), ("logins", "DELETE")):
        connected.execute(f"CREATE TEMP TRIGGER see_{table}_{event} BEFORE {event} ON {table} BEGIN SELECT see(); END")
    db.reserve.allocate()
    session = owner.session()
    owner.session()
    assert seen == [True, True]
    for method, path in (
        ("DELETE", f"/api/sessions/{session['id']}"),
        ("DELETE", "/api/sessions"),
        ("POST", "/api/auth/logout"),
    ):
        seen.clear()
        assert owner(method, path).status_code in (200, 204)
        assert seen == [False]
        assert db.reserve.path.stat().st_size == Reserve.SIZE

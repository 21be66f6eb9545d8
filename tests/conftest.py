"""An app with its own database for each test, and clients: anonymous, another user, the owner."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from app import create_app
from database import db
from tests.helpers.client import SECRET, ApiClient, add_user
from tests.helpers.data_folder import DataFolder
from tests.helpers.process import FakeLlm, ServerProcess
from tests.helpers.webhook_receiver import WebhookReceiver

# What a developer has set up is not for the tests, nor for the processes that they start.
for name in [name for name in os.environ if name.startswith("PARLEY_")]:
    del os.environ[name]
os.environ["FLASK_SKIP_DOTENV"] = "1"


@pytest.fixture(scope="session")
def fake_llm() -> Iterator[FakeLlm]:
    with FakeLlm() as fake_llm:
        yield fake_llm


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with WebhookReceiver() as receiver:
        yield receiver


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that has been through all migrations, to be copied: that takes a fifth of the time."""
    folder = tmp_path_factory.mktemp("empty")
    create_app({"PARLEY_DATA_DIR": str(folder), "PARLEY_JWT_SECRET_KEY": SECRET})
    db.close_cleanly()
    return folder / "parley.db"


@pytest.fixture
def settings(tmp_path: Path, empty_database: Path) -> dict[str, Any]:
    shutil.copy(empty_database, tmp_path)
    return {
        "PARLEY_DATA_DIR": str(tmp_path),
        "PARLEY_JWT_SECRET_KEY": SECRET,
        "PARLEY_LOG_LEVEL": "WARNING",
        "TESTING": False,  # errors become responses, as in production
    }


@pytest.fixture
def app(settings: dict[str, Any]) -> Iterator[Flask]:
    app = create_app(settings)
    yield app
    assert not app.extensions["services"].chats.active, "a test has left a chat open"
    app.extensions["services"].close()
    if not db.is_closed():
        db.close()


@pytest.fixture
def anonymous(app: Flask) -> ApiClient:
    return ApiClient(app.test_client(), None)


@pytest.fixture
def owner(app: Flask) -> ApiClient:
    return add_user(app, "owner")


@pytest.fixture
def other(app: Flask) -> ApiClient:
    return add_user(app, "other")


@pytest.fixture(scope="session")
def data_folder_template(tmp_path_factory: pytest.TempPathFactory) -> DataFolder:
    """A data folder to be copied, and to be left as it is."""
    return DataFolder(tmp_path_factory.mktemp("template") / "data")


@pytest.fixture
def data_folder(data_folder_template: DataFolder, tmp_path: Path) -> DataFolder:
    return data_folder_template.copy(tmp_path / "data")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """An empty data folder on a disk of 24 MiB."""
    disk = tmp_path / "data"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a small disk can be mounted by root alone")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.fixture(scope="module")
def server(data_folder_template: DataFolder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that the tests of a file share."""
    with data_folder_template.copy(tmp_path_factory.mktemp("shared") / "data").serve() as server:
        yield server


@pytest.fixture(scope="module")
def token(data_folder_template: DataFolder) -> str:
    return data_folder_template.token

"""An app with its own database for each test, and clients: anonymous, another user, the owner."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from flask import Flask

from app import create_app
from database import db
from tests.helpers import engine
from tests.helpers.client import ApiClient, add_user
from tests.helpers.data_folder import DataFolder
from tests.helpers.postgresql import PostgresqlServer
from tests.helpers.process import FakeLlm, ServerProcess
from tests.helpers.webhook_receiver import WebhookReceiver

# What a developer has set up is not for the tests, nor for the processes that they start.
for name in [name for name in os.environ if name.startswith("PARLEY_")]:
    del os.environ[name]
os.environ["FLASK_SKIP_DOTENV"] = "1"


# A table is emptied through the rows that it belongs to, if it belongs to any.
EMPTIED = ("sessions", "users", "moves", "login_attempts", "search_pending")


SERVER_VARIABLE = "TEST_DATABASE_URL"
THROWAWAY = pytest.StashKey[ExitStack]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--database-url", help="a PostgreSQL server to run the tests on, with all rights: postgresql://…")
    parser.addoption("--postgresql", action="store_true", help="run the tests on a PostgreSQL server started for them")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        stack = config.stash[THROWAWAY] = ExitStack()
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="parley-")))
        # What is set here, the processes of pytest-xdist have, too.
        if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):  # each server would compile all of the code again
            os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
        if config.option.postgresql:
            # What survives a crash of the server is tested with servers of their own.
            server = stack.enter_context(PostgresqlServer(folder / "postgresql", fsync="off", max_connections=300))
            os.environ[SERVER_VARIABLE] = server.url()
    engine.use_server(config.option.database_url or (config.option.postgresql and os.environ[SERVER_VARIABLE]) or None)


def pytest_unconfigure(config: pytest.Config) -> None:
    if engine.server:
        engine.server.drop_all()
    if stack := config.stash.get(THROWAWAY, None):
        stack.close()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests of the engine that these do not run on."""
    others = "sqlite" if engine.server else "postgresql"
    left_out = [item for item in items if item.get_closest_marker(others)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in set(left_out)]


@pytest.fixture(scope="session")
def fake_llm() -> Iterator[FakeLlm]:
    with FakeLlm() as fake_llm:
        yield fake_llm


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with WebhookReceiver() as receiver:
        yield receiver


@pytest.fixture(scope="session", autouse=True)
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder whose database has been through all migrations, to be copied: that takes a fifth of the time."""
    folder = tmp_path_factory.mktemp("empty")
    own = {"PARLEY_DATA_DIR": str(folder), "PARLEY_JWT_SECRET_KEY": engine.SECRET}
    if engine.server:
        own["PARLEY_DATABASE_URL"] = engine.server.create(engine.EMPTY, template=None)
    create_app(own)
    db.close_cleanly()
    return folder


@pytest.fixture
def settings(tmp_path: Path, empty_database: Path) -> Iterator[dict[str, Any]]:
    own = {
        "PARLEY_DATA_DIR": str(tmp_path),
        "PARLEY_JWT_SECRET_KEY": engine.SECRET,
        "PARLEY_LOG_LEVEL": "WARNING",
        "TESTING": False,  # errors become responses, as in production
    }
    if engine.server is None:
        shutil.copy(empty_database / "parley.db", tmp_path)
        yield own
    else:
        yield own | engine.settings(engine.SHARED)
        engine.server.empty(engine.SHARED, EMPTIED)


@pytest.fixture
def app(settings: dict[str, Any]) -> Iterator[Flask]:
    app = create_app(settings)
    yield app
    assert not app.extensions["services"].chats.active, "a test has left a chat open"
    app.extensions["services"].close()
    db.close_cleanly()


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

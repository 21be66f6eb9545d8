"""Many clients that write at the same time."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.helpers.data_folder import DataFolder
from tests.helpers.database_files import assert_integrity, query_file
from tests.helpers.http_client import HttpClient
from tests.helpers.long_documents import numbered_document
from tests.helpers.process import ServerProcess

pytestmark = pytest.mark.slow


def test_many_writers_all_succeed(data_folder: DataFolder) -> None:
    answered: Counter[int] = Counter()
    turns: Counter[int] = Counter()
    lock = threading.Lock()
    deadline = time.monotonic() + 10

    def write(writer: int) -> None:
        with HttpClient(server, data_folder.token) as client:
            while time.monotonic() < deadline:
                status, created = client("POST", "/api/sessions", {"title": "new"})
                statuses = [status]
                path = f"/api/sessions/{created.get('id')}"
                for method, at, body in (
                    ("PATCH", path, {"title": "renamed"}),
                    ("PATCH", f"{path}/system-prompt", {"system_prompt": "Be brief."}),
                    ("POST", "/api/sessions/import", numbered_document(20)),
                    ("GET", path, None),
                    ("DELETE", path, None),
                ):
                    statuses.append(client(method, at, body)[0])
                with lock:
                    answered.update(statuses)
                    turns[writer] += 1

    with ServerProcess(data_folder.path) as server, ThreadPoolExecutor(32) as pool:
        for writer in [pool.submit(write, writer) for writer in range(32)]:
            writer.result(timeout=60)
        assert server.stop() == 0
    assert answered.keys() == {200, 201, 204}
    assert len(turns) == 32
    assert query_file(data_folder.path, "SELECT count(*) FROM sessions") == [(turns.total(),)]
    assert_integrity(data_folder.path)

"""How one server is measured: under wrk's load, with one call, or by another user's requests."""

from __future__ import annotations

import http.client
import json
import multiprocessing
import re
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.data import Request, document, imported, requests
from benchmarks.servers import Server

CONNECTIONS = 8
MIB = 2**20
LUA = """
wrk.method, wrk.body = "%s", %s
wrk.headers["Content-Type"] = "application/json"
function done(summary, latency)
  io.write(string.format("RESULT %%d %%f %%f %%f %%d\\n", summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout))
end
"""


@dataclass
class Figures:
    """One row for one server. Times in milliseconds, CPU in microseconds a request, memory in MiB.

    The CPU of the database's server, if it has one, is apart.
    """

    rate: float
    p50: float
    p99: float
    cpu: float
    memory: float
    database_cpu: float


Rows = dict[str, list[Figures]]
"""The figures of the servers, in their order, by the names of the rows."""


def load(server: Server, request: Request, seconds: int) -> Figures:
    """Send a request with wrk again and again, and return what it and the operating system have measured."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(LUA % (request.method, f"[=[{request.body.decode()}]=]" if request.body else "nil"))
        script.flush()
        cpu, database_cpu = server.cpu, server.database_cpu
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "30s", "-s", script.name]
        command += ["-H", f"Authorization: Bearer {server.tokens[request.user]}"]
        command += [f"http://127.0.0.1:{server.port}{request.path}"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.search(r"RESULT (\S+) (\S+) (\S+) (\S+) (\S+)", done.stdout)
    assert found, done.stdout
    count, duration, p50, p99, failed = map(float, found.groups())
    if failed:
        raise SystemExit(f"{server.name}: {failed:.0f} of {count:.0f} requests failed: {request.method} {request.path}")
    cpu, database_cpu = server.cpu - cpu, server.database_cpu - database_cpu
    return Figures(count / duration, p50, p99, cpu / count * 1e6, server.memory / MIB, database_cpu / count * 1e6)


def median(figures: Sequence[Figures]) -> Figures:
    columns = zip(*(asdict(each).values() for each in figures), strict=True)
    return Figures(*(statistics.median(column) for column in columns))


def timed(server: Server, call: Callable[[], Any]) -> Figures:
    """One call at a time: its duration as p50 and p99, its CPU, and the highest memory meanwhile."""
    cpu, database_cpu, began = server.cpu, server.database_cpu, time.perf_counter()
    with watched(server) as peak:
        call()
    seconds = time.perf_counter() - began
    cpu, database_cpu = server.cpu - cpu, server.database_cpu - database_cpu
    return Figures(1 / seconds, seconds * 1e3, seconds * 1e3, cpu * 1e6, peak[0] / MIB, database_cpu * 1e6)


def loaded_rows(servers: list[Server], seconds: int, rounds: int, names: Iterable[str] = ()) -> Rows:
    """Load the servers in turn, with the rows of these names, or with all."""
    rows: Rows = {}
    for name in names or requests(servers[0]):
        done = [[load(server, requests(server)[name], seconds) for server in servers] for _ in range(rounds)]
        rows[name] = [median(figures) for figures in zip(*done, strict=True)]
    return rows


def document_rows(servers: list[Server], count: int, rounds: int) -> Rows:
    """Import a document of so many messages, and export it again, one server after the other."""
    body = document(count)
    done: list[list[tuple[Figures, Figures]]] = []
    for _ in range(rounds):
        done.append([])
        for server in servers:
            path: list[str] = []
            into = timed(server, lambda server=server, path=path: path.append(imported(server, body)))  # type: ignore[misc]
            out = timed(server, lambda server=server, path=path: server.send("GET", f"{path[0]}/export"))  # type: ignore[misc]
            done[-1].append((into, out))
    by_server = list(zip(*done, strict=True))
    return {
        f"{what} {count:,}": [median([figures[position] for figures in of_server]) for of_server in by_server]
        for position, what in enumerate(("import", "export"))
    }


@contextmanager
def watched(server: Server) -> Iterator[list[int]]:
    """Watch a server's memory; the list's one item is the highest seen."""
    peak, done = [server.memory], threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            peak[0] = max(peak[0], server.memory)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def probe(port: int, token: str, appending: str, stop: Any, out: Any) -> None:
    """Send another user's small requests, one every few milliseconds, and return how long each took."""
    took: list[float] = []
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    body = json.dumps({"role": "user", "content": "x" * 200})
    while not stop.is_set():
        for method, path, sent in (("GET", "/api/sessions", None), ("POST", appending, body)):
            began = time.perf_counter()
            connection.request(method, path, sent, headers)
            connection.getresponse().read()
            took.append((time.perf_counter() - began) * 1e3)
        time.sleep(0.003)
    connection.close()
    out.put(took)


@contextmanager
def probing(server: Server) -> Iterator[list[float]]:
    """Probe from a process of its own; the times are in the list when the block has ended."""
    stop, out = multiprocessing.Event(), multiprocessing.Queue()
    arguments = (server.port, server.tokens[1], server.paths["append"], stop, out)
    process = multiprocessing.Process(target=probe, args=arguments)
    process.start()
    took: list[float] = []
    try:
        time.sleep(0.3)
        yield took
    finally:
        stop.set()
        took += out.get(timeout=60)
        process.join()


def p99(times: list[float]) -> float:
    return sorted(times)[int(len(times) * 0.99)]

"""Parley beside a peer, in one run: what ``make bench`` prints.

Both are started on loopback and given the same data over their own HTTP; each row loads them in
turn, and its figures are the medians of the rounds. It is one script, longer than other modules: from
top to bottom it is the order of what is measured.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from benchmarks import streams as chats

ROOT = Path(__file__).parent.parent
CONNECTIONS = 8
STREAMS = (16, 32, 64, 96, 128, 192, 256)
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
class Peer:
    """A server under test: its process, where it listens, and tokens of two users."""

    name: str
    process: psutil.Process
    port: int
    tokens: tuple[str, str]
    paths: dict[str, str] = field(default_factory=dict)

    def send(self, method: str, path: str, body: bytes | None = None, user: int = 0) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        headers = {"Authorization": f"Bearer {self.tokens[user]}", "Content-Type": "application/json"}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if answer.status >= 300:
            raise SystemExit(f"{self.name}: {method} {path} answered {answer.status}: {content[:300]!r}")
        return answer.status, content

    @property
    def cpu(self) -> float:
        times = self.process.cpu_times()
        return times.user + times.system

    @property
    def memory(self) -> int:
        return int(self.process.memory_info().rss)


@dataclass
class Figures:
    """One row for one server. Times in milliseconds, CPU in microseconds a request, memory in MiB."""

    rate: float
    p50: float
    p99: float
    cpu: float
    memory: float


def free_port() -> int:
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def started(command: list[str], port: int, **environment: str) -> Iterator[tuple[psutil.Process, str]]:
    """Start a server, await its first answer, yield it with the first line it printed; stop it."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PARLEY_")}
    process = subprocess.Popen(
        [sys.executable, *command], cwd=ROOT, env=environ | environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        await_answer(port)
        yield psutil.Process(process.pid), first
    finally:
        process.terminate()
        process.wait()


def await_answer(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request("GET", "/healthz")
            connection.getresponse().read()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.002)
        finally:
            connection.close()


@contextmanager
def parley(folder: Path, **settings: str) -> Iterator[Peer]:
    port = free_port()
    environment = {"PARLEY_DATA_DIR": str(folder), "PARLEY_PORT": str(port), "PARLEY_LOG_LEVEL": "WARNING"} | settings

    def flask(*arguments: str) -> str:
        command = [sys.executable, "-m", "flask", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True)
        return done.stdout.strip()

    tokens = []
    for name in ("one", "two"):
        flask("users", "add", name, "--password", "only for the benchmark")
        tokens.append(flask("users", "token", name))
    with started(["app.py"], port, **environment) as (process, _):
        yield Peer("Parley", process, port, (tokens[0], tokens[1]))


@contextmanager
def fastapi(folder: Path, **environment: str) -> Iterator[Peer]:
    port = free_port()
    folder.mkdir(parents=True)
    command = ["-m", "benchmarks.peers.fastapi_peer", str(port), str(folder / "peer.db")]
    with started(command, port, **environment) as (process, first):
        one, two = first.split()
        yield Peer("FastAPI", process, port, (one, two))


TEXT = "the queue of payment is full again – naïve retry, see runbook; latency rises on node seven since 09:30 ✓"


def message(number: int) -> dict[str, Any]:
    chosen, words = random.Random(number), TEXT.split()
    content = " ".join(chosen.choice(words) for _ in range(55))
    role = ("user", "assistant")[number % 2]
    return {"role": role, "content": content, "metadata": {"model": "m"} if number % 10 == 0 else {}}


def document(count: int) -> bytes:
    moment = "2026-01-31T09:30:00.000Z"
    messages = [message(number) | {"created_at": moment} for number in range(count)]
    return json.dumps({"version": 1, "session": {"title": str(count)}, "messages": messages}).encode()


def imported(peer: Peer, body: bytes, user: int = 0) -> str:
    _, answer = peer.send("POST", "/api/sessions/import", body, user)
    return f"/api/sessions/{json.loads(answer)['session']['id']}"


def fill(peer: Peer) -> None:
    """Give a server the data that the rows read: 32 sessions, three of them with messages."""
    for count in (10, 100, 1_000):
        peer.paths[f"read {count:,}"] = imported(peer, document(count))
    for _ in range(29):
        peer.send("POST", "/api/sessions", b"{}")
    _, created = peer.send("POST", "/api/sessions", b"{}", user=1)
    peer.paths["append"] = f"/api/sessions/{json.loads(created)['id']}/messages"


def load(peer: Peer, method: str, path: str, body: bytes, seconds: float, user: int = 0) -> Figures:
    """Load one path with wrk and return what it and the operating system have measured."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(LUA % (method, f"[=[{body.decode()}]=]" if body else "nil"))
        script.flush()
        cpu = peer.cpu
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "30s", "-s", script.name]
        command += ["-H", f"Authorization: Bearer {peer.tokens[user]}", f"http://127.0.0.1:{peer.port}{path}"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.search(r"RESULT (\S+) (\S+) (\S+) (\S+) (\S+)", done.stdout)
    assert found, done.stdout
    requests, duration, p50, p99, failed = map(float, found.groups())
    if failed:
        raise SystemExit(f"{peer.name}: {failed:.0f} of {requests:.0f} requests failed: {method} {path}")
    return Figures(requests / duration, p50, p99, (peer.cpu - cpu) / requests * 1e6, peer.memory / MIB)


def median(figures: list[Figures]) -> Figures:
    columns = zip(*(asdict(each).values() for each in figures), strict=True)
    return Figures(*(statistics.median(column) for column in columns))


def requests(peer: Peer) -> dict[str, tuple[str, str, bytes, int]]:
    """The loaded rows: method, path, body, user."""
    reads = {name: ("GET", path, b"", 0) for name, path in peer.paths.items() if name.startswith("read")}
    return {
        "list of 32": ("GET", "/api/sessions", b"", 0),
        **reads,
        "append": ("POST", peer.paths["append"], json.dumps(message(1), ensure_ascii=False).encode(), 1),
        "create": ("POST", "/api/sessions", b'{"title":"An incident"}', 1),
    }


def timed(peer: Peer, call: Callable[[], Any]) -> Figures:
    """One call at a time: its duration as p50 and p99, its CPU, and the highest memory meanwhile."""
    cpu, began = peer.cpu, time.perf_counter()
    with watched(peer) as peak:
        call()
    seconds = time.perf_counter() - began
    return Figures(1 / seconds, seconds * 1e3, seconds * 1e3, (peer.cpu - cpu) * 1e6, peak[0] / MIB)


@contextmanager
def watched(peer: Peer) -> Iterator[list[int]]:
    """Watch a server's memory; the list's one item is the highest seen."""
    peak, done = [peer.memory], threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            peak[0] = max(peak[0], peer.memory)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def documents(peers: list[Peer], count: int, rounds: int) -> dict[str, list[Figures]]:
    body = document(count)
    rows: dict[str, list[list[Figures]]] = {f"{what} {count:,}": [[] for _ in peers] for what in ("import", "export")}
    for _ in range(rounds):
        for position, peer in enumerate(peers):
            path: list[str] = []
            into = rows[f"import {count:,}"][position]
            into.append(timed(peer, lambda peer=peer, path=path: path.append(imported(peer, body))))  # type: ignore[misc]
            out = rows[f"export {count:,}"][position]
            out.append(timed(peer, lambda peer=peer, path=path: peer.send("GET", f"{path[0]}/export")))  # type: ignore[misc]
    return {name: [median(figures) for figures in row] for name, row in rows.items()}


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
def probing(peer: Peer) -> Iterator[list[float]]:
    """Probe from a process of its own; the times are in the list when the block has ended."""
    stop, out = multiprocessing.Event(), multiprocessing.Queue()
    arguments = (peer.port, peer.tokens[1], peer.paths["append"], stop, out)
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


def bystanders(peer: Peer) -> dict[str, float]:
    """What a very long import and export cost, and what another user notices of them."""
    body = document(100_000)
    before = peer.memory
    with watched(peer) as peak, probing(peer) as during_import:
        path = imported(peer, body)
    growth = (peak[0] - before) / len(body)
    before = peer.memory
    with watched(peer) as peak, probing(peer) as during_export:
        connection = http.client.HTTPConnection("127.0.0.1", peer.port, timeout=300)
        began = time.perf_counter()
        connection.request("GET", f"{path}/export", headers={"Authorization": f"Bearer {peer.tokens[0]}"})
        answer = connection.getresponse()
        answer.read(1)
        first = (time.perf_counter() - began) * 1e3
        while answer.read(MIB):
            pass
        connection.close()
    return {
        "document, MB": len(body) / 1e6,
        "import: memory peak, times the document": growth,
        "import: p99 of another user's small requests, ms": p99(during_import),
        "export: memory growth, MiB": (peak[0] - before) / MIB,
        "export: first byte, ms": first,
        "export: p99 of another user's small requests, ms": p99(during_export),
    }


def start_up(rounds: int) -> dict[str, float]:
    """Start a server on an empty folder: seconds to the first answer, memory when idle."""
    took, memory = [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            port = free_port()
            began = time.perf_counter()
            environment = {"PARLEY_DATA_DIR": folder, "PARLEY_PORT": str(port)}
            with started(["app.py"], port, **environment) as (process, _):
                took.append(time.perf_counter() - began)
                time.sleep(0.5)
                memory.append(process.memory_info().rss / MIB)
    return {"start to first answer, s": statistics.median(took), "idle memory, MiB": statistics.median(memory)}


def bare_flask(seconds: float, rounds: int, parley_figures: dict[str, Figures]) -> dict[str, float]:
    port = free_port()
    with started(["-m", "benchmarks.peers.bare_flask", str(port)], port) as (process, _):
        bare = Peer("bare Flask", process, port, ("", ""))
        limit = median([load(bare, "GET", "/", b"", seconds) for _ in range(rounds)])
    rows = {name: parley_figures[name].rate / limit.rate for name in ("list of 32", "read 10")}
    return {"bare Flask, requests a second": limit.rate} | {f"{name} against it": ratio for name, ratio in rows.items()}


def flat(seconds: float, sessions: int, messages: int) -> dict[str, float]:
    """Compare a small database with a large one: the large one's rate, as a part of the small one's."""
    rates: list[dict[str, float]] = []
    for filled in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            if filled:
                command = [sys.executable, "-m", "benchmarks.fill", folder, str(sessions), str(messages)]
                subprocess.run(command, cwd=ROOT, check=True)
            with parley(Path(folder)) as peer:
                fill(peer)
                rows = {
                    name: row for name, row in requests(peer).items() if name in ("list of 32", "read 100", "append")
                }
                rates.append(
                    {
                        name: statistics.median(load(peer, *row[:3], seconds, row[3]).rate for _ in range(3))
                        for name, row in rows.items()
                    }
                )
    return {f"{name}, large against small": rates[1][name] / rates[0][name] for name in rates[0]}


def streams() -> dict[str, float]:
    """Ever more chats at once, until one delta in a hundred is late: how many were not, and what a delta cost."""
    values: dict[str, float] = {}
    port = free_port()
    url = f"http://127.0.0.1:{port}/v1"
    with tempfile.TemporaryDirectory() as folder, chats.model(port):
        data = Path(folder) / "a"
        tokens = chats.users(data, max(STREAMS) // 3 + 1)
        settings = {"PARLEY_LLM_BASE_URL": url, "PARLEY_MAX_STREAMS": str(max(STREAMS))}
        with parley(data, **settings) as ours, fastapi(Path(folder) / "b", LLM_URL=url) as theirs:
            for peer in (ours, theirs):
                for count in STREAMS:
                    begun = []
                    for number in range(count):
                        token = tokens[number // 3] if peer is ours else peer.tokens[0]
                        _, created = replace(peer, tokens=(token, token)).send("POST", "/api/sessions", b"{}")
                        begun.append((f"/api/sessions/{json.loads(created)['id']}/chat", token))
                    figures = chats.measured(peer, begun)
                    if figures["p99"] > chats.LATE_MS:
                        break
                    values[f"{peer.name}: at once, in time"] = count
                    values[f"{peer.name}: p99 of a delta's delay at {count}, ms"] = figures["p99"]
                    values[f"{peer.name}: CPU a delta at {count}, µs"] = figures["cpu"]
    return values


def threads_curve(seconds: float) -> dict[str, float]:
    """Requests a second over PARLEY_THREADS."""
    curve = {}
    for threads in (1, 2, 4, 8, 16):
        with tempfile.TemporaryDirectory() as folder, parley(Path(folder), PARLEY_THREADS=str(threads)) as peer:
            fill(peer)
            curve[f"list of 32, PARLEY_THREADS={threads}"] = load(peer, "GET", "/api/sessions", b"", seconds).rate
    return curve


def print_rows(rows: dict[str, list[Figures]]) -> None:
    print(f"{'':16}{'requests/s':>18}{'p50 ms':>18}{'p99 ms':>18}{'CPU µs/req':>22}{'memory MiB':>14}   ratio")
    print(f"{'':16}{'Parley   FastAPI':>18}" + f"{'Parley  FastAPI':>18}" * 2 + f"{'Parley    FastAPI':>22}")
    for name, (ours, theirs) in rows.items():
        print(
            f"{name:16}{ours.rate:9,.1f}{theirs.rate:9,.1f}{ours.p50:9,.1f}{theirs.p50:9,.1f}{ours.p99:9,.1f}"
            f"{theirs.p99:9,.1f}{ours.cpu:11,.0f}{theirs.cpu:11,.0f}{ours.memory:7,.0f}{theirs.memory:7,.0f}"
            f"   {ours.rate / theirs.rate:.1f} ×"
        )


def print_values(title: str, values: dict[str, float]) -> None:
    print(f"\n{title}")
    for name, value in values.items():
        print(f"  {name:52}{value:10,.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--seconds", type=float, default=5, help="how long each row is loaded in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--flat", action="store_true", help="compare with a database of 2,000,000 messages too")
    parser.add_argument("--threads-curve", action="store_true", help="load with several numbers of threads too")
    arguments = parser.parse_args()
    if not shutil.which("wrk"):
        raise SystemExit("wrk is missing: it is Debian's package `wrk` (apt-get install wrk).")
    seconds = max(1, round(arguments.seconds))
    result: dict[str, Any] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        parley(Path(folder) / "a") as ours,
        fastapi(Path(folder) / "b") as peer,
    ):
        peers = [ours, peer]
        for each in peers:
            fill(each)
        rows: dict[str, list[Figures]] = {}
        for name in requests(ours):
            rounds = [
                [load(each, *requests(each)[name][:3], seconds, requests(each)[name][3]) for each in peers]
                for _ in range(arguments.rounds)
            ]
            rows[name] = [median([figures[position] for figures in rounds]) for position in range(2)]
        rows |= documents(peers, 10_000, arguments.rounds)
        rows |= documents(peers, 100_000, 1)
        print_rows(rows)
    with tempfile.TemporaryDirectory() as folder, parley(Path(folder)) as ours:
        fill(ours)
        result["long documents"] = bystanders(ours)
    result["streams of 200 deltas"] = streams()
    result["start-up"] = start_up(arguments.rounds)
    result["limit"] = bare_flask(seconds, arguments.rounds, {name: row[0] for name, row in rows.items()})
    if arguments.flat:
        result["flat cost"] = flat(seconds, 100_000, 2_000_000)
    if arguments.threads_curve:
        result["threads"] = threads_curve(seconds)
    for title, values in result.items():
        print_values(title, values)
    if arguments.json:
        result["rows"] = {name: {"parley": asdict(row[0]), "fastapi": asdict(row[1])} for name, row in rows.items()}
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()

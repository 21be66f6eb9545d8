"""What is measured besides the rows: each function returns the named values of one section."""

from __future__ import annotations

import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from benchmarks import streams as chats
from benchmarks.data import Request, document, fill, imported
from benchmarks.measure import MIB, Figures, load, loaded_rows, median, p99, probing, watched
from benchmarks.servers import ROOT, Server, fastapi, free_port, parley, started

STREAMS = (16, 32, 64, 96, 128, 192, 256)


def long_documents() -> dict[str, float]:
    """What a very long import and export cost, and what another user notices of them."""
    with tempfile.TemporaryDirectory() as folder, parley(Path(folder)) as server:
        fill(server)
        return bystanders(server)


def bystanders(server: Server) -> dict[str, float]:
    body = document(100_000)
    before = server.memory
    with watched(server) as peak, probing(server) as during_import:
        path = imported(server, body)
    growth = (peak[0] - before) / len(body)
    before = server.memory
    with watched(server) as peak, probing(server) as during_export:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
        began = time.perf_counter()
        connection.request("GET", f"{path}/export", headers={"Authorization": f"Bearer {server.tokens[0]}"})
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


def bare_flask(seconds: int, rounds: int, parley_figures: dict[str, Figures]) -> dict[str, float]:
    port = free_port()
    with started(["-m", "benchmarks.peers.bare_flask", str(port)], port) as (process, _):
        bare = Server("bare Flask", process, port, ("", ""))
        limit = median([load(bare, Request("GET", "/"), seconds) for _ in range(rounds)])
    rows = {name: parley_figures[name].rate / limit.rate for name in ("list of 32", "read 10")}
    return {"bare Flask, requests a second": limit.rate} | {f"{name} against it": ratio for name, ratio in rows.items()}


def flat(seconds: int, sessions: int, messages: int) -> dict[str, float]:
    """Compare a small database with a large one: the large one's rate, as a part of the small one's."""
    rates: list[dict[str, float]] = []
    for filled in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            if filled:
                command = [sys.executable, "-m", "benchmarks.fill", folder, str(sessions), str(messages)]
                subprocess.run(command, cwd=ROOT, check=True)
            with parley(Path(folder)) as server:
                fill(server)
                rows = loaded_rows([server], seconds, 3, ("list of 32", "read 100", "append"))
                rates.append({name: figures.rate for name, (figures,) in rows.items()})
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
        with parley(data, **settings) as ours, fastapi(f"sqlite:///{folder}/peer.db", LLM_URL=url) as theirs:
            for server in (ours, theirs):
                for count in STREAMS:
                    begun = []
                    for number in range(count):
                        token = tokens[number // 3] if server is ours else server.tokens[0]
                        _, created = replace(server, tokens=(token, token)).send("POST", "/api/sessions", b"{}")
                        begun.append((f"/api/sessions/{json.loads(created)['id']}/chat", token))
                    figures = chats.measured(server, begun)
                    if figures["p99"] > chats.LATE_MS:
                        break
                    values[f"{server.name}: at once, in time"] = count
                    values[f"{server.name}: p99 of a delta's delay at {count}, ms"] = figures["p99"]
                    values[f"{server.name}: CPU a delta at {count}, µs"] = figures["cpu"]
    return values


def threads_curve(seconds: int) -> dict[str, float]:
    """Requests a second over PARLEY_THREADS."""
    curve = {}
    for threads in (1, 2, 4, 8, 16):
        with tempfile.TemporaryDirectory() as folder, parley(Path(folder), PARLEY_THREADS=str(threads)) as server:
            fill(server)
            curve[f"list of 32, PARLEY_THREADS={threads}"] = load(server, Request("GET", "/api/sessions"), seconds).rate
    return curve

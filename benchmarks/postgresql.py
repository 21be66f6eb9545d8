"""Parley on PostgreSQL: beside the peer on the same server, beside itself on SQLite, and with a distant database.

The server is a throwaway one with its default settings, so that every commit is on the disk before its response.
Distance is a proxy that keeps each statement for a millisecond. It is compared with the same proxy without that, since
the proxy costs time itself.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.data import fill, requests
from benchmarks.measure import Rows, document_rows, load, loaded_rows
from benchmarks.servers import Server, fastapi, parley
from tests.helpers.postgresql import PostgresqlServer
from tests.helpers.tcp_proxy import TcpProxy

SECRET = "a secret for the benchmark only, of which nothing leaves loopback"
LATENCY = 0.001
COUNTED = 20  # requests whose round trips are counted
COLUMNS = ("parley", "fastapi", "parley_on_sqlite")


@dataclass
class DistantRow:
    """Requests a second through the proxy, without and with latency, and the round trips of one request."""

    round_trips: float
    near: float
    distant: float


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure and print everything, and return it."""
    with tempfile.TemporaryDirectory() as name, PostgresqlServer(Path(name) / "postgresql") as database:
        rows = compare(Path(name), database, arguments.seconds, arguments.rounds)
        print_rows(rows)
        distant = add_latency(Path(name), database, arguments.seconds, arguments.rounds)
        print_distant_rows(distant)
    return {
        "rows": {name: dict(zip(COLUMNS, map(asdict, row), strict=True)) for name, row in rows.items()},
        "distant": {name: asdict(row) for name, row in distant.items()},
    }


def compare(folder: Path, database: PostgresqlServer, seconds: int, rounds: int) -> Rows:
    """Load Parley and the peer on PostgreSQL, and Parley on SQLite, in turn."""
    peer_url = database.create_database("peer").replace("postgresql:", "postgresql+psycopg:")
    with (
        parley_on(database.create_database("parley"), folder / "a") as ours,
        fastapi(peer_url) as peer,
        parley(folder / "b") as ours_on_sqlite,
    ):
        servers = [ours, peer, ours_on_sqlite]
        for server in servers:
            fill(server)
        for server, name in ((ours, "parley"), (peer, "peer")):
            server.database = psutil.Process(database.process.pid)
            database.execute("ANALYZE", database=name)  # as it would itself within a minute
        return loaded_rows(servers, seconds, rounds) | document_rows(servers, 10_000, rounds)


def add_latency(folder: Path, database: PostgresqlServer, seconds: int, rounds: int) -> dict[str, DistantRow]:
    """Load Parley through a proxy, with latency and without."""
    database.create_database("distant")
    with (
        TcpProxy(database.port) as proxy,
        parley_on(database.url("distant", port=proxy.port), folder / "c") as server,
    ):
        fill(server)
        database.execute("ANALYZE", database="distant")
        rows = {}
        for name, request in requests(server).items():
            rates: dict[float, list[float]] = {0: [], LATENCY: []}
            for _ in range(rounds):
                for proxy.latency, measured in rates.items():
                    measured.append(load(server, request, seconds).rate)
            near, distant = map(statistics.median, rates.values())
            rows[name] = DistantRow(count_round_trips(server, proxy, name), near, distant)
        return rows


def parley_on(url: str, folder: Path) -> AbstractContextManager[Server]:
    return parley(folder, PARLEY_DATABASE_URL=url, PARLEY_JWT_SECRET_KEY=SECRET)


def count_round_trips(server: Server, proxy: TcpProxy, name: str) -> float:
    """Return how often a request waits for the database, when its statements are known to it."""
    request = requests(server)[name]
    before = proxy.round_trips
    for _ in range(COUNTED):
        server.send(*request)
    return (proxy.round_trips - before) / COUNTED


def print_rows(rows: Rows) -> None:
    print(f"{'':14}{'requests/s':^27}{'p50 ms':^24}{'CPU µs/request, with PostgreSQL’s':^42}{'Parley PG to':>17}")
    print(f"{'':14}{'PG':>9}{'FastAPI':>9}{'SQLite':>9}" + f"{'PG':>8}{'FastAPI':>8}{'SQLite':>8}", end="")
    print(f"{'PG':>17}{'FastAPI':>17}{'SQLite':>8}{'FastAPI':>9}{'SQLite':>8}")
    for name, row in rows.items():
        ours, theirs, on_sqlite = row
        print(f"{name:14}" + "".join(f"{each.rate:9,.1f}" for each in row), end="")
        print("".join(f"{each.p50:8,.1f}" for each in row), end="")
        print("".join(f"{each.cpu:9,.0f} +{each.database_cpu:6,.0f}" for each in (ours, theirs)), end="")
        print(f"{on_sqlite.cpu:8,.0f}{ours.rate / theirs.rate:7.1f} ×{ours.rate / on_sqlite.rate:6.2f} ×")


def print_distant_rows(rows: dict[str, DistantRow]) -> None:
    print(f"\nthrough a proxy {'requests/s':>14}{f'+{LATENCY * 1e3:.0f} ms each':>14}{'ratio':>8}{'round trips':>14}")
    for name, row in rows.items():
        ratio = row.distant / row.near
        print(f"{name:16}{row.near:14,.1f}{row.distant:14,.1f}{ratio:6.2f} ×{row.round_trips:14.1f}")

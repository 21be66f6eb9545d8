"""Parley beside a peer, in one run: what ``make bench`` prints.

All servers are started on loopback and given the same data over their own HTTP; each row loads them in
turn, and its figures are the medians of the rounds.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import postgresql, sections
from benchmarks.data import fill
from benchmarks.measure import Rows, document_rows, loaded_rows
from benchmarks.servers import fastapi, parley


def measure_rows(seconds: int, rounds: int) -> Rows:
    with (
        tempfile.TemporaryDirectory() as folder,
        parley(Path(folder) / "a") as ours,
        fastapi(f"sqlite:///{folder}/peer.db") as peer,
    ):
        servers = [ours, peer]
        for server in servers:
            fill(server)
        rows = loaded_rows(servers, seconds, rounds)
        return rows | document_rows(servers, 10_000, rounds) | document_rows(servers, 100_000, 1)


def print_rows(rows: Rows) -> None:
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


def measure_on_sqlite(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure and print everything, and return it."""
    seconds, rounds = arguments.seconds, arguments.rounds
    rows = measure_rows(seconds, rounds)
    print_rows(rows)
    result = {
        "long documents": sections.long_documents(),
        "streams of 200 deltas": sections.streams(),
        "start-up": sections.start_up(rounds),
        "limit": sections.bare_flask(seconds, rounds, {name: row[0] for name, row in rows.items()}),
    }
    if arguments.flat:
        result["flat cost"] = sections.flat(seconds, 100_000, 2_000_000)
    if arguments.threads_curve:
        result["threads"] = sections.threads_curve(seconds)
    for title, values in result.items():
        print_values(title, values)
    return result | {
        "rows": {name: dict(zip(("parley", "fastapi"), map(asdict, row), strict=True)) for name, row in rows.items()}
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--seconds", type=int, default=5, help="how long each row is loaded in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--postgresql", action="store_true", help="compare on a PostgreSQL server instead")
    parser.add_argument("--flat", action="store_true", help="compare with a database of 2,000,000 messages too")
    parser.add_argument("--threads-curve", action="store_true", help="load with several numbers of threads too")
    arguments = parser.parse_args()
    if not shutil.which("wrk"):
        raise SystemExit("wrk is missing: it is Debian's package `wrk` (apt-get install wrk).")
    measure = postgresql.measure if arguments.postgresql else measure_on_sqlite
    result = measure(arguments)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()

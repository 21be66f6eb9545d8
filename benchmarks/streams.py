"""Concurrent chats: the latency of a delta, and the server's CPU time per delta.

There are three roles, each a process of its own: a model that sends 200 deltas per chat, 25 per
second, each with the time at which it was sent; clients that compare that with the time at which it
arrives; and, for Parley, the creation of users, because each may have only three chats.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DELTAS = 200
PAUSE = 0.04
LATE_MS = 50


async def complete(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Respond as the model, for one chat."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    await reader.readexactly(int(head.partition(b"content-length:")[2].partition(b"\r\n")[0]))
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
    started_at = time.monotonic()
    for number in range(DELTAS):
        await asyncio.sleep(max(0, started_at + number * PAUSE - time.monotonic()))
        send(writer, {"content": f"{time.monotonic():.6f} "}, None)
    send(writer, {}, "stop")
    writer.write(b"data: [DONE]\n\n")
    await writer.drain()
    writer.close()


def send(writer: asyncio.StreamWriter, delta: dict[str, str], reason: str | None) -> None:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    writer.write(b"data: %s\n\n" % json.dumps(chunk).encode())


async def serve(port: int) -> None:
    async with await asyncio.start_server(complete, "127.0.0.1", port, backlog=1_024) as server:
        await server.serve_forever()


async def listen(port: int, path: str, token: str, delay: float) -> list[float]:
    """Chat as a client and return the latency of each delta in milliseconds."""
    await asyncio.sleep(delay)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = b'{"content": "What now?"}'
    writer.write(
        f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nAccept: text/event-stream\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    latencies: list[float] = []
    delta = False
    while line := await reader.readline():
        if line.startswith(b"event: "):
            delta = line == b"event: delta\n"
            if line == b"event: done\n":
                break
        elif delta and line.startswith(b"data: "):
            latencies.append((time.monotonic() - float(json.loads(line[6:])["content"])) * 1e3)
            delta = False
    writer.close()
    if len(latencies) != DELTAS:
        raise SystemExit(f"{len(latencies)} of {DELTAS} deltas arrived")
    return latencies


async def clients(port: int, chats: list[tuple[str, str]]) -> None:
    latencies = await asyncio.gather(
        *(listen(port, *chat, delay=number * PAUSE * 1.37) for number, chat in enumerate(chats))
    )
    ordered = sorted(each for of_chat in latencies for each in of_chat)
    print(json.dumps({"p99": ordered[int(len(ordered) * 0.99)], "worst": ordered[-1]}))


def create_users(count: int) -> None:
    """Create users in Parley and print their tokens."""
    from app import create_app
    from auth.logins import create_api_token
    from database import db
    from store import users

    with create_app().app_context():
        db.ensure_connection()
        tokens = []
        for number in range(count):
            with db.write_transaction():
                user = users.create(f"user {number}", "")
            tokens.append(create_api_token(user["id"], 1))
    print(json.dumps(tokens))


@contextmanager
def model(port: int) -> Iterator[None]:
    """Run the model."""
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.streams", "model", str(port)])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def users(folder: Path, count: int) -> list[str]:
    environ = os.environ | {"PARLEY_DATA_DIR": str(folder)}
    command = [sys.executable, "-m", "benchmarks.streams", "users", str(count)]
    return list(json.loads(subprocess.run(command, env=environ, check=True, stdout=subprocess.PIPE).stdout))


def measured(peer: Any, chats: list[tuple[str, str]]) -> dict[str, float]:
    """Run chats concurrently; return the latencies in milliseconds and the server's CPU time per delta in µs."""
    cpu = peer.cpu
    command = [sys.executable, "-m", "benchmarks.streams", "clients", str(peer.port)]
    done = subprocess.run(command, input=json.dumps(chats), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{peer.name}: {done.stderr}")
    return json.loads(done.stdout) | {"cpu": (peer.cpu - cpu) / len(chats) / DELTAS * 1e6}


def main(role: str, number: int) -> None:
    if role == "model":
        asyncio.run(serve(number))
    elif role == "clients":
        asyncio.run(clients(number, json.load(sys.stdin)))
    else:
        create_users(number)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

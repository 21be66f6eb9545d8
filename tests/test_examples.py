"""The example programs work with a real server: a stand-in for a model, and a receiver of webhooks."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
from standardwebhooks import Webhook

from tests.helpers.process import ROOT, ServerProcess, create_user
from tests.helpers.webhook_receiver import SECRET


@contextmanager
def running(script: str, **environ: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run an example on a free port; yield its URL and the process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    command = [sys.executable, f"examples/{script}"]
    environment = os.environ | {"PORT": str(port)} | environ
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield f"http://127.0.0.1:{port}", process
        finally:
            process.kill()


def client() -> httpx.Client:
    """A client that retries until an example listens."""
    return httpx.Client(transport=httpx.HTTPTransport(retries=8))


def test_example_model_completes_a_question() -> None:
    body = {"model": "any", "messages": [{"role": "user", "content": "Is  the queue\nfull?"}]}
    with running("model.py") as (url, _), client() as http:
        completion = http.post(f"{url}/v1/chat/completions", json=body).json()
    assert completion["choices"][0]["message"]["content"] == "You said: Is  the queue\nfull?"


def test_example_model_streams_through_parley(tmp_path: Path) -> None:
    question = "Is  the queue\nfull?" + " Really?" * 24
    with running("model.py") as (url, _), ServerProcess(tmp_path / "data", LLM_BASE_URL=f"{url}/v1") as server:
        token = create_user(server.data)
        session_id = server.request("POST", "/api/sessions", token=token)[1]["id"]
        headers = {"Authorization": f"Bearer {token}"}
        session = f"/api/sessions/{session_id}"
        chat = f"{server.url}{session}/chat"
        stored: list[int] = []
        with httpx.stream("POST", chat, json={"content": question}, headers=headers, timeout=60) as response:
            for line in response.iter_lines():
                if line == "event: delta":
                    stored.append(len(server.request("GET", session, token=token)[1]["messages"]))
        messages = server.request("GET", session, token=token)[1]["messages"]
    assert len(stored) == 30  # one for each word
    assert stored[0] == 1  # they come one by one: the answer is not complete yet
    assert [message["content"] for message in messages] == [question, f"You said: {question}"]
    assert messages[1]["metadata"]["model"] == "parrot"
    assert messages[1]["metadata"]["finish_reason"] == "stop"


def test_example_receiver_accepts_signed_calls_only() -> None:
    moment, body = datetime.now(UTC), '{"type": "restart_service"}'
    signed = {
        "webhook-id": "1",
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(SECRET).sign("1", moment, body),
    }
    with running("receiver.py", RESTART_SECRET=SECRET) as (url, process), client() as http:
        assert http.post(url, content=body, headers=signed).status_code == 204
        assert http.post(url, content=body, headers=signed | {"webhook-id": "2"}).status_code == 401
        assert process.stdout
        assert b"restart_service" in process.stdout.readline()


def test_example_receiver_names_the_variable_it_needs() -> None:
    environ = {name: value for name, value in os.environ.items() if name != "RESTART_SECRET"}
    process = subprocess.run([sys.executable, "examples/receiver.py"], cwd=ROOT, env=environ, capture_output=True)
    assert process.returncode == 1
    assert re.fullmatch(rb".*RESTART_SECRET.*\n", process.stderr)

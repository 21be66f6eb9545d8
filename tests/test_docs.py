"""What the README says is true: the settings' table, the codes, and the conversation as it is pasted."""

from __future__ import annotations

import json
import os
import re
import socket
import stat
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

import config
import errors
from tests.conftest import FakeLlm
from tests.helpers import openapi_checker
from tests.helpers.process import ROOT, ServerProcess, environment, make_user
from tests.helpers.webhook_receiver import SECRET, WebhookReceiver

README = (ROOT / "README.md").read_text()


def table(heading: str) -> list[list[str]]:
    """Return the rows of the table that begins with this heading."""
    lines = README.partition(heading)[2].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[: lines.index("")]]


def test_the_settings_table() -> None:
    assert table("| setting | default | meaning |") == [
        [f"`{setting.name}`", "" if setting.default is None else f"`{setting.default}`", setting.description]
        for setting in config.SETTINGS
    ]


def test_the_error_codes() -> None:
    documented = {
        (status, code)
        for statuses, codes in table("| status | codes |")
        for status in map(int, statuses.split(", "))
        for code in re.findall(r"`(\w+)`", codes)
        if errors.STATUS_BY_CODE.get(code) == status
    }
    assert documented == {(status, code) for code, status in errors.STATUS_BY_CODE.items()}


def test_the_table_of_routes() -> None:
    documented = {
        request for row in table("| request | what it does |") for request in re.findall(r"`(\w+ /[^`]+)`", row[0])
    }
    described_paths = {
        f"{method.upper()} {path.replace('{session_id}', ':id').replace('{name}', ':name')}"
        for path, item in openapi_checker.DOCUMENT["paths"].items()
        for method in item
    }
    assert documented == described_paths


def test_every_file_that_is_named_is_there() -> None:
    for name in re.findall(r"`([\w./]+\.(?:py|json|md)|\w+/)`", README.partition("## Change it")[2]):
        assert (ROOT / name).exists(), name


def blocks(begin: str, end: str, kind: str = "sh") -> list[str]:
    """Return the code of this kind between two headings."""
    return re.findall(rf"```{kind}\n(.*?)```", README.partition(begin)[2].partition(end)[0], re.DOTALL)


def pasted(folder: Path, server: ServerProcess, blocks: list[str]) -> str:
    """Paste blocks into one shell, against a server; only the address and the environment are the test's."""
    environ = environment(folder / "data") | {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "FLASK_APP": str(ROOT / "app.py"),
    }
    flask = folder / "flask"
    flask.write_text(f'#!/bin/sh\ncd {ROOT} && exec {sys.executable} -m flask "$@"\n')
    flask.chmod(flask.stat().st_mode | stat.S_IXUSR)
    script = "set -e\n" + "\n".join(blocks).replace("http://127.0.0.1:8080", server.url)
    script = script.replace(".venv/bin/flask", "flask").replace("curl -s", "curl --fail-with-body -s")
    done = subprocess.run(["bash", "-c", script], cwd=folder, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


FIRST = blocks("## A first conversation", "## Chat with a model")


def test_the_first_conversation_works_as_it_is_pasted(tmp_path: Path) -> None:
    assert len(FIRST) == 5
    with ServerProcess(tmp_path / "data") as server:
        said = pasted(tmp_path, server, FIRST)
        assert "Made the user alice." in said
        assert '"title":"Checkout is slow"' in said
        assert "Zoë" in said
        assert said.count('"content":"Checkout takes eight seconds since noon."') == 2
        assert said.endswith('{"deleted":1}\n')
        assert '"content":"The payment queue was full."' in (tmp_path / "incident.json").read_text()
        assert server.stop() == 0


def test_a_chat_and_an_action_work_as_they_are_pasted(
    tmp_path: Path, fake_llm: FakeLlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat, action = (
        blocks("## Chat with a model", "## Fire an action"),
        blocks("## Fire an action", "## Find, page, retry, move"),
    )
    more = blocks("## Find, page, retry, move", "## The API in short")
    assert (len(chat), len(action), len(more)) == (2, 1, 5)
    with WebhookReceiver() as receiver:
        monkeypatch.setenv("RESTART_SECRET", SECRET)
        actions = tmp_path / "actions.toml"
        actions.write_text(
            (ROOT / "examples/actions.toml").read_text().replace("http://127.0.0.1:9000/restart", f"{receiver.url}/ok")
        )
        settings = {"LLM_BASE_URL": fake_llm.url, "DOCS_DIR": ROOT / "examples/docs", "ACTIONS_FILE": actions}
        with ServerProcess(tmp_path / "data", **settings) as server:
            said = pasted(tmp_path, server, [FIRST[0], *chat, *action, *more])
        assert said.count("event: delta") == 7
        assert said.index("event: message") < said.index("event: delta") < said.index("event: done")
        assert "[runbooks/checkout.md: Checkout > Checkout is slow]" in said
        assert '"status":"succeeded"' in said
        assert "<mark>payment</mark> <mark>queue</mark>" in said
        assert '"next_cursor":null' in said
        first, again = re.findall(r'\{"id":"[^"]+","title":null[^}]+\}', said)[-2:]
        assert first == again
        assert said.endswith('"counts":{"imported":0,"skipped":2,"refused":0}}\n')
        ((_, event, headers, body),) = receiver.received
    (verification,) = blocks("## Fire an action", "## Find, page, retry, move", "python")
    names: dict[str, Any] = {}
    exec(verification, names)  # the README's own five lines
    assert names["verified"](body.encode(), headers, SECRET) == event
    assert event["data"]["input"]["service"] == "checkout"
    with pytest.raises(WebhookVerificationError):
        names["verified"](body.encode() + b" ", headers, SECRET)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def test_the_example_model_streams_through_parley(tmp_path: Path) -> None:
    port = free_port()
    command, environ = [sys.executable, "examples/model.py"], os.environ | {"PORT": str(port)}
    url = f"http://127.0.0.1:{port}/v1"
    question = "Is  the queue\nfull?"
    with subprocess.Popen(command, cwd=ROOT, env=environ, stderr=subprocess.DEVNULL) as example:
        try:
            with httpx.Client(transport=httpx.HTTPTransport(retries=8)) as client:  # until it listens
                asked = {"model": "any", "messages": [{"role": "user", "content": question}]}
                whole = client.post(f"{url}/chat/completions", json=asked).json()
                assert whole["choices"][0]["message"]["content"] == f"You said: {question}"
            with ServerProcess(tmp_path / "data", LLM_BASE_URL=url) as server:
                token = make_user(server.data)
                session_id = server.request("POST", "/api/sessions", token=token)[1]["id"]
                headers = {"Authorization": f"Bearer {token}"}
                chat = f"{server.url}/api/sessions/{session_id}/chat"
                came: list[float] = []
                with httpx.stream("POST", chat, json={"content": question}, headers=headers, timeout=30) as answer:
                    for line in answer.iter_lines():
                        came += [time.monotonic()] if line == "event: delta" else []
                assert len(came) == 6  # a word each
                assert came[-1] - came[0] > 0.25  # as they come, not all at the end
                messages = server.request("GET", f"/api/sessions/{session_id}", token=token)[1]["messages"]
                assert [message["content"] for message in messages] == [question, f"You said: {question}"]
                assert messages[1]["metadata"]["model"] == "parrot"
                assert messages[1]["metadata"]["finish_reason"] == "stop"
        finally:
            example.kill()


def test_the_example_receiver_takes_what_is_signed() -> None:
    port = free_port()
    environ = os.environ | {"RESTART_SECRET": SECRET, "PORT": str(port)}
    command = [sys.executable, "examples/receiver.py"]
    moment, body = datetime.now(UTC), '{"type": "restart_service"}'
    signed = {
        "webhook-id": "1",
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(SECRET).sign("1", moment, body),
    }
    with subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as example:
        try:
            with httpx.Client(transport=httpx.HTTPTransport(retries=8)) as client:  # until it listens
                for headers, status in ((signed, 204), (signed | {"webhook-id": "2"}, 401)):
                    answer = client.post(f"http://127.0.0.1:{port}", content=body, headers=headers)
                    assert answer.status_code == status
            assert example.stdout
            assert b"restart_service" in example.stdout.readline()
        finally:
            example.kill()


def test_the_example_receiver_says_what_it_needs() -> None:
    environ = {name: value for name, value in os.environ.items() if name != "RESTART_SECRET"}
    done = subprocess.run([sys.executable, "examples/receiver.py"], cwd=ROOT, env=environ, capture_output=True)
    assert (done.returncode, done.stderr.count(b"\n"), b"RESTART_SECRET" in done.stderr) == (1, 1, True)


def test_the_readme_names_every_module_and_folder_of_the_code() -> None:
    _, table = (ROOT / "README.md").read_text().split("## Change it")
    folders = {path.parent.relative_to(ROOT).parts[0] + "/" for path in ROOT.glob("[a-z]*/__init__.py")} | {
        "migrations/"
    }
    for name in {path.name for path in ROOT.glob("*.py")} | folders - {"tests/", "benchmarks/"}:
        assert f"`{name}`" in table, name


def test_only_the_needed_files_go_into_the_image() -> None:
    """The image gets what .dockerignore lets through: all of the modules, the licence, and nothing else."""
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    folders = {
        f"{folder}/*.py"
        for folder in (
            "auth",
            "database",
            "jsonstream",
            "migrations",
            "routes",
            "search",
            "server",
            "services",
            "services/importers",
            "services/markdown",
            "store",
            "web",
        )
    }
    assert allowed == folders | {"*.py", "LICENSE", "openapi.json", "requirements.txt"}


def test_the_health_check_works(tmp_path: Path) -> None:
    """The very command of the Dockerfile, against a running server and against none."""
    found = re.search(r"HEALTHCHECK.*\\\n\s+CMD (.*)", (ROOT / "Dockerfile").read_text())
    assert found
    command = [sys.executable, *json.loads(found[1])[1:]]
    with ServerProcess(tmp_path / "data") as server:
        environ = environment(tmp_path / "data", PORT=server.address[1])
        assert subprocess.run(command, env=environ, timeout=30).returncode == 0
        server.stop()
        assert subprocess.run(command, env=environ, timeout=30, stderr=subprocess.DEVNULL).returncode != 0


def test_runtime_requirements_are_pinned_and_whole() -> None:
    """Each module that the service imports comes with a pinned requirement."""
    lines = [line.partition("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    assert all(re.fullmatch(r"[\w-]+==[\w.]+", line) for line in lines if line)

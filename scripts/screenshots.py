"""Take the pictures of the page in ``docs/images``: ``make screenshots``.

It starts a server with an incident that is made up, as are all names in it, and takes each screen in Chromium, wide
and narrow. The times in the pictures are those of the run.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, FilePayload, Page, expect, sync_playwright

from tests.helpers.client import document, message
from tests.helpers.foreign_exports import CHATGPT, OPEN_WEBUI
from tests.helpers.process import PASSWORD, ROOT, FakeLlm, ServerProcess, create_user
from tests.helpers.webhook_receiver import SECRET, WebhookReceiver

IMAGES = ROOT / "docs" / "images"
EXAMPLES = ROOT / "examples"
SIZES = {"wide": (1280, 800), "narrow": (375, 812)}
USER = "alice"
MAX_BYTES = 200_000

BASE_PROMPT = "You help the engineers on call. Answer briefly, name the runbook you follow, and never invent a command."
OVERRIDE = "This is incident 2231: checkout has been slow since noon. Mara leads it, Jonas is the scribe."
ANSWER = """The **payment queue** is full, so orders wait in *pending*. This is what I would do, after \
`runbooks/checkout.md`:

1. Look at the workers; if one is in `CrashLoopBackOff`, roll back its last release.
2. If all of them run, the provider is slow: switch to the second one.

```bash
kubectl -n payments get pods -l app=payment-worker
payctl provider use b   # only if all workers run
```

| time (UTC) | queue | checkout p95 |
| --- | ---: | ---: |
| 11:55 | 310 | 0.9 s |
| 12:05 | 2,870 | 4.2 s |
| 12:15 | 5,412 | 8.1 s |

> Switch back when the queue is shorter than 500, and note the time in the incident.
"""
CONVERSATION = (
    (24, "user", "Checkout takes eight seconds since noon. Where do I look first?"),
    (23, "assistant", ANSWER),
    (14, "user", "All workers run. I have switched to provider b; the queue is at 3,900 and falling."),
    (13, "assistant", "Good. Restart `stock` as well: its memory was above 90 % when checkout became slow."),
)
OTHER_SESSIONS = (
    "Certificate of the status page expires",
    "Search returns stale results",
    "Disk of build-7 is full",
    "Alert: login errors above 2 %",
    "Handover of week 4",
    "Slow query in the orders database",
)


@contextmanager
def service() -> Iterator[tuple[ServerProcess, str]]:
    """Start a server with a user, a model, actions and docs; yield it and a token of the user."""
    os.environ["RESTART_SECRET"] = SECRET
    with tempfile.TemporaryDirectory() as folder, WebhookReceiver() as receiver, FakeLlm() as model:
        actions = Path(folder, "actions.toml")
        example = (EXAMPLES / "actions.toml").read_text()
        actions.write_text(example.replace("http://127.0.0.1:9000/restart", f"{receiver.url}/ok"))
        data = Path(folder, "data")
        token = create_user(data, USER)
        settings = {"ACTIONS_FILE": actions, "DOCS_DIR": EXAMPLES / "docs", "SYSTEM_PROMPT": BASE_PROMPT}
        with ServerProcess(data, LLM_BASE_URL=model.url, LLM_MODEL="on-call-1", **settings) as server:
            yield server, token


def create_sessions(server: ServerProcess, token: str) -> str:
    """Create the user's sessions, and return the id of the incident."""

    def post(path: str, body: Any, method: str = "POST") -> Any:
        status, content, _ = server.request(method, f"/api/{path}", body, token)
        assert status < 300, content
        return content

    now = datetime.now(UTC)
    for title in reversed(OTHER_SESSIONS):
        post("sessions/import", document(message("…", role="assistant"), title=title))
    messages = [
        message(content, role, created_at=(now - timedelta(minutes=minutes)).isoformat())
        | ({"metadata": {"model": "on-call-1", "finish_reason": "stop"}} if role == "assistant" else {})
        for minutes, role, content in CONVERSATION
    ]
    incident: str = post("sessions/import", document(*messages, title="Checkout is slow"))["session"]["id"]
    post(f"sessions/{incident}/system-prompt", {"system_prompt": OVERRIDE}, "PATCH")
    for service_name, reason in (("stock", "Memory above 90 %"), ("checkout", "Picks up provider b")):
        post(f"sessions/{incident}/actions/restart_service", {"input": {"service": service_name, "reason": reason}})
    return incident


def show_import(page: Page) -> None:
    """Rehearse the import of some files."""
    page.goto("./#/transfer")
    own = [document(message(), message(role="assistant"), id=title, title=title) for title in OTHER_SESSIONS[:2]]
    refused = document(message(role="robot"), title="Notes of a robot")
    texts = {
        "conversations-000.json": json.dumps([CHATGPT | {"title": "Postgres failover, step by step"}]),
        "open-webui.json": json.dumps([OPEN_WEBUI | {"title": "Why the cache was cold"}]),
        "parley-2026-01-31.ndjson": "\n".join(map(json.dumps, [*own, refused])),
    }
    files: list[FilePayload] = [
        {"name": name, "mimeType": "application/json", "buffer": text.encode()} for name, text in texts.items()
    ]
    page.get_by_test_id("files").set_input_files(files)
    expect(page.get_by_role("button", name="Import 4 conversations")).to_be_enabled()
    page.get_by_role("list", name="Files").evaluate("(list) => list.scrollIntoView()")


def show(place: str, text: str) -> Callable[[Page], None]:
    """Return what opens a place of the page, and waits for a text on it."""

    def open_place(page: Page) -> None:
        page.goto(f"./#/{place}")
        expect(page.get_by_text(text).first).to_be_visible()

    return open_place


def take(browser: Browser, server: ServerProcess, incident: str) -> None:
    """Take all pictures."""
    screens = {
        "conversation": show(f"s/{incident}", "Restart stock as well"),
        "prompt": show(f"s/{incident}/prompt", "What the model is sent"),
        "actions": show(f"s/{incident}/actions", "Restart a service"),
        "timeline": show(f"s/{incident}/timeline", "restart_service"),
        "import": show_import,
    }
    for size, (width, height) in SIZES.items():
        with browser.new_context(
            base_url=server.url, viewport={"width": width, "height": height}, locale="en-GB", timezone_id="UTC"
        ) as context:
            page = context.new_page()
            page.goto("./")
            expect(page.get_by_label("Username")).to_be_focused()
            save(page, f"login-{size}")
            page.get_by_label("Username").fill(USER)
            page.get_by_label("Password").fill(PASSWORD)
            page.get_by_role("button", name="Log in").click()
            expect(page.get_by_label("Password")).to_be_hidden()
            for name, open_screen in screens.items():
                open_screen(page)
                save(page, f"{name}-{size}")
            if size == "wide":
                page.emulate_media(color_scheme="dark")
                screens["conversation"](page)
                save(page, "conversation-dark")


def save(page: Page, name: str) -> None:
    """Save a picture of what the page shows, once it is at rest."""
    page.wait_for_load_state("networkidle")
    page.mouse.move(0, 0)
    path = IMAGES / f"{name}.png"
    page.screenshot(path=path, animations="disabled", caret="hide")
    if path.stat().st_size > MAX_BYTES:
        sys.exit(f"{path} has {path.stat().st_size:,} bytes, more than {MAX_BYTES:,}.")


def main() -> None:
    """Start everything, and take the pictures."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("There is no Chromium on the PATH: apt-get install chromium")
    IMAGES.mkdir(exist_ok=True)
    with service() as (server, token), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        take(browser, server, create_sessions(server, token))
        browser.close()
    print(f"The pictures are in {IMAGES.relative_to(ROOT)}.")


if __name__ == "__main__":
    main()

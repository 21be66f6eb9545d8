"""What tests of the conversation do and look at, by the names that people see."""

from __future__ import annotations

import json
from typing import Any

from playwright.sync_api import Locator, Page

from tests.helpers.client import message


def ask(page: Page, question: str) -> None:
    """Type a question and send it."""
    page.get_by_label("Ask a question").fill(question)
    page.get_by_role("button", name="Send", exact=True).click()


def open_session(page: Page, session: dict[str, Any], message_id: str | None = None) -> None:
    """Open a session, perhaps at a message."""
    page.goto(f"./#/s/{session['id']}" + (f"/m/{message_id}" if message_id else ""))


def answers(page: Page) -> Locator:
    """Return the answers, the one that is being written included."""
    return page.get_by_role("article", name="Assistant")


def questions(page: Page) -> Locator:
    return page.get_by_role("article", name="You")


def scroller(page: Page) -> Locator:
    return page.get_by_role("region", name="Messages")


def delta(text: str) -> str:
    """Return the line of the stand-in's script that sends this text, which may have more than one line."""
    return "raw " + json.dumps({"choices": [{"delta": {"content": text}}]})


def conversation(count: int, content: str = "Message {}\n\nwith a second *paragraph*") -> list[dict[str, Any]]:
    """Return so many messages, a question and an answer in turn, for an import."""
    return [message(content.format(number), role=("user", "assistant")[number % 2]) for number in range(count)]


def is_at_end(page: Page) -> bool:
    """Return whether the end of the conversation is in view."""
    at_end: bool = scroller(page).evaluate("(el) => el.scrollHeight - el.scrollTop - el.clientHeight < 4")
    return at_end

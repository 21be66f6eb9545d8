"""The timeline's panel: messages and webhook runs by time, and the incident report of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.helpers.renderers import RENDERERS, Part, parse_html
from tests.page.accessibility import assert_accessible
from tests.page.api import Api
from tests.page.panels import no_sideways_scroll, open_panel

Login = Callable[[Page], None]

HOSTILE = [
    "```\n</code></pre><script>alert(1)</script>\n# Not a heading\n[x](http://evil.example)",
    "`````\n~~~~~~\n````` x",
    "~~~\n<img src=x onerror=alert(1)>\n~~~",
    "x\n```",
    "    ```\n\t```\n> ```\n- ```",
    "\r```\r\n# x\r```\r",
    "<!--",
    "|a|\n|-|\n`",
    "[^1]: note\n\n[word]: http://evil.example",
]
HOSTILE_LINES = [
    "a\n# b",
    "`a` ``b`` <script>alert(1)</script>",
    "[x](http://evil.example) ![x](http://evil.example/x.png)",
    "http://evil.example www.evil.example @somebody a@evil.example",
    "a\r\rb\u2028# c\u0085# d",
    "`",
    "\\",
    " \n ",
    "*a* _b_ ~c~ #1",
]


@pytest.fixture
def session(api: Api) -> dict[str, Any]:
    """A session with messages at nine o'clock and a quarter past, and runs of today."""
    imported = api.imported(
        {"role": "user", "content": "Checkout is slow", "created_at": "2026-01-31T09:00:00.000Z"},
        {"role": "assistant", "content": "Restart it", "created_at": "2026-01-31T09:00:20.000Z"},
        {"role": "assistant", "content": "<b>Why?</b>", "created_at": "2026-01-31T09:14:20.000Z"},
        title="Checkout",
    )
    api.post(f"/api/sessions/{imported['id']}/actions/unstable", {"input": {"service": "checkout"}})
    api.post(f"/api/sessions/{imported['id']}/actions/restart")
    return imported


@pytest.fixture
def panel(page: Page, login: Login, session: dict[str, Any]) -> Locator:
    login(page)
    return open_panel(page, session, "Timeline")


def report(page: Page, panel: Locator) -> str:
    """Copy the report and return what is in the clipboard."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    panel.get_by_role("button", name="Copy").click()
    expect(page.get_by_text("The report copied.")).to_be_visible()
    text: str = page.evaluate("() => navigator.clipboard.readText()")
    return text


def build_report(page: Page, **changes: Any) -> str:
    """Return the report of rows that the test makes up."""
    script = "async (report) => (await import('./static/timeline/report.js')).reportOf(report)"
    values = {"title": "T", "url": "http://h/#/s/1", "username": "u", "rows": [], "now": "2026-01-31T10:00:00.000Z"}
    text: str = page.evaluate(script, values | changes)
    return text


def message_row(content: str, **more: Any) -> dict[str, Any]:
    message = {"role": "user", "content": content, "created_at": "2026-01-31T09:00:00.000Z", "metadata": {}}
    return {"kind": "message", "id": "1", "at": message["created_at"], "gap": 0, "message": message | more}


def run_row(**values: Any) -> dict[str, Any]:
    at = "2026-01-31T09:00:00.000Z"
    run = {"action": "a", "status": "failed", "response_status": 500, "error": "bad_status", "duration_ms": 12}
    run |= {"started_at": at, "request": {"data": {"input": {}}}, "response_body": None}
    return {"kind": "run", "id": "2", "at": at, "gap": 0, "run": run | values}


def test_messages_and_runs_are_in_order_with_gaps(page: Page, panel: Locator) -> None:
    articles = panel.get_by_role("article")
    expect(articles).to_have_count(5)
    expect(articles).to_contain_text(["Checkout is slow", "Restart it", "<b>Why?</b>", "unstable", "restart"])
    gaps = panel.get_by_role("listitem").filter(has_text=re.compile(r"^\d+ \w+$"))
    expect(gaps.first).to_have_text("14 min")
    expect(panel.get_by_role("article", name="unstable: Failed")).to_contain_text("HTTP 500")
    expect(panel.get_by_role("article", name="restart: Succeeded")).to_be_in_viewport()  # it opens at its end
    assert_accessible(page)


def test_message_links_to_itself(page: Page, api: Api, session: dict[str, Any], panel: Locator) -> None:
    first = api.messages(session)[0]
    link = panel.get_by_role("article").first.get_by_role("link")
    expect(link).to_have_attribute("href", f"#/s/{session['id']}/m/{first['id']}")


def test_fire_again_opens_the_form(page: Page, panel: Locator) -> None:
    panel.get_by_role("button", name="Fire unstable again…").click()
    form = page.get_by_role("form", name="unstable")
    expect(form.get_by_role("textbox", name="Input")).to_have_value('{\n  "service": "checkout"\n}')


def test_new_message_and_run_show_by_themselves(page: Page, api: Api, session: dict[str, Any], panel: Locator) -> None:
    expect(panel.get_by_role("article")).to_have_count(5)
    api.post(f"/api/sessions/{session['id']}/messages", {"role": "assistant", "content": "Better now"})
    page.evaluate("() => dispatchEvent(new Event('focus'))")  # as when the person comes back
    expect(panel.get_by_text("Better now")).to_be_in_viewport()
    other = page.context.new_page()
    actions = open_panel(other, session, "Actions")
    actions.get_by_role("button", name="restart", exact=True).click()
    actions.get_by_role("button", name="Fire restart", exact=True).click()
    expect(panel.get_by_role("article", name="restart: Succeeded")).to_have_count(2)


def test_older_messages_load_on_demand(page: Page, api: Api, login: Login) -> None:
    session = api.imported(*({"role": "assistant", "content": f"message {number}."} for number in range(250)))
    login(page)
    panel = open_panel(page, session, "Timeline")
    expect(panel.get_by_text("message 249.")).to_be_in_viewport()
    expect(panel.get_by_text("message 149.")).to_have_count(0)
    panel.get_by_role("button", name="Load older").click()
    expect(panel.get_by_text("message 50.")).to_have_count(1)
    panel.get_by_role("button", name="Incident report").click()
    panel.get_by_role("button", name="Load all").click()
    expect(panel.get_by_role("status")).to_have_text("250 messages, 0 runs")
    assert report(page, panel).count("\n## ") == 250


def test_report_of_what_is_chosen(page: Page, api: Api, panel: Locator) -> None:
    panel.get_by_role("button", name="Incident report").click()
    expect(panel.get_by_role("status")).to_have_text("3 messages, 2 runs")
    assert_accessible(page)
    panel.get_by_role("checkbox", name="In the report: message").nth(1).uncheck()
    panel.get_by_role("checkbox", name="In the report: webhook run restart").uncheck()
    expect(panel.get_by_role("status")).to_have_text("2 messages, 1 run")
    text = report(page, panel)
    assert text.startswith("# Incident report: `Checkout`\n\n- Time: 2026-01-31 09:00:00 UTC to ")
    assert f"## 2026-01-31 09:00:00 UTC: `{api.username}`\n\n```\nCheckout is slow\n```\n\n*14 min later*\n" in text
    assert "webhook `unstable`\n\nStatus: **failed** (HTTP 500, `bad_status`), after " in text
    assert 'Input:\n\n```json\n{\n  "service": "checkout"\n}\n```\n\nAnswer:\n\n```\nno\n```\n' in text
    assert "Restart it" not in text
    assert "webhook `restart`" not in text


def test_report_of_a_range_of_time(page: Page, panel: Locator) -> None:
    panel.get_by_role("button", name="Incident report").click()
    local = page.evaluate(
        """() => {
          const time = new Date("2026-01-31T09:14:00Z");
          return new Date(time - time.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
        }"""
    )
    panel.get_by_label("From").fill(local)
    panel.get_by_label("To").fill(local)
    expect(panel.get_by_role("status")).to_have_text("1 message, 0 runs")
    assert "<b>Why?</b>" in report(page, panel)
    panel.get_by_role("button", name="None").click()
    expect(panel.get_by_role("button", name="Copy")).to_be_disabled()


def test_report_is_saved_as_a_file(page: Page, panel: Locator) -> None:
    panel.get_by_role("button", name="Incident report").click()
    with page.expect_download() as download:
        panel.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == "incident-report.md"
    assert download.value.path().read_text().startswith("# Incident report: `Checkout`\n")


@pytest.mark.parametrize("renderer", RENDERERS)
def test_texts_stay_texts_in_the_report(page: Page, renderer: str) -> None:
    page.goto("./")
    for text in HOSTILE:
        rows = [message_row(text), run_row(response_body=text), message_row("the end")]
        html = RENDERERS[renderer](build_report(page, rows=rows))
        parts = parse_html(html)
        blocks = code_blocks(parts)
        assert len(blocks) == 3, text
        assert [lines_of(block) for block in blocks] == [lines_of(text), lines_of(text), lines_of("the end")]
        assert [part.tag for part in parts if part.tag in ("script", "img")] == []
        assert [part.tag for part in parts if part.tag in ("h1", "h2", "h3")] == ["h1", "h2", "h2", "h2"]


@pytest.mark.parametrize("renderer", RENDERERS)
def test_names_stay_on_their_line_in_the_report(page: Page, renderer: str) -> None:
    page.goto("./")
    for name in HOSTILE_LINES:
        rows = [message_row("x", role="assistant", metadata={"model": name}), run_row(action=name, error=name)]
        text = build_report(page, title=name, username=name, rows=rows)
        parts = parse_html(RENDERERS[renderer](text))
        tags = [part.tag for part in parts if part.tag in ("h1", "h2", "script", "img", "li", "a")]
        assert tags == ["h1", "li", "li", "li", "a", "li", "h2", "h2"], name
        assert next(part for part in parts if part.tag == "a").attrs == (("href", "http://h/#/s/1"),)


def code_blocks(parts: list[Part]) -> list[str]:
    """Return the text of each block of code."""
    blocks: list[str] = []
    in_block = False
    for part in parts:
        if part.tag in ("pre", "/pre"):
            in_block = part.tag == "pre"
            blocks += [""] if in_block else []
        elif in_block:
            blocks[-1] += part.text
    return blocks


def lines_of(text: str) -> list[str]:
    return [line for line in re.split(r"\r\n|\r|\n", text) if line]


def test_report_shows_the_beginning_of_a_long_answer(page: Page) -> None:
    page.goto("./")
    text = build_report(page, rows=[run_row(response_body="🔥" * 2_001)])
    assert f"Answer, its beginning:\n\n```\n{'🔥' * 2_000}…\n```" in text


def test_timeline_fits_on_a_phone(page: Page, panel: Locator) -> None:
    page.set_viewport_size({"width": 320, "height": 600})
    panel.get_by_role("button", name="Incident report").click()
    expect(panel.get_by_role("checkbox")).to_have_count(5)
    assert no_sideways_scroll(page)
    assert_accessible(page)

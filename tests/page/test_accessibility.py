"""Each screen for everybody: what axe-core finds in both themes, narrow and enlarged, without motion, by keyboard.

Details of a feature's controls are in the feature's own tests.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import FilePayload, Page, expect

from tests.helpers.client import document, message
from tests.helpers.documentation import page as documentation
from tests.helpers.process import PASSWORD
from tests.page.accessibility import assert_accessible
from tests.page.api import Api
from tests.page.conversations import open_session
from tests.page.problems import Problems

Login = Callable[[Page], None]
Show = Callable[[Page, dict[str, Any]], None]

ANSWER = """# Checkout is slow

1. Look at the **queue**: `kubectl get pods`
2. Pause the [importer](https://example.org/runbook)

| service | p95 |
| --- | --- |
| checkout | 8.1 s |
| a-service-whose-name-is-so-long-that-no-phone-can-show-it-in-one-line-of-a-table | 0.2 s |

```python
def pause(importer: str) -> None:  # a long line of code that has to scroll by itself, not with the whole page
    return None
```

> Only with the approval of two people.

https://example.org/a/very/long/address/without/any/place/to/break/it/apart/except/between/its/parts/0123456789
"""


def show_home(page: Page, session: dict[str, Any]) -> None:
    page.goto("./#/")
    expect(page.get_by_role("navigation", name="Sessions")).to_be_visible()


def show_conversation(page: Page, session: dict[str, Any]) -> None:
    open_session(page, session)
    expect(page.get_by_role("article", name="Assistant")).to_contain_text("Checkout is slow")


def show_panel(name: str) -> Show:
    def show(page: Page, session: dict[str, Any]) -> None:
        page.goto(f"./#/s/{session['id']}/{name.lower()}")
        expect(page.get_by_role("complementary", name=name)).to_be_visible()
        page.wait_for_load_state("networkidle")

    return show


def show_menu(page: Page, session: dict[str, Any]) -> None:
    show_conversation(page, session)
    page.get_by_role("button", name="More", exact=True).click()


def show_rename(page: Page, session: dict[str, Any]) -> None:
    show_conversation(page, session)
    page.get_by_role("button", name="Rename session").click()
    expect(page.get_by_role("textbox", name="Title")).to_be_focused()


def show_search(page: Page, session: dict[str, Any]) -> None:
    show_home(page, session)
    page.get_by_role("searchbox", name="Search the sessions").fill("importer")
    expect(page.get_by_role("list", name="Sessions found").get_by_role("link")).to_have_count(1)


def show_transfer(page: Page, session: dict[str, Any]) -> None:
    page.goto("./#/transfer")
    lines = [
        document(message(), title="new"),
        document(message(role="tool"), title="refused"),
        {"no": "conversation"},
    ]
    text = "\n".join(map(json.dumps, lines))
    files: list[FilePayload] = [
        {"name": "a-file-with-a-long-name.ndjson", "mimeType": "application/json", "buffer": text.encode()},
        {"name": "archive.zip", "mimeType": "application/zip", "buffer": b"PK\x03\x04"},
    ]
    page.get_by_test_id("files").set_input_files(files)
    expect(page.get_by_role("button", name=re.compile("^Import 1 conversation"))).to_be_enabled()


def show_account(page: Page, session: dict[str, Any]) -> None:
    page.goto("./#/account")
    expect(page.get_by_role("heading", name="Account")).to_be_visible()


def show_delete_all(page: Page, session: dict[str, Any]) -> None:
    show_account(page, session)
    page.get_by_role("button", name=re.compile("^Delete all sessions")).click()
    expect(page.get_by_role("dialog")).to_be_visible()


def show_shortcuts(page: Page, session: dict[str, Any]) -> None:
    show_home(page, session)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()


def show_missing(page: Page, session: dict[str, Any]) -> None:
    page.goto("./#/s/00000000-0000-0000-0000-000000000000")
    expect(page.get_by_role("main")).to_contain_text("does not exist")


SCREENS: dict[str, Show] = {
    "home": show_home,
    "conversation": show_conversation,
    "menu": show_menu,
    "rename": show_rename,
    "search": show_search,
    "prompt": show_panel("Prompt"),
    "actions": show_panel("Actions"),
    "timeline": show_panel("Timeline"),
    "transfer": show_transfer,
    "account": show_account,
    "delete all": show_delete_all,
    "shortcuts": show_shortcuts,
    "missing": show_missing,
}


@pytest.fixture
def session(api: Api) -> dict[str, Any]:
    """A session with a question, an answer with all kinds of blocks, a prompt and a webhook run."""
    title = "checkout-" * 12
    session = api.imported(message("Why is checkout slow?"), message(ANSWER, role="assistant"), title=title)
    api.patch(f"/api/sessions/{session['id']}/system-prompt", {"system_prompt": "Answer briefly."})
    api.post(f"/api/sessions/{session['id']}/actions/restart")
    return session


def fits(page: Page) -> bool:
    """Return whether nothing makes the page scroll sideways."""
    return bool(page.evaluate("() => document.documentElement.scrollWidth <= document.documentElement.clientWidth"))


@pytest.mark.parametrize("screen", SCREENS)
def test_screen_is_accessible_and_fits(
    page: Page, login: Login, session: dict[str, Any], problems: Problems, screen: str
) -> None:
    if screen == "missing":
        problems.allow_status(404)
    login(page)
    SCREENS[screen](page, session)
    assert_accessible(page)
    # 640 wide is a window of 1,280 at 200 %.
    for width, height in ((320, 568), (640, 400), (2_560, 1_440)):
        page.set_viewport_size({"width": width, "height": height})
        assert fits(page), width
    page.set_viewport_size({"width": 320, "height": 568})
    assert_accessible(page)


def test_answer_that_is_being_written_is_accessible(page: Page, login: Login, api: Api) -> None:
    login(page)
    open_session(page, api.session("streaming"))
    page.get_by_role("textbox", name="Ask a question").fill("repeat 60 0.2 word")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    assert_accessible(page)
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Send", exact=True)).to_be_visible()


def test_empty_conversation_is_accessible(page: Page, login: Login, api: Api) -> None:
    login(page)
    open_session(page, api.session())
    expect(page.get_by_role("textbox", name="Ask a question")).to_be_visible()
    assert_accessible(page)


def test_page_has_landmarks_and_one_first_heading(page: Page, login: Login, session: dict[str, Any]) -> None:
    login(page)
    for screen in ("conversation", "timeline", "transfer", "account"):
        SCREENS[screen](page, session)
        expect(page.get_by_role("main")).to_have_count(1)
        expect(page.get_by_role("navigation", name="Sessions")).to_have_count(1)
        expect(page.locator("main h1")).to_have_count(1)
    assert page.evaluate("() => document.documentElement.lang") == "en"


def test_reduced_motion_moves_nothing(page: Page, login: Login, session: dict[str, Any]) -> None:
    page.emulate_media(reduced_motion="reduce")
    login(page)
    show_conversation(page, session)
    moving = page.evaluate("""() => [...document.querySelectorAll("*")].filter((element) => {
        const { transitionDuration, animationName } = getComputedStyle(element)
        return animationName !== "none" || transitionDuration.split(",").some((text) => parseFloat(text) > 0)
    }).map((element) => element.outerHTML.slice(0, 80))""")
    assert moving == []


def test_forced_colors_keep_the_controls_visible(page: Page, login: Login, session: dict[str, Any]) -> None:
    page.emulate_media(forced_colors="active")
    login(page)
    show_conversation(page, session)
    send = page.get_by_role("button", name="Send", exact=True)
    border = send.evaluate("(element) => getComputedStyle(element).borderTopStyle")
    assert border == "solid"


def test_the_whole_way_by_keyboard(page: Page, api: Api) -> None:
    """Log in, ask, read, rename, delete: without a mouse, and the focus always on something."""

    def press(*keys: str) -> None:
        for key in keys:
            page.keyboard.press(key)

    def focused() -> str:
        return str(page.evaluate("() => document.activeElement.tagName"))

    page.goto("./")
    page.keyboard.type(api.username)
    press("Tab")
    page.keyboard.type(PASSWORD)
    press("Enter")
    expect(page.get_by_role("navigation", name="Sessions")).to_be_visible()
    press("Escape", "n")
    expect(page).to_have_url(re.compile("#/s/"))
    question = page.get_by_role("textbox", name="Ask a question")
    expect(question).to_be_focused()
    page.keyboard.type("say all is well")
    press("Enter")
    expect(page.get_by_role("article", name="Assistant")).to_contain_text("all is well")
    expect(question).to_be_focused()
    expect(page.get_by_role("button", name="Send", exact=True)).to_be_visible()

    expect(page.get_by_role("heading", level=1)).to_have_text("say all is well")  # the first question is the title
    rename = page.get_by_role("button", name="Rename session")
    rename.focus()
    press("Enter")
    expect(page.get_by_role("textbox", name="Title")).to_be_focused()
    press("Control+a")
    page.keyboard.type("All is well")
    press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("All is well")
    assert focused() != "BODY"

    page.get_by_role("navigation", name="Sessions").get_by_role("link", name="All is well").focus()
    press("Delete")
    expect(page.get_by_role("link", name="All is well")).to_have_count(0)
    assert focused() != "BODY"
    press("z")
    expect(page.get_by_role("link", name="All is well")).to_be_visible()
    assert [session["title"] for session in api.sessions()] == ["All is well"]


def test_documentation_lists_the_shortcuts(page: Page, login: Login) -> None:
    login(page)
    page.keyboard.press("?")
    shortcuts = page.get_by_role("dialog", name="Keyboard").locator(".shortcuts > div")
    expect(shortcuts.last).to_be_visible()
    shown = [(row.locator("dt").inner_text(), row.locator("dd").inner_text()) for row in shortcuts.all()]
    documented = documentation("docs/page.md").table("key", "what it does")
    assert [tuple(row) for row in documented] == [(f"`{keys}`", label) for keys, label in shown]

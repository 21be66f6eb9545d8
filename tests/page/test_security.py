"""Hostile texts in every place that has any, and the policy that would stop what they want."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.helpers.client import document, message
from tests.helpers.process import PASSWORD, FakeLlm, ServerProcess, create_user
from tests.page.api import Api
from tests.page.conversations import open_session
from tests.page.problems import REPORT_VIOLATIONS, Problems

Login = Callable[[Page], None]

HOSTILE = (
    '<img src=x onerror=alert(1)><script>alert(2)</script><svg onload=alert(3)>"><iframe srcdoc="x">'
    "<form action=//evil.example><input name=password></form><style>*{display:none}</style>"
)
# `'{{…}}` and `${…}` are what template languages would take.
SHORT = """<b onclick=alert(1)>'{{7*7}}${7*7}</b><img src=//evil.example/x onerror=alert(1)>"""
FOREIGN = "main :is(img, iframe, form[action], script, style, object, embed, svg:not(.icon)), nav :is(img, script, b)"


def expect_inert(page: Page) -> None:
    """Check that no text has become an element."""
    assert page.locator(FOREIGN).count() == 0
    assert page.locator("script").count() == 1
    assert page.locator("[onerror], [onload], [onclick], [srcdoc], [formaction]").count() == 0
    assert page.evaluate(
        "() => [...document.querySelectorAll('a')].every(({ protocol }) => protocol.startsWith('http'))"
    )


@pytest.fixture
def hostile(api: Api) -> dict[str, Any]:
    """A session whose texts are all hostile."""
    answer = message(
        f"{HOSTILE}\n\n[x](javascript:alert(1)) ![y](//evil.example/i.png)\n\n```<b>\n{HOSTILE}\n```", "assistant"
    )
    session = api.imported(
        message(HOSTILE), answer | {"metadata": {"model": SHORT, "finish_reason": SHORT}}, title=SHORT
    )
    api.patch(f"/api/sessions/{session['id']}/system-prompt", {"system_prompt": HOSTILE})
    return session


def test_hostile_conversation_is_text(page: Page, login: Login, hostile: dict[str, Any]) -> None:
    login(page)
    open_session(page, hostile)
    expect(page.get_by_role("article", name="You")).to_contain_text("<script>alert(2)</script>")
    expect(page.get_by_role("article", name="Assistant")).to_contain_text("<script>alert(2)</script>")
    expect(page.get_by_role("heading", level=1)).to_have_text(SHORT)
    expect(page.get_by_role("navigation", name="Sessions")).to_contain_text(SHORT)
    expect(page).to_have_title(re.compile(re.escape("{{7*7}}")))
    expect_inert(page)


@pytest.mark.parametrize("panel", ["prompt", "actions", "timeline"])
def test_hostile_texts_in_panels_are_text(page: Page, login: Login, hostile: dict[str, Any], panel: str) -> None:
    login(page)
    page.goto(f"./#/s/{hostile['id']}/{panel}")
    expect(page.get_by_role("complementary")).to_be_visible()
    page.wait_for_load_state("networkidle")
    if panel == "prompt":
        expect(page.get_by_role("complementary").get_by_role("textbox")).to_have_value(HOSTILE)
    expect_inert(page)
    assert page.locator("aside :is(img, iframe, form[action], script, style)").count() == 0


def test_hostile_match_of_a_search_is_text(page: Page, login: Login, hostile: dict[str, Any]) -> None:
    login(page)
    page.get_by_role("searchbox", name="Search the sessions").fill("alert")
    found = page.get_by_role("list", name="Sessions found").get_by_role("link")
    expect(found).to_have_count(1)
    expect(found.locator("mark").first).to_have_text("alert")
    expect_inert(page)


def test_hostile_import_is_text(page: Page, login: Login) -> None:
    login(page)
    page.goto("./#/transfer")
    items = [document(message(HOSTILE, role=HOSTILE), title=SHORT), {"mapping": {HOSTILE: {"message": HOSTILE}}}]
    text = "\n".join(map(json.dumps, items))
    name = "<img src=x onerror=alert(1)>.json"
    page.get_by_test_id("files").set_input_files({"name": name, "mimeType": "", "buffer": text.encode()})
    expect(page.get_by_role("region", name="What would be imported")).to_contain_text(SHORT)
    expect(page.get_by_role("list", name="Files")).to_contain_text(name)
    expect_inert(page)


def test_hostile_deletion_question_is_text(page: Page, login: Login, hostile: dict[str, Any]) -> None:
    login(page)
    page.get_by_role("navigation", name="Sessions").get_by_role("link", name=SHORT).focus()
    page.keyboard.press("Delete")
    expect(page.get_by_text(re.compile("[Dd]eleted"))).to_be_visible()
    expect_inert(page)
    assert page.locator(".toasts :is(img, b)").count() == 0


def test_hostile_addresses_of_the_page_are_text(page: Page, login: Login, problems: Problems) -> None:
    problems.allow_status(404)
    login(page)
    for place in (
        f"#/s/{HOSTILE}",
        "#/s/%3Cimg%20src=x%20onerror=alert(1)%3E",
        "#javascript:alert(1)",
        "#/s/%FF/m/%zz",
    ):
        page.goto(f"./{place}")
        expect(page.get_by_role("navigation", name="Sessions")).to_be_visible()
        expect_inert(page)


@pytest.fixture
def hostile_service(browser: Browser, fake_llm: FakeLlm, tmp_path: Any) -> Iterator[Page]:
    """A page of a service whose operator, actions and users are named in hostile ways."""
    actions = tmp_path / "actions.toml"
    description = json.dumps(HOSTILE)
    actions.write_text(
        f'[[actions]]\nname = "restart"\ndescription = {description}\n'
        'url = "http://127.0.0.1:9/"\nsecret_env = "SECRET"\n'
        f'[actions.parameters]\ntype = "object"\n[actions.parameters.properties.{json.dumps(SHORT)}]\n'
        f'type = "string"\ntitle = {description}\ndescription = {description}\nenum = [{description}]\n'
    )
    create_user(tmp_path / "data", "<b>bold</b>")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        with (
            ServerProcess(
                tmp_path / "data",
                ACTIONS_FILE=actions,
                LLM_BASE_URL=fake_llm.url,
                LLM_MODEL=SHORT,
                SYSTEM_PROMPT=HOSTILE,
            ) as server,
            browser.new_context(base_url=server.url) as context,
        ):
            problems = Problems(server.url)
            context.add_init_script(REPORT_VIOLATIONS)
            problems.watch(context)
            yield context.new_page()
            problems.check()


def test_hostile_actions_prompts_and_names_are_text(hostile_service: Page) -> None:
    page = hostile_service
    page.goto("./")
    page.get_by_label("Username").fill("<b>bold</b>")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("button", name="New session").click()
    expect(page).to_have_url(re.compile("#/s/"))
    page.get_by_role("link", name="Actions").click()
    expect(page.get_by_role("complementary")).to_contain_text("<script>alert(2)</script>")
    expect_inert(page)
    page.get_by_role("complementary").get_by_role("link", name="Prompt").click()
    expect(page.get_by_role("complementary")).to_contain_text("PARLEY_SYSTEM_PROMPT")
    expect_inert(page)
    page.goto("./#/account")
    expect(page.get_by_role("main")).to_contain_text("<b>bold</b>")
    expect_inert(page)
    assert page.locator("main b").count() == 0


def test_policy_blocks_inline_script_that_a_server_would_send(
    page: Page, server: ServerProcess, problems: Problems
) -> None:
    """Put a script into the document on its way: with the policy it does not run, without it, it does."""
    script = "<head><script>window.ran = true</script><style>html { --ran: yes }</style>"
    _, _, headers = server.request("GET", "/")
    policy = {name: value for name, value in headers.items() if name == "Content-Security-Policy"}
    html = server.request("GET", "/")[1].decode().replace("<head>", script)
    ran = "() => [window.ran === true, getComputedStyle(document.documentElement).getPropertyValue('--ran')]"
    for sent, expected in ((policy, [False, ""]), ({}, [True, "yes"])):
        page.route("**/", partial(Route.fulfill, body=html, headers=sent, content_type="text/html"))
        page.goto("./")
        assert page.evaluate(ran) == expected
        page.unroute("**/")
    problems.allow_all()


def test_policy_is_strict(server: ServerProcess) -> None:
    _, _, headers = server.request("GET", "/")
    policy = headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "*" not in policy
    assert "http" not in policy
    for directive in ("default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"):
        assert directive in policy
    assert "require-trusted-types-for 'script'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"


def test_page_cannot_be_framed(page: Page, server: ServerProcess, problems: Problems) -> None:
    page.goto("./")
    page.evaluate("""() => {
        const frame = document.createElement("iframe")
        frame.src = "./"
        document.body.append(frame)
    }""")
    page.wait_for_timeout(500)
    assert all(frame.url in ("about:blank", page.url, "chrome-error://chromewebdata/") for frame in page.frames)
    assert page.frame_locator("iframe").get_by_label("Username").count() == 0
    problems.allow_all()

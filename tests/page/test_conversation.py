"""Reading a conversation: its newest messages first, older ones as one scrolls, links to each of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.helpers.client import UNKNOWN_ID, message
from tests.page.accessibility import assert_accessible
from tests.page.api import Api
from tests.page.conversations import answers, ask, conversation, is_at_end, open_session, questions, scroller
from tests.page.problems import Problems

Login = Callable[[Page], None]

TOP_OF_MIDDLE = """(el) => {
  const { top, bottom } = el.getBoundingClientRect();
  const middle = (top + bottom) / 2;
  const article = [...el.querySelectorAll("article")].find((each) => each.getBoundingClientRect().bottom > middle);
  return [article.id, Math.round(article.getBoundingClientRect().top)];
}"""


def place(page: Page) -> tuple[str, int]:
    """Return the message in the middle of the view, and where it is."""
    name, top = scroller(page).evaluate(TOP_OF_MIDDLE)
    return name, top


def test_long_conversation_opens_at_its_end(page: Page, login: Login, api: Api) -> None:
    session = api.imported(*conversation(5_000), title="Long")
    login(page)
    page.get_by_role("link", name="Long").click()
    expect(page.get_by_text("Message 4999")).to_be_in_viewport()
    assert is_at_end(page)
    assert page.get_by_role("article").count() == 50
    page.reload()
    expect(page.get_by_text("Message 4999")).to_be_in_viewport()
    assert len(api.messages(session)) == 5_000


def test_older_messages_come_without_moving_what_one_reads(page: Page, login: Login, api: Api) -> None:
    login(page)
    open_session(page, api.imported(*conversation(240)))
    expect(page.get_by_text("Message 239")).to_be_in_viewport()
    page.evaluate("() => document.fonts.ready")
    count = 50
    while count < 240:
        scroller(page).evaluate("(el) => { el.scrollTop = 700; }")
        before = place(page)
        count = min(count + 50, 240)
        expect(page.get_by_role("article")).to_have_count(count)
        page.wait_for_timeout(200)
        name, top = place(page)
        assert name == before[0]
        assert abs(top - before[1]) <= 2
    expect(page.get_by_role("button", name="Older messages")).to_be_hidden()
    texts = page.get_by_role("article").all_text_contents()
    numbers = [int(found[1]) for found in (re.search(r"Message (\d+)", text) for text in texts) if found]
    assert numbers == list(range(240))


def test_older_messages_at_the_very_top(page: Page, login: Login, api: Api) -> None:
    login(page)
    open_session(page, api.imported(*conversation(120)))
    expect(page.get_by_text("Message 119")).to_be_in_viewport()
    for count, added in ((100, 50), (120, 20)):
        scroller(page).evaluate("(el) => { el.scrollTop = 0; }")  # where browsers themselves keep no place
        expect(page.get_by_role("article")).to_have_count(count)
        expect(page.get_by_role("article").nth(added)).to_be_in_viewport()


def test_older_messages_that_cannot_be_read(page: Page, login: Login, api: Api, problems: Problems) -> None:
    problems.allow_failed_connections()
    login(page)
    page.route("**/messages?*cursor=*", lambda route: route.abort(), times=1)
    open_session(page, api.imported(*conversation(60)))
    expect(page.get_by_text("Message 59")).to_be_in_viewport()
    scroller(page).evaluate("(el) => { el.scrollTop = 0; }")
    expect(page.get_by_text("Older messages could not be read.")).to_be_visible()
    page.get_by_role("button", name="Older messages").click()
    expect(page.get_by_text("Message 0")).to_be_attached()


@pytest.mark.parametrize("number", [3, 610, 699])
def test_link_to_a_message(page: Page, login: Login, api: Api, number: int) -> None:
    session = api.imported(*conversation(700))
    wanted = api.messages(session)[number]
    login(page)
    open_session(page, session, wanted["id"])
    target = page.locator("article[aria-current=true]")
    expect(target).to_contain_text(f"Message {number}")
    expect(target).to_be_in_viewport()
    expect(target).to_be_focused()
    page.wait_for_timeout(300)
    expect(target).to_be_in_viewport()
    assert_accessible(page)


def test_link_to_a_message_that_is_not_there(page: Page, login: Login, api: Api) -> None:
    session = api.imported(*conversation(260))
    login(page)
    open_session(page, session, UNKNOWN_ID)
    expect(page.get_by_text("The message that the link leads to is not in this session any more.")).to_be_visible()
    expect(page.get_by_text("Message 259")).to_be_in_viewport()
    assert_accessible(page)


def test_link_and_text_of_a_message_are_copied(page: Page, login: Login, api: Api, context: BrowserContext) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    session = api.imported(message("**what** now"), message("a *b*\n\n- c", role="assistant"))
    question, _ = api.messages(session)
    login(page)
    open_session(page, session)
    questions(page).hover()
    questions(page).get_by_role("link", name="Copy link to this message").click()
    expect(page.get_by_text("Link copied.")).to_be_visible()
    copied = page.evaluate("() => navigator.clipboard.readText()")
    assert copied == page.url.partition("#")[0] + f"#/s/{session['id']}/m/{question['id']}"
    answers(page).hover()
    answers(page).get_by_role("button", name="Copy message as Markdown").click()
    expect(page.get_by_text("Message copied.")).to_be_visible()
    assert page.evaluate("() => navigator.clipboard.readText()") == "a *b*\n\n- c"
    page.goto(copied)
    expect(questions(page)).to_be_focused()


def test_conversation_is_copied_and_downloaded(page: Page, login: Login, api: Api, context: BrowserContext) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    session = api.imported(*conversation(4), title="Queue: full / checkout")
    login(page)
    open_session(page, session)
    menu = page.get_by_role("button", name="More")
    menu.click()
    assert_accessible(page)
    assert page.locator(".menu").evaluate("(menu) => menu.offsetWidth") < 400  # as wide as its longest line
    page.get_by_role("button", name="Copy conversation as Markdown").click()
    expect(page.get_by_text("Conversation copied.")).to_be_visible()
    markdown = page.evaluate("() => navigator.clipboard.readText()")
    assert "Message 3" in markdown
    for item, name in (("Download JSON", "Queue-full-checkout.json"), ("Download Markdown", "Queue-full-checkout.md")):
        menu.click()
        with page.expect_download() as download:
            page.get_by_role("button", name=item).click()
        assert download.value.suggested_filename == name
        content = Path(download.value.path()).read_text()
        assert "Message 3" in content
        if name.endswith("md"):  # but for the time of the export
            assert content.partition("UTC.")[2] == markdown.partition("UTC.")[2] != ""
    menu.click()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Download JSON")).to_be_hidden()


def test_what_people_paste_stays_as_it_is(page: Page, login: Login, api: Api) -> None:
    log = "ERROR  *queue*   full\n    at <b>x</b> # not a heading\n\n\n- see https://wiki.example/a?b=(c), now"
    fenced = '```json\n{"a": 1}\n```\n\nand then'
    login(page)
    open_session(page, api.imported(message(log), message(fenced, role="user")))
    expect(questions(page).first.locator(".verbatim")).to_have_text(log, use_inner_text=True)
    link = questions(page).first.get_by_role("link", name="https://wiki.example")
    expect(link).to_have_attribute("href", "https://wiki.example/a?b=(c")
    expect(link).to_have_attribute("rel", re.compile("noopener noreferrer"))
    expect(link).to_have_attribute("target", "_blank")
    expect(questions(page).nth(1).locator("pre code")).to_contain_text('{"a": 1}')
    expect(questions(page).nth(1).locator(".verbatim > p")).to_have_text("and then", use_inner_text=True)


@pytest.mark.parametrize(
    ("reason", "says"),
    [
        ("stopped", "Stopped by you"),
        ("length", "Cut off: it reached the limit of length"),
        ("interrupted", "Interrupted"),
        ("error", "Failed"),
        ("tool_calls", "Ended: tool_calls"),
    ],
)
def test_how_an_answer_ended(page: Page, login: Login, api: Api, reason: str, says: str) -> None:
    answer = message(
        "half", role="assistant", metadata={"finish_reason": reason, "model": "m-1", "duration_ms": 65_000}
    )
    login(page)
    open_session(page, api.imported(message("say half"), answer))
    expect(answers(page)).to_contain_text(says)
    expect(answers(page)).to_contain_text("m-1 · 1 min")
    again = page.get_by_role("button", name="Ask again")
    expect(again).to_have_count(int(reason in ("stopped", "interrupted", "error")))


HOSTILE = [
    "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">",
    "[a](javascript:document.title='owned') <a href=\"javascript:document.title='owned'\">b</a>",
    "![i](http://127.0.0.2:9/i.png) <iframe srcdoc=\"<script>parent.document.title='owned'</script>\"></iframe>",
    "\u202eevil\u202c \u2066\u2067 text",
    "x" * 40_000,
    "```html\n<script>document.title='owned'</script>\n```\n```\nnever closed <b>",
    "${document.title='owned'} {{constructor.constructor('document.title=1')()}} <!--?lit$1$-->",
    "`" * 30_000,
    "\n".join(["```a"] * 8_000),
    "> " * 5_000 + "deep",
]


def test_hostile_conversation_is_text(page: Page, login: Login, api: Api) -> None:
    metadata = {"model": "<b>m</b>" * 50, "finish_reason": ["x"], "duration_ms": "long"}
    turns = [
        message(text, role=role, metadata=metadata) for text in HOSTILE for role in ("user", "assistant", "system")
    ]
    session = api.imported(*turns, title="<img src=x onerror=alert(1)>\u202e")
    login(page)
    open_session(page, session)
    expect(page.get_by_role("article")).to_have_count(len(turns))
    for index in range(0, len(turns), 3):
        page.get_by_role("article").nth(index).scroll_into_view_if_needed()
    assert page.locator("main :is(script, img, iframe, object, form form, style)").count() == 0
    hrefs = page.locator("main article a").evaluate_all("(links) => links.map(({ protocol }) => protocol)")
    assert set(hrefs) <= {"http:", "https:", "mailto:"}
    assert "owned" not in page.title()
    width = scroller(page).evaluate("(el) => el.scrollWidth - el.clientWidth")
    assert width <= 0
    ask(page, "say <img src=x onerror=\"document.title='owned'\"> done")
    expect(answers(page).last).to_contain_text("<img src=x onerror")
    assert "owned" not in page.title()


def test_session_that_does_not_exist(page: Page, login: Login, problems: Problems) -> None:
    problems.allow_status(404)
    login(page)
    page.goto(f"./#/s/{UNKNOWN_ID}")
    expect(page.get_by_role("heading", name="There is no such session")).to_be_visible()
    assert_accessible(page)
    page.get_by_role("link", name="Back to the sessions").click()
    expect(page.get_by_label("Ask a question")).to_be_visible()


def test_session_deleted_while_one_types(page: Page, login: Login, api: Api, context: BrowserContext) -> None:
    session = api.session("Gone soon")
    login(page)
    open_session(page, session)
    page.get_by_label("Ask a question").fill("a long thought")
    other = context.new_page()
    other.goto(page.url)
    other.get_by_role("button", name="More").click()
    other.get_by_role("button", name="Delete session").click()
    other.close(run_before_unload=True)
    expect(page.get_by_role("heading", name="There is no such session")).to_be_visible(timeout=20_000)
    expect(page.get_by_role("button", name="Copy it")).to_be_visible()


def test_title_is_renamed_in_the_header(page: Page, login: Login, api: Api) -> None:
    session = api.session("Old")
    login(page)
    open_session(page, session)
    page.get_by_role("main").get_by_role("button", name="Rename session").click()
    page.get_by_label("Title", exact=True).fill("New")
    page.get_by_label("Title", exact=True).press("Enter")
    expect(page.get_by_role("heading", name="New", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Rename session")).to_be_focused()
    assert [each["title"] for each in api.sessions()] == ["New"]


@pytest.mark.parametrize("width", [320, 375, 1280])
def test_narrow_and_wide(page: Page, login: Login, api: Api, width: int) -> None:
    long = "word" * 100
    table = "| " + " | ".join(["column"] * 20) + " |\n|" + "---|" * 20 + "\n| " + " | ".join(["cell"] * 20) + " |"
    code = "```sh\nkubectl " + "--flag " * 60 + "\n```"
    session = api.imported(
        message(f"why {long}"), message(f"# Heading\n\n{long}\n\n{table}\n\n{code}", role="assistant"), title=long[:100]
    )
    login(page)
    page.set_viewport_size({"width": width, "height": 700})
    open_session(page, session)
    expect(answers(page)).to_be_visible()
    overflow = page.evaluate("() => document.documentElement.scrollWidth - innerWidth")
    assert overflow <= 0
    assert scroller(page).evaluate("(el) => el.scrollWidth - el.clientWidth") <= 0
    composer = page.get_by_label("Ask a question")
    expect(composer).to_be_in_viewport()
    expect(page.get_by_role("button", name="Send", exact=True)).to_be_in_viewport(ratio=1)
    expect(page.get_by_role("button", name="More")).to_be_in_viewport(ratio=1)
    assert_accessible(page)
    if width < 768:
        page.get_by_role("link", name="Back to the sessions").click()
        expect(page.get_by_role("navigation", name="Sessions")).to_be_visible()


def test_start_and_empty_session(page: Page, login: Login, api: Api) -> None:
    login(page)
    expect(page.get_by_role("heading", name=f"What is going on, {api.username}?")).to_be_visible()
    assert_accessible(page)
    page.get_by_role("button", name="New session").click()
    expect(page.get_by_text("Nothing has been asked yet.")).to_be_visible()
    assert_accessible(page)


def test_keyboard_goes_to_composer_and_messages(page: Page, login: Login, api: Api) -> None:
    login(page)
    open_session(page, api.imported(*conversation(4)))
    expect(page.get_by_text("Message 3")).to_be_visible()
    page.keyboard.press("c")
    expect(page.get_by_label("Ask a question")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    expect(answers(page).last.get_by_role("button")).to_be_focused()

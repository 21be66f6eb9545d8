"""A started server with a model and actions, a user for each test, and Chromium, in which nothing may go wrong unseen.

A test that uses ``page`` fails at its end if there was an error or a warning in the console, an exception, a violation
of the policy, or a request to another host, in any tab of its context; ``problems`` has what may be expected.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect, sync_playwright

from tests.helpers.data_folder import DataFolder
from tests.helpers.process import PASSWORD, FakeLlm, ServerProcess
from tests.helpers.webhook_receiver import WebhookReceiver
from tests.page.api import Api
from tests.page.problems import REPORT_VIOLATIONS, Problems
from tests.page.settings import page_settings

HERE = Path(__file__).parent
OPTIONS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--host-resolver-rules=MAP parley.example 127.0.0.1",  # where a browser has no reason to trust plain http
)
TIMEOUT_MS = 30_000
# Each test has its own, so that none sees what another has left.
USERS = 500


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker("page")


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    expect.set_options(timeout=TIMEOUT_MS)
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="session")
def browser(playwright: Playwright) -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.fail("There is no Chromium on the PATH, which these tests need: apt-get install chromium", pytrace=False)
    browser = playwright.chromium.launch(executable_path=path, args=list(OPTIONS))
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def users() -> Iterator[int]:
    """Numbers of users of the data folder, none twice."""
    return count()


@pytest.fixture(scope="session")
def session_receiver() -> Iterator[WebhookReceiver]:
    with WebhookReceiver() as receiver:
        yield receiver


@pytest.fixture
def receiver(session_receiver: WebhookReceiver) -> WebhookReceiver:
    """The receiver of the webhooks, which has received nothing yet."""
    session_receiver.received.clear()
    session_receiver.called.clear()
    return session_receiver


@pytest.fixture(scope="session")
def page_data(tmp_path_factory: pytest.TempPathFactory) -> DataFolder:
    return DataFolder(tmp_path_factory.mktemp("page") / "data", USERS)


@pytest.fixture(scope="session")
def server(page_data: DataFolder, fake_llm: FakeLlm, session_receiver: WebhookReceiver) -> Iterator[ServerProcess]:
    """The server that all tests share; one that stops it starts its own."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        settings = page_settings(page_data.path.parent, fake_llm.url, session_receiver.url, monkeypatch)
        with page_data.serve(**{name.removeprefix("PARLEY_"): value for name, value in settings.items()}) as server:
            yield server


@pytest.fixture
def api(server: ServerProcess, page_data: DataFolder, users: Iterator[int]) -> Iterator[Api]:
    """A client of the user that ``login`` logs in, to prepare what the page shows, and to read what it has done."""
    number = next(users)
    with Api(server, page_data.tokens[number]) as api:
        yield api


@pytest.fixture
def problems(server: ServerProcess) -> Problems:
    return Problems(server.url)


@pytest.fixture
def context(browser: Browser, server: ServerProcess, problems: Problems) -> Iterator[BrowserContext]:
    """A browser's profile that knows nothing yet; ``context.new_page()`` is another tab."""
    context = browser.new_context(base_url=server.url, viewport={"width": 1280, "height": 800}, locale="en-GB")
    context.set_default_timeout(TIMEOUT_MS)
    context.add_init_script(REPORT_VIOLATIONS)
    problems.watch(context)
    yield context
    context.close()
    problems.check()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


@pytest.fixture
def blank(page: Page) -> Page:
    """The page with nothing in it but an empty ``<main>``, under its policy."""
    page.goto("./")
    page.evaluate("() => document.body.replaceChildren(document.createElement('main'))")
    return page


@pytest.fixture
def login(api: Api) -> Callable[[Page], None]:
    """Log the test's user in, in a page: ``login(page)``."""

    def log_in(page: Page) -> None:
        page.goto("./")
        page.get_by_label("Username").fill(api.username)
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_label("Password", exact=True)).to_be_hidden()

    return log_in

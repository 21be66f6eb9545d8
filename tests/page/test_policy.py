"""The page's policy in a real browser: what text can never do; and that the fixtures see what goes wrong."""

from __future__ import annotations

import pytest
from playwright.sync_api import Error, Page

from tests.page.accessibility import assert_accessible
from tests.page.problems import Problems


def test_page_opens_without_a_problem(page: Page) -> None:
    page.goto("./")
    assert page.title()
    assert_accessible(page)


@pytest.mark.parametrize(
    ("script", "reported"),
    [
        ("console.warn('w')", "warning in the console: w"),
        ("console.error('e')", "error in the console: e"),
        ("setTimeout(() => { throw new Error('thrown') })", "exception: thrown"),
        ("setTimeout(() => Promise.reject(new Error('rejected')))", "exception: rejected"),
        ("setTimeout(() => eval('1'))", "policy violated: require-trusted-types-for"),
        ("fetch('http://127.0.0.2:9/').catch(() => null)", "policy violated: connect-src http://127.0.0.2:9/"),
        (
            "fetch('nothing')",
            "error in the console: Failed to load resource: the server responded with a status of 404",
        ),
        ("document.body.append(Object.assign(new Image(), {src: 'http://127.0.0.2:9/'}))", "policy violated: img-src"),
        ("document.body.setAttribute('style', 'color: red')", "policy violated: style-src-attr inline"),
        ("window.open('http://127.0.0.2:9/')", "request to another host: http://127.0.0.2:9/"),
    ],
)
def test_problems_are_found(page: Page, problems: Problems, script: str, reported: str) -> None:
    page.goto("./")
    page.evaluate(f"() => {{ {script} }}")
    page.wait_for_timeout(300)
    with pytest.raises(AssertionError) as found:
        problems.check()
    assert reported in str(found.value)
    problems.allow_all()


def test_expected_problems_are_none(page: Page, problems: Problems) -> None:
    problems.allow_status(404)
    problems.allow_failed_connections()
    page.goto("./")
    page.evaluate("() => fetch('nothing')")
    page.context.set_offline(True)
    page.evaluate("() => fetch('nothing').catch(() => null)")
    page.wait_for_timeout(300)
    problems.check()


@pytest.mark.parametrize(
    "script",
    [
        "document.body.innerHTML = '<b>x</b>'",
        "document.body.insertAdjacentHTML('beforeend', 'x')",
        "new DOMParser().parseFromString('<p>x', 'text/html')",
        "document.write('x')",
        "document.body.setAttribute('onclick', 'x()')",
        "document.createElement('iframe').srcdoc = 'x'",
        "document.createElement('script').text = 'x'",
        "document.createElement('script').src = 'static/app.js'",
        "trustedTypes.createPolicy('another', {})",
        "trustedTypes.createPolicy('default', {})",
    ],
)
def test_strings_never_become_markup_or_script(page: Page, problems: Problems, script: str) -> None:
    page.goto("./")
    with pytest.raises(Error, match=r"'Trusted(?:HTML|Script|ScriptURL)' assignment|Policy \"\w+\" disallowed"):
        page.evaluate(f"() => {{ {script} }}")
    problems.allow_all()

"""Import by choosing and dropping files, rehearsed before anything is written, and export of everything."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import FilePayload, Locator, Page, Route, expect

from tests.helpers.client import document, message
from tests.helpers.foreign_exports import CHATGPT, LIBRECHAT, OPEN_WEBUI
from tests.page.accessibility import assert_accessible
from tests.page.api import Api

Login = Callable[[Page], None]

HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"

DROP = """
(files) => {
  const transfer = new DataTransfer()
  files.forEach(([name, text]) => transfer.items.add(new File([text], name)))
  for (const type of ["dragenter", "dragover", "drop"]) {
    document.body.dispatchEvent(new DragEvent(type, { dataTransfer: transfer, bubbles: true, cancelable: true }))
  }
}
"""


def conversation(number: int, **more: Any) -> dict[str, Any]:
    return document(message(f"answer {number}", role="assistant"), id=f"c-{number}", title=f"Incident {number}") | more


def file(name: str, *items: Any) -> FilePayload:
    """Return a file with a conversation a line."""
    text = "\n".join(item if isinstance(item, str) else json.dumps(item) for item in items)
    return {"name": name, "mimeType": "application/json", "buffer": text.encode()}


def open_transfer(page: Page) -> None:
    page.goto("#/transfer")
    expect(page.get_by_role("heading", name="Import and export")).to_be_visible()


def choose(page: Page, *files: FilePayload) -> None:
    """Choose files, and wait until they have been checked."""
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose files").click()
    chooser.value.set_files(list(files))
    for each in files:  # only then has it begun
        expect(file_row(page, each["name"])).to_be_visible()
    await_end(page)


def await_end(page: Page) -> None:
    expect(page.get_by_role("button", name="Cancel")).to_be_hidden(timeout=60_000)


def await_import(page: Page) -> None:
    expect(page.get_by_role("heading", name="What has been imported")).to_be_focused()
    await_end(page)


def file_row(page: Page, name: str) -> Locator:
    return page.get_by_role("list", name="Files").get_by_role("listitem").filter(has_text=name)


def report(page: Page) -> Locator:
    return page.get_by_role("region", name=re.compile("imported"))


def count_of(page: Page, label: str) -> int:
    """Return the number on a filter of the report."""
    text = report(page).get_by_role("button", name=re.compile(f"^{label} ")).inner_text()
    return int(text.split()[-1].replace(",", ""))


def test_import_is_rehearsed_then_reported(page: Page, login: Login, api: Api) -> None:
    known = api.imported(message("question 1"), id="c-1", title="Incident 1")
    login(page)
    open_transfer(page)
    choose(page, file("mine.ndjson", conversation(1), conversation(2), conversation(3), "{broken"))
    expect(file_row(page, "mine.ndjson")).to_contain_text("2 new, 1 already there, 1 refused")
    assert [count_of(page, label) for label in ("All", "New", "Already there", "Refused")] == [4, 2, 1, 1]
    items = report(page).get_by_role("listitem")
    expect(items.filter(has_text="Incident 1").get_by_role("link")).to_have_attribute("href", f"#/s/{known['id']}")
    expect(items.filter(has_text="Incident 2")).to_contain_text("1 message")
    expect(items.filter(has_text="This is not valid JSON.")).to_contain_text("No. 4")
    assert len(api.sessions()) == 1  # nothing has been written
    assert_accessible(page)

    page.get_by_role("button", name="Import 2 conversations (2 messages)").click()
    await_import(page)
    assert [count_of(page, label) for label in ("All", "Imported", "Already there", "Refused")] == [4, 2, 1, 1]
    assert {session["title"] for session in api.sessions()} == {"Incident 1", "Incident 2", "Incident 3"}
    expect(page.get_by_role("navigation", name="Sessions")).to_contain_text("Incident 3")
    assert_accessible(page)

    items.filter(has_text="Incident 3").get_by_role("link").click()
    expect(page).to_have_url(re.compile("#/s/"))


def test_several_exports_of_other_programs_at_once(page: Page, login: Login, api: Api) -> None:
    login(page)
    open_transfer(page)
    second = CHATGPT | {"conversation_id": "gpt-2", "title": "Second half"}
    choose(
        page,
        file("conversations-000.json", json.dumps([CHATGPT])),
        file("conversations-001.json", json.dumps([second])),
        file("open-webui.json", json.dumps([OPEN_WEBUI])),
        file("librechat.json", json.dumps(LIBRECHAT)),
    )
    expect(page.get_by_role("list", name="Files").get_by_role("listitem")).to_have_count(4)
    assert count_of(page, "New") == 4
    report(page).get_by_role("button", name=re.compile("^Not complete")).click()
    expect(report(page).get_by_role("listitem").filter(has_text="conversations-000.json")).to_contain_text(
        re.compile("Left out: .*1 image")
    )
    page.get_by_role("button", name=re.compile("^Import 4 conversations")).click()
    await_import(page)
    assert len(api.sessions()) == 4


def test_files_dropped_anywhere_are_rehearsed(page: Page, login: Login, api: Api) -> None:
    login(page)
    page.evaluate(DROP, [["a.json", json.dumps(conversation(1))], ["b.json", json.dumps(conversation(2))]])
    expect(page).to_have_url(re.compile("#/transfer$"))
    expect(page.get_by_role("button", name="Import 2 conversations (2 messages)")).to_be_enabled()
    assert api.sessions() == []


def test_folder_takes_the_conversations_of_an_export(page: Page, login: Login, tmp_path: Path) -> None:
    for number, name in enumerate(("conversations-000.json", "conversations-001.json", "user.json", "chat.html")):
        (tmp_path / name).write_text(json.dumps([conversation(number)]))
    login(page)
    open_transfer(page)
    page.get_by_test_id("folder").set_input_files(tmp_path)
    expect(page.get_by_role("list", name="Files").get_by_role("listitem")).to_have_count(2)
    await_end(page)
    assert count_of(page, "New") == 2


def test_archive_is_refused_with_what_to_do(page: Page, login: Login) -> None:
    login(page)
    open_transfer(page)
    archive: FilePayload = {"name": "export.zip", "mimeType": "application/zip", "buffer": b"PK\x03\x04rest"}
    choose(page, archive, file("empty.json"))
    expect(file_row(page, "export.zip")).to_contain_text("Unpack it first")
    expect(file_row(page, "empty.json")).to_contain_text("This file is empty.")
    expect(page.get_by_role("button", name="Nothing to import")).to_be_disabled()
    assert_accessible(page)
    page.get_by_role("button", name="Remove export.zip from the list").click()
    expect(file_row(page, "export.zip")).to_have_count(0)


def test_file_over_the_limit_is_not_sent(page: Page, login: Login) -> None:
    def small_limit(route: Route) -> None:
        response = route.fetch()
        about = response.json()
        route.fulfill(response=response, json=about | {"limits": about["limits"] | {"import_bytes": 100_000}})

    page.route("**/api/about", small_limit)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))
    login(page)
    open_transfer(page)
    choose(page, file("large.json", "x" * 150_000))
    expect(file_row(page, "large.json")).to_contain_text("146.5 kB, and Parley takes 97.7 kB at once")
    assert not any("import" in url for url in sent)


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (conversation(1, version=2), "Another version of Parley's format. version: Must be 1."),
        (conversation(1, messages=[message(), message(role="tool")]), "messages.1.role: Must be one of"),
        ({"no": "conversation"}, "Not a conversation of a known kind"),
        (conversation(1, messages=[message(HOSTILE, role=HOSTILE)]), "messages.0.role: Must be one of"),
    ],
)
def test_refusals_say_where_and_why(page: Page, login: Login, item: dict[str, Any], reason: str) -> None:
    login(page)
    open_transfer(page)
    choose(page, file("bad.json", item))
    expect(report(page).get_by_role("listitem").first).to_contain_text(reason)
    expect(page.get_by_role("button", name="Nothing to import")).to_be_disabled()


def test_texts_of_files_stay_text(page: Page, login: Login) -> None:
    login(page)
    open_transfer(page)
    choose(
        page,
        file(f"{HOSTILE[:20]}.json", document(message(HOSTILE), id="x", title=HOSTILE)),
        file("chatgpt.json", CHATGPT | {"mapping": {HOSTILE: {"message": {"author": {"role": 5}}}}}),
    )
    expect(report(page)).to_contain_text(HOSTILE)
    assert page.locator("main img, main script").count() == 0


def test_what_is_there_is_imported_again_if_asked(page: Page, login: Login, api: Api) -> None:
    api.imported(message("question 1"), id="c-1", title="Incident 1")
    login(page)
    open_transfer(page)
    choose(page, file("mine.json", conversation(1)))
    expect(page.get_by_role("button", name="Nothing to import")).to_be_disabled()
    page.get_by_label("Import again what is already there").check()
    page.get_by_role("button", name="Import 1 conversation (1 message)").click()
    await_import(page)
    assert [session["title"] for session in api.sessions()] == ["Incident 1"] * 2


def test_thousands_of_conversations(page: Page, login: Login, api: Api) -> None:
    login(page)
    open_transfer(page)
    choose(page, file("many.ndjson", *(conversation(number) for number in range(1_500)), *["{"] * 1_500))
    expect(page.get_by_role("button", name="Import 1,500 conversations (1,500 messages)")).to_be_enabled()
    expect(report(page)).to_contain_text("500 conversations are counted, but not listed.")
    report(page).get_by_role("button", name=re.compile("^New ")).click()
    rows = report(page).get_by_role("listitem")
    expect(rows).to_have_count(100)
    report(page).get_by_role("button", name=re.compile("^Show 100 more of")).click()
    expect(rows).to_have_count(200)
    page.get_by_role("button", name=re.compile("^Import 1,500")).click()
    await_import(page)
    assert count_of(page, "Imported") == 1_500
    assert len(api.sessions()) == 1_500


def test_cancelled_import_keeps_what_is_there_and_goes_on(page: Page, login: Login, api: Api) -> None:
    login(page)
    open_transfer(page)
    choose(page, file("many.ndjson", *(conversation(number) for number in range(1_500))))
    page.get_by_role("button", name=re.compile("^Import 1,500")).click()
    page.get_by_role("button", name="Cancel").click()
    expect(file_row(page, "many.ndjson")).to_contain_text("Cancelled")
    file_row(page, "many.ndjson").get_by_role("button", name="Try again").click()
    await_end(page)
    rest = page.get_by_role("button", name=re.compile("^Import [1-9]"))
    expect(rest).to_be_enabled()
    rest.click()
    await_import(page)
    assert len({session["title"] for session in api.sessions()}) == len(api.sessions()) == 1_500


def test_import_whose_connection_is_lost_can_be_tried_again(page: Page, login: Login, api: Api, problems: Any) -> None:
    problems.allow_failed_connections()
    login(page)
    open_transfer(page)
    page.context.set_offline(True)
    choose(page, file("mine.json", conversation(1)))
    expect(file_row(page, "mine.json")).to_contain_text("Parley cannot be reached.")
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    page.get_by_role("button", name="Import 1 conversation (1 message)").click()
    await_import(page)
    assert len(api.sessions()) == 1


def test_export_of_everything_is_imported_again(page: Page, login: Login, api: Api, tmp_path: Path) -> None:
    api.imported(message("Grüße 🙂 <b>"), message("Antwort", role="assistant"), title="Unicode")
    api.imported(message("another"))
    before = api.sessions()
    login(page)
    open_transfer(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Export everything").click()
    saved = tmp_path / download.value.suggested_filename
    assert re.fullmatch(r"parley-\d{4}-\d\d-\d\d\.ndjson", saved.name)
    download.value.save_as(saved)
    assert len(saved.read_text().splitlines()) == 2

    page.get_by_test_id("files").set_input_files(saved)
    expect(page.get_by_role("button", name="Nothing to import")).to_be_disabled()
    api.delete("/api/sessions")
    page.get_by_role("button", name="Clear the list").click()
    page.get_by_test_id("files").set_input_files(saved)
    page.get_by_role("button", name="Import 2 conversations (3 messages)").click()
    await_import(page)
    after = api.sessions()
    assert sorted(str(session["title"]) for session in after) == sorted(str(session["title"]) for session in before)
    contents = {entry["content"] for session in after for entry in api.messages(session)}
    assert contents == {"Grüße 🙂 <b>", "Antwort", "another"}


def test_imported_sessions_show_in_the_other_tab(page: Page, login: Login) -> None:
    login(page)
    other = page.context.new_page()
    other.goto("./")
    open_transfer(page)
    choose(page, file("mine.json", conversation(1)))
    page.get_by_role("button", name=re.compile("^Import 1")).click()
    expect(other.get_by_role("navigation", name="Sessions")).to_contain_text("Incident 1")

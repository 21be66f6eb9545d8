"""README, docs/ and CONTRIBUTING are true: their tables match the code, links resolve, and commands work as pasted.

One file, since all of its tests read the same pages and share their server.
"""

from __future__ import annotations

import json
import re
import shlex
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest
from flask import Flask
from standardwebhooks.webhooks import WebhookVerificationError

import config
import errors
from services import importers
from tests.helpers import openapi_checker
from tests.helpers.documentation import PAGES, Page, page
from tests.helpers.process import ROOT, ServerProcess, environment
from tests.helpers.webhook_receiver import SECRET, WebhookReceiver

README, CONTRIBUTING = page("README.md"), page("CONTRIBUTING.md")
GUIDES = [each for each in PAGES if each.path.parent == ROOT / "docs"]
MANUAL = [README, CONTRIBUTING, *GUIDES]
MAX_LINE_LENGTH = 120
MAX_TABLE_ROW_LENGTH = 160  # Markdown cannot wrap a row
MAX_README_WORDS = 800


# Form and links --------------------------------------------------------------------------------


def test_readme_is_short() -> None:
    assert len(README.text.split()) <= MAX_README_WORDS


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_lines_are_short(page: Page) -> None:
    for number, line in enumerate(page.text.splitlines(), 1):
        limit = MAX_TABLE_ROW_LENGTH if line.startswith("|") else MAX_LINE_LENGTH
        assert len(line) <= limit, f"{page}:{number}"


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_and_anchors_resolve(page: Page) -> None:
    for link in page.links:
        path, _, anchor = link.partition("#")
        if re.match(r"https?://", path):
            continue
        target = (page.path.parent / path).resolve() if path else page.path
        assert target.exists(), f"{page}: {link}"
        if anchor:
            assert anchor in Page(target).anchors, f"{page}: {link}"


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_named_files_exist(page: Page) -> None:
    for name in re.findall(r"`((?:[a-z_0-9]+/)+[a-z_0-9]+\.[a-z]+)`", page.prose):
        assert (ROOT / name).exists(), f"{page}: {name}"


@pytest.mark.parametrize("page", GUIDES, ids=str)
def test_guides_have_a_table_of_contents(page: Page) -> None:
    sections = [text for level, text in page.headings if level == 2]
    listed = re.findall(r"^- \[(.+)\]\(#.+\)$", page.text, re.MULTILINE)
    assert listed == sections


def test_guides_are_all_in_the_readme() -> None:
    assert {guide.name for guide in GUIDES} <= {link.partition("#")[0] for link in README.links}


def test_changelog_uses_the_standard_headings() -> None:
    releases = re.split(r"^## ", page("CHANGELOG.md").text, flags=re.MULTILINE)[1:]
    assert re.match(r"\[?Unreleased|\d+\.\d+\.\d+", releases[0])
    for release in releases:
        kinds = re.findall(r"^### (.+)$", release, re.MULTILINE)
        assert kinds, release.partition("\n")[0]
        assert kinds == [
            kind for kind in ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security") if kind in kinds
        ]


# Tables ----------------------------------------------------------------------------------------


def test_settings_table_matches_the_code() -> None:
    expected = {
        f"`{setting.name}`": [
            f"`{setting.name}`",
            "" if setting.default is None else f"`{setting.default}`",
            setting.description,
        ]
        for setting in config.SETTINGS
    }
    documented = page("docs/configuration.md").table("setting", "default", "meaning")
    for row in documented:
        assert row == expected.get(row[0]), "docs/configuration.md should have the description of config.py"
    assert sorted(row[0] for row in documented) == sorted(expected)


def test_readme_lists_real_settings_with_their_defaults() -> None:
    defaults = {f"`{setting.name}`": setting.default for setting in config.SETTINGS}
    for name, default, _ in README.table("setting", "default", "meaning"):
        assert default == ("" if defaults[name] is None else f"`{defaults[name]}`")


def test_error_table_matches_the_code() -> None:
    documented = {
        (int(status), code)
        for status, codes in page("docs/api.md").table("status", "codes")
        for code in re.findall(r"`([a-z_]+)`", codes)
    }
    assert documented == {(status, code) for code, status in errors.STATUS_BY_CODE.items()}


def test_route_table_matches_openapi() -> None:
    documented = [
        request
        for row in page("docs/api.md").table("request", "what it does")
        for request in re.findall(r"`(\w+ /[^`?]+)`", row[0])
    ]
    described = {
        f"{method.upper()} {path}".replace("{session_id}", ":id").replace("{name}", ":name")
        for path, item in openapi_checker.DOCUMENT["paths"].items()
        for method in item
    }
    missing, unknown = sorted({*described} - {*documented}), sorted({*documented} - {*described})
    assert sorted(documented) == sorted(described), (
        f"The route table of docs/api.md lacks {missing}, has {unknown} beyond openapi.json (`make openapi`)"
    )


def test_command_table_matches_the_code(app: Flask) -> None:
    def usages(group: Any, prefix: str) -> Iterator[str]:
        for name, command in group.commands.items():
            if isinstance(command, click.Group):
                yield from usages(command, f"{prefix} {name}")
            else:
                arguments = [each.name.upper() for each in command.params if isinstance(each, click.Argument)]
                yield " ".join([prefix, name, *arguments])

    documented = [row[0].strip("`") for row in page("docs/users.md").table("command", "what it does")]
    assert sorted(documented) == sorted(usages(app.cli, "flask"))


def test_importers_are_named_in_the_documentation() -> None:
    programs = {row[0] for row in page("docs/transfer.md").table("program", "file")}
    assert programs == set(re.split(r", | or ", importers.NAMES)) - {"Parley"}
    assert all(program in README.text for program in programs)


def test_architecture_names_every_room_of_the_code() -> None:
    """Modules and packages at the top; a module may become a package, and a package be split, without a word there."""
    rows = page("docs/architecture.md").table("where", "what")
    documented = {Path(name).stem for row in rows for name in re.findall(r"`([^`]+)`", row[0])}
    rooms = {path.relative_to(ROOT).parts[0] for path in (*ROOT.glob("*.py"), *ROOT.glob("[a-z]*/**/*.py"))}
    assert documented == {Path(room).stem for room in rooms} | {"docs", "static"}


# Commands --------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [*MANUAL, Page(ROOT / "benchmarks/README.md")], ids=str)
def test_code_blocks_say_their_language(page: Page) -> None:
    assert {block.language for block in page.blocks} <= {
        "sh",
        "console",
        "python",
        "json",
        "toml",
        "text",
        "diff",
        "sql",
    }
    assert not re.findall(r"^ {4}(?:make|curl|flask|docker|export)\b.*$", page.prose, re.MULTILINE)


def check_flask(arguments: list[str], app: Flask) -> None:
    """Let Click parse the arguments of ``flask``, without running the command."""
    command: Any = app.cli
    while isinstance(command, click.Group):
        command, arguments = command.commands[arguments[0]], arguments[1:]
    command.make_context("flask", arguments, resilient_parsing=False)


def check_export(assignments: list[str]) -> None:
    """Check that variables are settings, or the secret of the example action."""
    settings = {setting.name for setting in config.SETTINGS}
    for assignment in assignments:
        name = assignment.partition("=")[0].removesuffix("_FILE")
        assert name in settings or assignment.partition("=")[0] in settings | {"RESTART_SECRET"}, assignment


@pytest.mark.parametrize(
    ("page", "line"),
    [
        (page, line)
        for page in [*MANUAL, Page(ROOT / "benchmarks/README.md")]
        for script in page.scripts("console")
        for line in script.replace("\\\n", " ").splitlines()
    ],
)
def test_commands_that_are_not_run_exist(page: Page, line: str, app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ``console`` blocks: what starts servers, containers, or the tests themselves."""
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    monkeypatch.setenv("PARLEY_PASSWORD", "not asked for")
    plain = re.sub(r"\$\(.*?\)", "VALUE", line).removesuffix("&").partition(" > ")[0]
    program, *arguments = shlex.split(plain, comments=True)
    if program == "docker" and arguments[1] == "-f":
        assert (ROOT / arguments[2]).exists()
        del arguments[1:3]
    match program, arguments:
        case "make", [target, *_]:
            assert target in targets
        case "export", assignments:
            check_export(assignments)
        case "docker", ["compose", "build" | "down"] | ["compose", "up", "-d", *_]:
            assert {each for each in arguments[3:] if each[0] != "-"} <= {"parley-1", "parley-2", "postgres"}
        case "docker", ["compose", "exec" | "run", *rest]:
            service, program, *command = [each for each in rest if each not in ("-T", "--rm")]
            services = {"flask": ("parley", "parley-1"), "pg_dump": ("postgres",), "cat": ("parley",)}
            assert service in services[program]
            if program == "flask":
                check_flask(command, app)
        case ".venv/bin/python", ["-m", "pytest" | "benchmarks.run", *rest]:
            assert all((ROOT / path).exists() for path in rest if path.startswith("tests/"))
        case ".venv/bin/python", ["-m", "pip", "install", "-r", path]:
            assert (ROOT / path).exists()
        case ".venv/bin/python", [script, *_]:
            assert (ROOT / script).exists()
        case ".venv/bin/flask", command:
            check_flask(command, app)
        case (("ollama" | "git" | ".venv/bin/ruff" | ".venv/bin/mypy"), _):
            pass
        case (("createuser" | "createdb" | "pg_dump" | "pg_restore"), _):
            pass  # test_operations_guide.py runs them
        case _:
            pytest.fail(f"{page}: nobody checks {line!r}")


class Guide(NamedTuple):
    """A shell to paste the guides' commands into: its folder, and the server that they are for."""

    folder: Path
    server: ServerProcess
    receiver: WebhookReceiver
    output: str

    def paste(self, scripts: list[str]) -> str:
        """Paste code blocks into a shell that has been through the quick start; return what it prints."""
        return run_script(self.folder, self.server, [". ./variables", *scripts])


def run_script(folder: Path, server: ServerProcess, scripts: list[str]) -> str:
    """Run code blocks in one shell as they stand; only addresses, paths and the environment are the test's."""
    environ = environment(server.data) | {"FLASK_APP": str(ROOT / "app.py"), "PYTHONDONTWRITEBYTECODE": "1"}
    script = "set -e\n" + "\n".join(scripts).replace("http://127.0.0.1:8080", server.url)
    script = script.replace("curl -s", "curl --fail-with-body -s").replace(".venv/bin/", "./")
    process = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environ, capture_output=True, text=True, timeout=60
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


@pytest.fixture(scope="module")
def guide(tmp_path_factory: pytest.TempPathFactory, fake_llm: Any) -> Iterator[Guide]:
    """A server with all that can be configured, and a shell that has been through the README's quick start."""
    folder = tmp_path_factory.mktemp("guide")
    for name, command in (("flask", "-m flask"), ("python", "")):
        program = folder / name
        program.write_text(f'#!/bin/sh\nexec {sys.executable} {command} "$@"\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    with pytest.MonkeyPatch.context() as patch, WebhookReceiver() as receiver:
        patch.setenv("RESTART_SECRET", SECRET)
        actions = folder / "actions.toml"
        example = (ROOT / "examples/actions.toml").read_text()
        actions.write_text(example.replace("http://127.0.0.1:9000/restart", f"{receiver.url}/ok"))
        settings = {"LLM_BASE_URL": fake_llm.url, "DOCS_DIR": ROOT / "examples/docs", "ACTIONS_FILE": actions}
        with ServerProcess(folder / "data", **settings) as server:
            save = "declare -p TOKEN ID > variables; declare -f field >> variables"
            output = run_script(folder, server, [*README.scripts(), save])
            yield Guide(folder, server, receiver, output)
            assert server.stop() == 0


def test_quick_start_works_as_pasted(guide: Guide) -> None:
    *_, renamed, appended, session = guide.output.splitlines()
    assert json.loads(renamed)["title"] == "Checkout is slow"
    assert json.loads(session)["messages"] == [json.loads(appended)]
    assert json.loads((guide.folder / "session.json").read_text())["session"]["title"] == "Checkout is slow"


def test_chat_guide_works_as_pasted(guide: Guide) -> None:
    stream, replies, again, prompt, explain = page("docs/chat.md").scripts()
    output = guide.paste([stream, "echo", replies, "echo", prompt, "echo", explain])
    streamed, _, rest = output.partition("\n\n\n")
    assert streamed.count("event: delta") == 7
    assert streamed.index("event: message") < streamed.index("event: delta") < streamed.index("event: done")
    completed, prompts, explained = rest.split("\n\n")
    assert [message["role"] for message in json.loads(completed)["messages"]] == ["user", "assistant"]
    assert "Zoë" in prompts
    assert "[runbooks/checkout.md: Checkout > Checkout is slow]" in prompts
    assert prompts.index("Zoë") < prompts.index("[runbooks/") < prompts.index("And if checkout is slow?")
    sources = {part["source"] for each in json.loads(explained)["messages"] for part in each.get("parts", [each])}
    assert "runbooks/checkout.md › Checkout > Checkout is slow" in sources
    _, asked, *events, question = guide.paste([again, "cat question.json"]).splitlines()
    assert json.loads(asked.removeprefix("data: ")) == json.loads(question)
    assert events[-3] == "event: done"


def test_actions_guide_works_as_pasted(guide: Guide) -> None:
    guides = page("docs/actions.md")
    listed, run, runs = guide.paste(guides.scripts()).splitlines()
    assert [action["name"] for action in json.loads(listed)["items"]] == ["restart_service"]
    assert json.loads(run)["status"] == "succeeded"
    assert json.loads(runs)["items"] == [json.loads(run)]
    ((_, event, headers, body),) = guide.receiver.received
    names: dict[str, Any] = {}
    exec(guides.scripts("python")[0], names)  # the guide's own lines
    assert names["verify"](body.encode(), headers, SECRET) == event
    with pytest.raises(WebhookVerificationError):
        names["verify"](body.encode() + b" ", headers, SECRET)
    # The body of a call as the guide shows it.
    example = json.loads(guides.scripts("json")[0])
    assert (list(event), list(event["data"])) == (list(example), list(example["data"]))
    assert event["type"] == example["type"]


def test_search_guide_works_as_pasted(guide: Guide) -> None:
    found = json.loads(guide.paste(page("docs/search.md").scripts()))
    assert "<mark>payment</mark> <mark>queue</mark>" in found["items"][0]["match"]


def test_requests_guide_works_as_pasted(guide: Guide) -> None:
    sessions, messages, newest, renamed, first, again = guide.paste(page("docs/requests.md").scripts()).splitlines()
    assert "next_cursor" in json.loads(sessions)
    assert json.loads(messages)["next_cursor"] is None
    assert json.loads(newest)["items"] == json.loads(messages)["items"][::-1]
    assert json.loads(renamed)["title"] == "Only if it is unchanged"
    assert first == again


def test_transfer_guide_works_as_pasted(guide: Guide) -> None:
    export = {"title": "From elsewhere", "current_node": "1", "mapping": {"1": {"id": "1", "message": None}}}
    (guide.folder / "conversations.json").write_text(json.dumps([export]))
    output = guide.paste(page("docs/transfer.md").scripts())
    imported, checked, *rest, wrote, rehearsed, elsewhere = output.splitlines()
    start = next(number for number, line in enumerate(rest) if line.startswith('{"sessions"'))
    markdown, report, lines = rest[:start], rest[start], rest[start + 1 :]
    assert json.loads(imported)["imported_messages"] == 2
    assert json.loads(checked)["imported_messages"] > 0
    assert "Is the payment queue full?" in "\n".join(markdown)
    assert json.loads(report)["counts"] == {"imported": 0, "skipped": len(json.loads(report)["sessions"]), "refused": 0}
    assert list(map(json.loads, lines)) == [*json.loads(report)["sessions"], {"counts": json.loads(report)["counts"]}]
    assert "sessions.ndjson" in wrote
    assert rehearsed.startswith("0 imported, ")
    assert json.loads(elsewhere)["counts"]["imported"] == 1


def test_users_guide_works_as_pasted(guide: Guide) -> None:
    listed, me, sessions = guide.paste(page("docs/users.md").scripts()).splitlines()
    assert listed.endswith("  alice")
    assert json.loads(me)["username"] == "alice"
    assert json.loads(sessions)["items"]


@pytest.mark.sqlite
def test_deployment_guide_works_as_pasted(guide: Guide) -> None:
    guide.paste(page("docs/deployment.md").scripts())
    assert (guide.folder / "parley-backup.db").read_bytes().startswith(b"SQLite format 3\0")


def test_every_script_is_run_by_a_test() -> None:
    run = {"README.md", *(f"docs/{name}.md" for name in ("chat", "actions", "search", "requests", "transfer", "users"))}
    assert {each.name for each in MANUAL if each.scripts()} == run | {"docs/deployment.md"}


def test_export_document_is_as_documented(guide: Guide) -> None:
    example = json.loads(page("docs/api.md").scripts("json")[0])
    document = json.loads((guide.folder / "session.json").read_text())
    assert list(document) == list(example)
    assert list(document["session"]) == list(example["session"])
    assert list(document["messages"][0]) == list(example["messages"][0])

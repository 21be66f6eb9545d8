"""The commands ``flask export`` and ``flask import``, and what they have in common with ``flask backup``."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from flask import Flask

from database import db
from tests.helpers import engine
from tests.helpers.client import ApiClient, message
from tests.helpers.documents import export_lines
from tests.helpers.foreign_exports import gpt_conversation, gpt_node
from tests.helpers.process import ROOT, environment


def test_export_then_import_and_skip(app: Flask, owner: ApiClient, other: ApiClient, tmp_path: Path) -> None:
    for number in range(3):
        owner.imported(message(str(number)))
    file = tmp_path / "all.ndjson"
    run = app.test_cli_runner().invoke
    done = run(args=["export", "owner", str(file)])
    assert (done.exit_code, "Wrote" in done.output) == (0, True), done.output
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(file.read_bytes().splitlines()) == 3
    for expected in ("3 imported, 0 skipped, 0 refused.", "0 imported, 3 skipped, 0 refused."):
        done = run(args=["import", "other", str(file)])
        assert (done.exit_code, expected in done.output) == (0, True), done.output
    assert "3 imported" in run(args=["import", "other", str(file), "--duplicate"]).output
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".all")] == []
    assert len(export_lines(other)) == 6


@pytest.mark.slow
def test_reads_and_writes_pipes_devices_and_links(owner: ApiClient, tmp_path: Path) -> None:
    owner.imported(message("piped"))
    db.close()
    target, link, fifo = tmp_path / "target", tmp_path / "link", tmp_path / "fifo"
    target.write_text("before")
    link.symlink_to(target)
    os.mkfifo(fifo)
    flask = f"{sys.executable} -m flask"

    def shell(command: str) -> subprocess.CompletedProcess[bytes]:
        environ = environment(tmp_path) | engine.settings(engine.SHARED)
        done = subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=ROOT, env=environ, capture_output=True)
        assert b"Traceback" not in done.stderr
        return done

    for destination in ("-", "/dev/stdout", "/proc/self/fd/1"):
        done = shell(f"{flask} export owner {destination}")
        assert json.loads(done.stdout)["messages"][0]["content"] == "piped"
        wrote = "standard output" if destination == "-" else destination
        assert done.stderr == f"Wrote {wrote}, {len(done.stdout)} bytes.\n".encode()  # and no empty bar
    beginnings = {"export owner": b'{"version"'} | ({} if engine.server else {"backup": b"SQLite format 3\0"})
    for command, beginning in beginnings.items():
        assert shell(f"{flask} {command} {link}").returncode == 0
        assert link.is_symlink()
        assert target.read_bytes().startswith(beginning)
        assert target.stat().st_mode & 0o777 == 0o600
        done = shell(f"cat {fifo} & {flask} {command} {fifo} >&2; wait")
        assert done.stdout == target.read_bytes() or command == "export owner"
        assert done.stdout.startswith(beginning)
        assert fifo.is_fifo()
        for device, code in (("/dev/null", 0), ("/dev/full", 1)):
            assert shell(f"{flask} {command} {device}").returncode == code
            assert stat.S_ISCHR(os.stat(device).st_mode)
        done = shell(f"echo first > {target}; {flask} {command} - >> {target}")
        assert target.read_bytes().startswith(b"first\n" + beginning)
    for source in ("-", "/dev/stdin"):
        done = shell(f"{flask} export owner - | {flask} import owner {source} --duplicate --dry-run")
        assert done.stdout == b"1 imported, 0 skipped, 0 refused. Dry run: nothing was written.\n"
        done = shell(f"{flask} export owner - | {flask} import owner {source}")
        assert done.stdout == b"0 imported, 1 skipped, 0 refused.\n"
    assert {path.name for path in tmp_path.iterdir()} >= {"target", "link", "fifo"}
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith((".", "tmp"))]


def test_import_lists_the_first_1000_refused_lines(app: Flask, owner: ApiClient, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"{}\n" * 3_000)
    done = app.test_cli_runner().invoke(args=["import", "owner", str(tmp_path / "a")])
    assert "0 imported, 0 skipped, 3,000 refused." in done.output
    assert "And 2,000 more." in done.output
    assert done.output.count("Line ") == 1_000
    assert "Line 1: validation_error (Not a conversation of a known kind: " in done.output


def test_import_rejects_archives(app: Flask, owner: ApiClient, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        archive.writestr("conversations.json", "[]")
    done = app.test_cli_runner().invoke(args=["import", "owner", str(tmp_path / "export.zip")])
    assert (done.exit_code, done.output.count("\n")) == (1, 1)
    assert "unpack it" in done.output


def test_failures_are_reported_without_a_traceback(app: Flask, owner: ApiClient, tmp_path: Path) -> None:
    run = app.test_cli_runner().invoke
    (tmp_path / "a").write_text('{"session": {}}\n')
    done = run(args=["import", "owner", str(tmp_path / "a")])
    assert done.exit_code == 1
    assert "0 imported, 0 skipped, 1 refused." in done.output
    assert "Line 1: validation_error (messages: Missing data for required field.)\n" in done.output
    (tmp_path / "a").write_text(json.dumps(gpt_conversation(gpt_node("\x1b[1m\n", "root", "user", "x" * 50_001))))
    done = run(args=["import", "owner", str(tmp_path / "a")])
    assert "\\x1b[1m\\n" in done.output  # escaped: the file cannot control the terminal or forge a line
    assert (done.exit_code, done.output.count("\n")) == (1, 2)
    for arguments in (["export", "nobody", str(tmp_path / "b")], ["export", "owner", str(tmp_path / "no" / "b")]):
        done = run(args=arguments)
        assert done.exit_code == 1
        assert "Traceback" not in done.output
    assert not (tmp_path / "b").exists()

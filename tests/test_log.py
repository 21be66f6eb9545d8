"""Lines of the log: a record a line, whatever is in it."""

from __future__ import annotations

import logging
import sys

import pytest
from flask import Flask
from flask.testing import FlaskClient

from logs import TextFormatter
from text import printable

FORGED = "x\n2026-01-01T00:00:00.000Z INFO - forged\r\x1b[2K\x85\u2028\u202e\u200bx"


def record(message: str, **fields: str) -> logging.LogRecord:
    made = logging.LogRecord("parley", logging.INFO, __file__, 1, message, (), None)
    made.fields = fields
    return made


def test_a_record_is_a_line_without_control_characters() -> None:
    line = TextFormatter().format(record(FORGED, path=FORGED, method=FORGED))
    assert printable(line) == line
    assert line.count("\\n2026-01-01T00:00:00.000Z INFO - forged\\r\\x1b[2K\\x85\\u2028\\u202e\\u200bx") == 3


def test_a_traceback_cannot_forge_a_record() -> None:
    try:
        raise ValueError(FORGED)
    except ValueError:
        made = record("internal error")
        made.exc_info = sys.exc_info()
    first, *below = TextFormatter().format(made).split("\n")
    assert first.endswith("internal error")
    assert len(below) > 3
    assert all(line.startswith("    ") and printable(line) == line for line in below)


@pytest.mark.parametrize("given", [FORGED.replace("\n", ""), "\u202ex", "a b", "x" * 129, "é"])
def test_paths_and_request_ids_forge_nothing(
    app: Flask, client: FlaskClient, capsys: pytest.CaptureFixture[str], given: str
) -> None:
    logging.getLogger("parley").setLevel("INFO")
    handler = logging.getLogger("parley").handlers[0]
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(sys.stdout)
    sent = given.encode("utf-8").decode("latin-1").translate({10: None, 13: None})
    client.get(f"/{given}", headers={"X-Request-Id": sent})
    (line,) = capsys.readouterr().out.split("\n")[:-1]
    assert line.isascii()
    assert line.isprintable()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()

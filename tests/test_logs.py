"""The log: one line per record, whatever is in it."""

from __future__ import annotations

import logging
import sys

import pytest

from logs import TextFormatter
from tests.helpers.client import ApiClient
from text import printable

FORGED = "x\n2026-01-01T00:00:00.000Z INFO - forged\r\x1b[2K\x85\u2028\u202e\u200bx"


def record(message: str, **fields: str) -> logging.LogRecord:
    created = logging.LogRecord("parley", logging.INFO, __file__, 1, message, (), None)
    created.fields = fields
    return created


def test_record_is_one_line_without_control_characters() -> None:
    line = TextFormatter().format(record(FORGED, path=FORGED, method=FORGED))
    assert printable(line) == line
    assert line.count("\\n2026-01-01T00:00:00.000Z INFO - forged\\r\\x1b[2K\\x85\\u2028\\u202e\\u200bx") == 3


def test_traceback_cannot_forge_a_record() -> None:
    try:
        raise ValueError(FORGED)
    except ValueError:
        failure = record("internal error")
        failure.exc_info = sys.exc_info()
    first, *traceback = TextFormatter().format(failure).split("\n")
    assert first.endswith("internal error")
    assert len(traceback) > 3
    assert all(line.startswith("    ") and printable(line) == line for line in traceback)


@pytest.mark.parametrize("text", [FORGED.replace("\n", ""), "\u202ex", "a b", "x" * 129, "é"])
def test_path_and_request_id_cannot_forge_a_record(
    anonymous: ApiClient, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    logging.getLogger("parley").setLevel("INFO")
    handler = logging.getLogger("parley").handlers[0]
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(sys.stdout)
    header = text.encode("utf-8").decode("latin-1").translate({10: None, 13: None})
    anonymous.client.get(f"/{text}", headers={"X-Request-Id": header})
    (line,) = capsys.readouterr().out.split("\n")[:-1]
    assert line.isascii()
    assert line.isprintable()

"""What the server leans on in waitress, which is no API of it: an upgrade that moves any of it fails here first."""

from __future__ import annotations

import inspect
from importlib.metadata import version
from typing import Any

import pytest
import waitress.server
from waitress import buffers, channel, parser, receiver, task, trigger, utilities, wasyncore
from waitress.adjustments import Adjustments

from server.channel import Channel
from server.loop import Listener
from server.output import OutgoingChannel
from server.parser import RequestParser
from server.task import JsonErrorTask, Task

# Methods that are overridden or called, with their parameters.
METHODS: list[tuple[Any, dict[str, str]]] = [
    (
        parser.HTTPRequestParser,
        {
            "__init__": "self, adj",
            "received": "self, data",
            "parse_header": "self, header_plus",
            "get_body_stream": "self",
            "close": "self",
        },
    ),
    (
        receiver.FixedStreamReceiver,
        {
            "__init__": "self, cl, buf",
            "__len__": "self",
            "received": "self, data",
            "getfile": "self",
            "getbuf": "self",
        },
    ),
    (
        buffers.OverflowableBuffer,
        {"__init__": "self, overflow", "__len__": "self", "append": "self, s", "getfile": "self", "close": "self"},
    ),
    (task.WSGITask, {"get_environment": "self", "__init__": "self, channel, request"}),
    (
        channel.HTTPChannel,
        {
            "__init__": "self, server, sock, addr, adj, map=None",
            "readable": "self",
            "writable": "self",
            "handle_read": "self",
            "handle_write": "self",
            "handle_close": "self",
            "received": "self, data",
            "send_continue": "self",
            "service": "self",
            "write_soon": "self, data",
            "check_client_disconnected": "self",
            "add_channel": "self, map=None",
            "del_channel": "self, map=None",
            "_flush_some": "self, do_close=True",
            "_flush_some_if_lockable": "self, do_close=True",
            "_flush_exception": "self, flush, do_close=True",
            "send": "self, data, do_close=True",
            "recv": "self, buffer_size",
            "handle_error": "self",
        },
    ),
    (
        waitress.server.TcpWSGIServer,
        {
            "__init__": (
                "self, application, map=None, _start=True, _sock=None, dispatcher=None, adj=None, sockinfo=None, "
                "bind_socket=True, **kw"
            ),
            "add_task": "self, task",
            "handle_accept": "self",
            "pull_trigger": "self",
            "maintenance": "self, now",
            "del_channel": "self, map=None",
        },
    ),
    (trigger.trigger, {"pull_trigger": "self, thunk=None"}),
]
FUNCTIONS = [
    (wasyncore.loop, "timeout=30.0, use_poll=False, map=None, count=None"),
    (wasyncore.close_all, "map=None, ignore_all=False"),
    (utilities.build_http_date, "when"),
]
# Attributes that the server reads or sets, with what they are at first.
ATTRIBUTES: list[tuple[Any, dict[str, Any]]] = [
    (
        parser.HTTPRequestParser,
        {
            "completed": False,
            "empty": False,
            "expect_continue": False,
            "headers_finished": False,
            "header_plus": b"",
            "chunked": False,
            "content_length": 0,
            "body_bytes_received": 0,
            "body_rcv": None,
            "version": "1.0",
            "error": None,
            "connection_close": False,
        },
    ),
    (receiver.FixedStreamReceiver, {"completed": False, "error": None}),
    (task.WSGITask, {"close_on_finish": False, "wrote_header": False, "start_time": 0, "chunked_response": False}),
    (
        channel.HTTPChannel,
        {
            "request": None,
            "will_close": False,
            "close_when_flushed": False,
            "sent_continue": False,
            "total_outbufs_len": 0,
            "current_outbuf_count": 0,
            "task_class": task.WSGITask,
            "error_task_class": task.ErrorTask,
            "parser_class": parser.HTTPRequestParser,
        },
    ),
    (waitress.server.TcpWSGIServer, {"channel_class": channel.HTTPChannel}),
]


def test_it_is_the_version_that_was_looked_at() -> None:
    assert version("waitress") == "3.0.2", "look through this file, and through what it lists, before you change this"


@pytest.mark.parametrize(
    ("owner", "name", "parameters"),
    [(owner, name, parameters) for owner, methods in METHODS for name, parameters in methods.items()],
)
def test_the_methods_take_what_they_took(owner: Any, name: str, parameters: str) -> None:
    assert str(inspect.signature(getattr(owner, name))) == f"({parameters})"


@pytest.mark.parametrize(("function", "parameters"), FUNCTIONS)
def test_the_functions_take_what_they_took(function: Any, parameters: str) -> None:
    assert str(inspect.signature(function)) == f"({parameters})"


@pytest.mark.parametrize(
    ("owner", "name", "value"),
    [(owner, name, value) for owner, attributes in ATTRIBUTES for name, value in attributes.items()],
)
def test_the_attributes_begin_as_they_did(owner: Any, name: str, value: Any) -> None:
    assert getattr(owner, name) == value


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (RequestParser, parser.HTTPRequestParser),
        (Channel, channel.HTTPChannel),
        (OutgoingChannel, channel.HTTPChannel),
        (Listener, waitress.server.TcpWSGIServer),
        (Task, task.WSGITask),
        (JsonErrorTask, task.WSGITask),
    ],
)
def test_all_that_is_overridden_is_listed(ours: Any, theirs: Any) -> None:
    listed = {name for owner, names in [*METHODS, *ATTRIBUTES] if owner is theirs for name in names}
    inherited = {name for parent in theirs.__mro__[:-1] for name in vars(parent)} - {"__doc__", "__module__"}
    assert (vars(ours).keys() & inherited) - listed == set()


def test_the_settings_are_known() -> None:
    for name in ("inbuf_overflow", "outbuf_overflow", "channel_request_lookahead", "max_request_header_size"):
        assert hasattr(Adjustments(), name)

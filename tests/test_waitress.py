"""The waitress internals that the server overrides, calls or reads.

waitress does not promise to keep them. If an upgrade changes one, the test that fails names it and the modules
of ours that depend on it. What ``server/`` newly overrides or uses has to be listed here.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import textwrap
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from waitress import adjustments, buffers, channel, parser, receiver, server, task, trigger, utilities, wasyncore

from tests.helpers.process import ROOT

LISTED_VERSION = "3.0.2"

# Methods that are overridden or called, with their parameters.
METHODS: dict[type, dict[str, str]] = {
    parser.HTTPRequestParser: {
        "__init__": "self, adj",
        "received": "self, data",
        "parse_header": "self, header_plus",
        "get_body_stream": "self",
        "close": "self",
    },
    receiver.FixedStreamReceiver: {
        "__init__": "self, cl, buf",
        "__len__": "self",
        "received": "self, data",
        "getfile": "self",
        "getbuf": "self",
    },
    buffers.OverflowableBuffer: {
        "__init__": "self, overflow",
        "__len__": "self",
        "append": "self, s",
        "getfile": "self",
        "close": "self",
    },
    task.WSGITask: {"get_environment": "self", "__init__": "self, channel, request"},
    channel.HTTPChannel: {
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
    server.TcpWSGIServer: {
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
    trigger.trigger: {"pull_trigger": "self, thunk=None"},
}
# Class attributes that are overridden, read or set, with their initial values.
CLASS_ATTRIBUTES: dict[type, dict[str, Any]] = {
    parser.HTTPRequestParser: {
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
    receiver.FixedStreamReceiver: {"completed": False, "error": None},
    task.WSGITask: {
        "close_on_finish": False,
        "wrote_header": False,
        "start_time": 0,
        "chunked_response": False,
        "content_length": None,
        "content_bytes_written": 0,
    },
    channel.HTTPChannel: {
        "request": None,
        "last_activity": 0,
        "will_close": False,
        "close_when_flushed": False,
        "sent_continue": False,
        "total_outbufs_len": 0,
        "current_outbuf_count": 0,
        "task_class": task.WSGITask,
        "error_task_class": task.ErrorTask,
        "parser_class": parser.HTTPRequestParser,
    },
    server.TcpWSGIServer: {"channel_class": channel.HTTPChannel},
    utilities.Error: {"code": 500, "reason": "Internal Server Error"},
}
# Attributes that waitress assigns, and that are read or set.
INSTANCE_ATTRIBUTES: dict[type, set[str]] = {
    parser.HTTPRequestParser: {"adj", "headers", "command", "path", "query", "request_uri", "url_scheme"},
    receiver.FixedStreamReceiver: {"remain"},
    task.WSGITask: {"channel", "request", "version"},
    channel.HTTPChannel: {
        "adj", "connected", "logger", "outbuf_lock", "outbufs", "requests", "requests_lock", "server", "socket",
    },
    server.TcpWSGIServer: {
        "accepting", "active_channels", "application", "effective_host", "effective_port", "socket",
        "task_dispatcher", "trigger",
    },
    adjustments.Adjustments: {
        "channel_request_lookahead", "inbuf_overflow", "listen", "max_request_body_size", "max_request_header_size",
        "outbuf_overflow", "url_scheme",
    },
}  # fmt: skip
# Functions that are called, with their parameters.
FUNCTIONS = {
    wasyncore.loop: "timeout=30.0, use_poll=False, map=None, count=None",
    wasyncore.close_all: "map=None, ignore_all=False",
    utilities.build_http_date: "when",
}
# Classes that are only raised, caught, created with a message, or compared with.
CLASSES = {
    buffers.ReadOnlyFileBasedBuffer,
    channel.ClientDisconnected,
    parser.ParsingError,
    parser.TransferEncodingNotImplemented,
    utilities.BadRequest,
    utilities.InternalServerError,
    utilities.RequestHeaderFieldsTooLarge,
    utilities.ServerNotImplemented,
}
# What variables, attributes and lists of these names are, in server/.
CLASS_BY_NAME: dict[str, type] = {
    "adj": adjustments.Adjustments,
    "adjustments": adjustments.Adjustments,
    "body": receiver.FixedStreamReceiver,
    "body_rcv": receiver.FixedStreamReceiver,
    "channel": channel.HTTPChannel,
    "deferred": task.WSGITask,
    "listener": server.TcpWSGIServer,
    "_listeners": server.TcpWSGIServer,
    "oldest": channel.HTTPChannel,
    "outbufs": buffers.OverflowableBuffer,
    "request": parser.HTTPRequestParser,
    "requests": parser.HTTPRequestParser,
    "server": server.TcpWSGIServer,
    "task": task.WSGITask,
    "trigger": trigger.trigger,
}


class Use(NamedTuple):
    """A place in server/ that depends on an internal."""

    file: str
    line: int
    owner: type
    name: str


def modules() -> list[Path]:
    """Return the modules of server/; its ``__init__`` only starts them, and its ``server`` is our own."""
    return [file for file in sorted((ROOT / "server").glob("*.py")) if file.name != "__init__.py"]


def base_of(cls: Any) -> type | None:
    """Return the class of waitress that one of ours inherits from."""
    return next((each for each in cls.__mro__ if each.__module__.startswith("waitress.")), None)


@cache
def class_attributes(owner: type) -> set[str]:
    names = {name for parent in owner.__mro__[:-1] for name in vars(parent)}
    return {name for name in names if not name.startswith("__") or name in ("__init__", "__len__")}


@cache
def instance_attributes(owner: type) -> set[str]:
    """Return the names of the attributes that a class of waitress assigns to ``self``."""
    found = set()
    for parent in owner.__mro__[:-1]:
        for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(parent)))):
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.ctx, ast.Store)
                and ast.unparse(node.value) == "self"
            ):
                found.add(node.attr)
    return found


@cache
def uses() -> tuple[Use, ...]:
    """Return every place where an attribute of waitress is overridden, called, read or set."""
    return tuple(find_uses())


def find_uses() -> Iterator[Use]:
    for file in modules():
        module = importlib.import_module(f"server.{file.stem}")
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute) and (owner := class_of(node.value)):
                found = [(node.lineno, owner, node.attr)]
            elif isinstance(node, ast.ClassDef) and (owner := base_of(getattr(module, node.name))):
                own = getattr(module, node.name)
                found = [(node.lineno, owner, name) for name in vars(own).keys() | inspect.get_annotations(own).keys()]
                found += [
                    (each.lineno, owner, each.attr)
                    for each in ast.walk(node)
                    if isinstance(each, ast.Attribute) and ast.unparse(each.value) in ("self", "super()")
                ]
            else:
                continue
            for line, owner, name in found:
                if name in names_of(owner):
                    yield Use(f"server/{file.name}", line, owner, name)


@cache
def names_of(owner: type) -> set[str]:
    """Return the names of waitress's, and of those it had when they were listed."""
    return class_attributes(owner) | instance_attributes(owner) | listed(owner)


def class_of(node: ast.expr) -> type | None:
    if isinstance(node, ast.Subscript):
        return class_of(node.value)
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return CLASS_BY_NAME.get(name)


def listed(owner: type) -> set[str]:
    """Return the names that are listed for a class, or for one that it inherits from."""
    names: set[str] = set()
    for each in owner.__mro__:
        names |= METHODS.get(each, {}).keys() | CLASS_ATTRIBUTES.get(each, {}).keys()
        names |= INSTANCE_ATTRIBUTES.get(each, set())
    return names


def moved(owner: Any, name: str) -> str:
    """Return a message that names an internal and the modules that depend on it."""
    files = sorted({use.file for use in uses() if use.owner is owner and use.name == name})
    files = files or sorted({use.file for use in uses() if use.owner is owner}) or ["server/"]
    return f"waitress has changed {owner.__module__}.{owner.__name__}.{name}: look at {', '.join(files)}"


def test_the_version_is_the_listed_one() -> None:
    assert version("waitress") == LISTED_VERSION, (
        "waitress was upgraded: read its changes, go through this list and through server/, then change LISTED_VERSION"
    )


@pytest.mark.parametrize(
    ("owner", "name", "parameters"),
    [(owner, name, parameters) for owner, methods in METHODS.items() for name, parameters in methods.items()],
)
def test_methods_have_the_listed_parameters(owner: type, name: str, parameters: str) -> None:
    method = getattr(owner, name, None)
    assert method is not None, moved(owner, name)
    assert str(inspect.signature(method)) == f"({parameters})", moved(owner, name)


@pytest.mark.parametrize(("function", "parameters"), FUNCTIONS.items())
def test_functions_have_the_listed_parameters(function: Any, parameters: str) -> None:
    assert str(inspect.signature(function)) == f"({parameters})", (
        f"waitress has changed {function.__module__}.{function.__name__}: look at server/loop.py and server/task.py"
    )


@pytest.mark.parametrize(
    ("owner", "name", "value"),
    [(owner, name, value) for owner, attributes in CLASS_ATTRIBUTES.items() for name, value in attributes.items()],
)
def test_class_attributes_have_the_listed_values(owner: type, name: str, value: Any) -> None:
    assert name in class_attributes(owner), moved(owner, name)
    assert getattr(owner, name) == value, moved(owner, name)


@pytest.mark.parametrize(
    ("owner", "name"), [(owner, name) for owner, names in INSTANCE_ATTRIBUTES.items() for name in sorted(names)]
)
def test_instance_attributes_exist(owner: type, name: str) -> None:
    assert name in instance_attributes(owner) | class_attributes(owner), moved(owner, name)


@pytest.mark.parametrize("file", modules(), ids=lambda file: file.name)
def test_all_that_is_used_is_listed(file: Path) -> None:
    unlisted = [
        f"{use.file}:{use.line} uses {use.owner.__name__}.{use.name} of waitress, which is not listed in {__file__}"
        for use in uses()
        if use.file == f"server/{file.name}" and use.name not in listed(use.owner)
    ]
    assert not unlisted, "\n".join(unlisted)


@pytest.mark.parametrize("file", modules(), ids=lambda file: file.name)
def test_all_that_is_imported_is_listed(file: Path) -> None:
    tables: list[Any] = [METHODS, CLASS_ATTRIBUTES, INSTANCE_ATTRIBUTES, FUNCTIONS, CLASSES]
    known: set[Any] = {each for table in tables for each in table} | {wasyncore}
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "waitress":
            for alias in node.names:
                imported = getattr(importlib.import_module(str(node.module)), alias.name)
                assert imported in known, f"server/{file.name} imports {alias.name}, which is not listed in {__file__}"


def test_the_search_for_uses_finds_known_ones() -> None:
    found = {(use.file, use.owner.__name__, use.name) for use in uses()}
    assert {
        ("server/channel.py", "HTTPChannel", "service"),  # overridden
        ("server/channel.py", "HTTPChannel", "task_class"),  # a class attribute
        ("server/output.py", "HTTPChannel", "_flush_exception"),  # called
        ("server/output.py", "HTTPChannel", "outbuf_lock"),  # assigned by waitress
        ("server/output.py", "OverflowableBuffer", "append"),  # of an attribute's element
        ("server/connections.py", "HTTPChannel", "will_close"),  # set from elsewhere
        ("server/parser.py", "FixedStreamReceiver", "remain"),
        ("server/task.py", "WSGITask", "get_environment"),  # by super()
        ("server/loop.py", "trigger", "pull_trigger"),
        ("server/loop.py", "Adjustments", "listen"),
    } <= found

"""The load balancer of ``compose.postgresql.yaml``: Caddy with that very configuration, or else a stand-in for it."""

from __future__ import annotations

import http.client
import os
import random
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from tests.helpers.clock import wait_until
from tests.helpers.process import ROOT

COMPOSE = ROOT / "compose.postgresql.yaml"
HAS_CADDY = shutil.which("caddy") is not None
OFFERS_BODIES_AGAIN = (2, 11, 2)
"""The first version of Caddy that offers a request with a body to another replica if the first one refuses it."""
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}
CHUNK_SIZE = 65_536


def caddyfile() -> str:
    """Return the documented configuration."""
    content: str = yaml.safe_load(COMPOSE.read_text())["configs"]["caddyfile"]["content"]
    return content


def offers_bodies_again() -> bool:
    """Return whether the load balancer that is used does."""
    if not HAS_CADDY:
        return True
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", subprocess.check_output(["caddy", "version"], text=True))
    return found is not None and tuple(map(int, found.groups())) >= OFFERS_BODIES_AGAIN


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def load_balancer(folder: Path, replicas: Sequence[int]) -> AbstractContextManager[str]:
    """Run a load balancer before replicas on these ports during the block, which gets its address."""
    return caddy(folder, replicas) if HAS_CADDY else stand_in(replicas)


@contextmanager
def caddy(folder: Path, replicas: Sequence[int]) -> Any:
    """Run Caddy with the documented configuration, of which only the addresses are others."""
    port = free_port()
    config = caddyfile().replace("\n:8080 {", f"\nhttp://:{port} {{\n\tbind 127.0.0.1")
    for number, replica in enumerate(replicas, 1):
        config = config.replace(f"parley-{number}:8080", f"127.0.0.1:{replica}")
    assert not re.search(r"parley-|8080 ", config.partition("\n")[2]), config
    path = folder / "Caddyfile"
    path.write_text("{\n\tadmin off\n}\n" + config)
    environ = os.environ | {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with (folder / "caddy.log").open("wb") as log:
        command = ["caddy", "run", "--adapter", "caddyfile", "--config", str(path)]
        process = subprocess.Popen(command, env=environ, stdout=log, stderr=log)
    try:
        wait_until(lambda: _listens(port), "Caddy listens")
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionError:
        return False
    return True


@contextmanager
def stand_in(replicas: Sequence[int]) -> Any:
    """Run a proxy in this process that does what Caddy does with the documented configuration."""
    with ExitStack() as stack:
        proxy = stack.enter_context(_StandIn(replicas))
        for target in (proxy.serve_forever, proxy.check_health):
            threading.Thread(target=target, daemon=True).start()
        stack.callback(proxy.shutdown)
        stack.callback(proxy.is_closed.set)
        yield f"127.0.0.1:{proxy.server_port}"


class _StandIn(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, replicas: Sequence[int]):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.load = dict.fromkeys(replicas, 0)
        self.healthy = set(replicas)
        self.is_closed = threading.Event()
        self._lock = threading.Lock()

    def check_health(self) -> None:
        while not self.is_closed.wait(1):
            self.healthy = {port for port in self.load if self._is_ready(port)}

    @staticmethod
    def _is_ready(port: int) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    @contextmanager
    def connection(self) -> Any:
        """Connect to the healthy replica with the fewest requests, or to another one if it refuses."""
        deadline = time.monotonic() + 10
        while True:
            with self._lock:
                port = min(self.healthy or self.load, key=lambda port: (self.load[port], random.random()))
                self.load[port] += 1
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                with suppress(ConnectionRefusedError):
                    connection.connect()
                    yield connection
                    return
            finally:
                connection.close()
                with self._lock:
                    self.load[port] -= 1
            assert time.monotonic() < deadline, "no replica accepts connections"
            time.sleep(0.25)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _StandIn

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def pass_on(self) -> None:
        """Send the request to a replica, and the response back as it comes."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fields = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
        fields |= {"X-Forwarded-For": self.client_address[0], "X-Forwarded-Proto": "http"}
        with self.server.connection() as upstream:
            upstream.request(self.command, self.path, body, fields)
            response = upstream.getresponse()
            self.send_response_only(response.status)
            for name, value in response.headers.items():
                if name.lower() not in HOP_BY_HOP:
                    self.send_header(name, value)
            if response.length is None:
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                while part := response.read1(CHUNK_SIZE):
                    self.wfile.write(b"%X\r\n%b\r\n" % (len(part), part))
                self.wfile.write(b"0\r\n\r\n")
            else:
                if response.status not in (204, 304):
                    self.send_header("Content-Length", str(response.length))
                self.end_headers()
                shutil.copyfileobj(response, self.wfile)

    do_GET = do_POST = do_PATCH = do_DELETE = pass_on  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Log nothing."""

"""What nobody wants to happen while they use the page: collected in all tabs of a context, checked at a test's end."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, ConsoleMessage, Request, WebError

_FAILED_REQUEST = re.compile(r"Failed to load resource: (?:the server responded with a status of (\d+)|net::ERR_)")

REPORT_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy violated: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
"""


class Problems:
    """Messages in the console, exceptions, violations of the policy, and requests to other hosts than ``origin``.

    Chromium itself prints an error for each response of 400 or more. Those that belong to what is tested are allowed
    by their status.
    """

    def __init__(self, origin: str):
        self._origin = urlsplit(origin).netloc
        self._found: list[str] = []
        self._allowed_statuses: set[str] = set()
        self._may_be_offline = False
        self._allows_all = False

    def allow_status(self, *statuses: int) -> None:
        """Expect responses with these statuses."""
        self._allowed_statuses.update(map(str, statuses))

    def allow_failed_connections(self) -> None:
        """Expect that requests get no response."""
        self._may_be_offline = True

    def watch(self, context: BrowserContext) -> None:
        """Collect what happens in a context from now on."""
        context.on("console", self._on_console)
        context.on("weberror", self._on_exception)
        context.on("request", self._on_request)

    def check(self) -> None:
        """Fail if there was anything that is not allowed."""
        assert self._allows_all or not self._found, "\n".join(self._found)

    def allow_all(self) -> None:
        """Expect anything: the test has seen what it is about."""
        self._found.clear()
        self._allows_all = True

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not self._is_allowed(message):
            self._found.append(f"{message.type} in the console: {message.text} ({message.location.get('url')})")

    def _is_allowed(self, message: ConsoleMessage) -> bool:
        failed = _FAILED_REQUEST.match(message.text)
        if not failed:
            return False
        status = failed[1]
        if status is None:
            return self._may_be_offline
        return status in self._allowed_statuses

    def _on_exception(self, error: WebError) -> None:
        self._found.append(f"exception: {error.error}")

    def _on_request(self, request: Request) -> None:
        url = urlsplit(request.url)
        if url.scheme not in ("data", "blob") and url.netloc != self._origin:
            self._found.append(f"request to another host: {request.url}")

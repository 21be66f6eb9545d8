"""The client of an OpenAI-compatible API, which is asked for streamed chat completions.

The protocol is that of https://platform.openai.com/docs/api-reference/chat/streaming: server-sent
events with a ``chat.completion.chunk`` each, and ``[DONE]`` as the last one.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import orjson

from limits import MAX_CONTENT_LENGTH
from services.completion import Completion, UpstreamError, Utf16Joiner
from services.outgoing import AsyncRunner
from services.proxies import environment_proxy
from services.sse import MEDIA_TYPE, EventDecoder, is_event_stream
from text import sanitize_text

if TYPE_CHECKING:
    import httpx

MAX_EVENT_LENGTH = 262_144  # characters; a delta has some hundred
MAX_STREAM_BYTES = 67_108_864  # with all that is not stored
MAX_ERROR_BYTES, ERROR_TIMEOUT = 4_096, 1.0  # of an error's body, which is read for its type and code
DRAIN_TIMEOUT = 0.25  # seconds from [DONE] to the end of the stream: only then can its connection be used again
DONE = "[DONE]"

log = logging.getLogger("parley")


class Llm:
    """The model that the settings name."""

    def __init__(self, config: Mapping[str, Any], runner: AsyncRunner):
        self.model: str | None = (config["PARLEY_LLM_MODEL"] or "").strip() or None
        self.timeout: float = config["PARLEY_LLM_TIMEOUT_SECONDS"]
        self._url = config["PARLEY_LLM_BASE_URL"].rstrip("/") + "/chat/completions"
        self._host = urlsplit(self._url).netloc.rpartition("@")[2]
        self._key: str | None = config["PARLEY_LLM_API_KEY"]
        self._runner = runner

    @cached_property
    def _client(self) -> httpx.AsyncClient:
        return self._runner.create_client(environment_proxy(self._url))

    def warm_up(self) -> None:
        """Create the HTTP client, which the first chat would have to wait for.

        Raises:
            StartupError: the environment names a proxy that cannot be used.

        """
        _ = self._client

    async def stream_completion(
        self, messages: list[dict[str, str]], completion: Completion, on_delta: Callable[[str], object]
    ) -> None:
        """Request the completion of a conversation, within ``timeout`` as a whole.

        Its text is passed to ``on_delta`` delta by delta, all else is stored in ``completion``. Nothing is
        raised: the code of an error is stored there, too.
        """
        import httpx

        joiner = Utf16Joiner()
        length = 0

        def pass_on(text: str) -> None:
            nonlocal length
            if text and length < MAX_CONTENT_LENGTH:
                on_delta(sanitize_text(text, MAX_CONTENT_LENGTH - length))
            length += len(text)

        try:
            async with asyncio.timeout(self.timeout), aclosing(self._deltas(messages, completion)) as deltas:
                async for delta in deltas:
                    pass_on(joiner.join(delta))
                    if length > MAX_CONTENT_LENGTH:
                        completion.finish_reason = "length"
                        break
            pass_on(joiner.end())
            if not (length and completion.finish_reason):
                raise UpstreamError("the stream broke off" if length else "the completion is empty")
        except (TimeoutError, httpx.TimeoutException) as error:
            self._fail(completion, "upstream_timeout", error)
        except (httpx.HTTPError, httpx.InvalidURL, UpstreamError, ValueError) as error:
            self._fail(completion, "upstream_error", error)
        except Exception:
            log.exception("upstream_error")
            completion.error = "upstream_error"

    def _fail(self, completion: Completion, code: str, error: Exception) -> None:
        """Store the code of an error and log the error, without the key."""
        completion.error = code
        reason = f"{type(error).__name__}: {error}"
        log.warning("%s: %s: %s", code, self._host, reason.replace(self._key, "***") if self._key else reason)

    async def _deltas(self, messages: list[dict[str, str]], completion: Completion) -> AsyncGenerator[str, None]:
        """Yield the text of each chunk, as ``Completion.read_chunk`` returns it."""
        response = await self._send(messages)
        parts = cast(AsyncGenerator[bytes, None], response.aiter_raw())
        done = False
        try:
            if response.status_code != 200:
                raise UpstreamError(f"status {response.status_code} {await _read_error_name(parts)}")
            coding = response.headers.get("Content-Encoding", "identity")
            if coding.lower() != "identity":  # a few bytes may be a gigabyte
                raise UpstreamError("it is compressed, which was not asked for")
            if not is_event_stream(response.headers.get("Content-Type", "")):
                raise UpstreamError("it is not an event stream")
            async with aclosing(_events(parts)) as events:
                async for data in events:
                    if done := data.strip() == DONE:
                        completion.finish_reason = completion.finish_reason or "stop"
                        return
                    if delta := completion.read_chunk(data):
                        yield delta
        finally:
            if done:  # the chat need not wait for that
                self._runner.run_in_background(_drain(response, parts))
            else:
                await parts.aclose()
                await response.aclose()

    async def _send(self, messages: list[dict[str, str]]) -> httpx.Response:
        """Send the request and return the response, whose body is yet to be read.

        An idle connection may be one that the server was about to close. Then the server has not read
        the request, and it is sent again, at last on a new connection.
        """
        import httpx

        body: dict[str, Any] = {"messages": messages, "stream": True, "stream_options": {"include_usage": True}}
        if self.model:
            body["model"] = self.model
        headers = {"Content-Type": "application/json", "Accept": MEDIA_TYPE, "Accept-Encoding": "identity"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        connected = False

        async def trace(event: str, _: Any) -> None:
            nonlocal connected
            connected = connected or event == "connection.connect_tcp.started"

        while True:
            request = self._client.build_request(
                "POST", self._url, content=orjson.dumps(body), headers=headers, extensions={"trace": trace}
            )
            try:
                return await self._client.send(request, stream=True)
            except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):
                if connected:
                    raise


async def _events(parts: AsyncIterator[bytes]) -> AsyncGenerator[str, None]:
    """Yield the data of each event.

    Raises:
        UpstreamError: the stream has more than ``MAX_STREAM_BYTES``.
        ValueError: an event has more than ``MAX_EVENT_LENGTH`` characters.

    """
    decoder = EventDecoder(MAX_EVENT_LENGTH)
    total = 0
    async for part in parts:
        total += len(part)
        if total > MAX_STREAM_BYTES:
            raise UpstreamError("the stream is too long")
        for event in decoder.decode(part):
            yield event


async def _read_error_name(parts: AsyncGenerator[bytes, None]) -> str:
    """Return the type and code of an error; its message may repeat the conversation, which must not be logged."""
    try:
        async with asyncio.timeout(ERROR_TIMEOUT):
            error = orjson.loads(await _read(parts, MAX_ERROR_BYTES))["error"]
            return " ".join(
                name for name in (error["type"], error["code"]) if re.fullmatch(r"[\w.-]{1,64}", name or "")
            )
    except (TimeoutError, ValueError, TypeError, LookupError):
        return ""


async def _read(parts: AsyncIterator[bytes], max_bytes: int) -> bytes:
    """Return the start of a body."""
    body = b""
    async for part in parts:
        body += part
        if len(body) >= max_bytes:
            break
    return body[:max_bytes]


async def _drain(response: httpx.Response, parts: AsyncGenerator[bytes, None]) -> None:
    """Read the rest of a stream, if it ends soon: only then is its connection free for the next request."""
    import httpx

    try:
        async with asyncio.timeout(DRAIN_TIMEOUT):
            async for _ in parts:
                pass
    except (TimeoutError, httpx.HTTPError):
        pass
    finally:
        await parts.aclose()
        await response.aclose()

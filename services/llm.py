"""A model behind an OpenAI-compatible API, asked for a streamed chat completion.

The protocol is that of https://platform.openai.com/docs/api-reference/chat/streaming: server-sent
events, a ``chat.completion.chunk`` each, and ``[DONE]`` at the end.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import orjson

from services.outgoing import Outgoing
from values import CONTENT_LENGTH, clean_text, metadata_text

if TYPE_CHECKING:
    import httpx

LINE_LENGTH = 262_144  # characters of one event at most; a delta has some hundred
STREAM_LENGTH = 67_108_864  # characters of the whole stream at most, with all that is not kept
NAME_LENGTH = 200
REFUSAL_BYTES, REFUSAL_SECONDS = 4_096, 1.0  # looked at of a refusal, for its reason
USAGE_LENGTH = 4_096

log = logging.getLogger("parley")


class UpstreamError(Exception):
    """The API did not answer as it should have."""


@dataclass
class Reply:
    """What is known of an answer but its text. ``error`` is the code of what went wrong."""

    model: str | None = None
    finish_reason: str | None = None
    usage: dict[str, Any] | None = None
    error: str | None = None


class Llm:
    """The model that the settings name."""

    def __init__(self, config: Mapping[str, Any], outgoing: Outgoing):
        self.model: str | None = config["PARLEY_LLM_MODEL"] or None
        self._url = config["PARLEY_LLM_BASE_URL"].rstrip("/") + "/chat/completions"
        self._host = urlsplit(self._url).netloc.rpartition("@")[2]
        self._key: str | None = config["PARLEY_LLM_API_KEY"]
        self._seconds: int = config["PARLEY_LLM_TIMEOUT_SECONDS"]
        self._outgoing = outgoing

    @cached_property
    def _client(self) -> httpx.AsyncClient:
        return self._outgoing.client()

    def warm_up(self) -> None:
        """Make the client now, for which the first question would have to wait."""
        _ = self._client

    async def answer(self, messages: list[dict[str, str]], reply: Reply, put: Callable[[str], object]) -> None:
        """Ask the model. Its text goes to ``put`` as it comes, the rest into ``reply``; nothing is raised."""
        import httpx
        from httpx_sse import SSEError

        length = 0
        try:
            async with asyncio.timeout(self._seconds), aclosing(self._texts(messages, reply)) as texts:
                async for text in texts:
                    put(clean_text(text, CONTENT_LENGTH - length))
                    length += len(text)
                    if length > CONTENT_LENGTH:
                        reply.finish_reason = "length"
                        break
            if not (length and reply.finish_reason):
                raise UpstreamError("the stream broke off" if length else "the answer is empty")
        except (TimeoutError, httpx.TimeoutException) as error:
            self._failed(reply, "upstream_timeout", error)
        except (httpx.HTTPError, httpx.InvalidURL, SSEError, UpstreamError, ValueError) as error:
            self._failed(reply, "upstream_error", error)
        except Exception:
            log.exception("upstream_error")
            reply.error = "upstream_error"

    def _failed(self, reply: Reply, code: str, error: Exception) -> None:
        reply.error = code
        said = f"{type(error).__name__}: {error}"
        log.warning("%s: %s: %s", code, self._host, said.replace(self._key, "***") if self._key else said)

    async def _texts(self, messages: list[dict[str, str]], reply: Reply) -> AsyncGenerator[str, None]:
        question: dict[str, Any] = {"messages": messages, "stream": True, "stream_options": {"include_usage": True}}
        if self.model:
            question["model"] = self.model
        headers = {"Content-Type": "application/json", "Accept": "text/event-stream", "Accept-Encoding": "identity"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        request = self._client.stream("POST", self._url, content=orjson.dumps(question), headers=headers)
        async with request as response, aclosing(_events(response)) as events:
            if response.status_code != 200:
                raise UpstreamError(f"status {response.status_code} {await _reason(response)}")
            if response.headers.get("Content-Encoding", "identity") != "identity":  # a few bytes may be a gigabyte
                raise UpstreamError("it is compressed, which was not asked for")
            async for data in events:
                if data == "[DONE]":
                    reply.finish_reason = reply.finish_reason or "stop"
                    return
                if data and (text := _text(orjson.loads(data), reply)):
                    yield text


def _text(chunk: Any, reply: Reply) -> str:
    """Return the text of a chunk, and note in ``reply`` what else it says."""
    try:
        if chunk.get("error"):
            raise UpstreamError("it reports an error")
        if type(model := chunk.get("model")) is str:
            reply.model = clean_text(model, NAME_LENGTH)
        reply.usage = _usage(chunk.get("usage")) or reply.usage
        for choice in chunk.get("choices") or ():  # empty, or null, where only the usage is told
            if type(reason := choice.get("finish_reason")) is str:
                reply.finish_reason = clean_text(reason, NAME_LENGTH)
            text = (choice.get("delta") or {}).get("content") or ""
            if type(text) is not str:
                raise TypeError("the content is not a string")
            return text
    except (AttributeError, TypeError) as error:
        raise UpstreamError(f"not a chat completion chunk: {error}") from None
    return ""


def _usage(given: Any) -> dict[str, Any] | None:
    try:
        return given if type(given) is dict and len(metadata_text(given)) <= USAGE_LENGTH else None
    except ValueError:
        return None


async def _reason(response: httpx.Response) -> str:
    """Return what names a refusal. Its whole text may repeat the question, and so is not for the log."""
    try:
        async with asyncio.timeout(REFUSAL_SECONDS), aclosing(cast(Any, response.aiter_raw(REFUSAL_BYTES))) as parts:
            error = orjson.loads(await anext(parts, b""))["error"]
            return " ".join(
                name for name in (error["type"], error["code"]) if re.fullmatch(r"[\w.-]{1,64}", name or "")
            )
    except (TimeoutError, ValueError, TypeError, LookupError):
        return ""


async def _events(response: httpx.Response) -> AsyncGenerator[str, None]:
    """Yield the data of each event, whatever its size within the limits."""
    from httpx_sse import EventSource

    source = EventSource(cast("httpx.Response", _Bounded(response)))
    async with aclosing(source.aiter_sse()) as events:
        async for event in events:
            yield event.data


class _Bounded:
    """What httpx-sse reads of a response, without end where the response has none: so with limits."""

    def __init__(self, response: httpx.Response):
        self._response = response
        self.headers = response.headers

    async def aiter_text(self) -> AsyncGenerator[str, None]:
        line = total = 0
        async with aclosing(cast(Any, self._response.aiter_text())) as texts:
            async for text in texts:
                text = text if total else text.removeprefix("\ufeff")  # one may stand at the beginning
                end = text.rfind("\n")
                line = line + len(text) if end < 0 else len(text) - end
                total += len(text)
                if line > LINE_LENGTH or total > STREAM_LENGTH:
                    raise UpstreamError("a line or the whole is too long")
                yield text

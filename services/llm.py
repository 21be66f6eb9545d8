"""A model behind an OpenAI-compatible API, asked for a streamed chat completion.

The protocol is that of https://platform.openai.com/docs/api-reference/chat/streaming: server-sent
events, a ``chat.completion.chunk`` each, and ``[DONE]`` at the end.
"""

from __future__ import annotations

import asyncio
import codecs
import json
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import orjson

from json_values import dump_metadata
from limits import MAX_CONTENT_LENGTH
from services.outgoing import AsyncRunner, environment_proxy
from services.sse import MEDIA_TYPE, EventDecoder, is_event_stream
from text import sanitize_text

if TYPE_CHECKING:
    import httpx

EVENT_LENGTH = 262_144  # characters of one event at most; a delta has some hundred
STREAM_BYTES = 67_108_864  # of the whole stream at most, with all that is not kept
REST_SECONDS = 0.25  # how long the end of a stream is awaited after [DONE], so that its connection can be used again
NAME_LENGTH = 200
REFUSAL_BYTES, REFUSAL_SECONDS = 4_096, 1.0  # looked at of a refusal, for its reason
USAGE_LENGTH = 4_096

log = logging.getLogger("parley")


class UpstreamError(Exception):
    """The API did not answer as it should have."""


@dataclass
class Completion:
    """What is known of an answer but its text. ``error`` is the code of what went wrong."""

    model: str | None = None
    finish_reason: str | None = None
    usage: dict[str, Any] | None = None
    error: str | None = None


class Llm:
    """The model that the settings name."""

    def __init__(self, config: Mapping[str, Any], runner: AsyncRunner):
        self.model: str | None = (config["PARLEY_LLM_MODEL"] or "").strip() or None
        self._url = config["PARLEY_LLM_BASE_URL"].rstrip("/") + "/chat/completions"
        self._host = urlsplit(self._url).netloc.rpartition("@")[2]
        self._key: str | None = config["PARLEY_LLM_API_KEY"]
        self._seconds: int = config["PARLEY_LLM_TIMEOUT_SECONDS"]
        self._runner = runner

    @cached_property
    def _client(self) -> httpx.AsyncClient:
        return self._runner.create_client(environment_proxy(self._url))

    def warm_up(self) -> None:
        """Make the client now, for which the first question would have to wait.

        Raises:
            StartupError: the environment names a proxy that cannot be used.

        """
        _ = self._client

    async def stream_completion(
        self, messages: list[dict[str, str]], reply: Completion, put: Callable[[str], object]
    ) -> None:
        """Ask the model. Its text goes to ``put`` as it comes, the rest into ``reply``; nothing is raised."""
        import httpx

        text = Utf16Joiner()
        length = 0

        def put_next(piece: str) -> None:
            nonlocal length
            if piece and length < MAX_CONTENT_LENGTH:
                put(sanitize_text(piece, MAX_CONTENT_LENGTH - length))
            length += len(piece)

        try:
            async with asyncio.timeout(self._seconds), aclosing(self._deltas(messages, reply)) as deltas:
                async for delta in deltas:
                    put_next(text.join(delta))
                    if length > MAX_CONTENT_LENGTH:
                        reply.finish_reason = "length"
                        break
            put_next(text.end())
            if not (length and reply.finish_reason):
                raise UpstreamError("the stream broke off" if length else "the answer is empty")
        except (TimeoutError, httpx.TimeoutException) as error:
            self._failed(reply, "upstream_timeout", error)
        except (httpx.HTTPError, httpx.InvalidURL, UpstreamError, ValueError) as error:
            self._failed(reply, "upstream_error", error)
        except Exception:
            log.exception("upstream_error")
            reply.error = "upstream_error"

    def _failed(self, reply: Completion, code: str, error: Exception) -> None:
        reply.error = code
        said = f"{type(error).__name__}: {error}"
        log.warning("%s: %s: %s", code, self._host, said.replace(self._key, "***") if self._key else said)

    async def _deltas(self, messages: list[dict[str, str]], reply: Completion) -> AsyncGenerator[str, None]:
        """Yield the pieces of the answer, which may hold halves of surrogate pairs; note the rest in ``reply``."""
        response = await self._send(messages)
        parts = cast(AsyncGenerator[bytes, None], response.aiter_raw())
        done = False
        try:
            if response.status_code != 200:
                raise UpstreamError(f"status {response.status_code} {await _reason(parts)}")
            coding = response.headers.get("Content-Encoding", "identity")
            if coding.lower() != "identity":  # a few bytes may be a gigabyte
                raise UpstreamError("it is compressed, which was not asked for")
            if not is_event_stream(response.headers.get("Content-Type", "")):
                raise UpstreamError("it is not an event stream")
            async with aclosing(_events(parts)) as events:
                async for data in events:
                    if done := data.strip() == "[DONE]":
                        reply.finish_reason = reply.finish_reason or "stop"
                        return
                    if delta := _delta(_parse(data), reply):
                        yield delta
        finally:
            if done:  # nobody waits for that
                self._runner.run_in_background(_read_rest(response, parts))
            else:
                await parts.aclose()
                await response.aclose()

    async def _send(self, messages: list[dict[str, str]]) -> httpx.Response:
        """Send the question and return the response, whose body has yet to come.

        A kept connection may be one that the server was about to close. Then it has not looked at
        the question, which is sent again, until that is over a new connection.
        """
        import httpx

        question: dict[str, Any] = {"messages": messages, "stream": True, "stream_options": {"include_usage": True}}
        if self.model:
            question["model"] = self.model
        headers = {"Content-Type": "application/json", "Accept": MEDIA_TYPE, "Accept-Encoding": "identity"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        connected = False

        async def trace(event: str, _: Any) -> None:
            nonlocal connected
            connected = connected or event == "connection.connect_tcp.started"

        while True:
            request = self._client.build_request(
                "POST", self._url, content=orjson.dumps(question), headers=headers, extensions={"trace": trace}
            )
            try:
                return await self._client.send(request, stream=True)
            except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):
                if connected:
                    raise


class Utf16Joiner:
    """Joins text that comes in pieces, where JSON's escapes may have put half of a surrogate pair into each.

    What stays half becomes U+FFFD.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-16-le")("replace")

    def join(self, piece: str) -> str:
        """Return what is known of the text by now, from where the last piece ended."""
        return self._decoder.decode(piece.encode("utf-16-le", "surrogatepass"))

    def end(self) -> str:
        """Return what the last piece was the first half of, if it was."""
        return self._decoder.decode(b"", final=True)


def _parse(data: str) -> Any:
    """Parse JSON that may have half of a surrogate pair in a string."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        if "\\u" not in data:
            raise
    try:
        return json.loads(data)  # which takes halves
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _delta(chunk: Any, reply: Completion) -> str:
    """Return the text of a chunk, and note in ``reply`` what else it says. Of several choices the first counts."""
    texts = []
    try:
        if chunk.get("error"):
            raise UpstreamError("it reports an error")
        reply.model = _name(chunk.get("model")) or reply.model
        reply.usage = _usage(chunk.get("usage")) or reply.usage
        # Empty, or null, where only the usage is told.
        for position, choice in enumerate(chunk.get("choices") or ()):
            index = choice.get("index")
            if (position if index is None else index) == 0:
                reply.finish_reason = _name(choice.get("finish_reason")) or reply.finish_reason
                texts.append((choice.get("delta") or {}).get("content") or "")
        return "".join(texts)
    except (AttributeError, TypeError) as error:
        raise UpstreamError(f"not a chat completion chunk: {error}") from None


def _name(given: Any) -> str | None:
    """Return a name as it is stored, None for what is none or blank."""
    if type(given) is not str:
        return None
    text = Utf16Joiner()
    return sanitize_text(text.join(given.strip()) + text.end(), NAME_LENGTH) or None


def _usage(given: Any) -> dict[str, Any] | None:
    try:
        return given if type(given) is dict and len(dump_metadata(given)) <= USAGE_LENGTH else None
    except ValueError:
        return None


async def _reason(parts: AsyncGenerator[bytes, None]) -> str:
    """Return what names a refusal. Its whole text may repeat the question, and so is not for the log."""
    try:
        async with asyncio.timeout(REFUSAL_SECONDS):
            error = orjson.loads((await _read(parts, REFUSAL_BYTES))[:REFUSAL_BYTES])["error"]
            return " ".join(
                name for name in (error["type"], error["code"]) if re.fullmatch(r"[\w.-]{1,64}", name or "")
            )
    except (TimeoutError, ValueError, TypeError, LookupError):
        return ""


async def _read(parts: AsyncIterator[bytes], enough: int) -> bytes:
    read = b""
    async for part in parts:
        read += part
        if len(read) >= enough:
            break
    return read


async def _events(parts: AsyncIterator[bytes]) -> AsyncGenerator[str, None]:
    """Yield the data of each event, within the limits of what an answer may need."""
    decoder = EventDecoder(EVENT_LENGTH)
    total = 0
    async for part in parts:
        total += len(part)
        if total > STREAM_BYTES:
            raise UpstreamError("the stream is too long")
        for event in decoder.decode(part):
            yield event


async def _read_rest(response: httpx.Response, parts: AsyncGenerator[bytes, None]) -> None:
    """Read on to the end, if that is near: only then is the connection kept for the next question."""
    import httpx

    try:
        async with asyncio.timeout(REST_SECONDS):
            async for _ in parts:
                pass
    except (TimeoutError, httpx.HTTPError):
        pass
    finally:
        await parts.aclose()
        await response.aclose()

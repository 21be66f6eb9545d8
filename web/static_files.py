"""The files of the page: each is read and compressed once, ahead of time, and served from memory until it changes."""

from __future__ import annotations

import gzip
import hashlib
import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

from flask import Response, request

Made = TypeVar("Made")

# Looking for files that are new takes a millisecond: those who ask for what does not exist cannot have it all the time.
SEARCH_INTERVAL_SECONDS = 1.0

MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    "LICENSE": "text/plain; charset=utf-8",
}
"""What is served, by the suffix of a file's name, or by a name without one. Other files are not."""


class Representation:
    """A body, plain and compressed, and what its responses say about it."""

    def __init__(self, body: bytes, media_type: str, headers: Mapping[str, str]):
        self._headers = {**headers, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
        self._media_type = media_type
        # With a 304, a browser keeps the policy that came with the body. So the headers are part of the entity tag.
        digest = hashlib.sha256(repr((media_type, sorted(headers.items()))).encode() + body).hexdigest()[:32]
        compressed = gzip.compress(body, compresslevel=9, mtime=0)
        self._plain = body, digest
        self._gzip = (compressed, f"{digest}-gzip") if len(compressed) < len(body) else None

    def respond(self) -> Response:
        """Return the response to the current request: the body as the client accepts it, or 304 if it has that."""
        is_compressed = self._gzip is not None and request.accept_encodings.quality("gzip") > 0
        body, tag = self._gzip if self._gzip is not None and is_compressed else self._plain
        if request.if_none_match.contains_weak(tag):
            response = Response(status=304)
        else:
            response = Response(body, content_type=self._media_type)
            if is_compressed:
                response.headers["Content-Encoding"] = "gzip"
        response.set_etag(tag)
        response.headers.update(self._headers)
        return response


class FileCache(Generic[Made]):
    """What is made of a file's content, made again when the file has changed: whoever edits it need not restart."""

    def __init__(self, path: str | Path, make: Callable[[bytes], Made]):
        self._path = path
        self._make = make
        self._made: tuple[tuple[int, int], Made] | None = None

    def get(self) -> Made | None:
        """Return what is made of the file as it is now, None if there is none."""
        try:
            status = os.stat(self._path)
            version = status.st_mtime_ns, status.st_size
            if self._made is None or self._made[0] != version:
                self._made = version, self._make(Path(self._path).read_bytes())
        except FileNotFoundError:
            return None
        return self._made[1]


class StaticFolder:
    """The files of a folder by their paths in it: no other path leads to a file, so none leads out of the folder."""

    def __init__(self, folder: Path, headers: Mapping[str, str]):
        self._folder = folder
        self._headers = headers
        self._files: dict[str, FileCache[Representation]] = {}
        self._searched_at = float("-inf")

    def prepare(self) -> None:
        """Read and compress all files, before the first request does."""
        self._find_files()
        for file in self._files.values():
            file.get()

    def get(self, path: str) -> Representation | None:
        """Return a file, None if there is none."""
        if path not in self._files and time.monotonic() > self._searched_at + SEARCH_INTERVAL_SECONDS:
            self._find_files()
        file = self._files.get(path)
        return file.get() if file else None

    def _find_files(self) -> None:
        """Add the files that are not in the table yet."""
        self._searched_at = time.monotonic()
        for folder, _, names in os.walk(self._folder):
            for name in names:
                media_type = MEDIA_TYPES.get(os.path.splitext(name)[1] or name)
                full = os.path.join(folder, name)
                path = os.path.relpath(full, self._folder)
                if media_type and path not in self._files:
                    make = partial(Representation, media_type=media_type, headers=self._headers)
                    self._files[path] = FileCache(full, make)

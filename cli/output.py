"""Output of commands: to a file, whole or not at all, or to a device, a FIFO or standard output."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import click

from database import db
from ids import new_id

output_argument = click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))


class Output(NamedTuple):
    """The destination of a command's output.

    ``draft`` is the file that will be renamed to ``name``, None if the output is written directly.
    """

    name: str
    stream: IO[bytes]
    draft: Path | None = None

    def report(self, size: int) -> None:
        """Print how many bytes were written, on standard error if they went to standard output."""
        name = "standard output" if self.name == "-" else self.name
        click.echo(f"Wrote {name}, {size:,} bytes.", err=self.stream is sys.stdout.buffer)


@contextmanager
def open_output(file: str) -> Iterator[Output]:
    """Open a file, a device or a FIFO by its name, or standard output as ``-``, for the block.

    A file is replaced when the block ends, and only if it succeeds; of a symlink, its target.

    Raises:
        click.ClickException: it cannot be written, or is the database itself.

    """
    try:
        if any(os.path.exists(file) and each.exists() and each.samefile(file) for each in db.files):
            raise click.ClickException("That is the database itself.")
        status = None if file == "-" or not os.path.exists(file) else os.stat(file)
        if file == "-" or (status and _is_stdout(status)):
            yield Output(file, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        elif status and not stat.S_ISREG(status.st_mode):
            with open(file, "wb") as stream:
                yield Output(file, stream)
        else:
            target = Path(os.path.realpath(file))
            if target.is_symlink():
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            draft = target.with_name(f".{target.name}.{new_id()}")
            try:
                with open(draft, "xb", opener=_open_private) as stream:
                    yield Output(file, stream, draft)
                    stream.flush()
                    os.fsync(stream.fileno())
                draft.replace(target)
            finally:
                draft.unlink(missing_ok=True)
    except OSError as error:
        raise click.ClickException(f"{file}: {error.strerror}.") from None


def progress_bar(length: int, label: str) -> Any:
    """Return a progress bar on standard error, which is hidden if that is no terminal."""
    return click.progressbar(length=length, label=label, file=sys.stderr, hidden=not sys.stderr.isatty())


def describe_details(details: Any, path: str = "") -> str:
    """Return an error's details as text: the path of each field that is wrong, and why."""
    if isinstance(details, dict):
        steps = ((path if key == "_schema" else f"{path}.{key}".lstrip("."), each) for key, each in details.items())
        return "; ".join(describe_details(each, step) for step, each in steps)
    reasons = " ".join(map(str, details)) if isinstance(details, list) else str(details)
    return f"{path}: {reasons}" if path else reasons


def _is_stdout(status: os.stat_result) -> bool:
    """Return whether this is standard output by another name, such as /dev/stdout."""
    try:
        return os.path.samestat(status, os.fstat(1))
    except OSError:  # it is closed
        return False


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)

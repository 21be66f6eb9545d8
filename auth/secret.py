"""The secret that signs tokens, if the settings have none: generated at the first start."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from config import StartupError
from ids import new_id

SECRET_FILE = "jwt_secret"  # noqa: S105  # the name of a file
MIN_SECRET_LENGTH = 32


def load_or_create_secret(folder: Path) -> str:
    """Return the secret stored in the data folder; at the first start, generate it.

    It is written to a draft that is then linked, so that two processes that start at once
    get the same one, and a crash leaves none half written.

    Raises:
        StartupError: it cannot be read or created, or is too short.

    """
    path = folder / SECRET_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            draft = folder / f".{SECRET_FILE}.{new_id()}"
            with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(48))
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(draft, path)
            except FileExistsError:
                pass
            finally:
                draft.unlink()
        secret = path.read_text().strip()
    except OSError as error:
        raise StartupError(f"The secret {path} cannot be read or created: {error.strerror}.") from None
    if len(secret) < MIN_SECRET_LENGTH:
        raise StartupError(
            f"The secret in {path} is shorter than {MIN_SECRET_LENGTH} characters. Delete it to have one generated."
        )
    return secret

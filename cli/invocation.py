"""How ``flask`` is called on this machine, for hints."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

APP = Path(__file__).parent.parent / "app.py"


def command_line() -> str:
    """Return a command line of ``flask`` that works from this folder, with the packages of this Python."""
    beside = Path(sys.executable).with_name("flask")
    found = shutil.which("flask")
    if found and (Path(found) == beside or not beside.exists()):
        flask = "flask"
    elif beside.exists():
        flask = shlex.quote(os.path.relpath(beside))
    else:
        flask = f"{shlex.quote(sys.executable)} -m flask"
    return flask if Path.cwd() == APP.parent else f"{flask} --app {shlex.quote(str(APP))}"

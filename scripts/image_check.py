"""Build the Dockerfile with buildah and test the image: ``make image-check``, as root.

The build context has the modes of a checkout under ``umask 077``. If the Dockerfile's base cannot be pulled,
Debian's own Python (from debootstrap) replaces it. The image runs without a container engine, but as an operator
would run it: as its own user, on a read-only file system, without capabilities.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

ROOT = Path(__file__).parent.parent
BASE = next(line.split()[1] for line in (ROOT / "Dockerfile").read_text().splitlines() if line.startswith("FROM "))
DEBIAN_PACKAGES = "python3,python3-pip,python-is-python3,ca-certificates"
# This machine's access to a package index, mounted for the build alone.
PIP_SETUP = [path for path in ("/etc/pip.conf", "/etc/ssl/certs") if Path(path).exists()]
PASSWORD = "correct horse battery"
RUN_IN_IMAGE = """
set -e
mount --bind "$0" "$0"
mount -o remount,bind,ro "$0"
mount --bind "$1" "$0/data"
mount --rbind /dev "$0/dev"
mount -t proc proc "$0/proc"
mount -t tmpfs tmpfs "$0/tmp"
shift
exec chroot "$0" "$@"
"""


def run(*command: str | Path, **options: Any) -> str:
    """Run a command and return its output."""
    done: subprocess.CompletedProcess[str] = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, **options
    )
    return done.stdout.strip()


class Buildah:
    """Buildah with its own storage, so that nothing remains on the machine."""

    def __init__(self, folder: Path):
        self._options = ["--storage-driver", "vfs", "--root", f"{folder}/storage", "--runroot", f"{folder}/run"]

    def __call__(self, *arguments: str | Path, **options: Any) -> str:
        return run("buildah", *self._options, *arguments, **options)

    def provide_base(self, folder: Path) -> None:
        """Pull the base image, or build one of Debian in a folder."""
        with suppress(subprocess.SubprocessError):
            self("pull", "--quiet", BASE, timeout=120, stderr=subprocess.DEVNULL)
            print(f"The base is {BASE}, from its registry.")
            return
        print(f"{BASE} cannot be pulled: Debian's Python replaces it.")
        run("debootstrap", "--variant=minbase", f"--include={DEBIAN_PACKAGES}", "stable", folder, stderr=sys.stderr)
        container = self("from", "scratch")
        self("add", "--quiet", container, folder, "/")
        self("config", "--env", "PIP_BREAK_SYSTEM_PACKAGES=1", container)  # else Debian's pip rejects it
        self("commit", "--quiet", "--rm", container, f"localhost/{BASE}")

    def build(self, context: Path) -> tuple[Path, dict[str, Any]]:
        """Build the image; return the folder where it is mounted, and its configuration."""
        volumes = [option for path in PIP_SETUP for option in ("--volume", f"{path}:{path}:ro")]
        self(
            "build",
            "--quiet",
            "--pull-never",
            "--isolation",
            "chroot",
            "--format",
            "docker",
            *volumes,
            "--tag",
            "parley",
            context,
        )
        config = json.loads(self("inspect", "--type", "image", "parley"))["Docker"]["config"]
        return Path(self("mount", self("from", "--pull-never", "parley"))), config


def check_out(context: Path) -> None:
    """Copy the files that git knows, with the modes of a strict umask."""
    os.umask(0o077)
    context.mkdir()
    names = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT).split("\0")
    present = [name for name in names if name and (ROOT / name).is_file()]
    run("cp", "--parents", "--no-preserve=mode", "--target-directory", context, *present, cwd=ROOT)
    os.umask(0o022)
    assert (context / "app.py").stat().st_mode & 0o777 == 0o600


def inside(image: Path, data: Path, config: dict[str, Any], *command: str) -> list[str]:
    """Return the command line that runs a command in the image as a container engine would."""
    user, _, group = config["User"].partition(":")
    limits = f"--reuid {user} --regid {group} --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs"
    settings = [*config["Env"], "PARLEY_PORT=0", "PARLEY_HOST=127.0.0.1", "PARLEY_LOG_FORMAT=json"]
    container = ["unshare", "--mount", "sh", "-c", RUN_IN_IMAGE, str(image), str(data), "setpriv", *limits.split()]
    return [*container, "env", "-i", "--chdir", config["WorkingDir"], *settings, *command]


def first_line(log: Path, process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """Wait for the first line of the server's log and return it."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(ValueError, IndexError):
            line: dict[str, Any] = json.loads(log.read_text().splitlines()[0])
            return line
        time.sleep(0.1)
    raise SystemExit(f"The server in the image did not start:\n{log.read_text()}")


def check_image(image: Path, config: dict[str, Any], folder: Path) -> None:
    """Check the image's content and user, and serve from it, with ``folder`` for its data and its log."""
    assert config["User"] == "10001:10001"
    assert (image / "app/LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    assert config["Labels"]["org.opencontainers.image.licenses"] == "MIT"
    shipped = {path.relative_to(image / "app").parts[0] for path in (image / "app").iterdir()}
    assert not shipped & {"tests", ".git", "Makefile", "README.md"}, shipped
    data, log = folder / "data", folder / "log"
    data.mkdir(mode=0o700)
    os.chown(data, 10001, 10001)
    with log.open("wb") as output:
        process = subprocess.Popen(inside(image, data, config, *config["Cmd"]), stdout=output, stderr=output)
    try:
        message = first_line(log, process)["message"]
        print(message)
        state = dict(line.split(":\t") for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
        assert {*state["Uid"].split(), *state["Gid"].split()} == {"10001"}
        assert {int(state[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapBnd")} == {0}
        failed = subprocess.run(inside(image, data, config, "touch", "/app/x"), capture_output=True, text=True)
        assert "Read-only file system" in failed.stderr

        url = message.split()[3].rstrip(",")
        with urlopen(f"{url}/readyz", timeout=10) as response:
            assert response.status == 200
        run(*inside(image, data, config, "python", "-c", "import psycopg; assert psycopg.pq.__impl__ == 'binary'"))
        health = inside(image, data, config, *config["Healthcheck"]["Test"][1:])
        port = url.rpartition(":")[2]
        subprocess.run(["PARLEY_PORT=" + port if part == "PARLEY_PORT=0" else part for part in health], check=True)
        hint = shlex.split(message.rpartition(" with: ")[2].replace("NAME", "alice"))
        print(run(*inside(image, data, config, *hint, "--password", PASSWORD)))
        body = json.dumps({"username": "alice", "password": PASSWORD}).encode()
        login = Request(f"{url}/api/auth/login", body, {"Content-Type": "application/json"})
        with urlopen(login, timeout=10) as response:
            token = json.load(response)["access_token"]
        me = Request(f"{url}/api/auth/me", headers={"Authorization": f"Bearer {token}"})
        with urlopen(me, timeout=10) as response:
            assert json.load(response)["username"] == "alice"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
    assert {(data / name).stat().st_uid for name in ("parley.db", "jwt_secret")} == {10001}


def main() -> None:
    if os.geteuid():
        sys.exit("Run this as root: it starts the image without a container engine.")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)  # the image's user must be able to enter it
        buildah = Buildah(folder)
        buildah.provide_base(folder / "base")
        check_out(folder / "checkout")
        try:
            check_image(*buildah.build(folder / "checkout"), folder)
        finally:
            buildah("umount", "--all")
    print("The image works.")


if __name__ == "__main__":
    main()

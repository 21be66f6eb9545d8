"""Build the Dockerfile as it is, with buildah, and try the image: ``make image-check``, as root.

The checkout is one made under ``umask 077``. Where no registry has the Dockerfile's base, Debian's own
Python (from debootstrap) takes its name. The image runs without an engine, but as an operator would have
it: as its own user, on a read-only file system, without capabilities.
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
# How pip reaches the index from here, for the build alone.
MACHINE = [path for path in ("/etc/pip.conf", "/etc/ssl/certs") if Path(path).exists()]
PASSWORD = "correct horse battery"
ENTER = """
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
    done: subprocess.CompletedProcess[str] = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, **options
    )
    return done.stdout.strip()


class Buildah:
    """Buildah with a storage of its own, so that nothing is left on the machine."""

    def __init__(self, folder: Path):
        self._options = ["--storage-driver", "vfs", "--root", f"{folder}/storage", "--runroot", f"{folder}/run"]

    def __call__(self, *arguments: str | Path, **options: Any) -> str:
        return run("buildah", *self._options, *arguments, **options)

    def provide_base(self, folder: Path) -> None:
        with suppress(subprocess.SubprocessError):
            self("pull", "--quiet", BASE, timeout=120, stderr=subprocess.DEVNULL)
            print(f"The base is {BASE}, from its registry.")
            return
        print(f"{BASE} cannot be had here: Debian's Python takes its place.")
        run("debootstrap", "--variant=minbase", f"--include={DEBIAN_PACKAGES}", "stable", folder, stderr=sys.stderr)
        container = self("from", "scratch")
        self("add", "--quiet", container, folder, "/")
        self("config", "--env", "PIP_BREAK_SYSTEM_PACKAGES=1", container)  # Debian's pip would refuse
        self("commit", "--quiet", "--rm", container, f"localhost/{BASE}")

    def build(self, context: Path) -> tuple[Path, dict[str, Any]]:
        """Return where the image is mounted, and its configuration."""
        volumes = [option for path in MACHINE for option in ("--volume", f"{path}:{path}:ro")]
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
    """Copy what git would, with the modes of a strict umask."""
    os.umask(0o077)
    context.mkdir()
    names = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT).split("\0")
    present = [name for name in names if name and (ROOT / name).is_file()]
    run("cp", "--parents", "--no-preserve=mode", "--target-directory", context, *present, cwd=ROOT)
    os.umask(0o022)
    assert (context / "app.py").stat().st_mode & 0o777 == 0o600


def inside(image: Path, data: Path, config: dict[str, Any], *command: str) -> list[str]:
    """Return what runs a command in the image, as its engine would."""
    user, _, group = config["User"].partition(":")
    limits = f"--reuid {user} --regid {group} --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs"
    settings = [*config["Env"], "PARLEY_PORT=0", "PARLEY_HOST=127.0.0.1", "PARLEY_LOG_FORMAT=json"]
    begun = ["unshare", "--mount", "sh", "-c", ENTER, str(image), str(data), "setpriv", *limits.split()]
    return [*begun, "env", "-i", "--chdir", config["WorkingDir"], *settings, *command]


def first_line(log: Path, process: subprocess.Popen[bytes]) -> dict[str, Any]:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(ValueError, IndexError):
            line: dict[str, Any] = json.loads(log.read_text().splitlines()[0])
            return line
        time.sleep(0.1)
    raise SystemExit(f"The image does not start:\n{log.read_text()}")


def try_image(image: Path, config: dict[str, Any], folder: Path) -> None:
    assert config["User"] == "10001:10001"
    assert (image / "app/LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    assert config["Labels"]["org.opencontainers.image.licenses"] == "MIT"
    shipped = {path.relative_to(image / "app").parts[0] for path in (image / "app").iterdir()}
    assert not shipped & {"tests", ".git", "Makefile", "README.md"}, shipped
    data, log = folder / "data", folder / "log"
    data.mkdir(mode=0o700)
    os.chown(data, 10001, 10001)
    with log.open("wb") as out:
        process = subprocess.Popen(inside(image, data, config, *config["Cmd"]), stdout=out, stderr=out)
    try:
        said = first_line(log, process)["message"]
        print(said)
        state = dict(line.split(":\t") for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
        assert {*state["Uid"].split(), *state["Gid"].split()} == {"10001"}
        assert {int(state[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapBnd")} == {0}
        refused = subprocess.run(inside(image, data, config, "touch", "/app/x"), capture_output=True, text=True)
        assert "Read-only file system" in refused.stderr

        url = said.split()[3].rstrip(",")
        with urlopen(f"{url}/readyz", timeout=10) as answer:
            assert answer.status == 200
        health = inside(image, data, config, *config["Healthcheck"]["Test"][1:])
        port = url.rpartition(":")[2]
        subprocess.run(["PARLEY_PORT=" + port if part == "PARLEY_PORT=0" else part for part in health], check=True)
        hint = shlex.split(said.partition("make one with: ")[2].replace("NAME", "alice"))
        print(run(*inside(image, data, config, *hint, "--password", PASSWORD)))
        body = json.dumps({"username": "alice", "password": PASSWORD}).encode()
        login = Request(f"{url}/api/auth/login", body, {"Content-Type": "application/json"})
        with urlopen(login, timeout=10) as answer:
            token = json.load(answer)["access_token"]
        mine = Request(f"{url}/api/auth/me", headers={"Authorization": f"Bearer {token}"})
        with urlopen(mine, timeout=10) as answer:
            assert json.load(answer)["username"] == "alice"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
    assert {(data / name).stat().st_uid for name in ("parley.db", "jwt_secret")} == {10001}


def main() -> None:
    if os.geteuid():
        sys.exit("The image is run without an engine, so this has to be root.")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)  # the image's user goes through it
        buildah = Buildah(folder)
        buildah.provide_base(folder / "base")
        check_out(folder / "checkout")
        try:
            try_image(*buildah.build(folder / "checkout"), folder)
        finally:
            buildah("umount", "--all")
    print("The image works.")


if __name__ == "__main__":
    main()

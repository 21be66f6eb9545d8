"""Fetch the page's libraries from npm and write them to ``static/vendor``: ``make vendor``.

Each package is pinned by its version and by the checksum that npm's registry had for it when it was chosen; npm finds
the registry as it is configured. The files are written byte for byte, each package's licence beside them. To upgrade
one, change its version and take its new checksum from ``npm view NAME@VERSION dist.integrity``.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

VENDOR = Path(__file__).parent.parent / "static" / "vendor"
HIGHLIGHT_LANGUAGES = (
    *("bash", "diff", "dockerfile", "go", "http", "ini", "java", "javascript", "json", "nginx", "python", "sql"),
    *("xml", "yaml"),
)


@dataclass(frozen=True)
class Package:
    """A package of npm, and which of its files the page uses."""

    name: str
    version: str
    licence: str
    integrity: str
    """What npm's registry calls ``dist.integrity``: the SHA-512 of the package's archive."""
    root: str
    """The folder of the archive that the files are in, and that they are written without."""
    files: tuple[str, ...]

    @property
    def folder(self) -> str:
        """The name of its folder in ``static/vendor``."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}"


PACKAGES = (
    Package(
        "lit-html",
        "3.3.3",
        "BSD-3-Clause",
        "sha512-el8M6jK2o3RXBnrSHX3ZKrsN8zEV63pSExTO1wYJz7QndGYZ8353e2a5PPX+qHe2aGayfnchQmkAojaWAREOIA==",
        "",
        (
            *("lit-html.js", "directive.js", "directive-helpers.js", "async-directive.js"),
            *(f"directives/{name}.js" for name in ("guard", "keyed", "live", "ref", "repeat")),
        ),
    ),
    Package(
        "marked",
        "18.2.1",
        "MIT",
        "sha512-ii4bxCTCqqwpT86XZWgJNs+ZnAIZksmLGYMViWA7PDIXYIeNo1x6cDdX3JOip9NM/cI6p8z57FxliACboTruMA==",
        "lib/",
        ("marked.esm.js",),
    ),
    Package(
        "@highlightjs/cdn-assets",  # highlight.js as modules that import nothing
        "11.12.0",
        "BSD-3-Clause",
        "sha512-KvOKXODaiFmId9xaq3xc5xCL66wVLUuOngDbO9B/kewbFTqdGbn2nJxNhN3H5R1cgDTVj6R8vH0zgiNDEGjpDw==",
        "es/",
        ("core.min.js", *(f"languages/{name}.min.js" for name in HIGHLIGHT_LANGUAGES)),
    ),
)


def fetch(package: Package) -> bytes:
    """Return the package's archive, after comparing it with its checksum."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", "--silent", "--ignore-scripts", f"{package.name}@{package.version}"]
        name = subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1]
        archive = (Path(folder) / name).read_bytes()
    integrity = f"sha512-{base64.b64encode(hashlib.sha512(archive).digest()).decode()}"
    if integrity != package.integrity:
        sys.exit(f"{package.name}@{package.version} is {integrity}, and should be {package.integrity}.")
    return archive


def unpack(package: Package, archive: bytes, target: Path) -> dict[str, str]:
    """Write the package's files and its licence to a folder; return the SHA-256 of each."""
    sources = {"LICENSE": "package/LICENSE"} | {name: f"package/{package.root}{name}" for name in package.files}
    checksums = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for name, source in sources.items():
            file = tar.extractfile(source)
            assert file, f"{source} is no file"
            content = file.read()
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            checksums[name] = hashlib.sha256(content).hexdigest()
    return checksums


def main() -> None:
    if not shutil.which("npm"):
        sys.exit("This needs npm, which fetches the packages. Nothing of it is needed to run or test Parley.")
    archives = [(package, fetch(package)) for package in PACKAGES]
    for folder in VENDOR.iterdir():
        if folder.is_dir():
            shutil.rmtree(folder)
    manifest = [
        {
            "name": package.name,
            "version": package.version,
            "licence": package.licence,
            "integrity": package.integrity,
            "folder": package.folder,
            "files": unpack(package, archive, VENDOR / package.folder),
        }
        for package, archive in archives
    ]
    (VENDOR / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")


if __name__ == "__main__":
    main()

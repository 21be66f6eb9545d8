"""Write the page's list of modules to preload into ``static/index.html``: ``make preload``.

A browser learns of a module from the one that imports it. With the list it fetches all of them at once, instead of
one generation after another.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

STATIC = Path(__file__).parent.parent / "static"
INDEX = STATIC / "index.html"
ENTRY = "app.js"

# Of static imports and exports, also of minified ones; what is fetched later, with import(), is not preloaded.
_IMPORT = re.compile(r"""\b(?:from|import)\s*["'](\.[^"']+)["']""")
_PRELOAD = re.compile(r' *<link rel="modulepreload" href="[^"]*" />\n')
_SCRIPT = re.compile(r' *<script type="module"')


def imported_modules() -> list[str]:
    """Return the paths in ``static/`` of the modules that the page imports, its entry not included, sorted."""
    found = {ENTRY}
    waiting = [ENTRY]
    while waiting:
        module = waiting.pop()
        source = (STATIC / module).read_text()
        for path in _IMPORT.findall(source):
            imported = posixpath.normpath(posixpath.join(posixpath.dirname(module), path))
            if imported not in found:
                found.add(imported)
                waiting.append(imported)
    return sorted(found - {ENTRY})


def with_list(html: str, modules: list[str]) -> str:
    """Return the document with links for these modules, and no others, before its script."""
    links = "".join(f'    <link rel="modulepreload" href="static/{module}" />\n' for module in modules)
    return _SCRIPT.sub(lambda found: links + found[0], _PRELOAD.sub("", html), count=1)


if __name__ == "__main__":
    INDEX.write_text(with_list(INDEX.read_text(), imported_modules()))

"""Adds a built site to the sites of earlier versions: `make site SITE=FOLDER`.

    python docs/_versions.py PAGES SITE

PAGES is the folder of the built site. SITE is what a static host serves:

    VERSION/       the pages of each version
    latest/        a copy of those of the newest release, for links that last
    index.html     leads to latest/
    versions.json  the names of the versions, newest first
    versions.js    the menu of versions, and the notice on pages of versions other than the latest
    .nojekyll      lets GitHub Pages serve folders that begin with an underscore

Whatever else is in SITE stays. Except for the pages of the versions, all is made anew.
"""

import json
import re
import shutil
import sys
from pathlib import Path

from packaging.version import InvalidVersion, Version

SCRIPT = Path(__file__).with_suffix(".js")
#: The name of the folder that always has the newest release.
LATEST = "latest"
#: Leads also readers who opened the file itself, where a folder is not its index.html.
START = f"""\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>seqkeras</title>
<meta http-equiv="refresh" content="0; url={LATEST}/index.html">
<link rel="canonical" href="{LATEST}/index.html">
<p><a href="{LATEST}/index.html">Documentation of seqkeras</a></p>
</html>
"""


def add(pages: Path, site: Path) -> str:
    """Add the pages of one version, or replace them; return the version.

    Raises:
        SystemExit: the folder has no pages that Sphinx has built.
    """
    version = version_of(pages)
    _copy(pages, site / version)
    names = versions(site)
    latest = newest_release(names)
    _copy(site / latest, site / LATEST)
    listed = {"latest": latest, "versions": names}
    (site / "versions.json").write_text(f"{json.dumps(listed, indent=1)}\n")
    # A page that was opened as a file may not read a .json, but run a script.
    listed["pages"] = {name: _pages(site / name) for name in names}
    (site / "versions.js").write_text(f"const site = {json.dumps(listed)};\n{SCRIPT.read_text()}")
    (site / "index.html").write_text(START)
    (site / ".nojekyll").touch()
    return version


def version_of(pages: Path) -> str:
    """Return the version that built pages are about."""
    inventory = pages / "objects.inv"
    if not inventory.is_file():
        sys.exit(f"{pages} has no objects.inv: build the site first, with `make docs`")
    return re.findall(rb"^# Version: (.+)$", inventory.read_bytes(), re.MULTILINE)[0].decode()


def versions(site: Path) -> list[str]:
    """Return the versions of a site, newest first."""
    folders = [path.name for path in site.iterdir() if (path / "objects.inv").is_file()]
    return sorted(filter(_is_version, folders), key=Version, reverse=True)


def newest_release(names: list[str]) -> str:
    """Return the first version that is not a pre-release, or the first if all are."""
    return next((name for name in names if not Version(name).is_prerelease), names[0])


def _is_version(name: str) -> bool:
    try:
        Version(name)
    except InvalidVersion:
        return False
    return True


def _copy(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(".doctrees", ".buildinfo"))


def _pages(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.html"))


if __name__ == "__main__":
    pages, site = map(Path, sys.argv[1:])
    print(f"{site}: version {add(pages, site)} of {', '.join(versions(site))}")

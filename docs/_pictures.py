"""Makes the pictures of a page by running its examples: `python docs/_pictures.py anomaly`.

Each picture that an example saves is copied into `_static/`, so the page shows what its code draws.
"""

import doctest
import os
import shutil
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent


def make(page: str) -> None:
    """Run the examples of a page, and keep the pictures that they save."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        failures, _ = doctest.testfile(str(HERE / f"{page}.md"), module_relative=False)
        if failures:
            raise SystemExit(1)
        for picture in Path(folder).glob("*.png"):
            shutil.copy(picture, HERE / "_static" / picture.name)


if __name__ == "__main__":
    make(sys.argv[1])

"""Makes the gallery from the scripts in examples/gallery: pages, notebooks and pictures.

    python docs/_gallery.py [NAME ...]    # `make notebooks` runs this for all of them

A script is a list of cells that begin with `# %%` or, for prose in Markdown, `# %% [markdown]`, as
editors and Jupytext read them. Its notebook is executed in Jupyter. The page shows the prose, the
code, what the code printed, and the pictures that it saved.
"""

import json
import re
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).resolve().parent
SCRIPTS = DOCS.parent / "examples/gallery"
PAGES = DOCS / "gallery"
PICTURES = DOCS / "_static/gallery"

CELL = re.compile(r"^# %%(.*)\n", re.MULTILINE)
SAVED = re.compile(r"\.savefig\(\"(\w+)\.png\"")
#: What TensorFlow logs goes to the standard output of a notebook.
LOGGED = re.compile(r"^WARNING:tensorflow:.*\n", re.MULTILINE)
#: Longer fences than those of code, which outputs may hold.
OUTPUT = "````{code-block} text\n:class: output\n\n"
#: Seconds in which a cell of a notebook must end.
MOST_SECONDS = 900
#: Pixels and colors of a picture.
WIDTH = 900
COLORS = 32


@dataclass(frozen=True)
class Cell:
    """A part of a script: prose in Markdown, or code."""

    text: str
    is_prose: bool

    @property
    def pictures(self) -> list[str]:
        """The names of the pictures that the code saves."""
        return [] if self.is_prose else SAVED.findall(self.text)


def names() -> list[str]:
    """Return the names of all scripts of the gallery."""
    return sorted(path.stem for path in SCRIPTS.glob("*.py"))


def read(name: str) -> list[Cell]:
    """Return the cells of a script."""
    before, *parts = CELL.split((SCRIPTS / f"{name}.py").read_text())
    if before.strip():
        raise SystemExit(f"{name}.py must begin with a cell: # %% [markdown]")
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return [_cell(body.strip("\n"), is_prose="[markdown]" in marker) for marker, body in pairs]


def _cell(body: str, *, is_prose: bool) -> Cell:
    return Cell(re.sub(r"^# ?", "", body, flags=re.MULTILINE) if is_prose else body, is_prose)


def notebook(cells: list[Cell]) -> dict:
    """Return the notebook of a script, without outputs."""
    return {
        "cells": [_notebook_cell(cell) for cell in cells],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}
        },
        "nbformat": 4,
        "nbformat_minor": 4,
    }


def _notebook_cell(cell: Cell) -> dict:
    if cell.is_prose:
        # Links to other pages lead nowhere from a notebook by itself.
        text = re.sub(r"\[([^\]]*)\]\(\.\./[^)]*\)", r"\1", cell.text)
        return {"cell_type": "markdown", "metadata": {}, "source": text}
    empty = {"execution_count": None, "metadata": {}, "outputs": []}
    return {"cell_type": "code", **empty, "source": cell.text}


def page(name: str, cells: list[Cell], printed: dict[int, str]) -> str:
    """Return the page of a script, as Markdown.

    Args:
        name: the name of the script.
        cells: its cells.
        printed: what cells printed, by their number.
    """
    links = f"[Script](../../examples/gallery/{name}.py) · [Notebook]({name}.ipynb)"
    blocks = [f"<!-- Made from examples/gallery/{name}.py by `make notebooks`. -->"]
    description = ""
    for number, cell in enumerate(cells):
        if cell.is_prose:
            blocks.append(cell.text)
            description = _last_paragraph(cell.text)
        else:
            blocks.append(f"```python\n{cell.text}\n```")
        if number == 0:
            blocks.append(f"Download: {links}")
        if number in printed:
            blocks.append(f"{OUTPUT}{printed[number].rstrip()}\n````")
        blocks += [f"![{description}](../_static/gallery/{file}.png)" for file in cell.pictures]
    return "\n\n".join(blocks) + "\n"


def without_outputs(page: str) -> str:
    """Return a page without what the code printed: what its script determines."""
    return re.sub(rf"\n{re.escape(OUTPUT)}.*?\n````\n", "", page, flags=re.DOTALL)


def _last_paragraph(prose: str) -> str:
    return " ".join(prose.rpartition("\n\n")[2].split())


def execute(cells: list[Cell], folder: Path) -> dict[int, str]:
    """Run a notebook in a folder; return what its cells printed, by their number."""
    import nbformat
    from nbclient import NotebookClient

    node = nbformat.from_dict(notebook(cells))
    place = {"metadata": {"path": str(folder)}}
    NotebookClient(node, timeout=MOST_SECONDS, resources=place).execute()
    outputs = [cell.get("outputs", []) for cell in node.cells]
    for cell, results in zip(cells, outputs, strict=True):
        if cell.pictures and not any("image/png" in output.get("data", ()) for output in results):
            raise SystemExit(f"A notebook must show what it saves: end the cell of {cell.pictures}")
    texts = [
        "".join(output.text for output in results if output.get("name") == "stdout")
        for results in outputs
    ]
    texts = [LOGGED.sub("", text) for text in texts]
    return {number: text for number, text in enumerate(texts) if text.strip()}


def keep_picture(source: Path, target: Path) -> None:
    """Store a picture in the width of a page and in few colors: a tenth of the bytes."""
    from PIL import Image

    with Image.open(source) as picture:
        small = picture.convert("RGB")
    small.thumbnail((WIDTH, 2 * WIDTH))
    # The octree keeps colors that are rare, such as those of a few dots.
    small.quantize(COLORS, Image.Quantize.FASTOCTREE).save(target, optimize=True)


def make(name: str) -> None:
    """Execute a script as a notebook, and write its page, notebook and pictures."""
    cells = read(name)
    with tempfile.TemporaryDirectory() as folder:
        printed = execute(cells, Path(folder))
        for picture in (picture for cell in cells for picture in cell.pictures):
            keep_picture(Path(folder, f"{picture}.png"), PICTURES / f"{picture}.png")
    text = json.dumps(notebook(cells), indent=1, ensure_ascii=False)
    (PAGES / f"{name}.ipynb").write_text(f"{text}\n")
    (PAGES / f"{name}.md").write_text(page(name, cells, printed))


def main() -> None:
    for name in sys.argv[1:] or names():
        start = time.monotonic()
        make(name)
        print(f"{name}: {time.monotonic() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()

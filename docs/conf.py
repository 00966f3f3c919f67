"""Sphinx configuration. Build: sphinx-build -W --keep-going -b html docs docs/_build/html"""

import os
import re
import sys
from pathlib import Path

import numpy.typing as npt
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import stringify_annotation

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # for _drawings
sys.path.insert(0, str(HERE.parent))  # this checkout, not an installed package
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from _drawings import draw  # noqa: E402

import seqkeras  # noqa: E402

project = "seqkeras"
author = "The seqkeras developers"
copyright = author
version = release = seqkeras.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
templates_path = ["_templates"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

default_role = "py:obj"  # `name` in a docstring: a link where the name is known, else code
add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_attr_annotations = False
napoleon_use_rtype = False

html_theme = "furo"
pygments_dark_style = "github-dark"
html_title = f"seqkeras {release}"
html_static_path = ["_static"]
html_css_files = ["site.css", "gallery.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#1f7a63", "color-brand-content": "#1f6fb0"},
    "dark_css_variables": {"color-brand-primary": "#5fc4a8", "color-brand-content": "#79b4e8"},
}


class Drawing(SphinxDirective):
    """The directive `{drawing} many_to_one`: a drawing of `_drawings.py`, as SVG in the page."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(str(HERE / "_drawings.py"))
        return [nodes.raw("", draw(self.arguments[0]), format="html")]


def close_examples(_app: Sphinx, _page: str, source: list[str]) -> None:
    """Remove the empty line that doctest needs between an example and the end of its fence."""
    source[0] = source[0].replace("\n\n```\n", "\n```\n")


ALIASES = {
    stringify_annotation(npt.ArrayLike, "smart"): "ArrayLike",
    stringify_annotation(npt.DTypeLike, "smart"): "DTypeLike",
}


def short_types(*event: object) -> tuple[str | None, str | None]:
    """Show NumPy's type aliases by name, as Python has already replaced them by their contents."""

    def shorten(text: str | None) -> str | None:
        for long, short in ALIASES.items():
            text = text and text.replace(long, short)
        array = r"~numpy\.ndarray\[~?\w*\.?tuple\[.*?\], ~numpy\.dtype\[(.*?)\]\]"
        return text and re.sub(array, r"NDArray[\1]", text)

    *_, signature, returned = event
    return shorten(signature), shorten(returned)


def setup(app: Sphinx) -> None:
    app.add_directive("drawing", Drawing)
    app.connect("source-read", close_examples)
    app.connect("autodoc-process-signature", short_types)

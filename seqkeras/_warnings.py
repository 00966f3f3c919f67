"""Warnings that point to the code of the user."""

import sys
import warnings

from seqkeras.errors import SeqkerasWarning


def warn(message: str, category: type[SeqkerasWarning]) -> None:
    """Warn at the line outside of seqkeras that led here, however deep the call is."""
    level = 1
    frame = sys._getframe()
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == "seqkeras":
        frame = frame.f_back
        level += 1
    warnings.warn(message, category, stacklevel=level)

"""Warnings that point to the user's code."""

import sys
import warnings

from seqkeras.errors import SeqkerasWarning


def warn(message: str, category: type[SeqkerasWarning]) -> None:
    """Warn at the line of the caller outside of seqkeras, however deep the call is."""
    level = 1
    frame = sys._getframe()
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == "seqkeras":
        frame = frame.f_back
        level += 1
    warnings.warn(message, category, stacklevel=level)

"""Warnings that point to the user's code."""

import sys
import warnings
from collections.abc import Iterable

from seqkeras.errors import SeqkerasWarning


def warn(message: str, category: type[SeqkerasWarning]) -> None:
    """Warn at the line of the caller outside of seqkeras, however deep the call is."""
    level = 1
    frame = sys._getframe()
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == "seqkeras":
        frame = frame.f_back
        level += 1
    warnings.warn(message, category, stacklevel=level)


def repeat_warnings(warned: Iterable[warnings.WarningMessage]) -> None:
    """Repeat recorded warnings, each text once."""
    by_text = {str(warning.message): warning for warning in warned}
    for warning in by_text.values():
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)

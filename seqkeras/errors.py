"""Every exception and warning that seqkeras raises on purpose::

    SeqkerasError
    ├── ArgumentError (ValueError)        an argument has a value that cannot work
    ├── DataError (ValueError)            a frame, series or array cannot be used as it is
    ├── NotFittedError (AttributeError)   asked of an object that must be fitted first
    ├── FileFormatError (ValueError)      a file is damaged, foreign or from a later version
    └── MissingDependencyError (ImportError)   an optional package is not installed

    SeqkerasWarning (UserWarning)
    ├── SkippedSeriesWarning              series that were left out, and how many
    ├── ForgottenStateWarning             a stateful layer whose state JAX forgets
    └── KeptLayerWarning                  recurrent layers that `accelerate` could not make ours

Each also derives from the built-in class that a caller without seqkeras in mind would catch.
"""


class SeqkerasError(Exception):
    """Base of all seqkeras errors."""


class ArgumentError(SeqkerasError, ValueError):
    """An argument has a value that cannot work."""


class DataError(SeqkerasError, ValueError):
    """A frame, series or array cannot be used as it is."""


class NotFittedError(SeqkerasError, AttributeError):
    """The object must be fitted before this is asked of it."""


class FileFormatError(SeqkerasError, ValueError):
    """A file is damaged, not one of ours, or written by a later version."""


class MissingDependencyError(SeqkerasError, ImportError):
    """An optional package is not installed; the message has the command that installs it."""


class SeqkerasWarning(UserWarning):
    """Base of all seqkeras warnings."""


class SkippedSeriesWarning(SeqkerasWarning):
    """Some series were left out; the message counts them."""


class ForgottenStateWarning(SeqkerasWarning):
    """A layer is stateful, but this backend forgets its state; the message has a way out."""


class KeptLayerWarning(SeqkerasWarning):
    """Recurrent layers stayed as they are; the message names each, with the reason."""

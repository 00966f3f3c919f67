"""All exceptions and warnings of seqkeras::

    SeqkerasError
    ├── ArgumentError (ValueError)        an argument has a value that cannot work
    ├── DataError (ValueError)            a frame, series or array cannot be used as it is
    ├── NotFittedError (AttributeError)   the object must be fitted first
    ├── FileFormatError (ValueError)      a file is damaged, of another kind or too new
    ├── MissingDependencyError (ImportError)   an optional package is not installed
    └── WorkerError (RuntimeError)        an engine could not compute a part

    SeqkerasWarning (UserWarning)
    ├── SkippedSeriesWarning              some series were skipped
    ├── ShortSeriesWarning                some series are too short to train on
    ├── FarValueWarning                   a covariate is far outside its range in `fit`
    ├── LostChangesWarning                the changes of a series are too small for its level
    ├── ForgottenStateWarning             a stateful layer loses its state on JAX
    ├── KeptLayerWarning                  `accelerate` could not replace some recurrent layers
    ├── UntiedWeightsWarning              `to_keras` copied weights that two layers had shared
    ├── RoundedIntegersWarning            float32 rounds integers, such as ids
    └── UnknownTokensWarning              tokens of a text are not in the vocabulary

Each error also derives from the built-in class that a caller would expect.
"""


class SeqkerasError(Exception):
    """Base of all seqkeras errors."""


class ArgumentError(SeqkerasError, ValueError):
    """An argument has a value that cannot work."""


class DataError(SeqkerasError, ValueError):
    """A frame, series or array cannot be used as it is."""


class NotFittedError(SeqkerasError, AttributeError):
    """The object must be fitted first."""


class FileFormatError(SeqkerasError, ValueError):
    """A file is damaged, of another kind, or written by a later version."""


class MissingDependencyError(SeqkerasError, ImportError):
    """An optional package is not installed; the message contains the command to install it."""


class WorkerError(SeqkerasError, RuntimeError):
    """An engine could not compute a part, often because a worker process ended; names the part."""


class SeqkerasWarning(UserWarning):
    """Base of all seqkeras warnings."""


class SkippedSeriesWarning(SeqkerasWarning):
    """Some series were skipped; the message contains their number."""


class ShortSeriesWarning(SeqkerasWarning):
    """Some series are too short to train on, but are forecast; the message has their number."""


class FarValueWarning(SeqkerasWarning):
    """A covariate is far outside its range in `fit`; the message names the column and the value."""


class LostChangesWarning(SeqkerasWarning):
    """The changes of a series are too small relative to its level, so it counts as constant."""


class ForgottenStateWarning(SeqkerasWarning):
    """A layer is stateful, but this backend loses its state; the message contains a fix."""


class KeptLayerWarning(SeqkerasWarning):
    """Some recurrent layers were not replaced; the message names each with the reason."""


class UntiedWeightsWarning(SeqkerasWarning):
    """Layers no longer share their weights; the message names them."""


class RoundedIntegersWarning(SeqkerasWarning):
    """Integers are too large for float32, which rounds them; the message contains a fix."""


class UnknownTokensWarning(SeqkerasWarning):
    """Tokens of a text are not in the vocabulary; the message names them."""

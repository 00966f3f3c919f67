"""Recurrent sequence modelling with Keras 3.

The public names below are imported on first use: `import seqkeras` loads neither Keras nor pandas.
"""

from typing import TYPE_CHECKING

from seqkeras._lazy import attach

__version__ = "0.1.0"

if TYPE_CHECKING:  # the same names for type checkers; a test holds the two lists equal
    from seqkeras import anomaly as anomaly
    from seqkeras import conversion as conversion
    from seqkeras import decoding as decoding
    from seqkeras import diagnostics as diagnostics
    from seqkeras import engines as engines
    from seqkeras import errors as errors
    from seqkeras import export as export
    from seqkeras import forecasting as forecasting
    from seqkeras import gates as gates
    from seqkeras import kernels as kernels
    from seqkeras import layers as layers
    from seqkeras import likelihoods as likelihoods
    from seqkeras import models as models
    from seqkeras import native as native
    from seqkeras import runtime as runtime
    from seqkeras import scoring as scoring
    from seqkeras import serve as serve
    from seqkeras import states as states
    from seqkeras import stepwise as stepwise
    from seqkeras import testing as testing
    from seqkeras import text as text
    from seqkeras import training as training
    from seqkeras import windows as windows
    from seqkeras.conversion import accelerate as accelerate
    from seqkeras.conversion import to_keras as to_keras
    from seqkeras.diagnostics import explain as explain
    from seqkeras.forecasting import Columns as Columns
    from seqkeras.forecasting import Forecaster as Forecaster
    from seqkeras.forecasting import Intervals as Intervals
    from seqkeras.forecasting import Network as Network
    from seqkeras.forecasting import Training as Training
    from seqkeras.forecasting import backtest as backtest
    from seqkeras.models import autoencoder as autoencoder
    from seqkeras.models import encoder_decoder as encoder_decoder
    from seqkeras.models import many_to_many as many_to_many
    from seqkeras.models import many_to_one as many_to_one
    from seqkeras.models import multi_output as multi_output
    from seqkeras.models import next_step as next_step
    from seqkeras.models import one_to_many as one_to_many
    from seqkeras.models import recursive as recursive
    from seqkeras.models import segment_rnn as segment_rnn
    from seqkeras.models import sequence_to_sequence as sequence_to_sequence
    from seqkeras.windows import GroupedArray as GroupedArray
    from seqkeras.windows import StatefulBatches as StatefulBatches
    from seqkeras.windows import Windows as Windows
    from seqkeras.windows import WindowSpec as WindowSpec

__getattr__, __dir__ = attach(
    __name__,
    {
        "anomaly": (),
        "conversion": ("accelerate", "to_keras"),
        "decoding": (),
        "diagnostics": ("explain",),
        "engines": (),
        "errors": (),
        "export": (),
        "forecasting": ("Columns", "Forecaster", "Intervals", "Network", "Training", "backtest"),
        "gates": (),
        "kernels": (),
        "layers": (),
        "likelihoods": (),
        "models": (
            "autoencoder",
            "encoder_decoder",
            "many_to_many",
            "many_to_one",
            "multi_output",
            "next_step",
            "one_to_many",
            "recursive",
            "segment_rnn",
            "sequence_to_sequence",
        ),
        "native": (),
        "runtime": (),
        "scoring": (),
        "serve": (),
        "states": (),
        "stepwise": (),
        "testing": (),
        "text": (),
        "training": (),
        "windows": ("GroupedArray", "StatefulBatches", "WindowSpec", "Windows"),
    },
)

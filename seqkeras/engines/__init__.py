"""Engines: what runs the parts of some work, on the cores of a machine or on a cluster.

`backtest`, `compare`, `Forecaster.predict` and detectors take one as `engine=`.
"""

from typing import TYPE_CHECKING

from seqkeras._lazy import attach

if TYPE_CHECKING:  # the same names for type checkers; a test holds the two lists equal
    from seqkeras.engines._dask import Dask as Dask
    from seqkeras.engines._engine import Engine as Engine
    from seqkeras.engines._joblib import Joblib as Joblib
    from seqkeras.engines._ray import Ray as Ray
    from seqkeras.engines._spark import Spark as Spark

# Lazy, because a worker has to set its number of threads before it loads what uses them.
__getattr__, __dir__ = attach(
    __name__,
    {
        "_dask": ("Dask",),
        "_engine": ("Engine",),
        "_joblib": ("Joblib",),
        "_ray": ("Ray",),
        "_spark": ("Spark",),
    },
)

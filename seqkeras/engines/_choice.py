"""The argument `engine` of functions."""

from typing import Any

from seqkeras._checks import Description, bad_argument, check_one_of
from seqkeras.engines._dask import Dask
from seqkeras.engines._engine import Engine
from seqkeras.engines._joblib import Joblib
from seqkeras.engines._ray import Ray
from seqkeras.engines._spark import Spark

ENGINES: dict[str, type[Engine]] = {"joblib": Joblib, "ray": Ray, "dask": Dask, "spark": Spark}


def as_engine(engine: str | Engine | None, n_jobs: int | None = None) -> Engine:
    """Return the engine of a call, after checking that it can be used.

    Args:
        engine: an engine, or its name. None: joblib, which computes here unless told otherwise.
        n_jobs: number of processes of joblib.

    Raises:
        ArgumentError: an argument is invalid, or they contradict each other.
        MissingDependencyError: the package of the engine is not installed.
    """
    usable = _as_engine(engine, n_jobs)
    usable.check()
    return usable


def _as_engine(engine: Any, n_jobs: int | None) -> Engine:
    if engine is None or (engine == "joblib" and n_jobs is not None):
        return Joblib(n_jobs)
    if n_jobs is not None:
        fix = "Set the number of workers where the engine is started."
        raise bad_argument("n_jobs", n_jobs, f"omitted with engine={engine!r}", fix)
    if isinstance(engine, str):
        return ENGINES[check_one_of("engine", engine, ENGINES)]()
    if not isinstance(engine, Engine):
        expected = "'joblib', 'ray', 'dask', 'spark', or an object such as seqkeras.engines.Ray()"
        raise bad_argument("engine", Description(f"engine={engine!r}"), expected)
    return engine

"""Engines of the tests: each starts its workers once."""

import os
import signal
import sys

import pytest

from seqkeras.engines import Dask, Joblib, Ray, Spark

ENGINES = ["joblib", "ray", "dask", "spark"]


@pytest.fixture(scope="session")
def joblib_engine():
    return Joblib(n_jobs=2)


@pytest.fixture(scope="session")
def ray_engine():
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield Ray(max_retries=0)
    ray.shutdown()


@pytest.fixture(scope="session")
def dask_engine():
    distributed = pytest.importorskip("distributed")
    import dask

    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        distributed.Client(n_workers=2, threads_per_worker=1, dashboard_address=None) as client,
    ):
        yield Dask(client)


@pytest.fixture(scope="session")
def spark_engine():
    sql = pytest.importorskip("pyspark.sql")
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = sql.SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    session = builder.getOrCreate()
    yield Spark(session)
    session.stop()


@pytest.fixture(scope="session", params=ENGINES)
def engine(request):
    return request.getfixturevalue(f"{request.param}_engine")


@pytest.fixture
def interruptible():
    """Let Ctrl-C interrupt, also where the tests run in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)

"""Tests of what every engine promises. Functions are nested, so that they travel with the call."""

import os
import signal
import time

import joblib
import numpy as np
import pytest

from seqkeras.engines import Dask, Joblib, Ray, Spark
from seqkeras.engines._choice import as_engine
from seqkeras.errors import ArgumentError, DataError, MissingDependencyError, WorkerError


def test_results_come_in_the_order_of_the_items(engine):
    def slow_first(number):
        time.sleep(0.3 if number == 0 else 0)
        return number**2, os.getpid()

    results = engine.map(slow_first, range(6))
    assert [square for square, _ in results] == [0, 1, 4, 9, 16, 25]
    assert os.getpid() not in {process for _, process in results}
    assert engine.map(slow_first, []) == []


def test_a_function_holds_data_which_are_unpacked_once_in_each_process(engine):
    class Table:
        def __init__(self):
            self.values = np.arange(5.0)
            self.reads = 0

        def __call__(self, row):
            self.reads += 1
            return os.getpid(), self.reads, float(self.values[row])

    results = engine.map(Table(), range(5))
    assert [value for *_, value in results] == [0, 1, 2, 3, 4]
    for process in {process for process, *_ in results}:
        reads = sorted(count for worker, count, _ in results if worker == process)
        assert reads == list(range(1, len(reads) + 1))


def test_an_exception_is_that_of_the_function_with_its_traceback_as_the_cause(engine):
    def fail(number):
        if number == 2:
            raise DataError(f"item {number} cannot be used")
        return number

    with pytest.raises(DataError, match="item 2 cannot be used") as caught:
        engine.map(fail, range(3))
    assert "in fail" in str(caught.value.__cause__)


def test_an_exception_that_cannot_be_sent_keeps_its_name_and_message(engine):
    def fail(_):
        class LocalError(Exception):
            def __init__(self, first, second):
                super().__init__(f"{first} and {second}")

        raise LocalError("one", "two")

    with pytest.raises(Exception, match="one and two"):
        engine.map(fail, [0])


def test_a_killed_worker_is_an_error_that_names_the_item(engine):
    def end(number):
        if number == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    with pytest.raises(WorkerError, match=rf"{engine} could not compute .*item 1.*{engine} says"):
        engine.map(end, range(2))
    assert engine.map(abs, [-1]) == [1]  # the engine goes on


def test_a_worker_has_the_threads_that_it_is_due(engine):
    def threads(_):
        import keras
        from threadpoolctl import threadpool_info

        assert keras.backend.backend()
        x = keras.ops.ones((1500, 1500))
        for _ in range(2):  # the first time includes what is started
            start = time.perf_counter(), time.process_time()
            for _ in range(8):
                x = keras.ops.matmul(x, x) / 1500
            keras.ops.convert_to_numpy(x)
            cores = (time.process_time() - start[1]) / (time.perf_counter() - start[0])
        return max(pool["num_threads"] for pool in threadpool_info()), cores

    import keras

    keras.backend.backend()  # so that the workers get the backend of this process
    most, cores = engine.map(threads, [0])[0]
    assert most == 1
    assert cores < 1.4


def test_other_threads_are_those_of_other_processes(joblib_engine):
    def process(_):
        return os.getpid()

    engines = (joblib_engine, Joblib(2, threads=3))
    first, second = (set(engine.map(process, range(2))) for engine in engines)
    assert first.isdisjoint(second)


def test_workers_of_ray_with_other_threads_are_other_processes(ray_engine):
    def process(_):
        return os.getpid(), os.environ["OMP_NUM_THREADS"]

    first, second = (Ray(number).map(process, [0])[0] for number in (1, 2))
    assert (first[1], second[1]) == ("1", "2")
    assert first[0] != second[0]


def test_workers_of_dask_keep_their_threads(dask_engine):
    assert dask_engine.map(abs, [-1]) == [1]
    with pytest.raises(RuntimeError, match=r"must run with 2 threads\. Got: one that has beg"):
        Dask(dask_engine.client, threads=2).map(abs, [-1] * 4)


def test_what_is_no_client_is_refused():
    distributed = pytest.importorskip("distributed")
    with pytest.raises(ArgumentError, match=r"client must be a distributed\.Client"):
        Dask("head:8786")
    with (
        distributed.Client(processes=False, dashboard_address=None, set_as_default=False) as client,
        pytest.raises(ArgumentError, match="threads of this process"),
    ):
        Dask(client)


def test_what_is_no_session_is_refused():
    pytest.importorskip("pyspark")
    with pytest.raises(ArgumentError, match="session must be a classic SparkSession"):
        Spark("spark://head:7077")


def test_no_other_thread_of_a_worker_draws_the_random_numbers_of_an_item(engine):
    """Dask estimates sizes with samples of the module `random`, as Keras draws its seeds."""

    def draws(_):
        import random

        random.seed(0)
        state = random.getstate()
        end = time.monotonic() + 3
        while time.monotonic() < end:
            if random.getstate() != state:
                return "disturbed"
        return "undisturbed"

    assert engine.map(draws, [0, 1]) == ["undisturbed"] * 2


def test_keras_is_set_as_here(engine):
    import keras

    def settings(_):
        import keras

        return keras.config.backend(), keras.config.floatx(), keras.config.dtype_policy().name

    assert engine.map(settings, [0]) == [settings(0)]
    keras.config.set_floatx("float16")
    try:
        here = settings(0)
        assert engine.map(settings, [0]) == [here]
        assert here[1] == "float16"
    finally:
        keras.config.set_floatx("float32")


def test_one_process_of_joblib_is_this_one():
    assert Joblib(n_jobs=1).map(lambda _: os.getpid(), [0]) == [os.getpid()]
    assert Joblib().is_here == (joblib.cpu_count() == 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("rya",), r"engine must be one of 'joblib', 'ray', 'dask', 'spark'.*Did you mean 'ray'"),
        ((3,), r"engine must be 'joblib', 'ray', 'dask', 'spark', or an object.*Got: engine=3"),
        ((Joblib, None), "engine must be"),
        ((Joblib(), 2), "n_jobs must be omitted with engine="),
        ((None, 0), "n_jobs must be None, or an integer other than 0"),
        (("joblib", "all"), "n_jobs must be None, or an integer other than 0"),
    ],
)
def test_engines_that_cannot_be_used_are_refused(arguments, words):
    with pytest.raises(ArgumentError, match=words):
        as_engine(*arguments)


@pytest.mark.parametrize("name", ["ray", "dask", "spark"])
def test_a_missing_package_is_named_with_the_command_that_installs_it(name, monkeypatch):
    monkeypatch.setitem(
        __import__("sys").modules, {"dask": "distributed", "spark": "pyspark"}.get(name, name), None
    )
    with pytest.raises(MissingDependencyError, match=r"seqkeras\[distributed\]"):
        as_engine(name)

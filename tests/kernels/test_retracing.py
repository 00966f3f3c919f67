"""Notes about retracing do not reach users where the library makes the models."""

import logging

from helpers.examples import long_run_only
from seqkeras.forecasting import Forecaster, Network, Training, load_air_passengers
from seqkeras.kernels._retracing import without_retracing_notes

NOTE = "5 out of the last 5 calls to %s triggered tf.function retracing."


def test_only_notes_about_retracing_are_suppressed(caplog):
    logger = logging.getLogger("tensorflow")
    with caplog.at_level("WARNING", "tensorflow"), without_retracing_notes():
        logger.warning(NOTE, "step")
        logger.warning("Gradients do not exist")
    assert caplog.messages == ["Gradients do not exist"]
    logger.warning(NOTE, "step")
    assert len(caplog.messages) == 2


@long_run_only
def test_many_forecasters_in_one_process_say_nothing(caplog):
    df = load_air_passengers()
    settings = {"network": Network(units=2), "training": Training(epochs=1, progress=False)}
    for seed in range(6):
        Forecaster(12, seed=seed, intervals=(), **settings).fit(df).predict()
    assert not [message for message in caplog.messages if "retracing" in message]

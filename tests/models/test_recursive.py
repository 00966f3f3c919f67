"""A network of one step, whose output is fed back."""

import keras
import numpy as np
import pytest

from seqkeras import to_keras
from seqkeras.errors import ArgumentError
from seqkeras.models import multi_output, recursive

RANDOM = np.random.default_rng(5)


def test_it_forecasts_one_step_whatever_the_horizon():
    for horizon in (1, 7):
        assert recursive(lookback=6, horizon=horizon, units=4).output_shape == (None, 1)
    assert recursive(lookback=6, outputs=3, units=4).output_shape == (None, 1, 3)


def test_numbers_are_those_of_multi_output_of_one_step(randomize):
    options = {"lookback": 6, "future": 2, "static": 1, "units": 4, "cell": "gru"}
    model = randomize(recursive(3, horizon=5, **options))
    twin = multi_output(3, horizon=1, **options)
    twin.set_weights(model.get_weights())
    x = {
        "inputs": RANDOM.normal(size=(2, 6, 3)),
        "future": RANDOM.normal(size=(2, 1, 2)),
        "static": RANDOM.normal(size=(2, 1)),
    }
    np.testing.assert_allclose(model.predict_on_batch(x), twin.predict_on_batch(x), atol=1e-6)


def test_untrained_it_returns_the_value_one_season_before_also_from_a_file(tmp_path):
    model = recursive(lookback=6, season_length=3, units=4)
    x = RANDOM.normal(size=(2, 6, 1)).astype("float32")
    np.testing.assert_allclose(model.predict_on_batch(x), x[:, 3], atol=1e-6)
    to_keras(model).save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.predict_on_batch(x), x[:, 3], atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"horizon": 0}, "horizon must be"),
        ({"season_length": 9}, "season_length must be at most lookback"),
        ({"stateful": True, "batch_size": 2}, "stateful must be False"),
        ({"unit": 3}, "Did you mean 'units'"),
    ],
    ids=["horizon", "season", "stateful", "typo"],
)
def test_what_cannot_work_is_refused(options, message):
    with pytest.raises(ArgumentError, match=message):
        recursive(lookback=6, **options)

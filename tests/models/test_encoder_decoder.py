"""A decoder that runs over the horizon from the state of the encoder."""

import keras
import numpy as np
import pytest

from seqkeras import layers
from seqkeras.errors import ArgumentError
from seqkeras.models import encoder_decoder

RANDOM = np.random.default_rng(7)


def copy_of(model, name, cell, units, width, **options):
    layer = layers.CELLS[cell](units, return_state=True, **options)
    layer.build((None, None, width))
    layer.set_weights(model.get_layer(name).get_weights())
    return layer


@pytest.mark.backends
@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("future", [0, 2])
def test_numbers_are_those_of_two_layers_in_a_row(cell, future, outputs, randomize):
    model = encoder_decoder(
        lookback=6,
        horizon=4,
        season_length=3,
        future=future,
        units=5,
        cell=cell,
        linear_skip=False,
    )
    randomize(model)
    x = RANDOM.normal(size=(3, 6, 1)).astype("float32")
    known = RANDOM.normal(size=(3, 4, 2)).astype("float32")
    inputs = {"inputs": x, "future": known} if future else x
    relative = x - x[:, -1:]
    _, *state = copy_of(model, "encoder_1", cell, 5, 1)(relative)
    before = [3, 4, 5, 3]  # the rows of one season before
    steps = np.concatenate([known, relative[:, before]], axis=-1)
    if not future:
        steps = np.stack(3 * [model.get_layer("steps").get_weights()[0]])
    decoder = copy_of(model, "decoder_1", cell, 5, steps.shape[-1], return_sequences=True)
    read, *_ = decoder(steps, initial_state=state)
    kernel, bias = model.get_layer("head").get_weights()
    expected = x[:, before, 0] + (keras.ops.convert_to_numpy(read) @ kernel + bias)[..., 0]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(model(inputs)), expected, atol=1e-5)


def test_future_covariates_count_from_their_step_on(randomize):
    model = randomize(encoder_decoder(lookback=6, horizon=4, future=2, units=(5, 4)))
    inputs = {
        "inputs": RANDOM.normal(size=(2, 6, 1)),
        "future": RANDOM.normal(size=(2, 4, 2)),
    }
    before = keras.ops.convert_to_numpy(model(inputs))
    inputs["future"][:, 2] += 1
    moved = np.abs(keras.ops.convert_to_numpy(model(inputs)) - before)
    assert moved[:, :2].max() == 0
    assert moved[:, 2:].min() > 1e-6


@pytest.mark.parametrize("option", ["bidirectional", "stateful"])
def test_bidirectional_and_stateful_are_refused(option):
    with pytest.raises(ArgumentError, match=f"{option} must be False for encoder_decoder"):
        encoder_decoder(lookback=6, horizon=4, **{option: True})

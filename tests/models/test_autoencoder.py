"""A sequence through a narrow vector and back."""

import keras
import numpy as np
import pytest

from helpers.examples import covering
from seqkeras import layers
from seqkeras.errors import ArgumentError
from seqkeras.models import autoencoder, decode, encode

RANDOM = np.random.default_rng(7)


@pytest.mark.parametrize(
    ("cell", "bidirectional"),
    [
        ("lstm", False),
        ("gru", True),
        ("simple_rnn", False),
        (["gru", keras.layers.LSTMCell(4)], True),
    ],
)
def test_encoder_and_decoder_are_models_that_make_up_the_whole(
    cell, bidirectional, outputs, randomize
):
    options = {} if isinstance(cell, list) else {"units": (5, 4)}
    model = autoencoder(3, timesteps=6, latent=2, cell=cell, bidirectional=bidirectional, **options)
    randomize(model)
    encoder, decoder = model.get_layer("encoder"), model.get_layer("decoder")
    assert isinstance(encoder, keras.Model)
    assert isinstance(decoder, keras.Model)
    assert (encoder.input_shape, encoder.output_shape) == ((None, 6, 3), (None, 2))
    assert (decoder.input_shape, decoder.output_shape) == (
        [(None, 2), (None, 6, 3)],
        (None, 6, 3),
    )
    x = RANDOM.normal(size=(4, 6, 3)).astype("float32")
    together = decoder.predict_on_batch([outputs(encoder, x), np.zeros_like(x)])
    np.testing.assert_allclose(together, outputs(model, x), atol=1e-5)


def test_the_decoder_has_the_layers_of_the_encoder_in_opposite_order():
    model = autoencoder(3, timesteps=6, units=(8, 4), cell=["lstm", "gru"])
    parts = [
        [
            (type(layer), layer.units)
            for layer in model.get_layer(name).layers
            if isinstance(layer, keras.layers.RNN)
        ]
        for name in ("encoder", "decoder")
    ]
    assert parts[0] == [(layers.LSTM, 8), (layers.GRU, 4)]
    assert parts[1] == parts[0][::-1]


def test_one_cell_serves_encoder_and_decoder_without_shared_weights():
    model = autoencoder(3, timesteps=6, cell=keras.layers.GRUCell(4))
    encoder, decoder = (model.get_layer(name).weights for name in ("encoder", "decoder"))
    assert not {id(w) for w in encoder} & {id(w) for w in decoder}
    assert len(model.weights) == len(encoder) + len(decoder)


def test_the_latent_vector_is_all_that_passes(outputs, randomize):
    model = randomize(autoencoder(3, timesteps=6, latent=2, units=5))
    latent = model.get_layer("encoder").get_layer("latent")
    latent.set_weights([np.zeros_like(w) for w in latent.get_weights()])
    x = RANDOM.normal(size=(2, 6, 3))
    np.testing.assert_allclose(outputs(model, x), outputs(model, x + 1), atol=1e-6)


def test_latent_has_a_default_and_sequences_can_be_as_short_as_one_timestep(outputs):
    model = autoencoder(3, timesteps=1, units=5)
    assert model.get_layer("encoder").output_shape == (None, 16)
    assert outputs(model, np.ones((2, 1, 3))).shape == (2, 1, 3)


def test_training_through_the_whole_trains_the_parts(outputs):
    x = np.repeat(RANDOM.normal(size=(32, 1, 2)), 3, axis=1)
    model = autoencoder(2, timesteps=3, latent=2, units=8, cell="gru")
    model.compile(optimizer=keras.optimizers.Adam(0.1), loss="mse", run_eagerly=True)
    first = model.train_on_batch(x, x)
    for _ in range(16):
        model.train_on_batch(x, x)
    assert np.mean((decode(model, encode(model, x)) - x) ** 2) < 0.2 * first


def masked(model):
    """The model after a layer that masks timesteps of zeros."""
    return keras.Sequential([keras.Input((None, 2)), keras.layers.Masking(), model])


MASKED_STACKS = {
    "both ways": {"units": (4, 3), "cell": ["gru", "lstm"], "bidirectional": True},
    "lstm": {"units": 4},
    "all": {
        "units": 4,
        "bidirectional": True,
        "decoder": "conditional",
        "reverse": True,
        "variational": True,
    },
    "conditional": {"units": (4, 3), "cell": "gru", "decoder": "conditional"},
    "keras cell, reversed": {"cell": keras.layers.SimpleRNNCell(4), "reverse": True},
    "reversed": {"units": (4, 3), "reverse": True},
}


# These two have all layers of an autoencoder between them.
EVERY_LAYER = ("both ways", "all")


@pytest.mark.parametrize(
    "stack",
    [
        pytest.param(stack, marks=pytest.mark.backends if stack in EVERY_LAYER else ())
        for stack in covering(list(MASKED_STACKS), every=2)
    ],
)
def test_padding_changes_no_output_and_no_loss(stack, randomize):
    model = randomize(autoencoder(2, latent=3, **MASKED_STACKS[stack]))
    x = RANDOM.normal(size=(3, 5, 2)).astype("float32")
    expected = model.predict_on_batch(x)
    # Each row at another place, and a row in which nothing counts.
    padded = np.zeros((4, 8, 2), "float32")
    counts = np.zeros((4, 8), bool)
    for row, first in enumerate((0, 1, 3)):
        padded[row, first : first + 5] = x[row]
        counts[row, first : first + 5] = True
    outputs = masked(model).predict_on_batch(padded)
    np.testing.assert_allclose(outputs[counts].reshape(3, 5, 2), expected, atol=1e-6)
    assert np.isfinite(outputs).all()
    losses = []
    for each, values in ((model, x), (masked(model), padded)):
        # Compiling takes longer than a few calls, except on JAX, which compiles these bit by bit.
        is_jax = keras.backend.backend() == "jax"
        each.compile(optimizer="sgd", loss="mse", run_eagerly=not is_jax)
        loss = each.test_on_batch(values, values)
        each(values)
        losses.append(loss - sum(map(float, each.losses)))
    np.testing.assert_allclose(losses, np.mean((expected - x) ** 2), rtol=1e-6)


def test_no_warning_claims_that_it_destroys_masks(recwarn):
    masked(autoencoder(2, latent=3, units=4))(np.zeros((1, 3, 2), "float32"))
    assert not [warning for warning in recwarn if "mask" in str(warning.message)]


@pytest.mark.parametrize("options", [{}, {"decoder": "conditional", "reverse": True}])
def test_padding_changes_no_gradient(options, randomize):
    changes = []
    x = RANDOM.normal(size=(3, 5, 2)).astype("float32")
    for left, right in ((0, 0), (2, 1)):
        model = randomize(autoencoder(2, latent=3, units=(4, 3), **options))
        before = model.get_weights()
        padded = np.pad(x, [(0, 1), (left, right), (0, 0)])
        whole = masked(model)
        whole.compile(optimizer=keras.optimizers.SGD(1.0), loss="mse", run_eagerly=True)
        whole.train_on_batch(padded, padded)
        after = model.get_weights()
        changes.append([new - old for new, old in zip(after, before, strict=True)])
    for unpadded, padded in zip(*changes, strict=True):
        np.testing.assert_allclose(padded, unpadded, atol=1e-6)


def test_every_length_is_read_and_written(outputs, randomize):
    model = randomize(autoencoder(2, latent=3, units=4))
    fixed = autoencoder(2, timesteps=5, latent=3, units=4)
    fixed.set_weights(model.get_weights())
    x = RANDOM.normal(size=(3, 9, 2))
    assert model.output_shape == (None, None, 2)
    for length in (9, 1):
        assert outputs(model, x[:, :length]).shape == (3, length, 2)
    np.testing.assert_allclose(outputs(model, x[:, :5]), outputs(fixed, x[:, :5]), atol=1e-6)


def test_every_layer_of_the_decoder_is_read(outputs, randomize):
    model = randomize(autoencoder(2, timesteps=4, latent=3, units=(4, 3, 5)))
    x = RANDOM.normal(size=(2, 4, 2))
    before = outputs(model, x)
    for layer in model.get_layer("decoder").layers:
        weights = layer.get_weights()
        if weights:
            layer.set_weights([weight + 0.1 for weight in weights])
            assert np.abs(outputs(model, x) - before).min() > 1e-6
            layer.set_weights(weights)


def test_a_reversed_decoder_writes_the_same_from_the_end(outputs, randomize):
    forward, backward = (
        randomize(autoencoder(2, latent=3, units=(4, 3), reverse=reverse))
        for reverse in (False, True)
    )
    x = RANDOM.normal(size=(2, 5, 2))
    np.testing.assert_allclose(outputs(backward, x), outputs(forward, x)[:, ::-1], atol=1e-6)


def test_a_reversed_conditional_decoder_is_told_the_timestep_after(outputs, randomize):
    model = randomize(autoencoder(2, latent=3, units=4, decoder="conditional", reverse=True))
    decoder = model.get_layer("decoder")
    codes, x = np.zeros((1, 3)), RANDOM.normal(size=(1, 5, 2))
    changed = x.copy()
    changed[:, 3] += 1
    before, after = (
        keras.ops.convert_to_numpy(decoder([codes, values], training=True))
        for values in (x, changed)
    )
    moved = np.abs(after - before).max(axis=2)[0]
    assert moved[3:].max() == 0
    assert moved[:3].min() > 1e-6
    free = [decoder.predict_on_batch([codes, values]) for values in (x, changed)]
    np.testing.assert_array_equal(*free)


@pytest.mark.parametrize(
    ("options", "both_ways"),
    [({}, True), ({"reverse": True}, False), ({"decoder": "conditional"}, False)],
)
def test_the_decoder_reads_both_ways_unless_it_has_a_direction(options, both_ways):
    model = autoencoder(2, latent=3, units=4, bidirectional=True, **options)
    found = [
        any(isinstance(layer, layers.Bidirectional) for layer in model.get_layer(name).layers)
        for name in ("encoder", "decoder")
    ]
    assert found == [True, both_ways]


@pytest.mark.backends
def test_a_variational_autoencoder_draws_codes_only_in_training(outputs, randomize):
    options = {"timesteps": 4, "latent": 3, "units": 4}
    model = randomize(autoencoder(2, **options, variational=True))
    model.get_layer("encoder").get_layer("code").weight.assign(0.5)
    x = RANDOM.normal(size=(2, 4, 2)).astype("float32")
    expected = outputs(model, x)
    np.testing.assert_array_equal(outputs(model, x), expected)
    assert np.abs(outputs(model, x, training=True) - expected).max() > 1e-3
    np.testing.assert_allclose(decode(model, encode(model, x)), expected, atol=1e-6)
    model.compile(optimizer="sgd", loss="mse", run_eagerly=True)
    loss = model.test_on_batch(x, x)
    model(x)
    (divergence,) = map(float, model.losses)
    assert divergence > 0
    assert loss == pytest.approx(np.mean((expected - x) ** 2) + divergence, rel=1e-5)


def test_divergence_moves_codes_to_the_standard_normal_distribution():
    model = autoencoder(1, timesteps=3, latent=2, units=4, variational=True, kl_weight=10.0)
    model.compile(optimizer=keras.optimizers.Adam(0.1), loss="mse", run_eagerly=True)
    x = RANDOM.normal(size=(16, 3, 1)).astype("float32")
    first = np.abs(encode(model, x)).mean()
    for _ in range(8):
        model.train_on_batch(x, x)
    assert np.abs(encode(model, x)).mean() < 0.5 * first


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decoder": "conditonal"}, "Did you mean 'conditional'"),
        ({"decoder": None}, "decoder must be one of 'repeat', 'conditional'"),
        ({"reverse": 1}, "reverse must be True or False"),
        ({"variational": "yes"}, "variational must be True or False"),
        ({"kl_weight": 0.1}, "kl_weight must be omitted where variational=False"),
        ({"variational": True, "kl_weight": -1}, "kl_weight must be a finite number >= 0"),
    ],
)
def test_what_cannot_work_is_refused(options, message):
    with pytest.raises(ArgumentError, match=message):
        autoencoder(2, **options)


def test_stateful_is_refused_with_the_reason():
    with pytest.raises(ArgumentError) as caught:
        autoencoder(3, timesteps=4, stateful=True, batch_size=2)
    message = str(caught.value)
    assert "stateful must be False for autoencoder. Got: stateful=True." in message
    assert "nothing continues in the next batch" in message


@pytest.mark.parametrize("value", [0, -1, 2.5, True, "3"])
@pytest.mark.parametrize("name", ["features", "timesteps", "latent"])
def test_size_that_is_no_positive_integer_is_refused(name, value):
    sizes = {"features": 3, "timesteps": 4} | {name: value}
    with pytest.raises(ArgumentError) as caught:
        autoencoder(sizes.pop("features"), **sizes)
    assert str(caught.value) == f"{name} must be an integer >= 1. Got: {name}={value!r}."

"""Bidirectional: the outputs of Keras, and both directions in one call where possible."""

import itertools

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.examples import covering, examples
from helpers.models import assert_close, built, to_numpy
from seqkeras import conversion, kernels, layers, native, to_keras
from seqkeras.errors import ArgumentError

backends = pytest.mark.backends
BUILT = pytest.mark.skipif(native.why_not() is not None, reason=str(native.why_not()))
STOCK = keras.layers
TENSORFLOW = keras.backend.backend() == "tensorflow"
RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 5, 3)).astype("float32")
MASK = RNG.random((6, 5)) < 0.7


def pair_of(kind="LSTM", *, backward=None, merge_mode="concat", **options):
    """Return our layer and that of Keras, with the same weights."""
    layer_pair = []
    for module in (layers, STOCK):
        forward = getattr(module, kind)(4, **options)
        other = backward and getattr(module, kind)(go_backwards=True, **{**options, **backward})
        both = module.Bidirectional(forward, merge_mode=merge_mode, backward_layer=other)
        layer_pair.append(built(both, X.shape))
    ours, stock = layer_pair
    stock.set_weights([RNG.normal(size=weight.shape) / 3 for weight in stock.get_weights()])
    ours.set_weights(stock.get_weights())
    return ours, stock


def calls():
    """Return how often the compiled kernels ran forward and backward."""
    return np.array(native.load().calls())


@backends
@examples(5)
@given(
    kind=st.sampled_from(["LSTM", "GRU", "SimpleRNN"]),
    merge_mode=st.sampled_from(["concat", "sum", "ave", "mul", None]),
    return_sequences=st.booleans(),
    return_state=st.booleans(),
    use_bias=st.booleans(),
    masked=st.booleans(),
    has_state=st.booleans(),
)
def test_outputs_and_states_are_those_of_keras(kind, merge_mode, masked, has_state, **options):
    ours, stock = pair_of(kind, merge_mode=merge_mode, **options)
    arguments = {"mask": MASK} if masked else {}
    if has_state:
        count = 4 if kind == "LSTM" else 2
        state = [keras.ops.array(RNG.normal(size=(6, 4))) for _ in range(count)]
        arguments["initial_state"] = state
    actual = ours(X, **arguments)
    expected = stock(X, **arguments)
    assert isinstance(actual, tuple) == isinstance(expected, tuple)
    assert_close(actual, expected)


@pytest.mark.parametrize(
    ("kind", "return_sequences"),
    [pytest.param("LSTM", True, marks=backends), ("GRU", False), ("SimpleRNN", True)],
)
def test_training_goes_to_the_weights_of_keras(kind, return_sequences):
    trained = []
    for layer in pair_of(kind, return_sequences=return_sequences):
        model = keras.Sequential([keras.Input((5, 3)), keras.layers.Masking(), layer])
        # The graph of TensorFlow for the layer of Keras takes seconds to make.
        eagerly = TENSORFLOW and type(layer) is STOCK.Bidirectional
        model.compile(keras.optimizers.SGD(0.5), loss="mse", run_eagerly=eagerly)
        x = X * MASK[..., None]
        y = to_numpy(layer(x)) * 0.5 + 1
        for _ in range(3):
            model.train_on_batch(x, y)
        trained.append(model.get_weights())
    assert_close(*trained, tolerance=2e-5)


@backends
@BUILT
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN"])
def test_both_directions_are_one_call(kind):
    ours, _ = pair_of(kind, return_sequences=True)
    before = calls()
    with kernels.counting() as chosen:
        ours(X, mask=MASK)
    assert dict(chosen) == {"fused": 1}
    np.testing.assert_array_equal(calls() - before, [1, 0])


@backends
@BUILT
def test_a_step_of_training_is_one_call_forward_and_one_backward():
    model = keras.Sequential([keras.Input((5, 3)), pair_of("GRU")[0]])
    model.compile(loss="mse", jit_compile=False)
    y = np.zeros((6, 8), "float32")
    model.train_on_batch(X, y)
    before = calls()
    model.train_on_batch(X, y)
    np.testing.assert_array_equal(calls() - before, [1, 1])


@backends
@BUILT
def test_dropout_and_recurrent_dropout_are_drawn_for_each_direction():
    ours, _ = pair_of("LSTM", dropout=0.5, recurrent_dropout=0.5, merge_mode=None)
    ours.backward_layer.set_weights(ours.forward_layer.get_weights())
    palindrome = np.concatenate([X, X[:, ::-1]], axis=1)
    before = calls()
    forward, backward = ours(palindrome, training=True)
    np.testing.assert_array_equal(calls() - before, [1, 0])
    assert np.abs(to_numpy(forward) - to_numpy(backward)).max() > 0.01
    assert_close(*ours(palindrome))  # without dropout both directions read the same


UNLIKE = {
    "another activation of the gates": {"recurrent_activation": "hard_sigmoid"},
    "no bias": {"use_bias": False},
    "recurrent dropout in one": {"recurrent_dropout": 0.4},
}


@BUILT
@pytest.mark.parametrize("backward", UNLIKE.values(), ids=UNLIKE)
def test_directions_that_differ_are_two_calls(backward):
    ours, stock = pair_of("LSTM", backward={"units": 4, **backward})
    assert_close(ours(X), stock(X))
    before = calls()
    ours(X, training=True)
    np.testing.assert_array_equal(calls() - before, [2, 0])


@BUILT
def test_directions_of_different_width_are_one_call():
    ours, stock = pair_of("GRU", backward={"units": 7})
    before = calls()
    actual = ours(X, mask=MASK)
    np.testing.assert_array_equal(calls() - before, [1, 0])
    assert_close(actual, stock(X, mask=MASK))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("LSTM", {"zoneout_h": 0.2, "zoneout_c": 0.1}),
        ("LSTM", {"peephole": True}),
        ("LSTM", {"normalization": True}),
        ("GRU", {"implementation": "scan"}),
        ("GRU", {"reset_after": False}),
        ("LSTM", {"unroll": True}),
        ("LSTM", {"activity_regularizer": "l2"}),
        ("GRU", {"dtype": "float64"}),
    ],
    ids=str,
)
def test_each_direction_gives_what_its_layer_gives(kind, options):
    both = layers.Bidirectional(
        getattr(layers, kind)(4, return_sequences=True, **options), merge_mode=None
    )
    for training in (False, True):
        if training and "zoneout_h" in options:
            continue  # the draws differ
        forward, backward = both(X, training=training)
        expected = both.forward_layer(X, training=training)
        assert_close(forward, keras.ops.cast(expected, forward.dtype))
        expected = keras.ops.flip(both.backward_layer(X, training=training), axis=1)
        assert_close(backward, keras.ops.cast(expected, backward.dtype))


def test_penalties_of_the_layers_are_counted():
    both = layers.Bidirectional(layers.LSTM(4, activity_regularizer="l2"))
    both(X)
    assert len(both.losses) == 2


@backends
def test_stateful_layers_go_on_as_in_keras():
    ours, stock = (
        module.Bidirectional(module.GRU(4, stateful=True, return_sequences=True))
        for module in (layers, STOCK)
    )
    for layer in (stock, ours):
        layer.build(X.shape)
    ours.set_weights(stock.get_weights())
    for _ in range(2):
        assert_close(ours(X), stock(X))


@backends
def test_half_precision_is_that_of_each_layer():
    both = layers.Bidirectional(
        layers.LSTM(4, dtype="mixed_bfloat16"), merge_mode=None, dtype="mixed_bfloat16"
    )
    forward, backward = both(X)
    assert forward.dtype == backward.dtype
    assert keras.backend.standardize_dtype(forward.dtype) == "bfloat16"
    expected = keras.ops.cast(both.forward_layer(X), "float32")
    assert_close(keras.ops.cast(forward, "float32"), expected)


def test_a_file_and_a_copy_give_the_same(tmp_path):
    model = keras.Sequential([keras.Input((None, 3)), pair_of("GRU", return_sequences=True)[0]])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.layers[0]) is layers.Bidirectional
    assert_close(loaded(X), model(X))


def test_accelerate_and_to_keras_exchange_it():
    stock = keras.Sequential([keras.Input((None, 3)), pair_of("LSTM")[1]])
    ours = conversion.accelerate(stock)
    assert type(ours.layers[0]) is layers.Bidirectional
    assert_close(ours(X), stock(X))
    back = to_keras(ours)
    assert type(back.layers[0]) is keras.layers.Bidirectional
    assert_close(back(X), stock(X))


@pytest.mark.parametrize(
    ("kind", "return_state", "return_sequences", "merge_mode"),
    covering(
        list(itertools.product(["LSTM", "GRU"], [False, True], [False, True], ["concat", None])), 3
    ),
)
def test_shapes_are_those_of_the_outputs_for_directions_of_two_widths(
    kind, return_state, return_sequences, merge_mode
):
    options = {"return_state": return_state, "return_sequences": return_sequences}
    directions = [
        getattr(layers, kind)(units, go_backwards=back, **options)
        for units, back in ((3, False), (5, True))
    ]
    both = layers.Bidirectional(directions[0], backward_layer=directions[1], merge_mode=merge_mode)
    symbolic = keras.tree.flatten(both(keras.Input((5, 3))))
    outputs = keras.tree.flatten(both(X))
    assert [tensor.shape[1:] for tensor in symbolic] == [tuple(y.shape[1:]) for y in outputs]
    assert symbolic[0].shape[-1] == (8 if merge_mode else 3)


@backends
def test_a_model_over_directions_of_two_widths_trains_and_is_no_model_of_keras():
    both = layers.Bidirectional(layers.GRU(3), backward_layer=layers.GRU(5, go_backwards=True))
    model = keras.Sequential([keras.Input((5, 3)), both, keras.layers.Dense(1)])
    assert model.layers[1].kernel.shape == (8, 1)
    model.compile("sgd", "mse")
    assert np.isfinite(model.train_on_batch(X, X[:, 0, :1]))
    with pytest.raises(ArgumentError, match=r"different widths.*gives the wrong shape"):
        to_keras(model)


def test_directions_of_two_widths_cannot_be_added():
    both = layers.Bidirectional(
        layers.GRU(3), "sum", backward_layer=layers.GRU(5, go_backwards=True)
    )
    with pytest.raises(ValueError, match="merge_mode must be 'concat' or None for"):
        both(keras.Input((5, 3)))

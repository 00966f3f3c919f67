"""Our LSTM, GRU and SimpleRNN in place of those of Keras."""

import keras
import numpy as np
import pytest

from helpers.models import assert_close, built, randomized, to_numpy
from seqkeras import kernels, layers
from seqkeras.errors import ArgumentError

backends = pytest.mark.backends
PAIRS = {
    "LSTM": (layers.LSTM, keras.layers.LSTM),
    "GRU": (layers.GRU, keras.layers.GRU),
    "SimpleRNN": (layers.SimpleRNN, keras.layers.SimpleRNN),
}
every_kind = pytest.mark.parametrize("kind", PAIRS)
lstm_on_backends = pytest.mark.parametrize(
    "kind", [pytest.param("LSTM", marks=backends), "GRU", "SimpleRNN"]
)

#: Arguments that only our layers have, by kind.
VARIANTS = [
    ("LSTM", {"zoneout_h": 0.1, "zoneout_c": 0.2}),
    ("LSTM", {"peephole": True}),
    ("LSTM", {"normalization": True, "zoneout_c": 0.1}),
    ("GRU", {"zoneout_h": 0.1}),
    ("SimpleRNN", {"zoneout_h": 0.1}),
]
every_variant = pytest.mark.parametrize(("kind", "options"), VARIANTS)

X = np.random.default_rng(0).normal(size=(6, 5, 3)).astype("float32")


def random_layer(layer):
    return randomized(built(layer, X.shape))


# ---- in place of those of Keras -----------------------------------------------------------------


@every_kind
@pytest.mark.parametrize("use_bias", [True, False])
def test_weights_are_those_of_keras_by_name_path_and_shape(kind, use_bias):
    actual, expected = (
        [
            (weight.name, weight.path, weight.shape)
            for weight in built(made(4, use_bias=use_bias, name="memory"), X.shape).weights
        ]
        for made in PAIRS[kind]
    )
    assert actual == expected


@lstm_on_backends
def test_weights_go_from_keras_to_ours_and_back(kind, tmp_path):
    ours, stock = (
        keras.Sequential([keras.Input(X.shape[1:]), PAIRS[kind][which](4, name="memory")])
        for which in (0, 1)
    )
    stock.save_weights(tmp_path / "stock.weights.h5")
    ours.load_weights(tmp_path / "stock.weights.h5")
    assert_close(ours(X), stock(X))
    ours.set_weights([weight + 0.1 for weight in ours.get_weights()])
    ours.save_weights(tmp_path / "ours.weights.h5")
    stock.load_weights(tmp_path / "ours.weights.h5")
    assert_close(ours(X), stock(X))


@every_kind
def test_the_same_seed_gives_the_weights_of_keras(kind):
    weights = []
    for which in (0, 1):
        keras.utils.set_random_seed(3)
        # And those of the next layer: a layer that draws more numbers would change them.
        both = [PAIRS[kind][which](4), keras.layers.Dense(2)]
        weights.append([weight for layer in both for weight in built(layer, X.shape).get_weights()])
    for actual, expected in zip(*weights, strict=True):
        np.testing.assert_array_equal(actual, expected)


@every_kind
def test_without_options_of_ours_the_config_is_that_of_keras(kind):
    ours, stock = (made(4, name="memory").get_config() for made in PAIRS[kind])
    assert ours == stock
    same_layer = PAIRS[kind][0].from_config(stock)
    assert same_layer.get_config() == stock


@pytest.mark.parametrize("implementation", [5, -1, True, None, "fast", 1.0])
def test_what_is_not_an_implementation_is_refused(implementation):
    with pytest.raises(ArgumentError, match="implementation must be one of 'auto', 'scan'"):
        layers.GRU(4, implementation=implementation)


@every_kind
@pytest.mark.parametrize("implementation", [0, 1, 2])
def test_numbers_of_keras_2_are_orders_of_products(kind, implementation):
    if kind == "SimpleRNN":
        with pytest.raises(ValueError, match="implementation"):
            PAIRS[kind][1](4, implementation=implementation)
        return
    layer = random_layer(PAIRS[kind][0](4, implementation=implementation))
    assert layer.implementation == "auto"
    assert layer.cell.implementation == implementation
    assert_close(layer(X), random_layer(PAIRS[kind][0](4))(X))


@pytest.mark.parametrize("wrong", ["fastest", "aten", None, 1.5])
def test_an_unknown_implementation_is_refused(wrong):
    with pytest.raises(
        ArgumentError, match="implementation must be one of 'auto', 'scan', 'fused'"
    ):
        layers.LSTM(4, implementation=wrong)


@backends
def test_functions_that_cannot_be_serialized_are_accepted():
    layer = layers.GRU(
        4,
        activation=lambda x: keras.ops.tanh(x),
        kernel_initializer=lambda shape, dtype=None: keras.ops.ones(shape, dtype),
        zoneout_h=0.1,
    )
    with kernels.counting() as chosen:
        assert layer(X).shape == (6, 4)
    assert chosen == {"scan": 1}


# ---- files and copies ---------------------------------------------------------------------------


def test_files_and_clones_keep_the_options(tmp_path):
    cases = [*VARIANTS, *((kind, {"implementation": "scan"}) for kind in PAIRS), ("LSTM", {})]
    stack = []
    for kind, options in cases:
        layer = PAIRS[kind][0](2, return_sequences=True, dropout=0.1, **options)
        stack.append(layer if len(stack) % 2 else keras.layers.Bidirectional(layer))
    model = keras.Sequential([keras.Input((None, 3)), *stack])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    cloned = keras.models.clone_model(model)
    cloned.set_weights(model.get_weights())
    for model_copy in (loaded, cloned):
        for part, (kind, options) in zip(model_copy.layers, cases, strict=True):
            is_both = isinstance(part, keras.layers.Bidirectional)
            for copy in (part.forward_layer, part.backward_layer) if is_both else (part,):
                assert type(copy) is PAIRS[kind][0]
                config = copy.get_config()
                assert {name: config.get(name) for name in options} == options
                assert copy.implementation == options.get("implementation", "auto")
        assert_close(model_copy(X), model(X))


@every_kind
def test_a_model_of_keras_loads_as_ours_with_custom_objects(kind, tmp_path):
    stock = keras.Sequential([keras.Input((None, 3)), PAIRS[kind][1](4)])
    stock.save(tmp_path / "model.keras")
    ours = keras.models.load_model(tmp_path / "model.keras", custom_objects={kind: PAIRS[kind][0]})
    assert_close(ours(X), stock(X))


# ---- within other layers ------------------------------------------------------------------------


@lstm_on_backends
def test_both_directions(kind):
    ours, stock = (
        keras.layers.Bidirectional(made(4, return_sequences=True, return_state=True))
        for made in PAIRS[kind]
    )
    mask = np.arange(5) < np.arange(6)[:, None]
    random_layer(stock)
    built(ours, X.shape)
    ours.set_weights(stock.get_weights())
    with kernels.counting() as chosen:
        outputs = ours(X, mask=mask)
    assert sum(chosen.values()) == 2
    assert_close(list(outputs), list(stock(X, mask=mask)))


@every_variant
def test_both_directions_of_a_variant_are_two_layers(kind, options):
    made = PAIRS[kind][0]
    both = random_layer(keras.layers.Bidirectional(made(4, return_sequences=True, **options)))
    forward, backward = (made(4, return_sequences=True, **options) for _ in range(2))
    half = len(both.weights) // 2
    built(forward, X.shape).set_weights(both.get_weights()[:half])
    built(backward, X.shape).set_weights(both.get_weights()[half:])
    backward_outputs = to_numpy(backward(X[:, ::-1]))[:, ::-1]
    expected = np.concatenate([to_numpy(forward(X)), backward_outputs], -1)
    assert_close(both(X), expected)


@every_kind
def test_within_time_distributed_and_stacked(kind):
    ours, stock = (
        keras.Sequential(
            [
                keras.Input((2, 5, 3)),
                keras.layers.TimeDistributed(made(4, return_sequences=True)),
                keras.layers.TimeDistributed(made(4)),
                made(3),
            ]
        )
        for made in PAIRS[kind]
    )
    stock.set_weights([weight + 0.05 for weight in stock.get_weights()])
    ours.set_weights(stock.get_weights())
    x = X.reshape(3, 2, 5, 3)
    assert_close(ours(x), stock(x))


@lstm_on_backends
def test_a_state_with_one_row_is_used_for_every_row(kind):
    """Such as a learned one; also in a graph that does not know its number of rows."""
    layer = random_layer(PAIRS[kind][0](4))
    state = [np.full((1, 4), 0.5, "float32") for _ in keras.tree.flatten(layer.cell.state_size)]
    expected = layer(X, initial_state=[np.repeat(part, len(X), axis=0) for part in state])
    assert_close(layer(X, initial_state=state), expected)
    inputs = keras.Input((None, 3))
    model = keras.Model(inputs, layer(inputs, initial_state=list(map(keras.ops.array, state))))
    assert_close(model.predict_on_batch(X), expected)


@every_kind
def test_another_number_of_features_is_refused(kind):
    layer = random_layer(PAIRS[kind][0](4, name="memory"))
    message = (
        "sequences must be an array with 3 features. Got: 2 features. Layer 'memory' was built"
    )
    with pytest.raises(ArgumentError, match=message):
        layer(X[..., :2])


@backends
def test_masks_of_an_embedding_reach_every_layer():
    ours, stock = (
        keras.Sequential(
            [
                keras.layers.Embedding(9, 4, mask_zero=True),
                made(4, return_sequences=True),
                keras.layers.Bidirectional(made(4)),
                keras.layers.Dense(1),
            ]
        )
        for made in PAIRS["LSTM"]
    )
    tokens = np.array([[0, 0, 3, 4], [1, 2, 0, 0], [5, 0, 6, 0], [0, 0, 0, 0]])
    for model in (stock, ours):
        model.build(tokens.shape)
    ours.set_weights(stock.get_weights())
    assert_close(ours(tokens), stock(tokens))


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only TensorFlow has it")
def test_with_a_gpu_xla_compiles_the_layers_that_cudnn_cannot_run(monkeypatch):
    assert layers.LSTM(4).supports_jit
    monkeypatch.setattr(kernels, "here", lambda: kernels.Runtime("tensorflow", "cuda"))
    assert not layers.LSTM(4).supports_jit
    assert not layers.GRU(4, dropout=0.1).supports_jit
    assert layers.LSTM(4, recurrent_dropout=0.1).supports_jit
    assert layers.LSTM(4, use_cudnn=False).supports_jit
    assert layers.SimpleRNN(4).supports_jit


# ---- variants -----------------------------------------------------------------------------------


@backends
def test_every_variant_trains():
    """In one model, with an output and weights of its own for each variant."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input(X.shape[1:])
    outputs = {}
    for number, (kind, options) in enumerate(VARIANTS):
        name = f"variant_{number}"
        outputs[name] = keras.layers.Dense(1, name=name)(PAIRS[kind][0](8, **options)(inputs))
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.SGD(0.05), "mse")
    targets = dict.fromkeys(outputs, X.sum((1, 2))[:, None])
    history = model.fit(X, targets, epochs=15, verbose=0).history
    for name in outputs:
        losses = history[f"{name}_loss"]
        assert losses[-1] < 0.7 * losses[0]


@every_variant
def test_a_variant_is_not_the_layer_of_keras(kind, options):
    plain = random_layer(PAIRS[kind][0](4))
    variant = random_layer(PAIRS[kind][0](4, **options))
    assert not np.allclose(to_numpy(plain(X)), to_numpy(variant(X)), atol=1e-3)


def test_without_variants_the_cell_is_that_of_keras():
    layer = layers.LSTM(4, zoneout_h=0.0, zoneout_c=0, peephole=False, normalization=False)
    assert type(layer.cell) is keras.layers.LSTMCell
    assert layer.get_config().keys() == keras.layers.LSTM(4).get_config().keys()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"zoneout_h": 1.0}, r"zoneout_h must be a number in \[0, 1\)"),
        ({"zoneout_c": -0.1}, r"zoneout_c must be a number in \[0, 1\)"),
        ({"zoneout_h": "x"}, r"zoneout_h must be a number in \[0, 1\)"),
        ({"peephole": None}, "peephole must be True or False"),
        ({"normalization": "yes"}, "normalization must be True or False"),
        ({"peephole": True, "normalization": True}, "peephole must be False where normalization"),
    ],
)
def test_wrong_variants_are_refused(options, message):
    with pytest.raises(ArgumentError, match=message):
        layers.LSTM(4, **options)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("CuDNNLSTM", "Use LSTM, which runs on cuDNN wherever it can"),
        ("CuDNNGRU", "Use GRU, which runs on cuDNN wherever it can"),
        ("Dense", "Use keras.layers.Dense"),
        ("Nothing", "has no attribute 'Nothing'$"),
    ],
)
def test_a_layer_that_is_elsewhere_is_pointed_to(name, message):
    with pytest.raises(AttributeError, match=message):
        getattr(layers, name)

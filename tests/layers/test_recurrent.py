"""Our LSTM, GRU and SimpleRNN in the place of those of Keras."""

import keras
import numpy as np
import pytest

from seqkeras import kernels, layers
from seqkeras.errors import ArgumentError

backends = pytest.mark.backends
PAIRS = {
    "LSTM": (layers.LSTM, keras.layers.LSTM),
    "GRU": (layers.GRU, keras.layers.GRU),
    "SimpleRNN": (layers.SimpleRNN, keras.layers.SimpleRNN),
}
every_kind = pytest.mark.parametrize("kind", PAIRS)

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


def array(tensor):
    return keras.ops.convert_to_numpy(tensor)


def same(found, wanted):
    np.testing.assert_allclose(array(found), array(wanted), atol=2e-6)


def randomized(layer):
    layer.build(X.shape)
    rng = np.random.default_rng(0)
    layer.set_weights([rng.normal(0, 0.5, one.shape) for one in layer.get_weights()])
    return layer


# ---- in the place of Keras' own -----------------------------------------------------------------


@every_kind
@pytest.mark.parametrize("use_bias", [True, False])
def test_weights_are_those_of_keras_by_name_path_and_shape(kind, use_bias):
    found, wanted = (
        built(made(4, use_bias=use_bias, name="memory")).weights for made in PAIRS[kind]
    )
    assert [(one.name, one.path, one.shape) for one in found] == [
        (one.name, one.path, one.shape) for one in wanted
    ]


def built(layer):
    layer.build(X.shape)
    return layer


@backends
@every_kind
def test_weights_go_from_keras_to_ours_and_back(kind, tmp_path):
    ours, stock = (
        keras.Sequential([keras.Input(X.shape[1:]), PAIRS[kind][which](4, name="memory")])
        for which in (0, 1)
    )
    stock.save_weights(tmp_path / "stock.weights.h5")
    ours.load_weights(tmp_path / "stock.weights.h5")
    same(ours(X), stock(X))
    ours.set_weights([one + 0.1 for one in ours.get_weights()])
    ours.save_weights(tmp_path / "ours.weights.h5")
    stock.load_weights(tmp_path / "ours.weights.h5")
    same(ours(X), stock(X))


@every_kind
def test_the_same_seed_gives_the_weights_of_keras(kind):
    weights = []
    for which in (0, 1):
        keras.utils.set_random_seed(3)
        # What is made after it, too: a layer that draws more numbers would shift the others.
        both = [PAIRS[kind][which](4), keras.layers.Dense(2)]
        weights.append([one for layer in both for one in built(layer).get_weights()])
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)


@every_kind
def test_the_config_is_that_of_keras_where_nothing_else_is_asked_for(kind):
    ours, stock = (made(4, name="memory").get_config() for made in PAIRS[kind])
    assert ours == stock
    same_layer = PAIRS[kind][0].from_config(stock)
    assert same_layer.get_config() == stock


@pytest.mark.parametrize("implementation", [5, -1, True, None, "fast", 1.0])
def test_what_is_no_implementation_is_refused(implementation):
    with pytest.raises(ArgumentError, match="implementation must be one of 'auto', 'scan'"):
        layers.GRU(4, implementation=implementation)


@every_kind
@pytest.mark.parametrize("implementation", [0, 1, 2])
def test_numbers_of_keras_2_are_orders_of_products(kind, implementation):
    if kind == "SimpleRNN":
        with pytest.raises(ValueError, match="implementation"):
            PAIRS[kind][1](4, implementation=implementation)
        return
    layer = randomized(PAIRS[kind][0](4, implementation=implementation))
    assert layer.implementation == "auto"
    assert layer.cell.implementation == implementation
    same(layer(X), randomized(PAIRS[kind][0](4))(X))


@pytest.mark.parametrize("wrong", ["fastest", "aten", None, 1.5])
def test_an_unknown_implementation_is_refused(wrong):
    with pytest.raises(
        ArgumentError, match="implementation must be one of 'auto', 'scan', 'fused'"
    ):
        layers.LSTM(4, implementation=wrong)


@backends
def test_functions_that_no_file_can_hold_are_taken():
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


@pytest.mark.parametrize(
    ("kind", "options"),
    [*VARIANTS, *((kind, {"implementation": "scan"}) for kind in PAIRS), ("LSTM", {})],
)
def test_what_was_asked_for_is_kept(kind, options, tmp_path):
    model = keras.Sequential(
        [
            keras.Input((None, 3)),
            PAIRS[kind][0](4, return_sequences=True, dropout=0.1, **options),
            keras.layers.Bidirectional(PAIRS[kind][0](2, **options)),
            keras.layers.Dense(1),
        ]
    )
    model.save(tmp_path / "model.keras")
    loaded, cloned = (
        keras.models.load_model(tmp_path / "model.keras"),
        keras.models.clone_model(model),
    )
    cloned.set_weights(model.get_weights())
    for other in (loaded, cloned):
        copies = [other.layers[0], other.layers[1].forward_layer, other.layers[1].backward_layer]
        for copy in copies:
            assert type(copy) is PAIRS[kind][0]
            config = copy.get_config()
            assert {name: config.get(name) for name in options} == options
            assert copy.implementation == options.get("implementation", "auto")
        same(other(X), model(X))


@every_kind
def test_a_model_of_keras_loads_as_ours_where_it_is_told(kind, tmp_path):
    stock = keras.Sequential([keras.Input((None, 3)), PAIRS[kind][1](4)])
    stock.save(tmp_path / "model.keras")
    ours = keras.models.load_model(tmp_path / "model.keras", custom_objects={kind: PAIRS[kind][0]})
    same(ours(X), stock(X))


# ---- within other layers ------------------------------------------------------------------------


@backends
@every_kind
def test_both_directions(kind):
    ours, stock = (
        keras.layers.Bidirectional(made(4, return_sequences=True, return_state=True))
        for made in PAIRS[kind]
    )
    mask = np.arange(5) < np.arange(6)[:, None]
    randomized(stock)
    built(ours)
    ours.set_weights(stock.get_weights())
    with kernels.counting() as chosen:
        found = ours(X, mask=mask)
    assert sum(chosen.values()) == 2
    for one, other in zip(found, stock(X, mask=mask), strict=True):
        same(one, other)


@backends
@every_variant
def test_both_directions_of_a_variant_are_two_layers(kind, options):
    made = PAIRS[kind][0]
    both = randomized(keras.layers.Bidirectional(made(4, return_sequences=True, **options)))
    forward, backward = (made(4, return_sequences=True, **options) for _ in range(2))
    half = len(both.weights) // 2
    built(forward).set_weights(both.get_weights()[:half])
    built(backward).set_weights(both.get_weights()[half:])
    wanted = np.concatenate([array(forward(X)), array(backward(X[:, ::-1]))[:, ::-1]], -1)
    same(both(X), wanted)


@every_kind
def test_in_each_timestep_of_another_sequence_and_stacked(kind):
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
    stock.set_weights([one + 0.05 for one in stock.get_weights()])
    ours.set_weights(stock.get_weights())
    x = X.reshape(3, 2, 5, 3)
    same(ours(x), stock(x))


@backends
@every_kind
def test_a_state_of_one_row_is_that_of_every_row(kind):
    """Such as one that is learned; also where the graph does not know how many rows there are."""
    layer = randomized(PAIRS[kind][0](4))
    state = [np.full((1, 4), 0.5, "float32") for _ in keras.tree.flatten(layer.cell.state_size)]
    wanted = layer(X, initial_state=[np.repeat(one, len(X), axis=0) for one in state])
    same(layer(X, initial_state=state), wanted)
    inputs = keras.Input((None, 3))
    model = keras.Model(inputs, layer(inputs, initial_state=list(map(keras.ops.array, state))))
    same(model.predict(X, verbose=0), wanted)


@backends
@every_kind
def test_other_features_than_those_it_was_built_for_are_refused(kind):
    layer = randomized(PAIRS[kind][0](4, name="memory"))
    words = "sequences must be an array with 3 features. Got: .*2 features'. Layer 'memory' was built"
    with pytest.raises(ArgumentError, match=words):
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
    words = np.array([[0, 0, 3, 4], [1, 2, 0, 0], [5, 0, 6, 0], [0, 0, 0, 0]])
    stock(words), ours(words)
    ours.set_weights(stock.get_weights())
    same(ours(words), stock(words))


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="Keras looks there alone")
def test_with_a_gpu_xla_gets_the_layers_that_cudnn_does_not(monkeypatch):
    assert layers.LSTM(4).supports_jit
    monkeypatch.setattr(kernels, "here", lambda: kernels.Runtime("tensorflow", "cuda"))
    assert not layers.LSTM(4).supports_jit
    assert not layers.GRU(4, dropout=0.1).supports_jit
    assert layers.LSTM(4, recurrent_dropout=0.1).supports_jit
    assert layers.LSTM(4, use_cudnn=False).supports_jit
    assert layers.SimpleRNN(4).supports_jit


# ---- variants -----------------------------------------------------------------------------------


@backends
@every_variant
def test_a_variant_trains(kind, options):
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [keras.Input(X.shape[1:]), PAIRS[kind][0](8, **options), keras.layers.Dense(1)]
    )
    model.compile(keras.optimizers.Adam(0.02), "mse")
    losses = model.fit(X, X.sum((1, 2))[:, None], epochs=12, verbose=0).history["loss"]
    assert losses[-1] < 0.7 * losses[0]


@backends
@every_variant
def test_a_variant_is_not_the_layer_of_keras(kind, options):
    plain, variant = (randomized(PAIRS[kind][0](4, **more)) for more in ({}, options))
    assert not np.allclose(array(plain(X)), array(variant(X)), atol=1e-3)


def test_a_variant_of_nothing_is_the_layer_of_keras():
    layer = layers.LSTM(4, zoneout_h=0.0, zoneout_c=0, peephole=False, normalization=False)
    assert type(layer.cell) is keras.layers.LSTMCell
    assert layer.get_config().keys() == keras.layers.LSTM(4).get_config().keys()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"zoneout_h": 1.0}, r"zoneout_h must be a number in \[0, 1\)"),
        ({"zoneout_c": -0.1}, r"zoneout_c must be a number in \[0, 1\)"),
        ({"zoneout_h": "x"}, r"zoneout_h must be a number in \[0, 1\)"),
        ({"peephole": None}, "peephole must be True or False"),
        ({"normalization": "yes"}, "normalization must be True or False"),
        ({"peephole": True, "normalization": True}, "peephole must be False where normalization"),
    ],
)
def test_wrong_variants_are_refused(options, words):
    with pytest.raises(ArgumentError, match=words):
        layers.LSTM(4, **options)

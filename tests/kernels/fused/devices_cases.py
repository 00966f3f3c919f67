"""Cases of test_devices.py, which runs this file in a new process, on JAX with two CPU devices."""

import re

import jax
import keras
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as Spec

from helpers.fused_calls import PLAIN, cotangents, problem
from seqkeras import StatefulBatches, kernels, layers, many_to_many
from seqkeras.kernels.fused import _jax
from seqkeras.kernels.fused._arguments import DIFFERENTIABLE, WEIGHTS, batch_axis

MESH = Mesh(np.array(jax.devices()), ("rows",))
# (batch, timesteps, features, units)
SHAPE = (6, 5, 2, 3)
MOVES = "all-gather|all-to-all|collective-permute"
STATES = ("bias", "h0", "c0")
FLAGS = ("mask", "reset", "recurrent_dropout")
CASES = {
    "lstm": (PLAIN, (*STATES, *FLAGS)),
    "last timestep": (PLAIN._replace(sequences=False), ("bias", "mask")),
    "zoneout and peephole": (PLAIN, (*STATES, "zoneout_h_mask", "zoneout_c_mask", "peephole")),
    "normalization": (PLAIN, (*STATES, "norm", "mask")),
    "gru": (PLAIN._replace(cell="gru"), ("bias", "h0", *FLAGS)),
    "gru_reset_after": (PLAIN._replace(cell="gru_reset_after"), ("bias", "h0", *FLAGS)),
    "simple_rnn": (PLAIN._replace(cell="simple_rnn"), ("bias", "h0", *FLAGS)),
    "backwards": (PLAIN._replace(go_backwards=True), ("bias", "mask")),
    "both directions": (PLAIN._replace(directions=2), (*STATES, *FLAGS)),
}


def on_both(array, *axes):
    """Put an array on both devices: split along the axis named `rows`, or whole."""
    return jax.device_put(array, NamedSharding(MESH, Spec(*axes)))


def with_split_rows(layer):
    axes = {
        name: [] if name in WEIGHTS else [*[None] * batch_axis(name), "rows"]
        for name in named(layer)
    }
    return layer._replace(**{name: on_both(getattr(layer, name), *axes[name]) for name in axes})


def named(layer):
    return {name: array for name, array in layer._asdict().items() if array is not None}


def step_of(static):
    """Return a function of `inputs`: gradients of all that have one, and the outputs."""

    def loss(values, inputs):
        layers = [layer._replace(**more) for layer, more in zip(inputs, values, strict=True)]
        outputs = _jax.run(static, layers)
        total = sum(
            (getattr(layer, name) * weight).sum()
            for layer, each in zip(outputs, inputs, strict=True)
            for name, weight in cotangents(static, each).items()
        )
        return total, outputs

    def step(inputs):
        values = [
            {name: array for name, array in named(layer).items() if name in DIFFERENTIABLE}
            for layer in inputs
        ]
        return jax.grad(loss, has_aux=True)(values, inputs)

    return step


def assert_same(actual, expected, tolerance=1e-6):
    for result, reference in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        scale = max(1.0, np.abs(reference).max(initial=0))
        np.testing.assert_allclose(result, reference, rtol=0, atol=tolerance * scale)


def text_of(function, *arguments):
    return jax.jit(function).lower(*arguments).compile().as_text()


@pytest.mark.parametrize("name", CASES)
def test_each_device_computes_its_rows(name):
    static, optional = CASES[name]
    inputs = [problem(static.cell, SHAPE, optional, seed) for seed in range(static.directions)]
    step = jax.jit(step_of(static))
    split = [with_split_rows(layer) for layer in inputs]
    gradients, outputs = step(split)
    assert_same((gradients, outputs), step(inputs))
    assert not re.search(MOVES, text_of(step, split))
    for output in jax.tree.leaves(outputs):
        assert output.sharding.shard_shape(output.shape)[0] == SHAPE[0] / 2
    for layer in gradients:
        for key, gradient in layer.items():
            assert gradient.sharding.is_fully_replicated == (key in WEIGHTS)


@pytest.mark.parametrize("axes", [(None, None, "rows"), (None, "rows"), ()])
def test_other_splits_are_put_together(axes):
    inputs = problem(shape=(6, 4, 2, 3), optional=STATES)
    step = jax.jit(step_of(PLAIN))
    assert_same(step([inputs._replace(x=on_both(inputs.x, *axes))]), step([inputs]))


def test_parts_may_be_unequal():
    inputs = problem(shape=(6, 5, 2, 3), optional=("bias", "mask"))

    @jax.jit
    def step(layer):
        return step_of(PLAIN)([layer._replace(x=layer.x[:5], mask=layer.mask[:5])])

    assert_same(step(with_split_rows(inputs)), step(inputs))


def test_split_weights_are_put_together():
    inputs = problem(shape=SHAPE, optional=("bias",))
    split = with_split_rows(inputs)._replace(kernel=on_both(inputs.kernel, None, "rows"))
    step = jax.jit(step_of(PLAIN))
    assert_same(step([split]), step([inputs]))
    assert step([split])[1][0].y.sharding.shard_shape(SHAPE[:2] + SHAPE[3:])[0] == 3


def test_the_workspace_has_the_rows_in_order():
    """So XLA may split and join it like any other array, between forward and backward."""
    inputs = problem(shape=(6, 4, 2, 16), optional=STATES)
    forward = jax.jit(lambda layer: _jax._forward(PLAIN, [layer])[1])
    (split,), (whole,) = forward(with_split_rows(inputs)), forward(inputs)
    assert whole.shape == (6, whole.size / 6)
    assert_same(split, whole)


def test_without_jit():
    inputs = problem(shape=SHAPE, optional=STATES)
    _, (outputs,) = step_of(PLAIN)([with_split_rows(inputs)])
    assert outputs.y.sharding.shard_shape(outputs.y.shape)[0] == 3
    assert_same(outputs, step_of(PLAIN)([inputs])[1][0])


def test_vmap_and_scan():
    inputs = problem(shape=SHAPE, optional=("bias",))
    split = with_split_rows(inputs)

    def step(layer):
        def body(total, factor):
            scaled = layer._replace(x=layer.x * factor)
            return total + jax.checkpoint(step_of(PLAIN))([scaled])[0][0]["kernel"], None

        return jax.lax.scan(body, 0 * layer.kernel, jax.numpy.arange(3.0))[0]

    def each(layer):
        return jax.vmap(lambda factor: step(layer._replace(x=layer.x * factor)))(np.arange(2.0))

    assert_same(jax.jit(each)(split), jax.jit(each)(inputs), tolerance=2e-6)
    assert not re.search(MOVES, text_of(each, split))


@pytest.mark.skipif(jax.__version_info__ < (0, 10), reason="XLA refuses the sum over devices")
def test_a_mesh_with_explicit_axes():
    inputs = problem(shape=SHAPE, optional=STATES)
    mesh = jax.make_mesh((2,), ("rows",), axis_types=(jax.sharding.AxisType.Explicit,))
    split = inputs._replace(x=jax.device_put(inputs.x, NamedSharding(mesh, Spec("rows"))))
    with jax.set_mesh(mesh):
        gradients, (outputs,) = jax.jit(step_of(PLAIN))([split])
        assert jax.typeof(outputs.y).sharding.spec == Spec("rows", None, None)
    assert_same((gradients, [outputs]), step_of(PLAIN)([inputs]))


@pytest.mark.skipif(not hasattr(jax, "shard_map"), reason="JAX before 0.6 splits all axes")
def test_shard_map():
    inputs = problem(shape=SHAPE, optional=("bias",))
    mesh = Mesh(np.array(jax.devices()).reshape(2, 1), ("rows", "more"))
    for axes in ({"rows"}, {"rows", "more"}):
        local = jax.shard_map(
            lambda x: _jax.run(PLAIN, [inputs._replace(x=x)])[0].y,
            mesh=mesh,
            in_specs=Spec("rows"),
            out_specs=Spec("rows"),
            axis_names=axes,
            check_vma=False,
        )
        assert_same(jax.jit(local)(inputs.x), _jax.run(PLAIN, [inputs])[0].y)


TWO = keras.distribution.DataParallel(auto_shard_dataset=False)


def masked():
    """Build a model with dropout, which skips padding and reads both directions."""
    keras.utils.set_random_seed(0)
    dropout = {"dropout": 0.2, "recurrent_dropout": 0.3, "return_sequences": True}
    model = keras.Sequential(
        [
            keras.Input((None, 3)),
            keras.layers.Masking(),
            layers.Bidirectional(layers.LSTM(4, **dropout)),
            layers.GRU(4, **dropout),
            layers.SimpleRNN(4, go_backwards=True),
            keras.layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), "mse")
    return model


def test_training_in_data_parallel_gives_the_weights_of_one_device():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(16, 6, 3)), rng.normal(size=(16, 1))
    x[::3, :2] = 0
    alone = masked()
    alone.fit(x, y, epochs=3, batch_size=8, verbose=0)
    with TWO.scope(), kernels.counting() as chosen:
        model = masked()
        model.fit(x, y, epochs=3, batch_size=8, verbose=0)
        forecast = model.predict(x, batch_size=8, verbose=0)
    assert set(chosen) == {"fused"}
    assert_same(model.get_weights(), alone.get_weights())
    alone.set_weights(model.get_weights())
    assert_same(forecast, alone.predict(x, batch_size=8, verbose=0))
    with TWO.scope(), pytest.raises(ValueError, match=r"evenly divide|divisible"):
        model.predict(x[:3], verbose=0)


def stateful(series):
    keras.utils.set_random_seed(0)
    model = many_to_many(
        1, outputs=1, units=4, stateful=True, reset_input=True, batch_size=4, cell="gru"
    )
    model.compile(keras.optimizers.SGD(0.1), "mse")
    batches = StatefulBatches(series, batch_size=4, bptt_steps=5, reset_input=True)
    model.fit(batches, epochs=3, shuffle=False, verbose=0)
    return [variable.numpy() for variable in model.variables]


def test_training_in_data_parallel_keeps_the_states_of_each_row():
    rng = np.random.default_rng(0)
    series = [rng.normal(size=(length, 1)) for length in (7, 12, 20, 9, 14, 11)]
    with TWO.scope():
        split = stateful(series)
    assert_same(split, stateful(series))

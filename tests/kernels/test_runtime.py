"""Where calls run and what graphs are traced for, in real graphs; and what those compute."""

import warnings
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest

from helpers import kernel_calls as calls
from helpers.stock_keras import Saved, outputs_without_seqkeras, result_of_a_script
from seqkeras import kernels, layers, native
from seqkeras.errors import ArgumentError
from seqkeras.kernels import _runtime

pytestmark = pytest.mark.backends

#: The kernel that runs a plain LSTM on this machine.
BEST = kernels.choose("auto", kernels.Spec("lstm", "LSTMCell"), kernels.here()).name
X, Y = calls.random_array(8, 5, 3, seed=0), calls.random_array(8, 1, seed=1)
LAYERS = [layers.LSTM, layers.GRU, layers.SimpleRNN]

tensorflow = pytest.mark.skipif(calls.BACKEND != "tensorflow", reason="TensorFlow's graphs")
jax = pytest.mark.skipif(calls.BACKEND != "jax", reason="JAX's graphs")
torch = pytest.mark.skipif(calls.BACKEND != "torch", reason="PyTorch's graphs")


def model(kind=layers.LSTM, *, shape=(5, 3), batch=None, **options):
    return keras.Sequential(
        [keras.Input(shape, batch_size=batch), kind(4, **options), keras.layers.Dense(1)]
    )


def array(tensor):
    return keras.ops.convert_to_numpy(tensor)


def same(actual, expected):
    np.testing.assert_allclose(array(actual), array(expected), atol=2e-6)


def fit(**options):
    trained = model()
    trained.compile("sgd", "mse", **options)
    with kernels.counting() as chosen:
        losses = trained.fit(X, Y, batch_size=4, epochs=4, shuffle=False, verbose=0).history["loss"]
        trained.evaluate(X, Y, verbose=0)
        trained.predict(X, verbose=0)
    assert losses[-1] < losses[0]
    return set(chosen)


def test_a_plain_call_runs_on_the_cpu():
    assert kernels.here() == (calls.BACKEND, "cpu", None)
    assert kernels.here(keras.ops.zeros(3)) == (calls.BACKEND, "cpu", None)


@pytest.mark.parametrize(
    "options", [{"run_eagerly": True}, {"steps_per_execution": 2}], ids=["eagerly", "two steps"]
)
def test_fit_runs_on_the_best_kernel(options):
    options = dict(options)
    if calls.BACKEND == "torch":
        options.pop("steps_per_execution", None)  # Keras only has it on other backends
    chosen = fit(**options)
    if calls.BACKEND == "torch":
        chosen.remove("scan")  # for meta tensors, with which Keras infers the shapes
    assert chosen <= {BEST}


@pytest.mark.parametrize("timesteps", [1, 3, 5])
def test_a_model_of_unknown_sizes(timesteps):
    unknown = model(shape=(None, 3))
    with kernels.counting() as chosen:
        predicted = unknown.predict(X[:, :timesteps], verbose=0)
    assert set(chosen) == {BEST}
    same(predicted, unknown(X[:, :timesteps]))


def test_eight_threads_may_call_one_model():
    shared = model(layers.GRU, shape=(None, 3), dropout=0.2)
    inputs = [calls.random_array(4, 20, 3, seed=seed) for seed in range(16)]
    expected = [array(shared(x)) for x in inputs]
    with kernels.counting() as chosen, ThreadPoolExecutor(8) as pool:
        actual = list(pool.map(lambda x: array(shared(x)), inputs))
    assert chosen == {BEST: 16}
    for pair in zip(actual, expected, strict=True):
        same(*pair)


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16", "float64"])
def test_other_precisions(dtype):
    layer = layers.LSTM(6, dtype=dtype, return_state=True)
    stock = keras.layers.LSTM(6, dtype=dtype, return_state=True)
    stock.build(X.shape)
    layer.build(X.shape)
    layer.set_weights(stock.get_weights())
    with kernels.counting() as chosen:
        actual = layer(X)
    expected = stock(X)
    if BEST == "fused" and dtype != "float64":
        assert set(chosen) == {"fused"}
    assert [output.dtype for output in actual] == [output.dtype for output in expected]
    for pair in zip(actual, expected, strict=True):
        pair = [array(keras.ops.cast(output, "float32")) for output in pair]
        np.testing.assert_allclose(*pair, atol=2e-6 if dtype == "float64" else 1e-2)


def test_mixed_precision_trains():
    trained = keras.Sequential(
        [layers.LSTM(4, dtype="mixed_bfloat16"), keras.layers.Dense(1, dtype="float32")]
    )
    trained.compile("sgd", "mse")
    losses = trained.fit(X, Y, epochs=4, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


# ---- invalid and empty inputs -------------------------------------------------------------------


def test_no_rows_give_no_rows():
    layer = layers.LSTM(4, return_sequences=True, return_state=True)
    layer.build(X.shape)
    assert [tuple(output.shape) for output in layer(X[:0])] == [(0, 5, 4), (0, 4), (0, 4)]


def test_no_timesteps_are_an_error_as_in_keras():
    with pytest.raises(Exception, match="out of bounds"):
        keras.layers.LSTM(4)(X[:, :0])
    with pytest.raises(Exception, match="out of bounds"):
        layers.LSTM(4)(X[:, :0])


def test_nan_spreads_as_in_keras():
    x = X.copy()
    x[1, 3] = np.nan
    stock = keras.layers.LSTM(4, return_sequences=True)
    stock.build(x.shape)
    expected = np.isnan(array(stock(x)))
    for implementation in ("auto", "scan"):
        layer = layers.LSTM(4, return_sequences=True, implementation=implementation)
        layer.build(x.shape)
        np.testing.assert_array_equal(np.isnan(array(layer(x))), expected)


@pytest.mark.parametrize(
    ("kind", "value"), [("LSTM", np.nan), ("LSTM", 1e30), ("GRU", np.nan), ("SimpleRNN", 1e30)]
)
def test_values_at_masked_timesteps_do_not_matter(kind, value):
    layer = calls.built(kind, return_sequences=True)
    problem = calls.problem(kind, mask="any", timesteps=6)
    dirty = problem._replace(x=np.where(problem.mask[..., None], problem.x, value))
    expected, actual = (
        calls.run(layer, case._replace(x=case.x.astype("float32"))) for case in (problem, dirty)
    )
    if BEST == "scan":  # Keras' loop computes the timestep, and then undoes it
        expected = expected._replace(gradients=[])
        actual = actual._replace(gradients=[])
    calls.assert_same(actual, expected)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sequences": X[0]}, r"\(batch, timesteps, features\).* add the axis that is missing"),
        ({"sequences": X[None]}, r"\(batch, timesteps, features\).*TimeDistributed"),
        ({"sequences": X[..., :2]}, "sequences must be an array with 3 features"),
        ({"mask": np.ones((8, 4), bool)}, "mask must"),
        ({"mask": np.ones((7, 5), bool)}, "mask must"),
        ({"initial_state": [np.ones((8, 3), "float32")] * 2}, "initial_state must"),
        ({"initial_state": [np.ones((7, 4), "float32")] * 2}, "initial_state must"),
    ],
)
def test_wrong_shapes_are_named_whichever_kernel_would_run(options, words):
    layer = layers.LSTM(4)
    layer.build((None, None, 3))
    with pytest.raises(ArgumentError, match=words):
        layer(**{"sequences": X, **options})


@pytest.mark.parametrize("implementation", ["auto", "scan"])
def test_a_wrong_number_of_states_is_named(implementation):
    state = np.ones((8, 4), "float32")
    with pytest.raises(ArgumentError, match="initial_state must be a list of 2 arrays"):
        layers.LSTM(4, implementation=implementation)(X, initial_state=[state])


@pytest.mark.parametrize("kind", LAYERS)
def test_masks_that_keras_takes(kind):
    layer = kind(4)
    mask = np.arange(5) < np.arange(8)[:, None]
    expected = layer(X, mask=mask)
    same(layer(X, mask=mask[..., None]), expected)
    same(layer(X, mask=mask.astype("float32")), expected)


def test_integers_are_taken_as_numbers():
    layer = layers.LSTM(4)
    x = np.arange(24).reshape(2, 4, 3)
    same(layer(x), layer(x.astype("float32")))


# ---- TensorFlow ---------------------------------------------------------------------------------


@tensorflow
class TestTensorflow:
    # `test_resettable` fits a model under XLA.
    @pytest.mark.parametrize(
        ("kind", "wrap"), zip(LAYERS, ("function", "model", "model"), strict=True)
    )
    def test_a_function_for_xla_takes_the_loop(self, kind, wrap):
        import tensorflow as tf

        eager = model(kind)
        inner = tf.function(eager) if wrap == "function" else eager
        with kernels.counting() as chosen:
            actual = tf.function(inner, jit_compile=True)(X)
        assert set(chosen) == {"scan"}
        same(actual, eager(X))

    @pytest.mark.parametrize(("jit_compile", "purpose"), [(True, "xla"), (False, None)])
    def test_xla_is_noticed_by_a_private_attribute_of_tensorflow(self, jit_compile, purpose):
        import tensorflow as tf

        seen = []

        @tf.function(jit_compile=jit_compile, autograph=False)
        def trace(x):
            seen.append(kernels.here(x))
            return x

        trace(tf.zeros(3))
        assert seen == [kernels.Runtime("tensorflow", "cpu", purpose)]

    def test_a_requested_kernel_is_an_error_under_xla(self):
        import tensorflow as tf

        fused = model(implementation="fused")
        # TensorFlow raises an exception of its own, which contains our message.
        with pytest.raises(Exception, match=r"XLA \(jit_compile=True\) cannot call it"):
            tf.function(fused, jit_compile=True)(X)

    def test_graphs_take_the_best_kernel(self):
        import tensorflow as tf

        eager = model()
        expected = eager(X)
        with kernels.counting() as chosen:
            same(tf.function(eager)(X), expected)
            same(tf.map_fn(lambda x: eager(x[None])[0], X), expected)
            same(tf.vectorized_map(lambda x: eager(x[None])[0], X), expected)
            batches = tf.data.Dataset.from_tensor_slices(X).batch(4).map(eager)
            same(np.concatenate(list(batches)), expected)
        assert set(chosen) == {BEST}

    def test_stored_models_load_without_seqkeras(self, tmp_path):
        import tensorflow as tf

        stored = model(implementation="auto" if BEST == "scan" else "fused")
        stored.compile("sgd", "mse")
        expected = stored.predict(X, verbose=0)  # traces the best kernel first
        with kernels.counting() as chosen:
            stored.export(tmp_path / "exported", verbose=False)
            tf.saved_model.save(stored, str(tmp_path / "saved"))
        assert set(chosen) == {"scan"}
        folders = [Saved(tmp_path / way, [X]) for way in ("exported", "saved")]
        for (output,) in outputs_without_seqkeras(*folders):
            same(*keras.tree.flatten(output), expected)

    def test_tensorflow_lite(self):
        import tensorflow as tf

        original = model(batch=1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            converted = tf.lite.TFLiteConverter.from_keras_model(original).convert()
            interpreter = tf.lite.Interpreter(model_content=converted)
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], X[:1])
        interpreter.invoke()
        output = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
        same(output, original(X[:1]))

    def test_several_devices(self):
        kernels_chosen, devices, losses = result_of_a_script(MIRRORED)
        assert kernels_chosen == {BEST}
        assert devices == 2
        np.testing.assert_allclose(*losses, rtol=1e-4)

    def test_ragged_tensors_are_an_error_as_in_keras(self):
        import tensorflow as tf

        ragged = tf.RaggedTensor.from_row_lengths(X.reshape(40, 3), [3, 7, 30])
        for kind in (keras.layers.LSTM, layers.LSTM):
            with pytest.raises(ValueError, match="inner ragged dimension"):
                kind(4)(ragged)


MIRRORED = """
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras
from seqkeras import kernels, layers

strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
x = np.random.default_rng(0).normal(size=(8, 6, 2)).astype("float32")
y = x.sum((1, 2))[:, None]
losses = []
for where in (strategy, tf.distribute.get_strategy()):
    with where.scope():
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((6, 2)), layers.LSTM(4), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
    with kernels.counting() as chosen:
        losses.append(model.fit(x, y, batch_size=8, epochs=2, verbose=0).history["loss"])
result = set(chosen), strategy.num_replicas_in_sync, losses
"""


# ---- JAX ----------------------------------------------------------------------------------------


@jax
class TestJax:
    def test_transformations_take_the_best_kernel(self):
        import jax

        eager = model()
        expected = eager(X)
        with kernels.counting() as chosen:
            same(jax.jit(lambda x: eager(x))(X), expected)
            same(jax.vmap(lambda x: eager(x[None])[0])(X), expected)
            assert jax.jacrev(lambda x: eager(x))(X[:2]).shape == (2, 1, 2, 5, 3)
        assert set(chosen) == {BEST}

    def test_stored_functions_take_the_loop(self):
        import jax

        original = model(implementation="auto" if BEST == "scan" else "fused")
        expected = original.predict(X, verbose=0)
        with kernels.counting() as chosen:
            stored = jax.export.export(jax.jit(lambda x: original(x)))(X).serialize()
        assert set(chosen) == {"scan"}
        same(jax.export.deserialize(stored).call(X), expected)

    def test_stored_models_take_the_loop(self, tmp_path):
        tensorflow = pytest.importorskip("tensorflow")
        original = model(implementation="auto" if BEST == "scan" else "fused")
        expected = original.predict(X, verbose=0)
        with kernels.counting() as chosen:
            original.export(tmp_path / "stored", verbose=False)
        assert set(chosen) == {"scan"}
        loaded = tensorflow.saved_model.load(tmp_path / "stored")
        same(loaded.serve(X), expected)


# ---- PyTorch ------------------------------------------------------------------------------------


@torch
class TestTorch:
    def test_compiled_graphs_are_noticed(self):
        import torch

        def compiled(x):
            return x + float(_runtime._torch(x).traced_for == "compiler")

        assert torch.compile(compiled, backend="eager", fullgraph=True)(torch.zeros(1)) == 1

    def test_stored_graphs_take_the_loop(self):
        import torch

        original = model()
        x = torch.tensor(X)
        expected = original(X)
        with kernels.counting() as chosen:
            stored = torch.export.export(original, (x,))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                traced = torch.jit.trace(original, x, check_trace=False)
        assert set(chosen) == {"scan"}
        same(stored.module()(x), expected)
        same(traced(x), expected)

    def test_onnx(self, tmp_path):
        import torch

        onnxruntime = pytest.importorskip("onnxruntime")
        pytest.importorskip("onnx")
        original = model(implementation="auto" if BEST == "scan" else "fused")
        x = torch.tensor(X)
        path = tmp_path / "model.onnx"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(original, (x,), path, dynamo=False, verbose=False)
        session = onnxruntime.InferenceSession(path)
        (output,) = session.run(None, {session.get_inputs()[0].name: X})
        same(output, original(X))

    def test_functional_transforms_take_the_loop(self):
        import torch

        eager = model()
        x = torch.tensor(X)
        with kernels.counting() as chosen:
            gradient = torch.func.grad(lambda x: eager(x).sum())(x)
            mapped = torch.func.vmap(lambda x: eager(x[None])[0])(x)
            torch.func.jvp(eager, (x,), (x,))
        assert set(chosen) == {"scan"}
        same(mapped, eager(X))
        x.requires_grad_()
        eager(x).sum().backward()
        same(gradient, x.grad)

    def test_autocast(self):
        import torch

        trained = model()
        with torch.autocast("cpu", torch.bfloat16):
            output = trained(X)
        np.testing.assert_allclose(array(output.float()), array(trained(X)), atol=1e-2)
        output.sum().backward()
        assert trained.trainable_variables[0].value.grad.dtype == torch.float32

    def test_meta_tensors_take_the_loop(self):
        import torch

        layer = layers.LSTM(4)
        with keras.device("meta"), kernels.counting() as chosen:
            assert layer(torch.zeros((8, 5, 3), device="meta")).shape == (8, 4)
        assert set(chosen) == {"scan"}

    @pytest.mark.parametrize("mode", ["no_grad", "inference_mode"])
    def test_without_gradients(self, mode):
        import torch

        dropping = model(dropout=0.1, recurrent_dropout=0.1)
        with getattr(torch, mode)(), kernels.counting() as chosen:
            dropping(X, training=True)
        assert set(chosen) == {"fused" if native.why_not() is None else "scan"}

"""The fused kernel of each backend: outputs, gradients, and rejected arguments."""

import importlib
import importlib.util
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.examples import examples
from helpers.fused_calls import PLAIN, cotangents, problem
from seqkeras import native
from seqkeras.kernels.fused._arguments import FusedInputs
from seqkeras.native import _library

BACKEND = keras.backend.backend()
fused = importlib.import_module(f"seqkeras.kernels.fused._{BACKEND}")

pytestmark = [
    pytest.mark.backends,
    pytest.mark.skipif(fused.why_not() is not None, reason=str(fused.why_not())),
]

WEIGHTS = ("kernel", "recurrent_kernel", "bias", "peephole", "norm")
DIFFERENTIABLE = ("x", *WEIGHTS, "h0", "c0")


def run_one(static, inputs):
    return fused.run(static, [inputs])[0]


def expected(static, inputs, output_gradients):
    """Return outputs and gradients, by the native library on NumPy arrays."""
    options = static._asdict()
    for name in ("cell", "activation", "recurrent_activation", "save", "sequences", "directions"):
        del options[name]
    arrays = inputs._asdict()
    weights = [arrays.pop(name) for name in ("kernel", "recurrent_kernel", "bias")]
    layer = native.Layer(static.cell, *weights, static.activation, static.recurrent_activation)
    ran = native.forward(layer, arrays.pop("x"), training=True, **arrays, **options)
    outputs = {name: getattr(ran, name) for name in output_gradients}
    return outputs, native.backward(ran, **{f"d{name}": g for name, g in output_gradients.items()})


def compiled(function):
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.function(function, autograph=False)
    if BACKEND == "jax":
        import jax

        return jax.jit(function)
    return function


def tensors(values):
    return {name: keras.ops.convert_to_tensor(value) for name, value in values.items()}


def run_with_gradients(static, inputs, output_gradients, names, wrap=compiled):
    """Return outputs, and gradients to the inputs `names`, by the binding, as NumPy arrays."""
    present = {name: value for name, value in inputs._asdict().items() if value is not None}
    rest = tensors({name: value for name, value in present.items() if name not in names})
    values = tensors({name: present[name] for name in names})
    weights = tensors(output_gradients)

    def run(values):
        outputs = run_one(
            static, FusedInputs(**{**dict.fromkeys(FusedInputs._fields), **rest, **values})
        )
        outputs = {name: y for name, y in outputs._asdict().items() if y is not None}
        return sum(keras.ops.sum(outputs[name] * weights[name]) for name in weights), outputs

    outputs, gradients = differentiate(run, values, wrap)
    as_arrays = {name: keras.ops.convert_to_numpy(value) for name, value in outputs.items()}
    return as_arrays, {name: keras.ops.convert_to_numpy(g) for name, g in gradients.items()}


def differentiate(run, values, wrap):
    if BACKEND == "tensorflow":
        import tensorflow as tf

        def step(values):
            with tf.GradientTape() as tape:
                tape.watch(values)
                loss, outputs = run(values)
            return outputs, tape.gradient(loss, values)

        return wrap(step)(values)
    if BACKEND == "jax":
        import jax

        gradients, outputs = wrap(jax.grad(run, has_aux=True))(values)
        return outputs, gradients
    for value in values.values():
        value.requires_grad_()
    loss, outputs = run(values)
    loss.backward()
    return (
        {name: output.detach() for name, output in outputs.items()},
        {name: value.grad for name, value in values.items()},
    )


def assert_same(actual, reference):
    for name, value in actual.items():
        scale = max(1.0, np.abs(reference[name]).max(initial=0))
        np.testing.assert_allclose(value, reference[name], atol=2e-6 * scale, err_msg=name)


@st.composite
def calls(draw):
    cell = draw(st.sampled_from(native.CELLS))
    lstm = cell == "lstm"
    shape = tuple(
        draw(st.integers(least, most)) for least, most in [(0, 4), (0, 6), (1, 4), (1, 18)]
    )
    names = ["bias", "h0", "mask", "recurrent_dropout", "reset", "zoneout_h_mask"]
    optional = draw(st.sets(st.sampled_from([*names, "c0", "peephole"] if lstm else names)))
    if lstm and draw(st.integers(0, 3)) == 0:  # never with a peephole
        optional = optional - {"peephole"} | {"norm"}
    if lstm and "zoneout_h_mask" in optional:
        optional.add("zoneout_c_mask")
    rate = st.sampled_from([0.0, 0.0, 0.3])
    static = PLAIN._replace(
        cell=cell,
        recurrent_activation=draw(st.sampled_from(["sigmoid", "hard_sigmoid"])),
        masked_output=draw(st.sampled_from(native.MASKED_OUTPUTS)),
        go_backwards=draw(st.booleans()),
        save=draw(st.booleans()),
        sequences=draw(st.booleans()),
        zoneout_h=0.0 if "zoneout_h_mask" in optional else draw(rate),
        zoneout_c=draw(rate) if lstm and "zoneout_h_mask" not in optional else 0.0,
    )
    present = {"x", "kernel", "recurrent_kernel", *optional}
    candidates = [name for name in DIFFERENTIABLE if name in present]
    names = draw(st.sets(st.sampled_from(candidates), min_size=1))
    return static, problem(cell, shape, optional, draw(st.integers(0, 99))), sorted(names)


@examples(14)
@given(calls(), st.booleans())
def test_outputs_and_gradients_are_those_of_the_native_library(drawn, eager):
    static, inputs, names = drawn
    output_gradients = cotangents(static, inputs)
    wrap = (lambda function: function) if eager else compiled
    outputs, gradients = run_with_gradients(static, inputs, output_gradients, names, wrap)
    expected_outputs, expected_gradients = expected(static, inputs, output_gradients)
    assert set(outputs) == set(expected_outputs)
    assert set(gradients) == set(names)
    assert_same(outputs, expected_outputs)
    assert_same(gradients, expected_gradients)


@examples(7)
@given(calls(), st.integers(1, 18), st.data())
def test_two_directions_at_once_equal_two_calls(drawn, units, data):
    static, inputs, names = drawn
    optional = [name for name, value in inputs._asdict().items() if value is not None]
    shape = (*inputs.x.shape, units)
    pair = [inputs, problem(static.cell, shape, optional, seed=100)]
    # If only one direction has a gradient to an output, the other one has zeros.
    output_gradients = [cotangents(static, layer, seed=place) for place, layer in enumerate(pair)]
    for place in (0, 1):
        for name in data.draw(st.sets(st.sampled_from(sorted(output_gradients[0])), max_size=2)):
            output_gradients[place][name][:] = 0
    results = run_pair_with_gradients(static, pair, output_gradients, names)
    for place, (outputs, gradients) in enumerate(results):
        single = static._replace(go_backwards=static.go_backwards != bool(place))
        expected_outputs, expected_gradients = expected(
            single, pair[place], output_gradients[place]
        )
        assert_same(outputs, expected_outputs)
        assert set(gradients) == set(names)
        assert_same(gradients, expected_gradients)


def run_pair_with_gradients(static, pair, output_gradients, names):
    """Return the outputs and the gradients of each direction, by one call of the binding."""
    values = tensors(
        {f"{name}/{i}": getattr(layer, name) for i, layer in enumerate(pair) for name in names}
    )
    # Outputs with zeros as gradient are left out of the loss, so the backend has none for them.
    weights = [
        tensors({name: g for name, g in layer.items() if np.any(g)}) for layer in output_gradients
    ]
    rest = [tensors({n: v for n, v in layer._asdict().items() if v is not None}) for layer in pair]

    def run(values):
        layers = [
            FusedInputs(
                *(values.get(f"{name}/{i}", rest[i].get(name)) for name in FusedInputs._fields)
            )
            for i in range(2)
        ]
        outputs = fused.run(static._replace(directions=2), layers)
        loss = sum(keras.ops.sum(values[name]) * 0 for name in values)
        for layer, factors in zip(outputs, weights, strict=True):
            for name, factor in factors.items():
                loss += keras.ops.sum(getattr(layer, name) * factor)
        named = {
            f"{name}/{i}": value
            for i, layer in enumerate(outputs)
            for name, value in layer._asdict().items()
            if value is not None
        }
        return loss, named

    outputs, gradients = differentiate(run, values, compiled)
    return [
        tuple(
            {
                name.partition("/")[0]: keras.ops.convert_to_numpy(value)
                for name, value in results.items()
                if name.endswith(f"/{i}")
            }
            for results in (outputs, gradients)
        )
        for i in range(2)
    ]


def test_two_directions_are_one_call_of_the_library():
    pair = [FusedInputs(*tensors_or_none(problem(seed=seed))) for seed in (0, 1)]
    forward, backward = native.load().calls()
    fused.run(PLAIN._replace(directions=2, save=False), pair)
    assert native.load().calls() == (forward + 1, backward)


@pytest.mark.parametrize("sequences", [True, False])
def test_without_a_gradient_nothing_is_saved(sequences, monkeypatch):
    sizes = []
    _spy_workspaces(monkeypatch, sizes)
    inputs = FusedInputs(*tensors_or_none(problem()))
    outputs = run_one(PLAIN._replace(sequences=sequences, save=False), inputs)
    assert (outputs.y is not None) == sequences
    assert not sizes


def _spy_workspaces(monkeypatch, sizes):
    from seqkeras.kernels.fused import _arguments

    real = _arguments.workspace_floats

    def spy(struct):
        sizes.append(real(struct))
        return sizes[-1]

    monkeypatch.setattr(_arguments, "workspace_floats", spy)


@pytest.mark.parametrize("names", [["kernel"], ["x"], ["h0", "bias"]])
def test_only_needed_gradients_are_computed(names, monkeypatch):
    from seqkeras.kernels.fused import _arguments

    computed = []
    real = _arguments.gradient_names

    def spy(needed):
        computed.append(real(needed))
        return computed[-1]

    monkeypatch.setattr(_arguments, "gradient_names", spy)
    inputs = problem(optional=("bias", "h0"))
    run_with_gradients(PLAIN, inputs, cotangents(PLAIN, inputs), names)
    expected_names = ["kernel", "recurrent_kernel"] if "kernel" in names else names
    assert [set(layer) for layer in computed] == [set(expected_names)]


def test_threads_may_call_at_once():
    problems = [problem(shape=(8, 40, 3, 32), seed=seed) for seed in range(8)]
    output_gradients = cotangents(PLAIN, problems[0])

    def work(inputs):
        return run_with_gradients(PLAIN, inputs, output_gradients, ["x", "kernel"])

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(work, problems * 3))
    for inputs, (outputs, gradients) in zip(problems * 3, results, strict=True):
        expected_outputs, expected_gradients = expected(PLAIN, inputs, output_gradients)
        assert_same(outputs, expected_outputs)
        assert_same(gradients, expected_gradients)


@pytest.mark.parametrize("name", FusedInputs._fields)
@pytest.mark.parametrize("wrong", ["longer", "flat"])
def test_a_wrong_shape_is_rejected_by_name(name, wrong):
    inputs = problem(optional=FusedInputs._fields)
    value = getattr(inputs, name)
    value = np.concatenate([value, value], -1) if wrong == "longer" else value.reshape(-1)[:1]
    if name == "bias" and wrong == "flat":
        value = value.reshape(1, 1)
    bad = tensors({**inputs._asdict(), name: value})
    # A wrong length of x is noticed at the kernel or the state.
    culprit = {"x": "x|kernel|h0"}.get(name, name)
    with pytest.raises(Exception, match=rf"({culprit}) must (be|have)") as caught:
        run_one(PLAIN, FusedInputs(**bad))
    assert caught.type.__name__ in ("ArgumentError", "InvalidArgumentError")


def test_an_unsupported_layer_is_rejected_with_the_message_of_the_native_library():
    inputs = FusedInputs(*tensors_or_none(problem()))
    with pytest.raises(Exception, match="activation of an LSTM or a GRU must be tanh"):
        run_one(PLAIN._replace(activation="relu"), inputs)


def test_a_library_with_another_interface_is_rejected(monkeypatch):
    _library._look.cache_clear()
    monkeypatch.setattr(_library, "ABI_VERSION", 99)
    try:
        assert "another version of seqkeras" in fused.why_not()
        inputs = problem()
        with pytest.raises(NotImplementedError, match="another version of seqkeras"):
            run_one(PLAIN, FusedInputs(*tensors_or_none(inputs)))
    finally:
        monkeypatch.undo()
        _library._look.cache_clear()
    assert fused.why_not() is None


def tensors_or_none(inputs):
    return [None if value is None else keras.ops.convert_to_tensor(value) for value in inputs]


@pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow's operations")
class TestTensorflow:
    def test_static_shapes_survive(self):
        import tensorflow as tf

        inputs = problem()
        rest = tensors_or_none(inputs)[1:]

        @tf.function(input_signature=[tf.TensorSpec([None, None, 2])], autograph=False)
        def run(x):
            outputs = run_one(PLAIN, FusedInputs(x, *rest))
            shapes = [output.shape.as_list() for output in outputs]
            assert shapes == [[None, None, 5], [None, 5], [None, 5], [None, 5]]
            (gradient,) = tf.gradients(outputs.y, [rest[0]])
            assert gradient.shape == rest[0].shape
            return outputs.y, gradient

        for batch, timesteps in [(3, 7), (1, 1), (0, 4), (2, 0)]:
            inputs = inputs._replace(x=problem(shape=(batch, timesteps, 2, 5)).x)
            y, gradient = run(inputs.x)
            outputs, gradients = expected(PLAIN, inputs, {"y": np.ones_like(y)})
            assert_same({"y": y.numpy()}, outputs)
            assert_same({"kernel": gradient.numpy()}, gradients)

    def test_a_second_gradient_is_rejected(self):
        import tensorflow as tf

        inputs = tensors_or_none(problem())
        with tf.GradientTape() as outer:
            outer.watch(inputs[0])
            with tf.GradientTape() as inner:
                inner.watch(inputs[0])
                y = run_one(PLAIN, FusedInputs(*inputs)).y
            gradient = inner.gradient(y, inputs[0])
        with pytest.raises(NotImplementedError, match='implementation="scan"'):
            outer.gradient(gradient, inputs[0])

    def test_forward_mode_is_rejected(self):
        import tensorflow as tf

        inputs = tensors_or_none(problem())
        with (
            tf.autodiff.ForwardAccumulator(inputs[0], tf.ones_like(inputs[0])),
            pytest.raises(NotImplementedError, match='forward mode, use implementation="scan"'),
        ):
            run_one(PLAIN, FusedInputs(*inputs))

    def test_a_file_that_is_not_a_library_is_rejected(self, tmp_path):
        broken = tmp_path / "_tensorflow.abi3.so"
        broken.write_bytes(b"\x7fELF of nothing")
        operations, reason = fused._load_file(broken)
        assert operations is None
        assert "does not load into TensorFlow" in reason

    def test_operations_with_another_interface_are_rejected(self, monkeypatch):
        path = importlib.util.find_spec("seqkeras.native._tensorflow").origin
        monkeypatch.setattr(fused, "ABI_VERSION", 99)
        assert "another version of seqkeras" in fused._load_file(path)[1]


@pytest.mark.skipif(BACKEND != "jax", reason="JAX's transformations")
class TestJax:
    def test_vmap_runs_sequentially(self):
        import jax

        inputs = problem()
        many = np.stack([inputs.x, 2 * inputs.x])

        def loss(x):
            return run_one(PLAIN, inputs._replace(x=x)).y.sum()

        gradients = jax.jit(jax.vmap(jax.grad(loss)))(many)
        for x, gradient in zip(many, gradients, strict=True):
            ones = {"y": np.ones((3, 7, 5), "float32")}
            _, expected_gradients = expected(PLAIN, inputs._replace(x=x), ones)
            assert_same({"x": gradient}, expected_gradients)

    def test_checkpoint_and_scan(self):
        import jax

        inputs = problem()
        output_gradients = {"last": np.ones((3, 5), "float32")}
        expected_gradient = expected(PLAIN, inputs, output_gradients)[1]["kernel"]

        @jax.jit
        @jax.grad
        def total(kernel):
            def body(carry, _):
                return carry + run_one(PLAIN, inputs._replace(kernel=kernel)).last.sum(), None

            return jax.lax.scan(jax.checkpoint(body), 0.0, None, length=3)[0]

        assert_same({"kernel": total(inputs.kernel) / 3}, {"kernel": expected_gradient})

    def test_a_second_gradient_is_rejected(self):
        import jax

        inputs = problem()

        def loss(x):
            return run_one(PLAIN, inputs._replace(x=x)).y.sum()

        for twice in (jax.hessian, lambda f: jax.grad(lambda x: jax.grad(f)(x).sum())):
            with pytest.raises(NotImplementedError, match='implementation="scan"'):
                twice(loss)(inputs.x)

    def test_another_dtype_is_rejected_by_name(self):
        inputs = problem()
        with pytest.raises(Exception, match="mask must be bool"):
            run_one(PLAIN, inputs._replace(mask=np.ones((3, 7), "float32")))


@pytest.mark.skipif(BACKEND != "torch", reason="PyTorch's graphs and strides")
class TestTorch:
    def leaves(self, inputs):
        import torch

        return FusedInputs(*(None if value is None else torch.tensor(value) for value in inputs))

    def test_calls_may_overlap(self):
        """Workspaces are used again, but not while a backward may still read them."""
        import torch

        problems = [problem(seed=seed) for seed in range(3)]
        leaves = [self.leaves(inputs) for inputs in problems]
        for layer in leaves:
            layer.kernel.requires_grad_()
        for order in [(0, 1, 2), (2, 0, 1)]:
            losses = [run_one(PLAIN, layer).y.sum() for layer in leaves]
            for which in order:
                leaves[which].kernel.grad = None
                losses[which].backward(retain_graph=True)
                losses[which].backward()  # adds the same again
                ones = {"y": np.ones((3, 7, 5), "float32")}
                _, expected_gradients = expected(PLAIN, problems[which], ones)
                gradient = leaves[which].kernel.grad.numpy() / 2
                assert_same({"kernel": gradient}, expected_gradients)
        with pytest.raises(RuntimeError, match="second time"):
            losses[0].backward()
        assert torch.is_tensor(losses[0])

    def test_memory_is_returned_and_used_again(self):
        import torch

        fused._idle.clear()
        inputs = self.leaves(problem(shape=(2, 9, 3, 8)))
        inputs.kernel.requires_grad_()
        addresses = set()
        for _ in range(3):
            outputs = run_one(PLAIN, inputs)
            assert not fused._idle
            outputs.y.sum().backward()
            (memory,) = fused._idle
            addresses.add(memory.ctypes.data)
        assert len(addresses) == 1
        with torch.no_grad():  # takes none
            outputs = run_one(PLAIN, inputs)
            assert len(fused._idle) == 1
        outputs = run_one(PLAIN, inputs)  # dropped without a backward
        assert not fused._idle
        del outputs
        assert len(fused._idle) == 1

    def test_strides(self):
        import torch

        inputs = problem(optional=("bias", "mask", "h0"))
        leaves = self.leaves(inputs)
        wide = torch.zeros(7, 3, 4)  # time first, and more features
        wide[..., :2] = leaves.x.transpose(0, 1)
        x = wide.requires_grad_().transpose(0, 1)[..., :2]
        strided = leaves._replace(
            x=x,
            mask=leaves.mask.T.contiguous().T,
            kernel=leaves.kernel.T.contiguous().T,
            h0=torch.stack([leaves.h0, leaves.h0], -1)[..., 1],
        )
        outputs = run_one(PLAIN, strided)
        weight = torch.tensor(cotangents(PLAIN, inputs)["y"])
        (outputs.y.transpose(0, 1) * weight.transpose(0, 1)).sum().backward()
        expected_outputs, expected_gradients = expected(PLAIN, inputs, {"y": weight.numpy()})
        assert_same({"y": outputs.y.detach().numpy()}, expected_outputs)
        assert_same({"x": wide.grad[..., :2].transpose(0, 1).numpy()}, expected_gradients)

    def test_defaults_of_pytorch_do_not_matter(self):
        import torch

        inputs = problem()
        output_gradients = cotangents(PLAIN, inputs)
        torch.set_default_dtype(torch.float64)
        try:
            outputs, gradients = run_with_gradients(
                PLAIN, inputs, output_gradients, ["x", "kernel"]
            )
        finally:
            torch.set_default_dtype(torch.float32)
        expected_outputs, expected_gradients = expected(PLAIN, inputs, output_gradients)
        assert_same(outputs, expected_outputs)
        assert_same(gradients, expected_gradients)

    def test_activation_checkpointing_gives_the_gradient(self):
        from torch.utils.checkpoint import checkpoint

        inputs = problem()
        ones = {"y": np.ones((3, 7, 5), "float32")}
        _, expected_gradients = expected(PLAIN, inputs, ones)
        for use_reentrant in (False, True):
            leaves = self.leaves(inputs)
            x = leaves.x.requires_grad_()

            def outputs(x, leaves=leaves):
                return run_one(PLAIN, leaves._replace(x=x)).y

            checkpoint(outputs, x, use_reentrant=use_reentrant).sum().backward()
            assert_same({"x": x.grad.numpy()}, {"x": expected_gradients["x"]})

    def test_another_dtype_or_device_is_rejected_by_name(self):
        leaves = self.leaves(problem())
        with pytest.raises(ValueError, match=r"kernel must be torch.float32 on cpu.*float64"):
            run_one(PLAIN, leaves._replace(kernel=leaves.kernel.double()))
        with pytest.raises(ValueError, match=r"x must be torch.float32 on cpu.*meta"):
            run_one(PLAIN, leaves._replace(x=leaves.x.to("meta")))

    def test_a_second_gradient_is_rejected(self):
        import torch

        leaves = self.leaves(problem())
        x = leaves.x.requires_grad_()

        y = run_one(PLAIN, leaves).y
        (gradient,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        with pytest.raises(NotImplementedError, match='implementation="scan"'):
            gradient.sum().backward()

"""Every kernel against the loop, and every kernel against Keras in double precision."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import kernel_calls as calls
from helpers.examples import examples
from seqkeras import kernels, native

pytestmark = pytest.mark.backends

MASKS = (None, None, "right", "left", "any", "empty")


def others(layer, problem):
    """Return the kernels that can run a call, except for the loop."""
    spec = kernels.Spec.of(layer, training=problem.training, resets=problem.reset is not None)
    reasons = kernels.why_not(spec, kernels.here())
    if reasons["fused"] is None and calls.BACKEND == "torch":
        with calls.as_kernel(layer, "aten"):
            reasons = kernels.why_not(spec, kernels.here()) | {"fused": None}
    return [name for name, reason in reasons.items() if reason is None and name != "scan"]


@st.composite
def configurations(draw, variants=True):
    """Draw arguments of a layer without our variants, and of a problem for it."""
    kind = draw(st.sampled_from(list(calls.LAYERS)))
    options = {
        name: draw(st.booleans())
        for name in ("use_bias", "go_backwards", "return_sequences", "return_state")
    }
    if kind != "SimpleRNN":
        options["recurrent_activation"] = draw(st.sampled_from(["sigmoid", "hard_sigmoid"]))
    else:
        options["activation"] = draw(st.sampled_from(["tanh", "linear", "relu"]))
    if kind == "GRU":
        options["reset_after"] = draw(st.booleans())
    options["zero_output_for_mask"] = draw(st.booleans())
    sizes = {
        "batch": draw(st.integers(1, 4)),
        "timesteps": draw(st.integers(1, 6)),
        "features": draw(st.integers(1, 3)),
        "units": draw(st.sampled_from([1, 3, 5, 16, 17])),
    }
    problem = {
        "mask": draw(st.sampled_from(MASKS)),
        "given_states": draw(st.booleans()),
        "seed": draw(st.integers(0, 99)),
    }
    return kind, options, sizes, problem


@st.composite
def variants(draw, kind):
    """Draw arguments that Keras itself only supports in the loop, or not at all."""
    rate = st.sampled_from([0.0, 0.3])
    options = {"dropout": draw(rate), "recurrent_dropout": draw(rate), "seed": 7}
    options["zoneout_h"] = draw(rate)
    if kind == "LSTM":
        options["zoneout_c"] = draw(rate)
        name = draw(st.sampled_from([None, "peephole", "normalization"]))
        options |= {name: True} if name else {}
    if kind != "SimpleRNN" and not any(options[name] for name in options if name != "seed"):
        options["implementation"] = 1
    return options


def made(configuration, more):
    kind, options, sizes, settings = configuration
    shape = {name: sizes[name] for name in ("units", "features")}
    layer = calls.built(
        kind, **shape, rows=sizes["batch"], weights=settings["seed"], **options, **more
    )
    return layer, calls.problem(kind, **sizes, **settings)


@examples(4 if calls.BACKEND == "jax" else 8)
@given(configurations(), st.data())
def test_every_kernel_is_the_loop(configuration, data):
    more = data.draw(variants(configuration[0]))
    more["stateful"] = data.draw(st.booleans())
    layer, problem = made(configuration, more)
    problem = problem._replace(training=data.draw(st.booleans()))
    if layer.stateful and data.draw(st.booleans()):
        rng = np.random.default_rng(len(problem.x))
        problem = problem._replace(reset=rng.random(problem.x.shape[:2]) < 0.3)
    names = others(layer, problem)
    assert ("fused" in names) == (native.why_not() is None)
    expected = calls.run(layer, problem, "scan")
    for name in names:
        calls.assert_same(calls.run(layer, problem, name), expected)


@examples(3 if calls.BACKEND == "jax" else 5)
@given(configurations())
def test_every_kernel_is_keras_in_double_precision(configuration):
    layer, problem = made(configuration, {})
    kind, options, sizes, problem_settings = configuration
    if problem.mask is not None and problem.states is not None:
        # Before the first timestep that counts, ours show the initial state on every backend, and
        # Keras' own do on JAX only.
        problem.mask[:, -1 if options["go_backwards"] else 0] = True
    shape = {name: sizes[name] for name in ("units", "features")}
    precise = {"dtype": "float64"} if calls.BACKEND != "jax" else {}
    own = {} if kind == "SimpleRNN" else {"use_cudnn": False}
    stock = calls.built(
        kind, **shape, stock=True, weights=problem_settings["seed"], **precise, **options, **own
    )
    expected = calls.run(stock, problem)
    for name in ["scan", *others(layer, problem)]:
        calls.assert_same(calls.run(layer, problem, name), expected)


@pytest.mark.parametrize(
    ("kind", "timesteps"), [*((kind, 1) for kind in calls.LAYERS), ("LSTM", 2000)]
)
def test_one_timestep_and_2000(kind, timesteps):
    layer = calls.built(kind, return_sequences=True)
    problem = calls.problem(kind, batch=2, timesteps=timesteps, mask="any")
    expected = calls.run(layer, problem, "scan", graph=True)
    for name in others(layer, problem):
        # PyTorch's way back through masked timesteps takes time quadratic in the length.
        if timesteps == 1 or name != "aten":
            calls.assert_same(calls.run(layer, problem, name, graph=True), expected)


VARIANTS = {
    "lstm": ("LSTM", {"zoneout_h": 0.3, "zoneout_c": 0.2}),
    "lstm with peepholes": ("LSTM", {"peephole": True, "zero_output_for_mask": True}),
    "lstm with normalization": ("LSTM", {"normalization": True, "zoneout_h": 0.3}),
    "gru": ("GRU", {"reset_after": False, "zero_output_for_mask": True}),
    "gru that resets after": ("GRU", {"zoneout_h": 0.3}),
    "simple_rnn": ("SimpleRNN", {"zoneout_h": 0.3}),
}


@pytest.mark.skipif(
    calls.BACKEND != "tensorflow", reason="Keras multiplies in float32 on the others"
)
@pytest.mark.parametrize("variant", VARIANTS)
def test_gradients_of_the_loop_by_finite_differences(variant):
    """Move all inputs along a random direction, with fixed flags and dropout masks."""
    kind, options = VARIANTS[variant]
    more = {"dropout": 0.3, "recurrent_dropout": 0.3, "seed": 7, "go_backwards": True}
    outputs = {"stateful": True, "return_sequences": True, "dtype": "float64"}
    layer = calls.built(kind, rows=3, **options, **more, **outputs)
    problem = calls.problem(kind, mask="any", timesteps=3)
    problem = problem._replace(reset=problem.x[..., 0] > 0.5, training=True)
    states = len(problem.states)

    def at(point):
        layer.set_weights(point[1 + states :])
        return calls.run(layer, problem._replace(x=point[0], states=point[1 : 1 + states]), "scan")

    arrays = (problem.x, *problem.states, *layer.get_weights())
    start = [array.astype("float64") for array in arrays]
    way = [np.random.default_rng(4).normal(size=array.shape) for array in start]
    above, below = (
        float(calls.weighted(at([a + step * b for a, b in zip(start, way, strict=True)]).outputs))
        for step in (1e-5, -1e-5)
    )
    gradients = at(start).gradients
    assert all(gradient.any() for gradient in gradients)
    slope = sum((a * b).sum() for a, b in zip(gradients, way, strict=True))
    assert (above - below) / 2e-5 == pytest.approx(slope, rel=1e-7)

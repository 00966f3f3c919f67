"""The compiled kernels against float64 references; skipped where they are not built."""

import importlib.util
import multiprocessing
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqkeras import native
from seqkeras.errors import ArgumentError

library = native.load()
pytestmark = pytest.mark.skipif(library is None, reason=str(native.why_not()))

_spec = importlib.util.spec_from_file_location(
    "native_reference", Path(__file__).parent / "reference.py"
)
reference = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reference)

CELLS = tuple(reference.CELLS)
ISAS = ("avx512", "avx2", "sse2", "neon", "generic")


@pytest.fixture(autouse=True)
def _as_it_was():
    isa, threads = library.isa, library.threads
    yield
    library.set_isa(isa)
    library.set_threads(threads)


def _isas_here():
    """The instruction sets that this machine can run, the best first."""
    best, found = library.isa, []
    for isa in ISAS:
        try:
            library.set_isa(isa)
        except NotImplementedError:
            continue
        found.append(isa)
    library.set_isa(best)
    return found


HERE = _isas_here() if library else ["none"]


def problem(cell, shape, *, seed=0, mask=None, drop=False, scale=0.5):
    """Arrays of a layer and its input, and gradients to its outputs; float32."""
    batch, timesteps, features, units = shape
    rng = np.random.default_rng(seed)
    width = reference.GATES[cell] * units

    def normal(*size):
        return (scale * rng.standard_normal(size)).astype(np.float32)

    bias = (2, width) if cell == "gru_reset_after" else (width,)
    arrays = {
        "x": normal(batch, timesteps, features),
        "kernel": normal(features, width) / np.float32(np.sqrt(features)),
        "recurrent_kernel": normal(units, width) / np.float32(np.sqrt(units)),
        "bias": normal(*bias),
        "h0": normal(batch, units),
        "c0": normal(batch, units),
        "mask": np.ones((batch, timesteps), bool) if mask is None else mask,
        "recurrent_dropout": np.ones((reference.GATES[cell], batch, units), np.float32),
    }
    if drop:
        kept = rng.random(arrays["recurrent_dropout"].shape) < 0.75
        arrays["recurrent_dropout"] = (kept / 0.75).astype(np.float32)
    grads = {
        "dy": normal(batch, timesteps, units),
        **{name: normal(batch, units) for name in ("dlast", "dh_n", "dc_n")},
    }
    return arrays, grads


def layer_of(cell, arrays, **activations):
    weights = (arrays["kernel"], arrays["recurrent_kernel"], arrays["bias"])
    return native.Layer(cell, *weights, **activations)


def compute(cell, arrays, grads, *, threads=0, masked_output="hold_output", go_backwards=False, **a):
    """Outputs and gradients of the library; arrays that make no difference are left out."""
    given = {name: arrays[name] for name in ("h0", "c0", "mask", "recurrent_dropout")}
    if cell != "lstm":
        del given["c0"]
        grads = {name: grad for name, grad in grads.items() if name != "dc_n"}
    if given["mask"].all():
        del given["mask"]
    if (given["recurrent_dropout"] == 1).all():
        del given["recurrent_dropout"]
    options = {"masked_output": masked_output, "go_backwards": go_backwards, "threads": threads}
    layer = layer_of(cell, arrays, **a)
    run = native.forward(layer, arrays["x"], training=True, **given, **options)
    found = native.backward(run, **grads)
    # What is saved for training changes no bit of the outputs.
    plain = native.forward(layer, arrays["x"], **given, **options)
    for name in ("y", "last", "h_n"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(run, name))
    outputs = {name: getattr(run, name) for name in ("y", "last", "h_n", "c_n")}
    return {name: value for name, value in outputs.items() if value is not None}, found


def in_double(arrays):
    return {n: a if a.dtype == bool else a.astype(np.float64) for n, a in arrays.items()}


def check(cell, arrays, grads, *, outputs=2e-6, gradients=5e-6, **options):
    settings_ = {"masked_output": "hold_output", "go_backwards": False, **options}
    want, want_grads = reference.run(cell, in_double(arrays), in_double(grads), **settings_)
    have, have_grads = compute(cell, arrays, grads, **options)
    for name, value in have.items():
        scale = np.maximum(1, np.abs(want[name]).max(initial=0))
        np.testing.assert_allclose(value, want[name], rtol=0, atol=outputs * scale, err_msg=name)
    for name, value in have_grads.items():
        atol = gradients * max(1, np.abs(want_grads[name]).max(initial=0))
        np.testing.assert_allclose(value, want_grads[name], rtol=0, atol=atol, err_msg=f"d{name}")


MASKS = ("none", "right", "left", "holes", "empty rows", "nothing")


def mask_of(kind, batch, timesteps, seed=0):
    rng = np.random.default_rng(seed)
    at = np.arange(timesteps)
    lengths = rng.integers(0, timesteps + 1, (batch, 1))
    holes = rng.random((batch, timesteps)) < 0.6
    return {
        "none": np.ones((batch, timesteps), bool),
        "right": at < lengths,
        "left": at >= lengths,
        "holes": holes,
        "empty rows": holes & (rng.random((batch, 1)) < 0.5),
        "nothing": np.zeros((batch, timesteps), bool),
    }[kind]


def one_of(*values):
    return st.sampled_from(values)


def options_of(cell, draw):
    if cell == "simple_rnn":
        return {"activation": draw(one_of("tanh", "relu", "linear"))}
    return {"recurrent_activation": draw(one_of("sigmoid", "hard_sigmoid"))}


@settings(max_examples=200)
@given(
    cell=st.sampled_from(CELLS),
    shape=st.tuples(
        st.integers(1, 20),
        st.integers(1, 12),
        one_of(1, 2, 3, 7, 8, 17, 33, 70),
        one_of(1, 2, 5, 8, 15, 16, 17, 31, 32, 33, 48, 64, 65, 80),
    ),
    mask=st.sampled_from(MASKS),
    drop=st.booleans(),
    seed=st.integers(0, 999),
    masked_output=one_of("hold_output", "hold_state", "zero"),
    go_backwards=st.booleans(),
    isa=st.sampled_from(HERE),
    threads=st.integers(1, 3),
    data=st.data(),
)
def test_everything_is_as_in_the_reference(
    cell, shape, mask, drop, seed, masked_output, go_backwards, isa, threads, data
):
    library.set_isa(isa)
    library.set_threads(threads)
    keep = mask_of(mask, *shape[:2], seed)
    arrays, grads = problem(cell, shape, seed=seed, mask=keep, drop=drop)
    # Masked inputs may hold anything.
    arrays["x"] = np.where(keep[:, :, None], arrays["x"], np.float32(np.nan))
    options = options_of(cell, data.draw)
    check(cell, arrays, grads, masked_output=masked_output, go_backwards=go_backwards, **options)

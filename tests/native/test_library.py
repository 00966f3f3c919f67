"""The native library against float64 references; skipped if it is not built."""

import ctypes
import importlib.util
import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.examples import examples
from seqkeras import native
from seqkeras.errors import ArgumentError
from seqkeras.native import _library

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
    isa = library.isa
    threads = library.threads
    yield
    library.set_isa(isa)
    library.set_threads(threads)


def _isas_here():
    """Return the instruction sets that this machine supports, best first."""
    best = library.isa
    supported = []
    for isa in ISAS:
        try:
            library.set_isa(isa)
        except NotImplementedError:
            continue
        supported.append(isa)
    library.set_isa(best)
    return supported


def _has_bfloat16():
    arrays, _ = problem("lstm", (1, 1, 1, 1))
    try:
        native.forward(layer_of("lstm", arrays), arrays["x"], precision="bfloat16")
    except NotImplementedError:
        return False
    return True


HERE = _isas_here() if library else ["none"]


#: Features that only some layers have.
VARIANTS = ("reset", "zoneout", "rates", "peephole", "norm")


def variants_of(cell, kind="peephole"):
    """Return the variants that a cell supports, with one `kind` of LSTM."""
    return VARIANTS[:3] + ((kind,) if cell == "lstm" else ())


def problem(cell, shape, *, seed=0, mask=None, drop=False, scale=0.5, variants=()):
    """Make float32 arrays: weights and inputs of a layer, and gradients to its outputs."""
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
        survives = rng.random(arrays["recurrent_dropout"].shape) < 0.75
        arrays["recurrent_dropout"] = (survives / 0.75).astype(np.float32)
    grads = {
        "dy": normal(batch, timesteps, units),
        **{name: normal(batch, units) for name in ("dlast", "dh_n", "dc_n")},
    }
    arrays.update(special(cell, (batch, timesteps, units), variants, rng))
    return arrays, grads


def special(cell, sequence, variants, rng):
    """Make the arrays of all variants, without effect for those that are not in `variants`."""
    batch, timesteps, units = sequence
    keep_h = np.zeros(sequence, np.float32)
    keep_c = np.zeros(sequence, np.float32)
    if "rates" in variants:
        keep_h[:] = 0.25
        keep_c[:] = 0.125
    if "zoneout" in variants:
        keep_h, keep_c = ((rng.random(sequence) < 0.3).astype(np.float32) for _ in range(2))
    arrays = {
        "reset": rng.random((batch, timesteps)) < (0.25 if "reset" in variants else 0),
        "keep_h": keep_h,
        "keep_c": keep_c if cell == "lstm" else np.zeros_like(keep_c),
        "peephole": np.zeros((3, units), np.float32),
    }
    if "peephole" in variants:
        arrays["peephole"] = (0.5 * rng.standard_normal((3, units))).astype(np.float32)
    if "norm" in variants and cell == "lstm":
        arrays["norm"] = (0.3 * rng.standard_normal((10, units))).astype(np.float32)
        arrays["norm"][:9] += 1
    return arrays


def arguments_of(cell, arrays):
    """Return arguments for `forward`, without arrays that have no effect."""
    idle = {"c0": cell != "lstm", "mask": arrays["mask"].all()}
    idle["recurrent_dropout"] = (arrays["recurrent_dropout"] == 1).all()
    for name in ("reset", "peephole"):
        idle[name] = not arrays[name].any()
    names = ("h0", "c0", "mask", "recurrent_dropout", "reset", "peephole", "norm")
    arguments = {name: arrays[name] for name in names if name in arrays and not idle.get(name)}
    for state in "hc" if cell == "lstm" else "h":
        keep = arrays[f"keep_{state}"]
        if np.isin(keep, (0, 1)).all():
            arguments[f"zoneout_{state}_mask"] = keep.astype(bool)
        else:
            arguments[f"zoneout_{state}"] = float(keep.flat[0])
    if not arrays["keep_h"].any() and not arrays["keep_c"].any():
        for name in ("zoneout_h_mask", "zoneout_c_mask"):
            arguments.pop(name, None)
    return arguments


def layer_of(cell, arrays, **activations):
    weights = (arrays["kernel"], arrays["recurrent_kernel"], arrays["bias"])
    return native.Layer(cell, *weights, **activations)


def compute(
    cell,
    arrays,
    grads,
    *,
    threads=0,
    masked_output="hold_output",
    go_backwards=False,
    precision="float32",
    **a,
):
    """Compute outputs and gradients with the library, omitting arrays that have no effect."""
    arguments = arguments_of(cell, arrays)
    if cell != "lstm":
        grads = {name: grad for name, grad in grads.items() if name != "dc_n"}
    options = {"masked_output": masked_output, "go_backwards": go_backwards, "threads": threads}
    options["precision"] = precision
    layer = layer_of(cell, arrays, **a)
    run = native.forward(layer, arrays["x"], training=True, **arguments, **options)
    gradients = native.backward(run, **grads)
    # Saving for training changes no bit of the outputs.
    plain = native.forward(layer, arrays["x"], **arguments, **options)
    for name in ("y", "last", "h_n"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(run, name))
    outputs = {name: getattr(run, name) for name in ("y", "last", "h_n", "c_n")}
    return {name: value for name, value in outputs.items() if value is not None}, gradients


def in_double(arrays):
    return {n: a if a.dtype == bool else a.astype(np.float64) for n, a in arrays.items()}


class Wanted(NamedTuple):
    """What the reference computes, and the tolerances of its outputs and gradients."""

    outputs: dict
    gradients: dict
    within: tuple


def wanted(cell, arrays, grads, within=(2e-6, 5e-6), **options):
    """Compute what the library has to compute with these options."""
    settings_ = {"masked_output": "hold_output", "go_backwards": False, **options}
    settings_.pop("precision", None)
    want, want_grads = reference.run(cell, in_double(arrays), in_double(grads), **settings_)
    if "norm" in arrays and options.get("precision") != "bfloat16":
        within = bounds_with_norm(cell, arrays, grads, settings_, want, want_grads)
    return Wanted(want, want_grads, within)


def check(cell, arrays, grads, *, want=None, within=(2e-6, 5e-6), **options):
    """Compare the library with the reference; `want` is its result if it is known already."""
    want, want_grads, (outputs, gradients) = want or wanted(cell, arrays, grads, within, **options)
    have, have_grads = compute(cell, arrays, grads, **options)
    for name, value in have.items():
        scale = np.maximum(1, np.abs(want[name]).max(initial=0))
        np.testing.assert_allclose(value, want[name], rtol=0, atol=outputs * scale, err_msg=name)
    for name, value in have_grads.items():
        atol = gradients * max(1, np.abs(want_grads[name]).max(initial=0))
        np.testing.assert_allclose(value, want_grads[name], rtol=0, atol=atol, err_msg=f"d{name}")


def bounds_with_norm(cell, arrays, grads, options, want, want_grads):
    """Return tolerances from NumPy in float32: division by small deviations makes large errors."""
    have, have_grads = reference.run(cell, arrays, grads, **options)

    def error(have, want):
        off = (np.abs(have[name] - want[name]) for name in have)
        big = (np.maximum(1, np.abs(want[name]).max(initial=0)) for name in have)
        return max((a / b).max(initial=0) for a, b in zip(off, big, strict=True))

    return 1e-5 + 4 * error(have, want), 2e-5 + 4 * error(have_grads, want_grads)


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


@examples(67)
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
    kind=one_of("peephole", "norm"),
    variants=st.sets(st.sampled_from(VARIANTS)),
    seed=st.integers(0, 999),
    masked_output=one_of("hold_output", "hold_state", "zero"),
    go_backwards=st.booleans(),
    isa=st.sampled_from(HERE),
    threads=st.integers(1, 3),
    data=st.data(),
)
def test_everything_is_as_in_the_reference(
    cell, shape, mask, drop, kind, variants, seed, masked_output, go_backwards, isa, threads, data
):
    library.set_isa(isa)
    library.set_threads(threads)
    keep = mask_of(mask, *shape[:2], seed)
    variants &= set(variants_of(cell, kind))
    arrays, grads = problem(cell, shape, seed=seed, mask=keep, drop=drop, variants=variants)
    # Masked inputs may hold anything.
    arrays["x"] = np.where(keep[:, :, None], arrays["x"], np.float32(np.nan))
    options = options_of(cell, data.draw)
    check(cell, arrays, grads, masked_output=masked_output, go_backwards=go_backwards, **options)


def test_one_row_and_one_timestep():
    for cell in CELLS:
        check(cell, *problem(cell, (1, 1, 1, 1)))


@pytest.mark.parametrize("cell", CELLS)
def test_every_instruction_set(cell):
    for shape in [(13, 9, 17, 33), (64, 5, 16, 256), (70, 5, 8, 64), (1, 30, 130, 100)]:
        several = variants_of(cell), variants_of(cell, "norm")
        for drop, variants in ((False, ()), (True, ()), *((True, some) for some in several)):
            keep = mask_of("holes", *shape[:2])
            case = problem(cell, shape, mask=keep, drop=drop, variants=variants)
            want = wanted(cell, *case)
            for isa in HERE:
                library.set_isa(isa)
                assert library.isa == isa
                check(cell, *case, want=want)


@pytest.mark.parametrize("cell", CELLS)
def test_two_thousand_timesteps(cell):
    keep = mask_of("right", 3, 2000)
    keep[0] = True
    check(cell, *problem(cell, (3, 2000, 4, 20), mask=keep))


@pytest.mark.parametrize("cell", CELLS)
def test_large_sums_saturate_the_activations(cell):
    arrays, grads = problem(cell, (5, 6, 3, 18), scale=60)
    arrays["x"][0] *= 1e6
    outputs, gradients = compute(cell, arrays, grads)
    want, _ = reference.run(
        cell, in_double(arrays), in_double(grads), masked_output="zero", go_backwards=False
    )
    np.testing.assert_allclose(outputs["y"], want["y"], rtol=0, atol=5e-4)
    assert all(np.isfinite(value).all() for value in gradients.values())


@pytest.mark.parametrize("isa", HERE)
@pytest.mark.parametrize("cell", CELLS)
def test_nan_spreads_from_where_it_is_read(cell, isa):
    library.set_isa(isa)
    arrays, grads = problem(cell, (7, 4, 3, 18))
    arrays["x"][2, 1, 0] = np.float32(np.nan)
    # A NaN with unusual bits.
    arrays["x"][3, 1, 0] = np.array([0x7FC00001], np.uint32).view(np.float32)[0]
    outputs, _ = compute(cell, arrays, grads)
    assert np.isnan(outputs["y"][2:4, 1:]).all()
    outputs["y"][2:4, 1:] = 0
    assert np.isfinite(outputs["y"]).all()


def test_vanishing_gradients_become_zeros_without_changing_the_mode_of_the_thread():
    arrays, grads = problem("lstm", (4, 200, 3, 18))
    run = native.forward(layer_of("lstm", arrays), arrays["x"], training=True)
    dx = native.backward(run, dlast=grads["dlast"] * np.float32(1e-35))["x"]
    tiny = np.finfo(np.float32).tiny
    assert (dx == 0).any()
    assert not ((dx != 0) & (np.abs(dx) < tiny)).any()
    assert np.float32(tiny) * np.float32(0.5) > 0


def test_functions_have_addresses():
    kind = ctypes.CFUNCTYPE(ctypes.c_int64)
    assert kind(library.address("sqk_abi_version"))() == native.ABI_VERSION
    assert library.path.name.startswith("_core")


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("shape", [(7, 9, 5, 40), (40, 12, 8, 64), (130, 6, 3, 20)])
def test_threads_change_no_bit_of_the_outputs(cell, shape):
    variants = variants_of(cell, "norm") if shape[0] == 40 else ()
    arrays, grads = problem(cell, shape, mask=mask_of("holes", *shape[:2]), variants=variants)
    results = {}
    for threads in (1, 2, 5):
        library.set_threads(threads)
        results[threads] = compute(cell, arrays, grads, threads=threads)
        again = compute(cell, arrays, grads, threads=threads)
        # With the same number of threads nothing changes, not even in the gradients.
        for first, second in zip(results[threads], again, strict=True):
            for name in first:
                np.testing.assert_array_equal(first[name], second[name])
    for threads in (2, 5):
        for name, value in results[1][0].items():
            np.testing.assert_array_equal(results[threads][0][name], value)


@pytest.mark.parametrize("cell", CELLS)
def test_a_row_has_the_same_bits_by_itself_and_among_others(cell):
    arrays, _ = problem(cell, (19, 8, 5, 40))
    layer = layer_of(cell, arrays)
    together = native.forward(layer, arrays["x"], h0=arrays["h0"]).y
    for row in range(19):
        rows = slice(row, row + 1)
        single = native.forward(layer, arrays["x"][rows], h0=arrays["h0"][rows]).y
        np.testing.assert_array_equal(single, together[rows])


@pytest.mark.parametrize("cell", CELLS)
def test_a_sequence_in_two_parts(cell):
    arrays, _ = problem(cell, (5, 10, 4, 21))
    layer, x = layer_of(cell, arrays), arrays["x"]
    whole = native.forward(layer, x)
    first = native.forward(layer, x[:, :4])
    second = native.forward(layer, x[:, 4:], h0=first.h_n, c0=first.c_n)
    np.testing.assert_array_equal(np.concatenate([first.y, second.y], 1), whole.y)
    np.testing.assert_array_equal(second.h_n, whole.h_n)


@pytest.mark.parametrize("cell", CELLS)
def test_a_reset_begins_a_sequence(cell):
    arrays, _ = problem(cell, (5, 10, 4, 21))
    layer, x = layer_of(cell, arrays), arrays["x"]
    reset = np.zeros((10, 5), bool).T
    reset[:, 4] = True
    whole = native.forward(layer, x, h0=arrays["h0"], reset=reset)
    first = native.forward(layer, x[:, :4], h0=arrays["h0"])
    second = native.forward(layer, x[:, 4:])
    np.testing.assert_array_equal(np.concatenate([first.y, second.y], 1), whole.y)
    np.testing.assert_array_equal(second.h_n, whole.h_n)


@pytest.mark.parametrize("cell", CELLS)
def test_zoneout_of_nothing_and_of_everything(cell):
    arrays, _ = problem(cell, (5, 7, 4, 21))
    layer, x, h0 = layer_of(cell, arrays), arrays["x"], arrays["h0"]
    sequence = (5, 7, 21)

    def run(part):
        names = ("zoneout_h_mask", "zoneout_c_mask")[: 2 if cell == "lstm" else 1]
        masks = dict.fromkeys(names, np.full(sequence, part))
        return native.forward(layer, x, h0=h0, **masks).y

    np.testing.assert_array_equal(run(False), native.forward(layer, x, h0=h0).y)
    np.testing.assert_array_equal(run(True), np.broadcast_to(h0[:, None], sequence))


def test_views_are_read_in_place():
    arrays, grads = problem("lstm", (6, 7, 5, 20))
    layer, x = layer_of("lstm", arrays), arrays["x"]
    want = native.forward(layer, x, training=True)
    gradients = native.backward(want, dy=grads["dy"])
    time_major = np.ascontiguousarray(x.transpose(1, 0, 2)).transpose(1, 0, 2)
    wide = np.full((6, 7, 9), np.float32(np.nan))
    wide[:, :, 2:7] = x
    for view in (time_major, wide[:, :, 2:7], np.asfortranarray(x)):
        run = native.forward(layer, view, training=True)
        dy = np.ascontiguousarray(grads["dy"].transpose(1, 0, 2)).transpose(1, 0, 2)
        np.testing.assert_array_equal(run.y, want.y)
        for name, value in native.backward(run, dy=dy).items():
            np.testing.assert_array_equal(value, gradients[name])
    # A view of one row as many.
    many = native.forward(layer, np.broadcast_to(x[:1], x.shape)).y
    np.testing.assert_array_equal(many, np.broadcast_to(want.y[:1], many.shape))


@pytest.mark.parametrize("cell", CELLS)
def test_nothing_to_do(cell):
    arrays, _ = problem(cell, (3, 2, 4, 5))
    layer = layer_of(cell, arrays)
    for shape in [(0, 2, 4), (3, 0, 4), (0, 0, 4)]:
        h0 = np.ones((shape[0], 5), np.float32)
        run = native.forward(layer, np.zeros(shape, np.float32), h0=h0, training=True)
        np.testing.assert_array_equal(run.h_n, h0)
        np.testing.assert_array_equal(run.last, 0)
        gradients = native.backward(run, dh_n=h0)
        np.testing.assert_array_equal(gradients["h0"], h0)
        assert not gradients["kernel"].any()
        assert not gradients["bias"].any()


def test_no_bias_is_a_bias_of_zeros():
    for cell in CELLS:
        arrays, _ = problem(cell, (3, 4, 4, 18))
        weights = (arrays["kernel"], arrays["recurrent_kernel"])
        zeros = np.zeros_like(arrays["bias"])
        without = native.forward(native.Layer(cell, *weights, None), arrays["x"]).y
        with_zeros = native.forward(native.Layer(cell, *weights, zeros), arrays["x"]).y
        np.testing.assert_array_equal(without, with_zeros)


def test_eight_threads_at_once():
    cases = [problem(cell, (17, 20, 6, 40), seed=seed) for seed, cell in enumerate(2 * CELLS)]
    kinds = 2 * CELLS
    library.set_threads(2)
    want = [compute(cell, *case, threads=2) for cell, case in zip(kinds, cases, strict=True)]

    def work(at):
        for _ in range(20):
            outputs, gradients = compute(kinds[at], *cases[at], threads=2)
            for name, value in {**outputs, **gradients}.items():
                np.testing.assert_array_equal(value, {**want[at][0], **want[at][1]}[name])
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


def _in_child(arrays, queue):
    layer = layer_of("lstm", arrays)
    queue.put(native.forward(layer, arrays["x"], threads=2).y)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_starts_its_own_threads():
    library.set_threads(2)
    arrays, _ = problem("lstm", (32, 40, 8, 64))
    want = native.forward(layer_of("lstm", arrays), arrays["x"], threads=2).y
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_in_child, args=(arrays, queue))
    child.start()
    np.testing.assert_array_equal(queue.get(timeout=60), want)
    child.join(60)
    assert child.exitcode == 0


def test_threads_and_instruction_set_by_the_environment():
    program = "from seqkeras.native import load; lib = load(); print(lib.threads, lib.isa)"

    def says(**variables):
        root = str(Path(native.__file__).parents[2])
        environment = {**os.environ, "PYTHONPATH": root, **variables}
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.split()

    lowest = HERE[-1]
    assert says(SEQKERAS_THREADS="3", SEQKERAS_ISA=lowest) == ["3", lowest]
    # Invalid values are ignored.
    assert says(SEQKERAS_THREADS="none", SEQKERAS_ISA="z80")[1] == HERE[0]


# ---- products in bfloat16


bfloat16 = pytest.mark.skipif(
    library is None or not _has_bfloat16(), reason="this processor has no bfloat16"
)
#: Cells with products in bfloat16; a GRU with reset_after=False has none.
HALVED = ("lstm", "gru_reset_after", "simple_rnn")


@bfloat16
@examples(20)
@given(
    cell=st.sampled_from(HALVED),
    shape=st.tuples(
        st.integers(1, 20),
        st.integers(1, 12),
        one_of(1, 2, 3, 8, 33),
        one_of(1, 2, 5, 15, 16, 17, 33, 64, 80),
    ),
    mask=st.sampled_from(MASKS),
    drop=st.booleans(),
    variants=st.sets(st.sampled_from(VARIANTS[:4])),
    seed=st.integers(0, 999),
    go_backwards=st.booleans(),
    data=st.data(),
)
def test_bfloat16_is_near_the_reference(
    cell, shape, mask, drop, variants, seed, go_backwards, data
):
    keep = mask_of(mask, *shape[:2], seed)
    variants &= set(variants_of(cell))
    case = problem(cell, shape, seed=seed, mask=keep, drop=drop, variants=variants)
    case[0]["x"] = np.where(keep[:, :, None], case[0]["x"], np.float32(np.nan))
    options = options_of(cell, data.draw)
    if cell == "simple_rnn":
        options["activation"] = "tanh"  # the slope of relu jumps at 0
    options |= {"precision": "bfloat16", "go_backwards": go_backwards}
    check(cell, *case, within=(2e-2, 2e-2), **options)


@bfloat16
@pytest.mark.parametrize("drop", [False, True])
def test_bfloat16_with_normalization(drop):
    for shape in [(7, 5, 3, 33), (32, 20, 8, 64), (1, 9, 1, 16)]:
        arrays, grads = problem("lstm", shape, drop=drop, variants=("norm", "zoneout", "reset"))
        want = reference.run(
            "lstm",
            in_double(arrays),
            in_double(grads),
            masked_output="hold_output",
            go_backwards=False,
        )
        have = compute("lstm", arrays, grads, precision="bfloat16")
        for some, others in zip(have, want, strict=True):
            for name, value in some.items():
                # Division by small deviations makes a few values wrong by a lot.
                error = np.linalg.norm(value - others[name])
                assert error <= 5e-2 * np.linalg.norm(others[name]), (name, error)


@bfloat16
@pytest.mark.parametrize("cell", HALVED)
def test_bfloat16_is_exact_if_nothing_is_rounded(cell):
    for shape in [(7, 1, 5, 21), (40, 1, 8, 64), (1, 1, 1, 1)]:
        arrays, _ = problem(cell, shape)
        for name in ("x", "kernel", "recurrent_kernel", "h0"):
            arrays[name] = (arrays[name].view(np.uint32) & 0xFFFF0000).view(np.float32)
        layer = layer_of(cell, arrays)
        halves = native.forward(layer, arrays["x"], h0=arrays["h0"], precision="bfloat16")
        want = native.forward(layer, arrays["x"], h0=arrays["h0"])
        np.testing.assert_allclose(halves.y, want.y, rtol=0, atol=1e-6)


@bfloat16
@pytest.mark.parametrize("cell", HALVED)
def test_threads_change_no_bit_of_the_outputs_in_bfloat16(cell):
    arrays, grads = problem(cell, (40, 9, 5, 40), mask=mask_of("holes", 40, 9))
    library.set_threads(3)
    single, several, again = (
        compute(cell, arrays, grads, threads=threads, precision="bfloat16") for threads in (1, 3, 3)
    )
    for name in single[0]:
        np.testing.assert_array_equal(single[0][name], several[0][name])
    for name in several[1]:
        np.testing.assert_array_equal(several[1][name], again[1][name])


def test_bfloat16_is_rejected_where_it_is_not_supported():
    arrays, _ = problem("gru", (3, 4, 2, 5))
    with pytest.raises(NotImplementedError, match="bfloat16 for a GRU with reset_after=False"):
        native.forward(layer_of("gru", arrays), arrays["x"], precision="bfloat16")
    library.set_isa(HERE[-1])
    arrays, _ = problem("lstm", (3, 4, 2, 5))
    if HERE[-1] != "avx512":
        with pytest.raises(NotImplementedError, match="a processor with AVX512-BF16"):
            native.forward(layer_of("lstm", arrays), arrays["x"], precision="bfloat16")


# ---- the reference


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("masked_output", ["hold_output", "hold_state", "zero"])
@pytest.mark.parametrize("variants", [(), ("reset", "zoneout"), ("rates", "peephole"), ("norm",)])
def test_gradients_of_the_reference_by_finite_differences(cell, masked_output, variants):
    keep = mask_of("holes", 3, 4, seed=5)
    keep[0] = False
    arrays, grads = problem(cell, (3, 4, 2, 3), mask=keep, drop=True, variants=variants)
    arrays, grads = in_double(arrays), in_double(grads)
    options = {"masked_output": masked_output, "go_backwards": True}
    within = 1e-6 if "norm" in variants else 1e-8  # a small variance makes the slopes steep

    def loss():
        outputs, _ = reference.run(cell, arrays, grads, **options)
        return sum((outputs[name[1:]] * grad).sum() for name, grad in grads.items())

    _, gradients = reference.run(cell, arrays, grads, **options)
    random = np.random.default_rng(6)
    for name, gradient in gradients.items():
        if name == "c0" and cell != "lstm":
            continue
        before = arrays[name]
        # A wrong element changes the slope along almost every direction, so three are enough.
        for _ in range(3):
            way = random.standard_normal(before.shape)
            way /= np.linalg.norm(way)
            arrays[name] = before + 1e-5 * way
            above = loss()
            arrays[name] = before - 1e-5 * way
            slope = (above - loss()) / 2e-5
            assert abs(slope - (way * gradient).sum()) < within, name
        arrays[name] = before


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("drop", [False, True])
@pytest.mark.parametrize("zero", [False, True])
def test_the_reference_is_keras(cell, drop, zero):
    keras = pytest.importorskip("keras")
    kind = {"lstm": "LSTM", "simple_rnn": "SimpleRNN"}.get(cell, "GRU")
    more = {"reset_after": cell == "gru_reset_after"} if kind == "GRU" else {}
    keep = mask_of("holes", 4, 6, seed=2)
    keep[:, 0] = True
    arrays, grads = problem(cell, (4, 6, 3, 5), mask=keep, drop=drop)
    layer = getattr(keras.layers, kind)(
        5,
        return_sequences=True,
        return_state=True,
        zero_output_for_mask=zero,
        go_backwards=True,
        recurrent_dropout=0.25 if drop else 0.0,
        dtype="float64",
        **more,
    )
    layer.build((4, 6, 3))
    layer.set_weights([arrays[name] for name in ("kernel", "recurrent_kernel", "bias")])
    factors = [keras.ops.convert_to_tensor(f, "float64") for f in arrays["recurrent_dropout"]]
    factors = factors[0] if kind == "SimpleRNN" else factors
    layer.cell.get_recurrent_dropout_mask = lambda _: factors
    states = [arrays["h0"], arrays["c0"]][: 2 if kind == "LSTM" else 1]
    outputs = layer(
        arrays["x"].astype("float64"),
        mask=keras.ops.convert_to_tensor(keep),
        initial_state=[keras.ops.convert_to_tensor(state, "float64") for state in states],
        training=drop,
    )
    masked_output = "zero" if zero else "hold_output"
    want, _ = reference.run(
        cell, in_double(arrays), in_double(grads), masked_output=masked_output, go_backwards=True
    )
    for have, name in zip(outputs, ("y", "h_n", "c_n"), strict=False):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(have), want[name], atol=1e-12)


# ---- invalid arguments


def test_arrays_that_do_not_fit():
    arrays, _ = problem("lstm", (3, 4, 2, 5))
    layer, x = layer_of("lstm", arrays), arrays["x"]
    for wrong, message in [
        ({"x": x.astype(np.float64)}, "x must be float32"),
        ({"x": x[0]}, "x must be an array of shape"),
        ({"x": x[:, :, :1]}, r"x must be an array of shape \(None, None, 2\)"),
        ({"x": [[[1.0]]]}, "x must be a NumPy array"),
        ({"mask": arrays["mask"][:, 1:]}, r"mask must be an array of shape \(3, 4\)"),
        ({"mask": arrays["mask"].astype(np.float32)}, "mask must be a bool or uint8 array"),
        ({"h0": arrays["h0"][1:]}, "h0 must be an array of shape"),
        (
            {"recurrent_dropout": arrays["recurrent_dropout"][1:]},
            "recurrent_dropout must be an array of",
        ),
        ({"masked_output": "hold"}, "masked_output must be one of"),
        ({"threads": -1}, "threads must be an integer >= 0"),
    ]:
        with pytest.raises(ArgumentError, match=message):
            native.forward(layer, **{"x": x, **wrong})
    with pytest.raises(ArgumentError, match=r"^kernel must be an array of shape"):
        native.Layer("gru", arrays["kernel"], arrays["recurrent_kernel"])
    with pytest.raises(ArgumentError, match="cell must be one of"):
        native.Layer("ltsm", arrays["kernel"], arrays["recurrent_kernel"])
    with pytest.raises(ArgumentError, match="run must be the result of forward"):
        native.backward(native.forward(layer, x))
    run = native.forward(layer, x, training=True)
    with pytest.raises(ArgumentError, match="dy must be an array of shape"):
        native.backward(run, dy=x)


def test_unsupported_activations():
    arrays, _ = problem("lstm", (3, 4, 2, 5))
    for wrong in ({"activation": "relu"}, {"recurrent_activation": "tanh"}):
        layer = layer_of("lstm", arrays, **wrong)
        with pytest.raises(NotImplementedError, match="activation"):
            native.forward(layer, arrays["x"])
        with pytest.raises(NotImplementedError, match="activation"):
            native.Step(layer)


def test_invalid_variants():
    arrays, _ = problem("lstm", (3, 4, 2, 5))
    gru, _ = problem("gru", (3, 4, 2, 5))
    keep = np.zeros((3, 4, 5), bool)
    rows = np.zeros((3, 5), np.float32)
    for cell, wrong, message in [
        ("lstm", {"reset": keep}, r"reset must be an array of shape \(3, 4\)"),
        ("lstm", {"zoneout_h_mask": keep[:, :, 1:]}, "zoneout_h_mask must be an array of shape"),
        ("lstm", {"zoneout_h_mask": keep}, "must be given together"),
        ("lstm", {"zoneout_h": 1.5}, "from 0 to 1"),
        ("lstm", {"zoneout_c": float("nan")}, "from 0 to 1"),
        ("gru", {"zoneout_c": 0.5}, "only an LSTM"),
        ("gru", {"zoneout_c_mask": keep}, "only an LSTM"),
        ("gru", {"peephole": rows}, "only an LSTM"),
        ("gru", {"norm": np.zeros((10, 5), np.float32)}, "only an LSTM"),
        ("lstm", {"peephole": rows[1:]}, r"peephole must be an array of shape \(3, 5\)"),
        ("lstm", {"norm": rows}, r"norm must be an array of shape \(10, 5\)"),
        (
            "lstm",
            {"norm": np.zeros((10, 5), np.float32), "norm_epsilon": -1.0},
            "norm_epsilon must not be negative",
        ),
        ("lstm", {"precision": "float16"}, "precision must be one of"),
    ]:
        case = {"lstm": arrays, "gru": gru}[cell]
        with pytest.raises(ArgumentError, match=message):
            native.forward(layer_of(cell, case), case["x"], **wrong)
    both = {"peephole": rows, "norm": np.zeros((10, 5), np.float32)}
    with pytest.raises(NotImplementedError, match="a peephole or normalization, not both"):
        native.forward(layer_of("lstm", arrays), arrays["x"], **both)


def test_calls_are_counted():
    arrays, grads = problem("lstm", (3, 4, 2, 5))
    layer = layer_of("lstm", arrays)
    before = library.calls()
    run = native.forward(layer, arrays["x"], training=True)
    native.forward(layer, arrays["x"])
    native.backward(run, dy=grads["dy"])
    assert library.calls() == (before[0] + 2, before[1] + 1)
    with pytest.raises(ArgumentError):
        native.forward(layer, arrays["x"], zoneout_h=2.0)
    assert library.calls() == (before[0] + 2, before[1] + 1)


def test_the_c_interface_checks_too():
    arrays, _ = problem("lstm", (3, 4, 2, 5))
    run = native.forward(layer_of("lstm", arrays), arrays["x"], training=True)
    functions = library.functions
    ref = ctypes.byref
    none = native.GradientsStruct()
    assert functions.sqk_backward(ref(run.struct), ref(run.outputs), ref(none)) == 0

    def rejects(struct, name, value, *, message):
        before = getattr(struct, name)
        setattr(struct, name, value)
        calls = [functions.sqk_forward(ref(run.struct), ref(run.outputs))]
        calls.append(functions.sqk_backward(ref(run.struct), ref(run.outputs), ref(none)))
        setattr(struct, name, before)
        assert all(calls), name
        assert message in functions.sqk_last_error().decode(), name

    for name in ("features", "units"):
        for value in (0, -1, 2**20, 2**62):
            rejects(run.struct, name, value, message=name)
    for name in ("batch", "timesteps", "threads"):
        for value in (-1, 2**62):
            rejects(run.struct, name, value, message=name)
    rejects(run.struct, "cell", 9, message="cell")
    rejects(run.struct, "masked_output", 3, message="masked_output")
    rejects(run.struct, "kernel", None, message="kernel")
    rejects(run.struct, "x", None, message="x must be given")
    rejects(run.struct, "struct_size", 10**6, message="struct_size")
    rejects(run.struct, "struct_size", 0, message="struct_size")
    rejects(run.struct, "timesteps", 2**30, message="workspace must have")
    rejects(run.outputs, "workspace_floats", 5, message="workspace must have")
    rejects(run.outputs, "y", None, message="y must be given")
    assert functions.sqk_forward(None, ref(run.outputs)) == 1
    assert functions.sqk_backward(ref(run.struct), ref(run.outputs), None) == 1
    kernel_only = native.GradientsStruct(dkernel=arrays["kernel"].ctypes.data)
    assert functions.sqk_backward(ref(run.struct), ref(run.outputs), ref(kernel_only)) == 1
    assert functions.sqk_workspace_floats(None) == -1
    assert functions.sqk_set_threads(0) == 1
    assert functions.sqk_set_isa(b"z80") == 2


def test_members_beyond_the_end_of_a_shorter_struct_are_not_read():
    arrays, _ = problem("simple_rnn", (3, 4, 2, 5))
    run = native.forward(layer_of("simple_rnn", arrays), arrays["x"])
    run.struct.recurrent_dropout = 1  # an invalid pointer, beyond the end
    run.struct.struct_size = type(run.struct).recurrent_dropout.offset
    assert library.functions.sqk_forward(ctypes.byref(run.struct), ctypes.byref(run.outputs)) == 0


# ---- a missing or unusable library


@pytest.fixture
def look_again():
    _library._look.cache_clear()
    yield
    _library._look.cache_clear()


@pytest.mark.usefixtures("look_again")
def test_a_library_that_is_not_built(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert native.load() is None
    assert "not built" in native.why_not()
    arrays, _ = problem("lstm", (3, 4, 2, 5))
    with pytest.raises(
        NotImplementedError, match="Native kernels are not available: the native library is not"
    ):
        native.forward(layer_of("lstm", arrays), arrays["x"])


@pytest.mark.usefixtures("look_again")
def test_a_library_with_another_interface(monkeypatch):
    monkeypatch.setattr(_library, "ABI_VERSION", 99)
    assert native.load() is None
    assert "needs 99" in native.why_not()


@pytest.mark.usefixtures("look_again")
def test_a_file_that_is_not_a_library(monkeypatch, tmp_path):
    (tmp_path / "core.so").write_bytes(b"nothing")
    spec = importlib.util.spec_from_file_location("core", tmp_path / "core.so")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    assert native.load() is None
    assert "does not load on this machine" in native.why_not()


def test_the_library_knows_whether_bfloat16_is_supported():
    layer = native.Layer("lstm", np.ones((2, 12), np.float32), np.ones((3, 12), np.float32))
    x = np.ones((1, 4, 2), np.float32)
    if library.bfloat16:
        assert native.forward(layer, x, precision="bfloat16").y.any()
    else:
        with pytest.raises(NotImplementedError, match="bfloat16"):
            native.forward(layer, x, precision="bfloat16")

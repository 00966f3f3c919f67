"""The native library compared with PyTorch and with the time of its matrix products.

python benchmarks/native.py [--cells lstm gru] [--rounds 30] [--threads 2] [--variants] [--cpu]

For each shape, it measures forward (inference) and a training step (forward, and gradients to
inputs and all weights) of the library itself, without a framework around it, taking turns with
`torch.nn.LSTM` or `torch.nn.GRU`. The floor is the time of the same multiplications at the rate of
torch's product of two 1024 x 1024 matrices in the same run; the library can be faster if it uses
instructions that this product does not. Numbers are medians of all rounds; `best` is the fastest
round, which a busy machine disturbs least. --variants compares the LSTM with bfloat16, zoneout,
peephole, normalization, resets and recurrent dropout with the plain one. --cpu measures processor
time in place of wall time, in one thread: for machines so busy that threads wait for one another.
"""

import argparse
import ctypes
import functools
import statistics
import sys
import time

import numpy as np
from _turns import SHAPES, SIDE, in_turns, torch_functions

from seqkeras import native

STEPS = [(64, 8, 1), (64, 8, 8), (256, 8, 1), (256, 8, 8)]
WEIGHTS = ("kernel", "recurrent_kernel", "bias", "peephole", "norm")
COUNT = 100  # steps in one measurement

CLOCK = [time.perf_counter]


def turns(functions, rounds):
    return in_turns(functions, rounds, clock=CLOCK[0])


def layer_of(cell, features, units):
    kind = "gru_reset_after" if cell == "gru" else cell
    width = (4 if cell == "lstm" else 3) * units
    shapes = [(features, width), (units, width), (2, width) if cell == "gru" else (width,)]
    rng = np.random.default_rng(0)
    scales = (features**-0.5, units**-0.5, 0.3)
    weights = (rng.normal(0, s, shape) for s, shape in zip(scales, shapes, strict=True))
    return native.Layer(kind, *(weight.astype(np.float32) for weight in weights)), width


def native_functions(layer, x, dy, **variant):
    """Return functions for forward and for a training step, which reuse their memory."""
    functions = native.load().functions
    plain = native.forward(layer, x, **variant)
    run = native.forward(layer, x, training=True, **variant)
    arrays = {name: np.zeros_like(array) for name, array in native.backward(run, dy=dy).items()}
    strides = {"batch_stride": x[0].size, "time_stride": x.shape[2]}
    gradients = native.GradientsStruct(
        dy=dy.ctypes.data,
        dy_batch_stride=dy[0].size,
        dy_time_stride=dy.shape[2],
        dx=arrays["x"].ctypes.data,
        **{f"dx_{name}": stride for name, stride in strides.items()},
        **{f"d{name}": arrays[name].ctypes.data for name in arrays if name in WEIGHTS},
    )
    ref = ctypes.byref

    def forward(of, _keep=(layer, x, dy, arrays)):
        functions.sqk_forward(ref(of.struct), ref(of.outputs))

    def train():
        forward(run)
        functions.sqk_backward(ref(run.struct), ref(run.outputs), ref(gradients))

    return functools.partial(forward, plain), train


def compare(torch, cell, shape, rounds):
    batch, timesteps, features, units = shape
    layer, width = layer_of(cell, features, units)
    rng = np.random.default_rng(1)
    x = rng.normal(size=shape[:3]).astype(np.float32)
    dy = rng.normal(size=(batch, timesteps, units)).astype(np.float32)
    square = torch.randn(SIDE, SIDE)
    functions = {"product": lambda: square @ square}
    functions["forward"], functions["train"] = native_functions(layer, x, dy)
    functions["torch forward"], functions["torch train"] = torch_functions(torch, cell, x, dy)
    times = turns(functions, rounds)
    work = batch * timesteps * width * (features + units) / SIDE**3
    ratios = {}
    for what, products in (("forward", 1), ("train", 3)):
        row = f"{cell:5}{shape!s:20}{what:8}"
        for pick in (statistics.median, min):
            ours, theirs, floor = (pick(times[name]) for name in (what, f"torch {what}", "product"))
            ratios.setdefault((what, pick.__name__), []).append(theirs / ours)
            floor *= work * products
            row += f"{ours:9.3f}{theirs:9.3f}{theirs / ours:8.2f}{floor:9.3f}{floor / ours:8.0%}   "
        print(row, flush=True)
    return ratios


def variants(shape):
    """Return the arguments of `native.forward` for each variant of an LSTM."""
    batch, timesteps, _, units = shape
    rng = np.random.default_rng(2)
    keep = [rng.random((batch, timesteps, units)) < 0.1 for _ in range(2)]
    dropped = (rng.random((4, batch, units)) < 0.8).astype(np.float32) / np.float32(0.8)
    return {
        "plain": {},
        "bfloat16": {"precision": "bfloat16"},
        "dropout": {"recurrent_dropout": dropped},
        "reset": {"reset": rng.random((batch, timesteps)) < 0.02},
        "zoneout": {"zoneout_h_mask": keep[0], "zoneout_c_mask": keep[1]},
        "peephole": {"peephole": np.ones((3, units), np.float32)},
        "norm": {"norm": np.ones((10, units), np.float32)},
    }


def variant_times(rounds):
    """Print the milliseconds of the best round, forward and training."""
    for shape in SHAPES:
        layer, _ = layer_of("lstm", *shape[2:])
        rng = np.random.default_rng(1)
        x = rng.normal(size=shape[:3]).astype(np.float32)
        dy = rng.normal(size=(*shape[:2], shape[3])).astype(np.float32)
        functions = {}
        for name, variant in variants(shape).items():
            try:
                forward, train = native_functions(layer, x, dy, **variant)
            except NotImplementedError as error:
                print(f"{name}: {error}")
                continue
            functions |= {("forward", name): forward, ("train", name): train}
        times = {key: min(values) for key, values in turns(functions, rounds).items()}
        for what in ("forward", "train"):
            row = (f"{n} {t:.3f}" for (kind, n), t in times.items() if kind == what)
            print(f"lstm {shape!s:20}{what:8}" + "  ".join(row), flush=True)


def step_times(rounds):
    print("\nsteps, microseconds for all rows     seqkeras   best   NumPy   best")
    for units, features, rows in STEPS:
        layer, _ = layer_of("lstm", features, units)
        step = native.Step(layer).run
        x = np.ones((rows, features), np.float32)
        h = np.zeros((rows, units), np.float32)
        c = np.zeros((rows, units), np.float32)

        def native_steps(step=step, x=x, h=h, c=c):
            for _ in range(COUNT):
                step(x, h, c, h, c)

        def numpy_steps(layer=layer, x=x, h=h, c=c):
            for _ in range(COUNT):
                numpy_step(layer, x, h, c)

        times = turns({"native": native_steps, "numpy": numpy_steps}, rounds)
        row = f"lstm units {units:4} features {features:2} rows {rows:2}   "
        for name in times:
            middle, best = (1000 / COUNT * pick(times[name]) for pick in (statistics.median, min))
            row += f"{middle:9.2f}{best:8.2f}"
        print(row, flush=True)


def numpy_step(layer, x, h, c):
    """Compute a step in NumPy, in the simplest way."""
    i, f, g, o = np.split(x @ layer.kernel + h @ layer.recurrent_kernel + layer.bias, 4, axis=1)
    sigmoid = (0.5 * np.tanh(0.5 * gate) + 0.5 for gate in (i, f, o))
    i, f, o = sigmoid
    c = f * c + i * np.tanh(g)
    return o * np.tanh(c), c


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", nargs="+", default=["lstm", "gru"], choices=["lstm", "gru"])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--isa", help="a lower instruction set than the machine's")
    parser.add_argument("--variants", action="store_true", help="only the variants, without torch")
    parser.add_argument("--cpu", action="store_true", help="processor time, in one thread")
    arguments = parser.parse_args()
    if arguments.cpu:
        CLOCK[0] = time.process_time
        arguments.threads = 1
    library = native.load()
    if library is None:
        sys.exit(native.why_not())
    library.set_threads(arguments.threads)
    if arguments.isa:
        library.set_isa(arguments.isa)
    if arguments.variants:
        variant_times(arguments.rounds)
        return
    import torch

    torch.set_num_threads(arguments.threads)
    print(f"{library.isa}, {library.threads} threads, torch {torch.__version__}; milliseconds")
    columns = "seqkeras   torch   ratio    floor   share   "
    print(f"{'':33}{'median':46}best\n{'':34}{columns}{columns}")
    for cell in arguments.cells:
        ratios = {}
        for shape in SHAPES:
            for name, values in compare(torch, cell, shape, arguments.rounds).items():
                ratios.setdefault(name, []).extend(values)
        for (what, pick), values in ratios.items():
            mean = statistics.geometric_mean(values)
            text = f"{mean:.2f} x torch on average, at least {min(values):.2f} x"
            print(f"{cell}, {what}, {pick}: {text}")
    step_times(arguments.rounds)


if __name__ == "__main__":
    main()

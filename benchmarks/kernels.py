"""Recurrent layers of seqkeras compared with those of Keras and PyTorch, on a CPU.

KERAS_BACKEND=tensorflow python benchmarks/kernels.py [--cells lstm gru] [--rounds 15] [--threads 2]
    [--variants] [--bidirectional] [--fit] [--cpu]

For each shape (batch, timesteps, features, units), it measures forward (inference) and a training
step (forward, and gradients to inputs and all weights), compiled as in Keras' fit: tf.function,
jax.jit, eager PyTorch. These take turns in one process: our layer, Keras' layer, on TensorFlow also
Keras' layer with jit_compile=True, and torch.nn.LSTM or GRU. Ratios are theirs / ours: medians of
the rounds, and in parentheses the quartiles of the ratios of single rounds. `floor` is the time of
the same multiplications at the rate of torch's product of two 1024 x 1024 matrices in the same run,
as a share of our time. An assertion checks which kernels ran. `call` is the time of a layer that
does nothing: the overhead of the framework.

--variants trains features that cuDNN lacks: recurrent dropout, left-padded masks, hard_sigmoid,
zoneout, layer normalization, peepholes (compared with our cell in Keras' loop if Keras has none).
--bidirectional runs both directions: ours in one call, Keras' Bidirectional over our layers, which
is two calls, over Keras' own layers, and torch.nn's.
--fit trains a whole forecaster (lookback 48, 64 units, batch 32), and the same with Keras' layers.
--cpu measures the processor time of all threads in place of wall time: for machines so busy that
threads wait for one another. It does not show how well the threads share the work.
"""

import argparse
import functools
import os
import statistics
import time

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
parser.add_argument("--cells", nargs="+", default=["lstm", "gru"], choices=["lstm", "gru"])
parser.add_argument("--rounds", type=int, default=15)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--variants", action="store_true")
parser.add_argument("--bidirectional", action="store_true")
parser.add_argument("--fit", action="store_true")
parser.add_argument("--cpu", action="store_true")
parser.add_argument("--dtype", default="float32", choices=["float32", "mixed_bfloat16"])
OPTIONS = parser.parse_args()
os.environ.setdefault("SEQKERAS_THREADS", str(OPTIONS.threads))
os.environ.setdefault("XLA_FLAGS", f"--xla_cpu_multi_thread_eigen={OPTIONS.threads > 1}".lower())

import keras  # noqa: E402  # only after the number of threads is set
import numpy as np  # noqa: E402
import torch  # noqa: E402
from _turns import SHAPES, SIDE, in_turns, ratio, torch_functions  # noqa: E402

from seqkeras import kernels, layers, models, to_keras  # noqa: E402

BACKEND = keras.backend.backend()
CALLS = 5
CLASSES = {"lstm": (layers.LSTM, keras.layers.LSTM), "gru": (layers.GRU, keras.layers.GRU)}
RNG = np.random.default_rng(0)
CLOCK = time.process_time if OPTIONS.cpu else time.perf_counter


def turns(functions, rounds):
    return in_turns(functions, rounds, calls=CALLS, clock=CLOCK)


def tensorflow_functions(layer, x, dy, mask, *, jit=False):
    import tensorflow as tf

    x = tf.constant(x)
    dy = tf.constant(dy)
    mask = None if mask is None else tf.constant(mask)

    @tf.function(jit_compile=jit)
    def forward():
        return layer(x, mask=mask, training=False)

    @tf.function(jit_compile=jit)
    def train():
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(layer(x, mask=mask, training=True) * dy)
        return tape.gradient(loss, [x, *(weight.value for weight in layer.trainable_variables)])

    return forward, train


def jax_functions(layer, x, dy, mask):
    import jax

    x = jax.numpy.asarray(x)
    dy = jax.numpy.asarray(dy)
    trained = [variable.value for variable in layer.trainable_variables]
    others = [variable.value for variable in layer.non_trainable_variables]

    @jax.jit
    def infer(x, trained):
        return layer.stateless_call(trained, others, x, mask=mask, training=False)[0]

    @jax.jit
    @jax.grad
    def gradients(inputs):
        x, trained = inputs
        y, _ = layer.stateless_call(trained, others, x, mask=mask, training=True)
        return (y * dy).sum()

    return (
        lambda: jax.block_until_ready(infer(x, trained)),
        lambda: jax.block_until_ready(gradients((x, trained))),
    )


def eager_functions(layer, x, dy, mask):
    x = torch.from_numpy(x)
    dy = torch.from_numpy(dy)
    x_grad = x.clone().requires_grad_()
    mask = None if mask is None else torch.from_numpy(mask)

    def forward():
        with torch.no_grad():
            return layer(x, mask=mask, training=False)

    def train():
        layer.zero_grad()
        x_grad.grad = None
        layer(x_grad, mask=mask, training=True).backward(dy)

    return forward, train


FUNCTIONS = {
    "tensorflow": tensorflow_functions,
    "jax": jax_functions,
    "torch": eager_functions,
}


class Nothing(keras.layers.Layer):
    """A layer that does nothing."""

    def call(self, x, mask=None, training=False):
        return x


def built(kind, shape, **options):
    layer = kind(shape[3], return_sequences=True, dtype=OPTIONS.dtype, **options)
    layer.build(shape[:3])
    return layer


def data(shape):
    batch, timesteps, features, units = shape
    x = RNG.normal(size=(batch, timesteps, features)).astype(np.float32)
    return x, RNG.normal(size=(batch, timesteps, units)).astype(np.float32)


def compare(cell, shape):
    """Print the times of one shape, forward and training, and return the ratios."""
    ours, stock = (built(kind, shape) for kind in CLASSES[cell])
    x, dy = data(shape)
    square = torch.randn(SIDE, SIDE)
    candidates = {"ours": FUNCTIONS[BACKEND](ours, x, dy, None)}
    candidates["keras"] = FUNCTIONS[BACKEND](stock, x, dy, None)
    if BACKEND == "tensorflow":
        candidates["jit"] = tensorflow_functions(stock, x, dy, None, jit=True)
    candidates["torch"] = torch_functions(torch, cell, x, dy)
    nothing = Nothing()
    nothing.build(x.shape)
    candidates["call"] = FUNCTIONS[BACKEND](nothing, x, x, None)
    gates = {"lstm": 4, "gru": 3}[cell]
    batch, timesteps, features, units = shape
    work = batch * timesteps * gates * units * (features + units) / SIDE**3
    results = {}
    for number, what in enumerate(("forward", "train")):
        functions = {name: pair[number] for name, pair in candidates.items()}
        with kernels.counting() as chosen:
            times = turns({"product": lambda: square @ square, **functions}, OPTIONS.rounds)
        assert set(chosen) == {"fused"}, chosen
        mine = statistics.median(times["ours"])
        floor = statistics.median(times["product"]) * work * (1, 3)[number]
        row = f"{cell:5}{shape!s:20}{what:8}{mine:9.3f} ms  floor {floor / mine:4.0%}"
        for name in candidates:
            if name == "call":
                row += f"   call {statistics.median(times[name]):.3f} ms"
            elif name != "ours":
                results[what, name], text = ratio(times, name)
                row += f"   {name} {text}"
        if "jit" in candidates:
            results[what, "the better of both"] = min(results[what, "keras"], results[what, "jit"])
        print(row, flush=True)
    return results


VARIANTS = {
    "recurrent dropout": ({"recurrent_dropout": 0.2}, True),
    "left-padded mask": ({}, True),
    "hard_sigmoid": ({"recurrent_activation": "hard_sigmoid"}, True),
    "zoneout": ({"zoneout_h": 0.1, "zoneout_c": 0.1}, False),
    "normalization": ({"normalization": True}, False),
    "peephole": ({"peephole": True}, False),
}


def compare_variants(shape):
    """Print ratios of training with features that cuDNN lacks, and return them."""
    x, dy = data(shape)
    results = {}
    row = f"{shape!s:20}"
    for name, (options, known) in VARIANTS.items():
        ours = built(layers.LSTM, shape, **options)
        other = {} if known else {"implementation": "scan"}
        kind = keras.layers.LSTM if known else layers.LSTM
        stock = built(kind, shape, **options, **other)
        mask = None
        if name.endswith("mask"):
            starts = RNG.integers(0, shape[1] // 2, (shape[0], 1))
            mask = np.arange(shape[1]) >= starts
        functions = {
            "ours": FUNCTIONS[BACKEND](ours, x, dy, mask)[1],
            "keras": FUNCTIONS[BACKEND](stock, x, dy, mask)[1],
        }
        times = turns(functions, OPTIONS.rounds)
        results[name], text = ratio(times, "keras")
        row += f"   {name} {text}"
    print(row, flush=True)
    return results


def compare_bidirectional(cell, shape):
    """Print the times of two directions, and return the ratios."""
    x, dy = data(shape)
    dy = np.concatenate([dy, dy], axis=-1)
    ours, stock = CLASSES[cell]
    wrapped = {
        "ours": (layers.Bidirectional, ours),
        "two calls": (keras.layers.Bidirectional, ours),
        "keras": (keras.layers.Bidirectional, stock),
    }
    candidates = {}
    for name, (wrap, kind) in wrapped.items():
        both = wrap(kind(shape[3], return_sequences=True, dtype=OPTIONS.dtype), dtype=OPTIONS.dtype)
        both.build(shape[:3])
        candidates[name] = FUNCTIONS[BACKEND](both, x, dy, None)
    candidates["torch"] = torch_functions(torch, cell, x, dy, bidirectional=True)
    results = {}
    for number, what in enumerate(("forward", "train")):
        times = turns({name: pair[number] for name, pair in candidates.items()}, OPTIONS.rounds)
        row = f"{cell:5}{shape!s:20}{what:8}{statistics.median(times['ours']):9.3f} ms"
        for name in candidates:
            if name != "ours":
                results[what, name], text = ratio(times, name)
                row += f"   {name} {text}"
        print(row, flush=True)
    return results


def compare_fit():
    """Print the times of training a forecaster with our layers and with Keras' own."""
    x = RNG.normal(size=(6400, 48, 1)).astype(np.float32)
    ours = models.multi_output(1, lookback=48, horizon=12, units=64)
    y = RNG.normal(size=(len(x), *ours.output_shape[1:])).astype(np.float32)
    functions = {}
    for name, model in (("ours", ours), ("keras", to_keras(ours))):
        model.compile("adam", "mse")
        functions[name] = functools.partial(model.fit, x, y, batch_size=32, verbose=0)
    times = turns(functions, max(2, OPTIONS.rounds // 5))
    _, text = ratio(times, "keras")
    steps = len(x) // 32
    print(
        f"fit, multi_output(lookback=48, units=64), batch 32: "
        f"{statistics.median(times['ours']) / steps:.2f} ms a step; Keras' layers {text}"
    )


def summary(title, ratios):
    print(title)
    for key in ratios[0]:
        values = [shape[key] for shape in ratios]
        name = " ".join(key) if isinstance(key, tuple) else key
        mean = statistics.geometric_mean(values)
        print(f"    {name:20} {mean:6.2f}   least {min(values):.2f}")


def main():
    torch.set_num_threads(OPTIONS.threads)
    if BACKEND == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(OPTIONS.threads)
    from seqkeras import native

    print(
        f"Keras {keras.__version__} on {BACKEND}, torch {torch.__version__}, "
        f"{native.load().isa}, {OPTIONS.threads} threads, {OPTIONS.dtype}"
    )
    if OPTIONS.fit:
        compare_fit()
    elif OPTIONS.bidirectional:
        for cell in OPTIONS.cells:
            results = [compare_bidirectional(cell, shape) for shape in SHAPES]
            summary(f"geometric means, two directions, {cell}", results)
    elif OPTIONS.variants:
        summary("geometric means, training", [compare_variants(shape) for shape in SHAPES])
    else:
        for cell in OPTIONS.cells:
            summary(f"geometric means, {cell}", [compare(cell, shape) for shape in SHAPES])


if __name__ == "__main__":
    main()

"""LSTMs and GRUs on a GPU compared with plain cuDNN and Keras, including what cuDNN cannot run.

KERAS_BACKEND=torch python benchmarks/gpu_kernels.py [--cells lstm gru] [--rounds 50] [--tf32]
    [--shapes 0 1 2]
KERAS_BACKEND=jax python benchmarks/gpu_kernels.py
python benchmarks/gpu_kernels.py --interpret     # only the checks, with small sizes, without a GPU

For each cell, shape and kind of layer, it measures a training step (forward, and gradients to the
input and all weights), taking turns. `cudnn` is the plain layer of torch.nn.LSTM or GRU, or of
jax.experimental.rnn, and the basis of all ratios; JAX has no GRU and skips it. `triton` is only the
kernel of seqkeras/kernels/triton/; `scan`, `cudnn layer` and `auto` are the layer of seqkeras with
that implementation. Before the measurement, everything that does not draw random numbers itself is
compared with a loop in float64 on the CPU; if it is wrong, its error is printed in place of a time.
Times are medians in milliseconds. The ratio to `cudnn` is computed in each round; its median and
quartiles are printed.
"""

import argparse
import datetime
import importlib.util
import itertools
import os
import statistics
import sys
import time
from pathlib import Path
from typing import NamedTuple

import _turns
import numpy as np

TESTS = Path(__file__).parents[1] / "tests"


class Case(NamedTuple):
    cell: str
    batch: int
    timesteps: int
    features: int
    units: int

    @property
    def gates(self):
        return {"lstm": 4, "gru": 3}[self.cell]

    def __str__(self):
        return f"{self.cell:5}{tuple(self[1:])!s:20}"


SHAPES = [*_turns.SHAPES[:-1], (64, 256, 64, 512)]  # a single row says nothing about a GPU
SMALL = [(3, 4, 2, 20), (2, 3, 2, 70)]
#: The kernels' name for each cell.
CELLS = {"lstm": "lstm", "gru": "gru_reset_after"}
RATE = 0.2
#: Options of a layer for each kind; None if stock Keras does not have it.
KINDS = {
    "plain": {},
    "left mask": {},
    "recurrent dropout": {"recurrent_dropout": RATE},
    "hard_sigmoid": {"recurrent_activation": "hard_sigmoid"},
    "zoneout": None,
}


def load(path):
    """Import a file of the tests, for its reference in float64."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def left_mask(batch, timesteps):
    """Make a mask for rows of random lengths, padded on the left."""
    lengths = np.random.default_rng(2).integers(1, timesteps + 1, batch)
    return np.arange(timesteps) >= timesteps - lengths[:, None]


def arrays(case):
    _, batch, timesteps, features, units = case
    rng = np.random.default_rng(0)
    width = case.gates * units
    kernel = rng.normal(0, features**-0.5, (features, width))
    recurrent = rng.normal(0, units**-0.5, (units, width))
    x = rng.normal(size=(batch, timesteps, features))
    bias = rng.normal(0, 0.3, (2, width) if case.cell == "gru" else width)
    dy = rng.normal(size=(batch, timesteps, units))
    return [array.astype(np.float32) for array in (x, kernel, recurrent, bias, dy)]


def distance(actual, expected):
    """Return the largest difference, relative to the largest value of its array or to 1."""
    return max(
        float(np.abs(result - reference).max() / max(1, np.abs(reference).max()))
        for result, reference in zip(actual, expected, strict=True)
    )


# The Triton kernel by itself, in PyTorch.


def triton_call(torch, cases, kind, case, device):
    _, batch, timesteps, _, units = case
    x, kernel, recurrent, bias, _ = (torch.tensor(value, device=device) for value in arrays(case))
    values = dict.fromkeys(cases.FusedInputs._fields)
    values.update(x=x, kernel=kernel, recurrent_kernel=recurrent, bias=bias)

    def draw(rate, *sizes):
        return torch.tensor(np.random.default_rng(3).random(sizes) < rate, device=device)

    options = {}
    if kind == "left mask":
        values["mask"] = torch.tensor(left_mask(batch, timesteps), device=device)
    elif kind == "recurrent dropout":
        values["recurrent_dropout"] = draw(1 - RATE, case.gates, batch, units) / (1 - RATE)
    elif kind == "hard_sigmoid":
        options["recurrent_activation"] = "hard_sigmoid"
    elif kind == "zoneout":
        for what in ("h", "c") if case.cell == "lstm" else "h":
            values[f"zoneout_{what}_mask"] = draw(RATE, batch, timesteps, units)
    return cases.static_of(CELLS[case.cell], **options), cases.FusedInputs(**values)


def triton_error(torch, cases, kind, case, device, runs=1):
    """Return the error of outputs and gradients, against a loop in float64 on the CPU.

    It is infinite if a later run differs in any bit: then programs did not wait for one another.
    """
    static, inputs = triton_call(torch, cases, kind, case, device)
    host = cases.FusedInputs(*(None if value is None else value.cpu() for value in inputs))

    def flat(run, inputs, dtype):
        outputs, gradients = cases.gradients(run, static, inputs, dtype)
        tensors = (*outputs, *gradients.values())
        return [tensor.detach().cpu().double().numpy() for tensor in tensors]

    first, *others = (flat(cases.run, inputs, torch.float32) for _ in range(runs))
    same = all(np.array_equal(*pair) for again in others for pair in zip(first, again, strict=True))
    return distance(first, flat(cases.plain_loop, host, torch.float64)) if same else np.inf


def triton_step(torch, cases, kind, case, dy):
    static, inputs = triton_call(torch, cases, kind, case, dy.device)
    leaves = [tensor.requires_grad_() for tensor in inputs[:4]]

    def step():
        torch.autograd.grad(cases.run(static, inputs).y, leaves, dy)

    return step


# Layers.


def layers_of(cell, kind):
    """Return layers of Keras and ours by name, each as a class and its options."""
    import keras

    from seqkeras import layers

    ours, stock = (getattr(module, cell.upper()) for module in (layers, keras.layers))
    options = KINDS[kind]
    choices = {}
    if options is not None:
        choices["keras"] = (stock, options)
    zoneout = {"zoneout_h": RATE, **({"zoneout_c": RATE} if cell == "lstm" else {})}
    extra = zoneout if options is None else options
    choices["scan"] = (ours, {**extra, "implementation": "scan"})
    choices["auto"] = (ours, {**extra, "implementation": "auto"})
    if kind in ("plain", "left mask"):
        choices["cudnn layer"] = (ours, {**extra, "implementation": "cudnn"})
    return choices


def built(kind_of_layer, options, case):
    x, *weights, _ = arrays(case)
    layer = kind_of_layer(case.units, return_sequences=True, **options)
    layer.build(x.shape)
    layer.set_weights(weights)
    return layer


def reference_gradients(kind, case):
    """Return y, dx and the gradients to the weights in float64; None if the kind is random."""
    if kind in ("recurrent dropout", "zoneout"):
        return None
    reference = load(TESTS / "native" / "reference.py")
    x, kernel, recurrent, bias, dy = (array.astype(np.float64) for array in arrays(case))
    _, batch, timesteps, _, units = case
    zeros = np.zeros((batch, units))
    mask = left_mask(batch, timesteps) if kind == "left mask" else np.ones((batch, timesteps), bool)
    none = np.zeros((batch, timesteps, units))
    inputs = {
        "x": x, "kernel": kernel, "recurrent_kernel": recurrent, "bias": bias, "mask": mask,
        "h0": zeros, "c0": zeros, "recurrent_dropout": np.ones((case.gates, batch, units)),
        "peephole": np.zeros((3, units)), "reset": none[:, :, 0] > 0, "keep_h": none,
        "keep_c": none,
    }  # fmt: skip
    gate = "hard_sigmoid" if kind == "hard_sigmoid" else "sigmoid"
    outputs, gradients = reference.run(
        CELLS[case.cell], inputs, {"dy": dy, "dlast": zeros, "dh_n": zeros, "dc_n": zeros},
        masked_output="hold_output", go_backwards=False, recurrent_activation=gate,
    )  # fmt: skip
    # On JAX Keras holds the initial state, which makes no difference here, as it is zeros.
    return [outputs["y"], *(gradients[n] for n in ("x", "kernel", "recurrent_kernel", "bias"))]


class Torch:
    """Training steps in PyTorch, timed by events on the GPU."""

    where = "cuda"
    cells = ("lstm", "gru")

    def __init__(self, tf32):
        import torch

        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
        self.torch = torch
        self.cases = load(TESTS / "kernels" / "triton" / "triton_cases.py")
        self.versions = f"torch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}"
        self.device = torch.cuda.get_device_name() if torch.cuda.is_available() else None

    def tensors(self, case, kind):
        x, *_, dy = (self.torch.tensor(value, device=self.where) for value in arrays(case))
        mask = left_mask(case.batch, case.timesteps) if kind == "left mask" else None
        mask = None if mask is None else self.torch.tensor(mask, device=self.where)
        return x.requires_grad_(), dy, mask

    def cudnn(self, case):
        x, dy, _ = self.tensors(case, "plain")
        kind = {"lstm": self.torch.nn.LSTM, "gru": self.torch.nn.GRU}[case.cell]
        module = kind(case.features, case.units, batch_first=True).to(self.where)
        leaves = [x, *module.parameters()]
        return lambda: self.torch.autograd.grad(module(x)[0], leaves, dy)

    def of_layer(self, layer, case, kind):
        x, dy, mask = self.tensors(case, kind)
        leaves = [x, *(weight.value for weight in layer.trainable_variables)]

        def step():
            y = layer(x, mask=mask, training=True)
            return [y, *self.torch.autograd.grad(y, leaves, dy)]

        return step

    def kernels(self, case, kind):
        """Return our kernel without a layer around it: its step and its error."""
        dy = self.tensors(case, kind)[1]
        error = triton_error(self.torch, self.cases, kind, case, self.where, runs=10)
        return {"triton": (triton_step(self.torch, self.cases, kind, case, dy), error)}

    def milliseconds(self, step):
        start, end = (self.torch.cuda.Event(enable_timing=True) for _ in range(2))
        self.torch.cuda.synchronize()
        start.record()
        step()
        end.record()
        self.torch.cuda.synchronize()
        return start.elapsed_time(end)

    def numpy(self, tensors):
        return [tensor.detach().cpu().double().numpy() for tensor in tensors]


class Jax:
    """Compiled training steps in JAX, timed by the clock until they are done."""

    cells = ("lstm",)

    def __init__(self, tf32):
        import jax

        jax.config.update("jax_default_matmul_precision", "tensorfloat32" if tf32 else "float32")
        self.jax = jax
        self.versions = f"jax {jax.__version__}"
        gpus = [device for device in jax.devices() if device.platform == "gpu"]
        self.device = gpus[0].device_kind if gpus else None

    def cudnn(self, case):
        from jax.experimental import rnn

        jax = self.jax
        np_ = jax.numpy
        _, batch, timesteps, features, units = case
        x, *_, dy = arrays(case)
        weights = rnn.init_lstm_weight(jax.random.PRNGKey(0), features, units, 1, False)
        state = np_.zeros((1, batch, units))
        lengths = np_.full((batch,), timesteps, np_.int32)

        def loss(x, weights):
            y, _, _ = rnn.lstm(x, state, state, weights, lengths, features, units, 1, 0.0, False)
            return (y * dy).sum()

        step = jax.jit(jax.grad(loss, argnums=(0, 1)))
        x = np_.asarray(x)
        return lambda: step(x, weights)

    def of_layer(self, layer, case, kind):
        jax = self.jax
        x, *_, dy = map(jax.numpy.asarray, arrays(case))
        mask = (
            jax.numpy.asarray(left_mask(case.batch, case.timesteps))
            if kind == "left mask"
            else None
        )
        others = [variable.value for variable in layer.non_trainable_variables]

        def loss(x, weights):
            y, _ = layer.stateless_call(weights, others, x, mask=mask, training=True)
            return (y * dy).sum(), y

        step = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))
        weights = [variable.value for variable in layer.trainable_variables]

        def flat():
            (dx, gradients), y = step(x, weights)
            return [y, dx, *gradients]

        return flat

    def kernels(self, case, kind):
        return {}

    def milliseconds(self, step):
        start = time.perf_counter()
        self.jax.block_until_ready(step())
        return 1000 * (time.perf_counter() - start)

    def numpy(self, arrays):
        return [np.asarray(array, np.float64) for array in arrays]


def peers(backend, case, kind):
    """Return steps by name, each with its error, or None if it cannot be compared."""
    expected = reference_gradients(kind, case)
    steps = {}
    for name, (kind_of_layer, options) in layers_of(case.cell, kind).items():
        step = backend.of_layer(built(kind_of_layer, options, case), case, kind)
        error = None if expected is None else distance(backend.numpy(step()), expected)
        steps[name] = step, error
    return {**steps, **backend.kernels(case, kind)}


def report(backend, case, kind, rounds, tolerance):
    steps = {"cudnn": backend.cudnn(case)}
    errors = {}
    for name, (step, error) in peers(backend, case, kind).items():
        errors[name] = error
        if error is None or error <= tolerance:
            steps[name] = step
        else:
            print(f"{case} {kind:18} {name:12} WRONG by {error:.1e}: not timed", flush=True)
    for step in steps.values():
        for _ in range(3):
            backend.milliseconds(step)
    times = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            times[name].append(backend.milliseconds(step))
    for name, values in times.items():
        ratios = [value / base for value, base in zip(values, times["cudnn"], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
        error = errors.get(name)
        check = "" if error is None else f"error {error:.1e}"
        print(f"{case} {kind:18} {name:12} {statistics.median(values):9.3f} ms "
              f"{middle:7.2f} x cudnn ({low:.2f} to {high:.2f})  {check}", flush=True)  # fmt: skip
    return len(steps) == len(errors) + 1


def interpret():
    """Check all kinds in Triton's interpreter; return the exit code."""
    import torch

    cases = load(TESTS / "kernels" / "triton" / "triton_cases.py")
    worst = 0
    for cell, shape, kind in itertools.product(CELLS, SMALL, KINDS):
        case = Case(cell, *shape)
        error = triton_error(torch, cases, kind, case, "cpu")
        worst = max(worst, error)
        print(f"{case} {kind:18} error {error:.1e}", flush=True)
    return int(worst > 1e-5)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", nargs="+", default=list(CELLS), choices=list(CELLS))
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--tf32", action="store_true", help="use tf32 for all products")
    parser.add_argument("--shapes", type=int, nargs="+", default=range(len(SHAPES)))
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--interpret", action="store_true", help="only check, without a GPU")
    arguments = parser.parse_args()
    if arguments.interpret:
        # Triton and Keras read these when they are imported, which happens later.
        os.environ.update(TRITON_INTERPRET="1", KERAS_BACKEND="torch")
        sys.exit(interpret())
    name = os.environ.get("KERAS_BACKEND")
    if name not in ("torch", "jax"):
        sys.exit("Set KERAS_BACKEND to torch or jax.")
    backend = {"torch": Torch, "jax": Jax}[name](arguments.tf32)
    if backend.device is None:
        sys.exit(f"There is no GPU that {name} can use; --interpret checks the kernel without one.")
    products = "tf32" if arguments.tf32 else "float32"
    print(f"{datetime.date.today()}, {backend.device}, {backend.versions}, {products} products")
    tolerance = 2e-2 if arguments.tf32 else 1e-4
    right = [
        report(backend, Case(cell, *SHAPES[index]), kind, arguments.rounds, tolerance)
        for cell in arguments.cells
        if cell in backend.cells
        for index in arguments.shapes
        for kind in arguments.kinds
    ]
    sys.exit(int(not all(right)))


if __name__ == "__main__":
    main()

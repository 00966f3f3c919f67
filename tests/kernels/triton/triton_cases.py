"""Cases of test_triton.py, which runs this file in a new process, in Triton's interpreter."""

import keras
import numpy as np
import pytest
import torch

from seqkeras.kernels.fused._arguments import FusedInputs, Static
from seqkeras.kernels.triton import _host, _triton
from seqkeras.kernels.triton import _programs as programs

GATES = {"lstm": 4, "gru": 3, "gru_reset_after": 3, "simple_rnn": 1}
CELLS = list(GATES)
ACTIVATIONS = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "linear": lambda x: x,
    "sigmoid": torch.sigmoid,
    "hard_sigmoid": lambda x: torch.clamp(x / 6 + 0.5, 0, 1),
}
PLANS = {
    "launch": _host.Plan(16, 16, 32, 16, programs.LAUNCH.value, 4),
    "wait": _host.Plan(16, 32, 32, 16, programs.WAIT.value, 4),
}
#: Optional features of a layer.
FEATURES = ("mask", "reset", "drop", "zoneout", "rates", "peephole", "h0", "no_bias")
DIFFERENTIABLE = ("x", "kernel", "recurrent_kernel", "bias", "h0", "c0", "peephole")


def run(static, inputs):
    return _triton.run(static, [inputs])[0]


def static_of(cell, **changes):
    values = Static(cell, "tanh", "sigmoid", "hold_output", False, True, True, 0.0, 0.0, 1e-3,
                    "float32")  # fmt: skip
    return values._replace(**changes)


def inputs_of(cell, features, batch=3, timesteps=4, width=2, units=20, seed=0):
    rng = np.random.default_rng(seed)
    gates = GATES[cell]

    def normal(*shape):
        return torch.tensor(rng.normal(0, 0.5, shape), dtype=torch.float32)

    def flags(rate, *shape):
        return torch.tensor(rng.random(shape) < rate)

    values = dict.fromkeys(FusedInputs._fields)
    values["x"] = normal(batch, timesteps, width)
    values["kernel"], values["recurrent_kernel"] = (
        normal(n, gates * units) for n in (width, units)
    )
    if "no_bias" not in features:
        values["bias"] = normal(*([2] if cell == "gru_reset_after" else []), gates * units)
    if "h0" in features:
        values["h0"], values["c0"] = normal(batch, units), normal(batch, units)
    if "mask" in features:
        values["mask"] = flags(0.6, batch, timesteps)
        values["mask"][0] = False  # a row that is fully masked
    if "reset" in features:
        values["reset"] = flags(0.3, batch, timesteps)
    if "zoneout" in features:
        values["zoneout_h_mask"] = flags(0.3, batch, timesteps, units)
        values["zoneout_c_mask"] = flags(0.3, batch, timesteps, units)
    drop = flags(0.7, gates, batch, units) / 0.7
    peephole = normal(3, units)
    values["recurrent_dropout"] = drop if "drop" in features else None
    values["peephole"] = peephole if "peephole" in features else None
    if cell != "lstm":
        values |= dict.fromkeys(("c0", "zoneout_c_mask", "peephole"))
    return FusedInputs(**values)


class Reference:
    """A layer as a plain loop in float64, which autograd differentiates."""

    def __init__(self, static, inputs):
        self.static, self.inputs = static, inputs
        self.act = ACTIVATIONS[static.activation]
        self.gate = ACTIVATIONS[static.recurrent_activation]
        self.units = len(inputs.recurrent_kernel)

    def sums(self, x, h):
        """Yield the input and the recurrent product of each gate, each with its bias."""
        inputs = self.inputs
        u = self.units
        drop = inputs.recurrent_dropout
        bias = inputs.bias
        xs = x @ inputs.kernel
        biases = torch.zeros(2, inputs.kernel.shape[1], dtype=x.dtype)
        if bias is not None:
            biases = bias if bias.ndim == 2 else torch.stack([bias, 0 * bias])
        for gate in range(inputs.kernel.shape[1] // u):
            part = slice(gate * u, (gate + 1) * u)
            read = h if drop is None else h * drop[gate]
            yield (
                xs[:, part] + biases[0, part],
                read @ inputs.recurrent_kernel[:, part] + biases[1, part],
                (read, inputs.recurrent_kernel[:, part]),
            )

    def step(self, t, x, h, c):
        sums = list(self.sums(x, h))
        if self.static.cell == "simple_rnn":
            return self.zoneout("h", t, h, self.act(sum(sums[0][:2]))), c
        if self.static.cell != "lstm":
            z, r = (self.gate(x_sum + h_sum) for x_sum, h_sum, _ in sums[:2])
            x_sum, h_sum, (read, weights) = sums[2]
            if self.static.cell == "gru":
                new = self.act(x_sum + (r * read) @ weights)
            else:
                new = self.act(x_sum + r * h_sum)
            return self.zoneout("h", t, h, z * h + (1 - z) * new), c
        i, f, g, o = (x_sum + h_sum for x_sum, h_sum, _ in sums)
        p = self.inputs.peephole
        if p is not None:
            i = i + p[0] * c
            f = f + p[1] * c
        new = self.gate(f) * c + self.gate(i) * self.act(g)
        new = self.zoneout("c", t, c, new)
        o = self.gate(o if p is None else o + p[2] * new)
        return self.zoneout("h", t, h, o * self.act(new)), new

    def zoneout(self, what, t, old, new):
        mask = getattr(self.inputs, f"zoneout_{what}_mask")
        if mask is not None:
            return torch.where(mask[:, t], old, new)
        rate = getattr(self.static, f"zoneout_{what}")
        return rate * old + (1 - rate) * new

    def run(self):
        inputs = self.inputs
        batch, timesteps, _ = inputs.x.shape
        zeros = torch.zeros(batch, self.units, dtype=torch.float64)
        h = zeros if inputs.h0 is None else inputs.h0
        c = zeros if inputs.c0 is None else inputs.c0
        output = h if self.static.masked_output == "hold_state" else zeros
        every = torch.ones(batch, timesteps, dtype=torch.bool)
        masks = every if inputs.mask is None else inputs.mask
        resets = ~every if inputs.reset is None else inputs.reset
        y = []
        order = range(timesteps)
        for t in reversed(order) if self.static.go_backwards else order:
            fresh = resets[:, t, None]
            live = masks[:, t, None]
            h, c, output = (torch.where(fresh, 0.0, state) for state in (h, c, output))
            new_h, new_c = self.step(t, torch.where(live, inputs.x[:, t], 0.0), h, c)
            h = torch.where(live, new_h, h)
            c = torch.where(live, new_c, c)
            held = 0.0 if self.static.masked_output == "zero" else output
            output = torch.where(live, new_h, held)
            y.append(output)
        y = torch.stack(y, 1) if self.static.sequences else None
        return y, output, h, c if self.static.cell == "lstm" else None


def gradients(run, static, inputs, dtype):
    """Return the outputs, and the gradients of a weighted sum of all of them."""
    values = {
        name: array.detach().to(dtype) if array is not None and array.is_floating_point() else array
        for name, array in inputs._asdict().items()
    }
    leaves = {n: values[n].requires_grad_() for n in DIFFERENTIABLE if values[n] is not None}
    outputs = tuple(run(static, FusedInputs(**values)))
    torch.manual_seed(1)
    parts = [out for out in outputs if out is not None]
    loss = sum((part * torch.randn(part.shape).to(part.dtype)).sum() for part in parts)
    results = torch.autograd.grad(loss, list(leaves.values()))
    return parts, dict(zip(leaves, results, strict=True))


def plain_loop(static, inputs):
    return Reference(static, inputs).run()


def agree(static, inputs, tolerance=2e-6):
    parts, actual = gradients(run, static, inputs, torch.float32)
    expected_parts, expected = gradients(plain_loop, static, inputs, torch.float64)
    for part, right in zip(parts, expected_parts, strict=True):
        assert part.shape == right.shape
        assert (part - right).abs().max() < tolerance * max(1, right.abs().max())
    for name, right in expected.items():
        error = (actual[name] - right).abs().max() / max(1, right.abs().max())
        assert error < 2.5 * tolerance, f"gradient to {name}: {error}"


@pytest.fixture(params=["alone", "launch", "wait"])
def plan(request, monkeypatch):
    """Fix each of the three plans. WAIT has only one program here, because the interpreter runs
    programs one after the other."""
    if request.param != "alone":
        fixed = PLANS[request.param]
        monkeypatch.setattr(_host, "plan_for", lambda *_: fixed)


@pytest.mark.parametrize("cell", CELLS)
def test_equals_a_plain_loop(cell, plan):
    features = ("mask", "reset", "drop", "zoneout", "peephole", "h0")
    agree(static_of(cell), inputs_of(cell, features, batch=2, timesteps=3))


@pytest.mark.parametrize("seed", range(8))
def test_equals_a_plain_loop_in_any_configuration(seed):
    rng = np.random.default_rng(seed)
    cell = CELLS[seed % 4]
    features = [name for name in FEATURES if rng.random() < 0.5]
    rates = rng.random(2)
    if "rates" not in features:
        rates[:] = 0
    static = static_of(
        cell,
        activation=str(
            rng.choice(["tanh", "relu", "linear"] if cell == "simple_rnn" else ["tanh"])
        ),
        recurrent_activation=str(rng.choice(["sigmoid", "hard_sigmoid"])),
        masked_output=str(rng.choice(["hold_output", "hold_state", "zero"])),
        go_backwards=bool(rng.random() < 0.5),
        save=bool(rng.random() < 0.7),
        sequences=bool(rng.random() < 0.7),
        zoneout_h=float(rates[0]),
        zoneout_c=float(rates[1]) if cell == "lstm" else 0.0,
    )
    sizes = rng.integers([1, 1, 1, 1], [19, 5, 4, 40])
    agree(static, inputs_of(cell, features, *map(int, sizes), seed=seed))


def test_values_at_masked_timesteps_do_not_matter():
    inputs = inputs_of("lstm", ("mask",))
    spoilt = inputs._replace(x=torch.where(inputs.mask[:, :, None], inputs.x, torch.nan))
    agree(static_of("lstm"), spoilt)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["float16", "bfloat16"])
def test_computes_in_float32_and_returns_the_dtype_of_its_input(dtype):
    inputs = inputs_of("lstm", ("h0",))
    halves = FusedInputs(*(None if array is None else array.to(dtype) for array in inputs))
    outputs = run(static_of("lstm"), halves)
    assert {out.dtype for out in outputs} == {dtype}
    wide = FusedInputs(*(None if array is None else array.double() for array in halves))
    right = plain_loop(static_of("lstm"), wide)
    torch.testing.assert_close(outputs.y.double(), right[0], rtol=0, atol=torch.finfo(dtype).eps)


def test_products_in_bfloat16():
    inputs = inputs_of("gru", ("h0",))
    parts, _ = gradients(run, static_of("gru", precision="bfloat16"), inputs, torch.float32)
    right = gradients(plain_loop, static_of("gru"), inputs, torch.float64)[0]
    error = (parts[0] - right[0]).abs().max()
    assert 1e-5 < error < 3e-2


def test_wait_and_launch_are_chosen_by_size():
    meets = {"alone": programs.ALONE, "wait": programs.WAIT, "launch": programs.LAUNCH}
    sizes = {
        "alone": [(1, 1), (4096, 64)],
        "wait": [(1, 65), (64, 256), (64, 512), (1024, 100)],
        "launch": [(4096, 128), (64, 4096)],
    }
    for meet, pairs in sizes.items():
        for batch, units in pairs:
            plan = _host.plan_for(batch, units, 132)
            assert plan.meet == meets[meet].value, (batch, units)
            assert plan.deep >= units


def test_rejects_normalization():
    inputs = inputs_of("lstm", ())._replace(norm=torch.ones(10, 20))
    with pytest.raises(NotImplementedError, match="does not support layer normalization"):
        run(static_of("lstm"), inputs)


STOCK = {
    "lstm": lambda **options: keras.layers.LSTM(**options),
    "gru": lambda **options: keras.layers.GRU(**options, reset_after=False),
    "gru_reset_after": lambda **options: keras.layers.GRU(**options),
    "simple_rnn": lambda **options: keras.layers.SimpleRNN(**options),
}


@pytest.mark.parametrize("cell", CELLS)
def test_equals_stock_keras(cell):
    layer = STOCK[cell](units=5, return_sequences=True, dtype="float64")
    mask = torch.tensor([[True, True, False, True], [False, True, True, False]])
    x = torch.randn(2, 4, 3, dtype=torch.float64)
    right = layer(x, mask=mask)
    kernel, recurrent, bias = (weight.value.float() for weight in layer.weights)
    values = dict.fromkeys(FusedInputs._fields)
    values.update(x=x.float(), kernel=kernel, recurrent_kernel=recurrent, bias=bias, mask=mask)
    actual = run(static_of(cell), FusedInputs(**values)).y
    torch.testing.assert_close(actual.double(), right, rtol=0, atol=2e-6)

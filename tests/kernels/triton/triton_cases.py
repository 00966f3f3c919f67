"""Cases of test_triton.py, that runs this file in a process of its own, in Triton's interpreter."""

import keras
import numpy as np
import pytest
import torch

from seqkeras.kernels._call import Inputs, Static
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
#: What a layer may have beside its weights and x.
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

    values = dict.fromkeys(Inputs._fields)
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
        values["mask"][0] = False  # a row with nothing in it
    if "reset" in features:
        values["reset"] = flags(0.3, batch, timesteps)
    if "zoneout" in features:
        values["zoneout_h_mask"] = flags(0.3, batch, timesteps, units)
        values["zoneout_c_mask"] = flags(0.3, batch, timesteps, units)
    drop, peephole = flags(0.7, gates, batch, units) / 0.7, normal(3, units)
    values["recurrent_dropout"] = drop if "drop" in features else None
    values["peephole"] = peephole if "peephole" in features else None
    if cell != "lstm":
        values |= dict.fromkeys(("c0", "zoneout_c_mask", "peephole"))
    return Inputs(**values)


class Reference:
    """A layer as a plain loop in float64; autograd has its gradients."""

    def __init__(self, static, inputs):
        self.static, self.inputs = static, inputs
        self.act = ACTIVATIONS[static.activation]
        self.gate = ACTIVATIONS[static.recurrent_activation]
        self.units = len(inputs.recurrent_kernel)

    def sums(self, x, h):
        """Input and recurrent products of each gate, each with its bias."""
        one, u = self.inputs, self.units
        drop = one.recurrent_dropout
        xs, biases = x @ one.kernel, torch.zeros(2, one.kernel.shape[1], dtype=x.dtype)
        if one.bias is not None:
            biases = one.bias if one.bias.ndim == 2 else torch.stack([one.bias, 0 * one.bias])
        for gate in range(one.kernel.shape[1] // u):
            part = slice(gate * u, (gate + 1) * u)
            read = h if drop is None else h * drop[gate]
            yield (
                xs[:, part] + biases[0, part],
                read @ one.recurrent_kernel[:, part] + biases[1, part],
                (read, one.recurrent_kernel[:, part]),
            )

    def step(self, t, x, h, c):
        sums = list(self.sums(x, h))
        if self.static.cell == "simple_rnn":
            return self.zoneout("h", t, h, self.act(sum(sums[0][:2]))), c
        if self.static.cell != "lstm":
            z, r = (self.gate(one + other) for one, other, _ in sums[:2])
            one, other, (read, weights) = sums[2]
            if self.static.cell == "gru":
                new = self.act(one + (r * read) @ weights)
            else:
                new = self.act(one + r * other)
            return self.zoneout("h", t, h, z * h + (1 - z) * new), c
        i, f, g, o = (one + other for one, other, _ in sums)
        p = self.inputs.peephole
        if p is not None:
            i, f = i + p[0] * c, f + p[1] * c
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
        one = self.inputs
        batch, timesteps, _ = one.x.shape
        zeros = torch.zeros(batch, self.units, dtype=torch.float64)
        h, c = (zeros if state is None else state for state in (one.h0, one.c0))
        shown = h if self.static.masked_output == "hold_state" else zeros
        every = torch.ones(batch, timesteps, dtype=torch.bool)
        masks = every if one.mask is None else one.mask
        resets = ~every if one.reset is None else one.reset
        y, order = [], range(timesteps)
        for t in reversed(order) if self.static.go_backwards else order:
            fresh, live = resets[:, t, None], masks[:, t, None]
            h, c, shown = (torch.where(fresh, 0.0, state) for state in (h, c, shown))
            new_h, new_c = self.step(t, torch.where(live, one.x[:, t], 0.0), h, c)
            h, c = torch.where(live, new_h, h), torch.where(live, new_c, c)
            held = 0.0 if self.static.masked_output == "zero" else shown
            shown = torch.where(live, new_h, held)
            y.append(shown)
        y = torch.stack(y, 1) if self.static.sequences else None
        return y, shown, h, c if self.static.cell == "lstm" else None


def gradients(run, static, inputs, dtype):
    """Outputs, and gradients of a weighted sum of all of them."""
    values = {
        name: one.detach().to(dtype) if one is not None and one.is_floating_point() else one
        for name, one in inputs._asdict().items()
    }
    leaves = {n: values[n].requires_grad_() for n in DIFFERENTIABLE if values[n] is not None}
    outputs = tuple(run(static, Inputs(**values)))
    torch.manual_seed(1)
    parts = [out for out in outputs if out is not None]
    loss = sum((part * torch.randn(part.shape).to(part.dtype)).sum() for part in parts)
    found = torch.autograd.grad(loss, list(leaves.values()))
    return parts, dict(zip(leaves, found, strict=True))


def plain_loop(static, inputs):
    return Reference(static, inputs).run()


def agree(static, inputs, tolerance=2e-6):
    parts, found = gradients(run, static, inputs, torch.float32)
    wanted_parts, wanted = gradients(plain_loop, static, inputs, torch.float64)
    for part, right in zip(parts, wanted_parts, strict=True):
        assert part.shape == right.shape
        assert (part - right).abs().max() < tolerance * max(1, right.abs().max())
    for name, right in wanted.items():
        error = (found[name] - right).abs().max() / max(1, right.abs().max())
        assert error < 2.5 * tolerance, f"gradient to {name}: {error}"


@pytest.fixture(params=["alone", "launch", "wait"])
def plan(request, monkeypatch):
    """Each of the three ways; programs that wait are one here, for they run one after another."""
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
    rates = rng.random(2) * ("rates" in features)
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


def test_what_stands_at_masked_timesteps_does_not_matter():
    inputs = inputs_of("lstm", ("mask",))
    spoilt = inputs._replace(x=torch.where(inputs.mask[:, :, None], inputs.x, torch.nan))
    agree(static_of("lstm"), spoilt)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["float16", "bfloat16"])
def test_sums_in_float32_and_gives_back_what_it_got(dtype):
    inputs = inputs_of("lstm", ("h0",))
    halves = Inputs(*(one if one is None else one.to(dtype) for one in inputs))
    outputs = run(static_of("lstm"), halves)
    assert {out.dtype for out in outputs} == {dtype}
    wide = Inputs(*(one if one is None else one.double() for one in halves))
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
    for meet, those in sizes.items():
        for batch, units in those:
            plan = _host.plan_for(batch, units, 132)
            assert plan.meet == meets[meet].value, (batch, units)
            assert plan.deep >= units


def test_refuses_normalization():
    inputs = inputs_of("lstm", ())._replace(norm=torch.ones(10, 20))
    with pytest.raises(NotImplementedError, match="no layer normalization"):
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
    values = dict.fromkeys(Inputs._fields)
    values.update(x=x.float(), kernel=kernel, recurrent_kernel=recurrent, bias=bias, mask=mask)
    found = run(static_of(cell), Inputs(**values)).y
    torch.testing.assert_close(found.double(), right, rtol=0, atol=2e-6)

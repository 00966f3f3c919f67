"""LSTM, GRU and SimpleRNN in NumPy: outputs, states and gradients, as in Keras."""

import numpy as np

GATES = {"lstm": 4, "gru": 3, "gru_reset_after": 3, "simple_rnn": 1}


def sigmoid(z):
    return np.tanh(z / 2) / 2 + 0.5  # 1 / (1 + exp(-z)), without overflow


def hard_sigmoid(z):
    return np.clip(z / 6 + 0.5, 0, 1)


ACTIVATIONS = {
    "tanh": (np.tanh, lambda s: 1 - s * s),
    "relu": (lambda z: np.maximum(z, 0), lambda s: (s > 0) * 1.0),
    "linear": (lambda z: z, np.ones_like),
    "sigmoid": (sigmoid, lambda s: s * (1 - s)),
    "hard_sigmoid": (hard_sigmoid, lambda s: ((s > 0) & (s < 1)) / 6),
}


class Cell:
    """One timestep, forward and backward.

    `drop` has a factor of h for each gate; `keep` is the part of the old c that zoneout keeps.
    """

    def __init__(self, arrays, activation="tanh", recurrent_activation="sigmoid"):
        names = ("kernel", "recurrent_kernel", "bias")
        self.kernel, self.recurrent, self.bias = weights = [arrays[name] for name in names]
        self.act, self.act_slope = ACTIVATIONS[activation]
        self.gate, self.gate_slope = ACTIVATIONS[recurrent_activation]
        self.units = len(self.recurrent)
        self.grad = [np.zeros_like(weight) for weight in weights]
        self.more_grad = {}

    def part(self, matrix, gate):
        return matrix[..., gate * self.units : (gate + 1) * self.units]

    def forward(self, x, h, c, drop, keep):
        raise NotImplementedError

    def backward(self, saved, dh, dc, live):
        raise NotImplementedError

    def back_product(self, gate, dz, x, h, drop, recurrent_dz=None):
        """Add a gate's part of the gradients to all weights, and return its part of dx and dh."""
        recurrent_dz = dz if recurrent_dz is None else recurrent_dz
        hd = h * drop[gate]
        part = self.part
        part(self.grad[0], gate)[...] += x.T @ dz
        part(self.grad[1], gate)[...] += hd.T @ recurrent_dz
        bias = self.grad[2]
        if bias.ndim == 1:
            part(bias, gate)[...] += dz.sum(0)
        else:
            part(bias[0], gate)[...] += dz.sum(0)
            part(bias[1], gate)[...] += recurrent_dz.sum(0)
        dx = dz @ part(self.kernel, gate).T
        return dx, (recurrent_dz @ part(self.recurrent, gate).T) * drop[gate]


class LSTM(Cell):
    """An LSTM with a peephole, which may be zeros."""

    def __init__(self, arrays, **activations):
        super().__init__(arrays, **activations)
        self.peephole = arrays["peephole"]
        self.more_grad = {"peephole": np.zeros_like(self.peephole)}

    def forward(self, x, h, c, drop, keep):
        z = x @ self.kernel + self.bias
        z = [self.part(z, g) + h * drop[g] @ self.part(self.recurrent, g) for g in range(4)]
        i, f = (self.gate(z[g] + self.peephole[g] * c) for g in (0, 1))
        g = self.act(z[2])
        new = keep * c + (1 - keep) * (f * c + i * g)
        o = self.gate(z[3] + self.peephole[2] * new)
        return o * self.act(new), new, (x, h, c, drop, keep, i, f, g, o, new)

    def backward(self, saved, dh, dc, live):
        x, h, c, drop, keep, i, f, g, o, new = saved
        active = self.act(new)
        do = dh * active * self.gate_slope(o) * live
        dc = dc + dh * o * self.act_slope(active) + do * self.peephole[2]
        dc_kept = keep * dc
        dc = (1 - keep) * dc
        di = dc * g * self.gate_slope(i) * live
        df = dc * c * self.gate_slope(f) * live
        for gate, (dz, seen) in enumerate(((di, c), (df, c), (do, new))):
            self.more_grad["peephole"][gate] += (dz * seen).sum(0)
        dc_before = dc_kept + dc * f + di * self.peephole[0] + df * self.peephole[1]
        dx = 0
        dh_before = 0
        for gate, dz in enumerate((di, df, dc * i * self.act_slope(g) * live, do)):
            gate_dx, gate_dh = self.back_product(gate, dz, x, h, drop)
            dx = dx + gate_dx
            dh_before = dh_before + gate_dh
        return dx, dh_before, dc_before


class NormLSTM(Cell):
    """An LSTM with layer normalization (Ba, Kiros, Hinton 2016, equations 20 to 22)."""

    def __init__(self, arrays, epsilon=1e-3, **activations):
        super().__init__(arrays, **activations)
        self.epsilon = epsilon
        self.norm = arrays["norm"]
        self.scales = self.norm[:4].reshape(-1), self.norm[4:8].reshape(-1)
        self.more_grad = {"norm": np.zeros_like(self.norm)}

    def normal(self, value):
        scale = 1 / np.sqrt(value.var(-1, keepdims=True) + self.epsilon)
        return (value - value.mean(-1, keepdims=True)) * scale, scale

    def back_normal(self, normal, dvalue):
        value, scale = normal
        mean = dvalue.mean(-1, keepdims=True)
        return scale * (dvalue - mean - value * (dvalue * value).mean(-1, keepdims=True))

    def forward(self, x, h, c, drop, keep):
        parts = [h * drop[g] @ self.part(self.recurrent, g) for g in range(4)]
        xs, hs = self.normal(x @ self.kernel), self.normal(np.concatenate(parts, -1))
        z = xs[0] * self.scales[0] + hs[0] * self.scales[1] + self.bias
        i, f, g, o = (self.part(z, gate) for gate in range(4))
        i, f, o = self.gate(i), self.gate(f), self.gate(o)
        g = self.act(g)
        new = keep * c + (1 - keep) * (f * c + i * g)
        cs = self.normal(new)
        active = self.act(cs[0] * self.norm[8] + self.norm[9])
        return o * active, new, (x, h, c, drop, keep, xs, hs, i, f, g, o, cs, active)

    def backward(self, saved, dh, dc, live):
        x, h, c, drop, keep, xs, hs, i, f, g, o, cs, active = saved
        grad = self.more_grad["norm"]
        units = self.units
        dsum = dh * o * self.act_slope(active)
        grad[8] += (dsum * cs[0]).sum(0)
        grad[9] += dsum.sum(0)
        dc = dc + self.back_normal(cs, dsum * self.norm[8])
        dc_kept = keep * dc
        dc = (1 - keep) * dc
        gates = (
            dc * g * self.gate_slope(i),
            dc * c * self.gate_slope(f),
            dc * i * self.act_slope(g),
            dh * active * self.gate_slope(o),
        )
        dz = np.concatenate(gates, -1) * live
        grad[:4] += (dz * xs[0]).sum(0).reshape(4, units)
        grad[4:8] += (dz * hs[0]).sum(0).reshape(4, units)
        self.grad[2] += dz.sum(0)
        dxs = self.back_normal(xs, dz * self.scales[0])
        dhs = self.back_normal(hs, dz * self.scales[1])
        self.grad[0] += x.T @ dxs
        dh_before = 0
        for gate in range(4):
            hd = h * drop[gate]
            part = self.part(dhs, gate)
            self.part(self.grad[1], gate)[...] += hd.T @ part
            dh_before = dh_before + part @ self.part(self.recurrent, gate).T * drop[gate]
        return dxs @ self.kernel.T, dh_before, dc_kept + dc * f


class SimpleRNN(Cell):
    def forward(self, x, h, c, drop, keep):
        new = self.act(x @ self.kernel + self.bias + h * drop[0] @ self.recurrent)
        return new, c, (x, h, drop, new)

    def backward(self, saved, dh, dc, live):
        x, h, drop, new = saved
        dx, dh = self.back_product(0, dh * self.act_slope(new) * live, x, h, drop)
        return dx, dh, dc


class GRU(Cell):
    def forward(self, x, h, c, drop, keep):
        xs = x @ self.kernel + self.bias
        z, r = (
            self.gate(self.part(xs, g) + h * drop[g] @ self.part(self.recurrent, g)) for g in (0, 1)
        )
        rh = r * (h * drop[2])
        new = self.act(self.part(xs, 2) + rh @ self.part(self.recurrent, 2))
        return z * h + (1 - z) * new, c, (x, h, drop, z, r, new)

    def backward(self, saved, dh, dc, live):
        x, h, drop, z, r, new = saved
        dh = dh * live
        dnew = dh * (1 - z) * self.act_slope(new)
        ones = np.ones_like(drop)
        dx, drh = self.back_product(2, dnew, x, r * h * drop[2], ones)
        total = dh * z + drh * r * drop[2]
        for gate, dz in (
            (0, dh * (h - new) * self.gate_slope(z)),
            (1, drh * h * drop[2] * self.gate_slope(r)),
        ):
            gate_dx, gate_dh = self.back_product(gate, dz, x, h, drop)
            dx = dx + gate_dx
            total = total + gate_dh
        return dx, total, dc


class GRUResetAfter(Cell):
    def forward(self, x, h, c, drop, keep):
        xs = x @ self.kernel + self.bias[0]
        hs = [
            h * drop[g] @ self.part(self.recurrent, g) + self.part(self.bias[1], g)
            for g in range(3)
        ]
        z, r = (self.gate(self.part(xs, g) + hs[g]) for g in (0, 1))
        new = self.act(self.part(xs, 2) + r * hs[2])
        return z * h + (1 - z) * new, c, (x, h, drop, z, r, new, hs[2])

    def backward(self, saved, dh, dc, live):
        x, h, drop, z, r, new, part = saved
        dh = dh * live
        dnew = dh * (1 - z) * self.act_slope(new)
        total = dh * z
        dx = 0
        for gate, dz, recurrent in (
            (0, dh * (h - new) * self.gate_slope(z), None),
            (1, dnew * part * self.gate_slope(r), None),
            (2, dnew, dnew * r),
        ):
            gate_dx, gate_dh = self.back_product(gate, dz, x, h, drop, recurrent)
            dx = dx + gate_dx
            total = total + gate_dh
        return dx, total, dc


CELLS = {"lstm": LSTM, "gru": GRU, "gru_reset_after": GRUResetAfter, "simple_rnn": SimpleRNN}


def run(kind, arrays, grads, *, masked_output, go_backwards, **options):
    """Compute outputs and gradients. `arrays` and `grads` are dicts of arrays.

    `keep_h` and `keep_c`, `(batch, timesteps, units)`, are the parts that zoneout keeps. All arrays
    are always present, except `norm`, which only an LSTM with layer normalization has.
    """
    cell = (NormLSTM if "norm" in arrays else CELLS[kind])(arrays, **options)
    order = slice(None, None, -1 if go_backwards else 1)
    names = ("x", "mask", "reset", "keep_h", "keep_c")
    x, mask, reset, keep_h, keep_c = (arrays[name][:, order] for name in names)
    # Values at masked timesteps must not matter.
    x = np.where(mask[:, :, None], x, 0)
    h, c, drop = arrays["h0"], arrays["c0"], arrays["recurrent_dropout"]
    output = h if masked_output == "hold_state" else np.zeros_like(h)
    y = []
    trace = []
    for t in range(x.shape[1]):
        live = mask[:, t, None]
        h, c, output = (np.where(reset[:, t, None], 0, value) for value in (h, c, output))
        new_h, new_c, saved = cell.forward(x[:, t], h, c, drop, keep_c[:, t])
        new_h = keep_h[:, t] * h + (1 - keep_h[:, t]) * new_h
        h = np.where(live, new_h, h)
        c = np.where(live, new_c, c)
        output = np.where(live, new_h, 0 if masked_output == "zero" else output)
        y.append(output)
        trace.append((live, saved))
    outputs = {"y": np.stack(y, 1), "last": output, "h_n": h, "c_n": c}

    dh = grads["dh_n"]
    dc = grads["dc_n"]
    doutput = grads["dlast"]
    dx = np.zeros_like(x)
    for t in reversed(range(x.shape[1])):
        live, saved = trace[t]
        doutput = doutput + grads["dy"][:, t]
        dnew = np.where(live, dh + doutput, 0)
        dx[:, t], dh_before, dc_before = cell.backward(
            saved, (1 - keep_h[:, t]) * dnew, np.where(live, dc, 0), live
        )
        dh = np.where(live, dh_before + keep_h[:, t] * dnew, dh)
        dc = np.where(live, dc_before, dc)
        doutput = np.where(live, 0, 0 if masked_output == "zero" else doutput)
        dh, dc, doutput = (np.where(reset[:, t, None], 0, value) for value in (dh, dc, doutput))
    if masked_output == "hold_state":
        dh = dh + doutput
    kernel, recurrent, bias = cell.grad
    weights = {"kernel": kernel, "recurrent_kernel": recurrent, "bias": bias}
    return outputs, {"x": dx[:, order], **weights, "h0": dh, "c0": dc, **cell.more_grad}

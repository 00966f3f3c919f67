"""LSTM, GRU and SimpleRNN in NumPy's float64: outputs, states and gradients, as in Keras."""

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
    """One timestep forward, and back. `drop` has a factor of h for each gate."""

    def __init__(self, weights, activation="tanh", recurrent_activation="sigmoid"):
        self.kernel, self.recurrent, self.bias = weights
        self.act, self.act_slope = ACTIVATIONS[activation]
        self.gate, self.gate_slope = ACTIVATIONS[recurrent_activation]
        self.units = len(self.recurrent)
        self.grad = [np.zeros_like(weight) for weight in weights]

    def part(self, matrix, gate):
        return matrix[..., gate * self.units : (gate + 1) * self.units]

    def forward(self, x, h, c, drop):
        raise NotImplementedError

    def backward(self, saved, dh, dc, live):
        raise NotImplementedError

    def back_product(self, gate, dz, x, h, drop, recurrent_dz=None):
        """Gradients of a gate's sum: its part of all weights, and dx and dh."""
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
    def forward(self, x, h, c, drop):
        z = x @ self.kernel + self.bias
        z = [self.part(z, g) + h * drop[g] @ self.part(self.recurrent, g) for g in range(4)]
        i, f, g, o = self.gate(z[0]), self.gate(z[1]), self.act(z[2]), self.gate(z[3])
        new = f * c + i * g
        return o * self.act(new), new, (x, h, c, drop, i, f, g, o, self.act(new))

    def backward(self, saved, dh, dc, live):
        x, h, c, drop, i, f, g, o, shown = saved
        dc = dc + dh * o * self.act_slope(shown)
        gates = (
            dc * g * self.gate_slope(i),
            dc * c * self.gate_slope(f),
            dc * i * self.act_slope(g),
            dh * shown * self.gate_slope(o),
        )
        dx, dh_before = 0, 0
        for gate, dz in enumerate(gates):
            one, other = self.back_product(gate, dz * live, x, h, drop)
            dx, dh_before = dx + one, dh_before + other
        return dx, dh_before, dc * f


class SimpleRNN(Cell):
    def forward(self, x, h, c, drop):
        new = self.act(x @ self.kernel + self.bias + h * drop[0] @ self.recurrent)
        return new, c, (x, h, drop, new)

    def backward(self, saved, dh, dc, live):
        x, h, drop, new = saved
        dx, dh = self.back_product(0, dh * self.act_slope(new) * live, x, h, drop)
        return dx, dh, dc


class GRU(Cell):
    def forward(self, x, h, c, drop):
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
            one, other = self.back_product(gate, dz, x, h, drop)
            dx, total = dx + one, total + other
        return dx, total, dc


class GRUResetAfter(Cell):
    def forward(self, x, h, c, drop):
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
        total, dx = dh * z, 0
        for gate, dz, recurrent in (
            (0, dh * (h - new) * self.gate_slope(z), None),
            (1, dnew * part * self.gate_slope(r), None),
            (2, dnew, dnew * r),
        ):
            one, other = self.back_product(gate, dz, x, h, drop, recurrent)
            dx, total = dx + one, total + other
        return dx, total, dc


CELLS = {"lstm": LSTM, "gru": GRU, "gru_reset_after": GRUResetAfter, "simple_rnn": SimpleRNN}


def run(kind, arrays, grads, *, masked_output, go_backwards, **activations):
    """Outputs and gradients. `arrays` and `grads` are dicts of float64 arrays, none None."""
    cell = CELLS[kind]([arrays[n] for n in ("kernel", "recurrent_kernel", "bias")], **activations)
    order = slice(None, None, -1 if go_backwards else 1)
    x, mask = arrays["x"][:, order], arrays["mask"][:, order]
    # What stands at masked timesteps must not matter.
    x = np.where(mask[:, :, None], x, 0)
    h, c, drop = arrays["h0"], arrays["c0"], arrays["recurrent_dropout"]
    shown = h if masked_output == "hold_state" else np.zeros_like(h)
    y, trace = [], []
    for t in range(x.shape[1]):
        live = mask[:, t, None]
        new_h, new_c, saved = cell.forward(x[:, t], h, c, drop)
        h, c = np.where(live, new_h, h), np.where(live, new_c, c)
        shown = np.where(live, new_h, 0 if masked_output == "zero" else shown)
        y.append(shown)
        trace.append((live, saved))
    outputs = {"y": np.stack(y, 1), "last": shown, "h_n": h, "c_n": c}

    dh, dc, dshown = grads["dh_n"], grads["dc_n"], grads["dlast"]
    dx = np.zeros_like(x)
    for t in reversed(range(x.shape[1])):
        live, saved = trace[t]
        dshown = dshown + grads["dy"][:, t]
        dx[:, t], dh_before, dc_before = cell.backward(
            saved, np.where(live, dh + dshown, 0), np.where(live, dc, 0), live
        )
        dh, dc = np.where(live, dh_before, dh), np.where(live, dc_before, dc)
        dshown = np.where(live, 0, 0 if masked_output == "zero" else dshown)
    if masked_output == "hold_state":
        dh = dh + dshown
    kernel, recurrent, bias = cell.grad
    found = {"x": dx[:, order], "kernel": kernel, "recurrent_kernel": recurrent, "bias": bias}
    return outputs, {**found, "h0": dh, "c0": dc}

"""Shared parts of the benchmarks of recurrent layers: shapes, timing, PyTorch's layers."""

import random
import statistics
import time

#: (batch, timesteps, features, units)
SHAPES = [
    (32, 100, 8, 64),
    (32, 100, 8, 128),
    (64, 48, 16, 256),
    (128, 24, 8, 32),
    (16, 512, 8, 128),
    (1, 100, 8, 64),
]
#: Side of the square matrices whose product gives the rate of the machine, for the floor.
SIDE = 1024


def milliseconds(function, clock=time.perf_counter):
    start = clock()
    function()
    return 1000 * (clock() - start)


def in_turns(functions, rounds, *, calls=1, clock=time.perf_counter):
    """Measure the milliseconds of each function, taking turns.

    So a busy moment of the machine affects all functions alike. Each round has a new random order,
    because PyTorch's threads keep spinning after a call, which slows down the next function.

    With several `calls`, a turn is one call to warm the caches, like the previous call in training,
    and then these calls, of which the median time counts.
    """
    for function in functions.values():
        function()
    times = {name: [] for name in functions}
    shuffled = random.Random(0)
    for _ in range(rounds):
        for name, function in shuffled.sample(list(functions.items()), len(functions)):
            if calls > 1:
                function()
            turn = [milliseconds(function, clock) for _ in range(calls)]
            times[name].append(statistics.median(turn))
    return times


def ratio(times, theirs, ours="ours"):
    """Return theirs / ours: the ratio of the medians, also as text with the quartiles of rounds."""
    pairs = [t / max(o, 1e-9) for t, o in zip(times[theirs], times[ours], strict=True)]
    low, _, high = statistics.quantiles(pairs, n=4)
    middle = statistics.median(times[theirs]) / statistics.median(times[ours])
    return middle, f"{middle:6.2f} ({low:.2f} .. {high:.2f})"


def torch_functions(torch, cell, x, dy, *, bidirectional=False):
    """Return functions that run torch.nn.LSTM or GRU: forward, and forward with backward."""
    kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell]
    units = dy.shape[2] // (2 if bidirectional else 1)
    module = kind(x.shape[2], units, batch_first=True, bidirectional=bidirectional)
    x = torch.from_numpy(x)
    dy = torch.from_numpy(dy)
    x_grad = x.clone().requires_grad_()

    def forward():
        with torch.no_grad():
            module(x)

    def train():
        module.zero_grad()
        x_grad.grad = None
        module(x_grad)[0].backward(dy)

    return forward, train

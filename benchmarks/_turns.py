"""What benchmarks of recurrent layers share: shapes, times taken in turns, and PyTorch's layers."""

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
#: Of the matrices whose product is the floor: its rate is that of the machine.
SIDE = 1024


def milliseconds(function, clock=time.perf_counter):
    start = clock()
    function()
    return 1000 * (clock() - start)


def in_turns(functions, rounds, *, calls=1, clock=time.perf_counter):
    """Milliseconds of each function; a busy moment of the machine meets all alike.

    Each round has an order of its own: threads of PyTorch go on spinning after a call, at the cost
    of whatever comes next.

    With more `calls` a turn is one that warms the caches, as the call before does in training, and
    these, whose middle time counts.
    """
    for function in functions.values():
        function()
    times = {name: [] for name in functions}
    shuffled = random.Random(0)
    for _ in range(rounds):
        for name, function in shuffled.sample(list(functions.items()), len(functions)):
            if calls > 1:
                function()
            taken = [milliseconds(function, clock) for _ in range(calls)]
            times[name].append(statistics.median(taken))
    return times


def torch_functions(torch, cell, x, dy, *, bidirectional=False):
    """Forward, and forward and backward, of torch.nn.LSTM or GRU over arrays."""
    kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell]
    units = dy.shape[2] // (2 if bidirectional else 1)
    module = kind(x.shape[2], units, batch_first=True, bidirectional=bidirectional)
    x, dy = torch.from_numpy(x), torch.from_numpy(dy)
    x_grad = x.clone().requires_grad_()

    def forward():
        with torch.no_grad():
            module(x)

    def train():
        module.zero_grad()
        x_grad.grad = None
        module(x_grad)[0].backward(dy)

    return forward, train

"""PyTorch's own LSTM and GRU, `torch._VF`: cuDNN on a GPU, its own kernels on a CPU."""

from typing import Any

import torch
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from seqkeras.gates import Weights
from seqkeras.kernels.cudnn._masks import Sequences


def run(x: Any, lengths: Any, state: list[Any], weights: Weights) -> Sequences:
    """Runs `lengths[i]` timesteps of row `i`, or all; one state is a GRU's, two are an LSTM's."""
    function = torch._VF.lstm if len(state) == 2 else torch._VF.gru
    kernels: list[Any] = [weights.kernel, weights.recurrent_kernel]
    parameters = [*(one.T.contiguous() for one in kernels), *torch.as_tensor(weights.bias)]
    # Two biases, one layer, no dropout between layers, keep what a gradient needs, one direction.
    options = (parameters, True, 1, 0.0, torch.is_grad_enabled(), False)
    if lengths is None:
        y, *states = function(x, _hidden(state), *options, True)
        return Sequences(y, [one[0] for one in states])
    packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
    ordered = [one[packed.sorted_indices] for one in state]
    data, *states = function(packed.data, packed.batch_sizes, _hidden(ordered), *options)
    packed = PackedSequence(
        data, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices
    )
    y, _ = pad_packed_sequence(packed, batch_first=True, total_length=x.shape[1])
    return Sequences(y, [one[0][packed.unsorted_indices] for one in states])


def _hidden(state: list[Any]) -> Any:
    layers = [one[None].contiguous() for one in state]
    return tuple(layers) if len(layers) == 2 else layers[0]

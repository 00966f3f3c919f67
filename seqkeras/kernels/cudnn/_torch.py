"""PyTorch's own LSTM and GRU, `torch._VF`: cuDNN on a GPU, its own kernels on a CPU."""

from typing import Any

import torch
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from seqkeras.gates import Weights
from seqkeras.kernels.cudnn._masks import Sequences


def run(x: Any, lengths: Any, state: list[Any], weights: Weights) -> Sequences:
    """Run `lengths[i]` timesteps of row `i`, or all timesteps if `lengths` is None.

    `state` has two arrays for an LSTM, one for a GRU.
    """
    function = torch._VF.lstm if len(state) == 2 else torch._VF.gru
    kernels: list[Any] = [weights.kernel, weights.recurrent_kernel]
    transposed = [kernel.T.contiguous() for kernel in kernels]
    parameters = [*transposed, *torch.as_tensor(weights.bias)]
    # Positional arguments: params, has_biases, num_layers, dropout, train, bidirectional.
    options = (parameters, True, 1, 0.0, torch.is_grad_enabled(), False)
    if lengths is None:
        y, *states = function(x, _hidden(state), *options, True)
        return Sequences(y, [array[0] for array in states])
    packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
    ordered = [array[packed.sorted_indices] for array in state]
    data, *states = function(packed.data, packed.batch_sizes, _hidden(ordered), *options)
    packed = PackedSequence(
        data, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices
    )
    y, _ = pad_packed_sequence(packed, batch_first=True, total_length=x.shape[1])
    return Sequences(y, [array[0][packed.unsorted_indices] for array in states])


def _hidden(state: list[Any]) -> Any:
    layers = [array[None].contiguous() for array in state]
    return tuple(layers) if len(layers) == 2 else layers[0]

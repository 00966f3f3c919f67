"""Ensembles: one network that returns a mean of the outputs of several networks."""

from collections.abc import Sequence
from typing import Any

import keras

from seqkeras._checks import Description, bad_argument, check_one_of
from seqkeras.forecasting.networks._build import STRATEGIES
from seqkeras.layers import CELLS

#: Prefix of the name of each network in an ensemble, followed by its number.
MEMBER = "member_"


def members_of(model: Any) -> tuple[Any, ...]:
    """Return the members as a tuple; anything but a list or tuple is the only member."""
    return tuple(model) if isinstance(model, list | tuple) else (model,)


def check_models(model: Any) -> None:
    """Check that each member is the name of a strategy or a callable: a builder or a Keras model.

    Args:
        model: a member, or a list of members.

    Raises:
        ArgumentError: a member is something else, or the list is empty.
    """
    members = members_of(model)
    if not members:
        raise bad_argument("network", model, "one model or more")
    for member in members:
        if isinstance(member, str) and member.lower() in CELLS:
            fix = f"For this cell, use network=Network(cell={member.lower()!r})."
            raise bad_argument("network", member, f"one of {', '.join(map(repr, STRATEGIES))}", fix)
        if not callable(member):
            check_one_of("network", member, STRATEGIES)


def averaged(networks: Sequence[keras.Model]) -> keras.Model:
    """Return a network whose output is the mean of several; return a single network unchanged.

    Raises:
        ArgumentError: the networks forecast different numbers of steps.
    """
    if len(networks) == 1:
        return networks[0]
    shapes = sorted({network.output_shape[1:] for network in networks})
    if len(shapes) > 1:
        expected = "an ensemble of networks that forecast the same number of steps"
        raise bad_argument("network", Description(f"outputs of {shapes}"), expected)
    inputs = _inputs_like(networks[0])
    return keras.Model(inputs, _mean(networks, inputs), name="ensemble")


def mixed_with(
    networks: Sequence[keras.Model], expert: keras.Model, expert_share: float
) -> keras.Model:
    """Return a network whose output is the weighted mean of `averaged(networks)` and an expert.

    Args:
        networks: networks that forecast the same number of steps.
        expert: a model from `"inputs"` to the same output.
        expert_share: share of the expert in the mean, from 0 to 1.
    """
    inputs = _inputs_like(networks[0])
    window = inputs["inputs"] if isinstance(inputs, dict) else inputs
    dtype = keras.config.floatx()  # mixed precision must not round the forecast
    network_part = keras.layers.Rescaling(1 - expert_share, dtype=dtype, name="network_share")
    expert_part = keras.layers.Rescaling(expert_share, dtype=dtype, name="expert_share")
    parts = [network_part(_mean(networks, inputs)), expert_part(expert(window))]
    mixture = keras.layers.Add(dtype=dtype, name="mixture")
    return keras.Model(inputs, mixture(parts), name="mixed")


def _inputs_like(network: keras.Model) -> Any:
    return keras.tree.map_structure(
        lambda tensor: keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=tensor.name),
        network.input,
    )


def _mean(networks: Sequence[keras.Model], inputs: Any) -> keras.KerasTensor:
    outputs = [
        keras.Model(network.input, network.output, name=f"{MEMBER}{number}")(inputs)
        for number, network in enumerate(networks, start=1)
    ]
    if len(outputs) == 1:
        return outputs[0]
    return keras.layers.Average(dtype=keras.config.floatx(), name="mean")(outputs)


def networks_of(network: keras.Model) -> list[keras.Model]:
    """Return the members of an ensemble, in order; any other network is its only member."""
    members = [
        layer
        for layer in network.layers
        if isinstance(layer, keras.Model) and layer.name.startswith(MEMBER)
    ]
    return members or [network]

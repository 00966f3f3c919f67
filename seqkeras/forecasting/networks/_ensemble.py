"""Ensembles: one network that returns the mean of the outputs of several networks."""

from collections.abc import Sequence
from typing import Any

import keras

from seqkeras._checks import Description, bad_argument, check_one_of
from seqkeras.forecasting.networks._build import STRATEGIES

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
        if not callable(member):
            check_one_of("network", member, STRATEGIES)


def averaged(networks: Sequence[keras.Model]) -> keras.Model:
    """Return a network whose output is the mean of several; return a single network unchanged.

    Raises:
        ArgumentError: the networks forecast different numbers of steps.
    """
    first = networks[0]
    if len(networks) == 1:
        return first
    shapes = sorted({network.output_shape[1:] for network in networks})
    if len(shapes) > 1:
        expected = "an ensemble of networks that forecast the same number of steps"
        raise bad_argument("network", Description(f"outputs of {shapes}"), expected)
    inputs = keras.tree.map_structure(
        lambda tensor: keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=tensor.name),
        first.input,
    )
    members = [
        keras.Model(network.input, network.output, name=f"{MEMBER}{number}")
        for number, network in enumerate(networks, start=1)
    ]
    outputs = [member(inputs) for member in members]
    return keras.Model(inputs, keras.layers.Average(name="mean")(outputs), name="ensemble")


def networks_of(network: keras.Model) -> list[keras.Model]:
    """Return the members of an ensemble, in order; any other network is its only member."""
    members = [
        layer
        for layer in network.layers
        if isinstance(layer, keras.Model) and layer.name.startswith(MEMBER)
    ]
    return members or [network]

"""Several networks that answer as one: the mean of what they say."""

from collections.abc import Sequence
from typing import Any

import keras

from seqkeras._checks import bad_argument, check_one_of
from seqkeras.forecasting.networks._build import STRATEGIES

#: What the networks of an ensemble are called, with their numbers.
MEMBER = "member_"


def members_of(model: Any) -> tuple[Any, ...]:
    """The models of an ensemble; one alone is an ensemble of one."""
    return tuple(model) if isinstance(model, list | tuple) else (model,)


def check_models(model: Any) -> None:
    """Raises where a model is neither the name of a strategy, nor a builder, nor a model.

    Raises:
        ArgumentError: it is none of these, or a list of nothing.
    """
    models = members_of(model)
    if not models:
        raise bad_argument("model", model, "one model or more")
    for one in models:
        if not callable(one):
            check_one_of("model", one, STRATEGIES)


def averaged(networks: Sequence[keras.Model]) -> keras.Model:
    """One network that answers the mean of several; of one, that itself.

    Raises:
        ArgumentError: they answer different numbers of steps.
    """
    first = networks[0]
    if len(networks) == 1:
        return first
    shapes = sorted({network.output_shape[1:] for network in networks})
    if len(shapes) > 1:
        expected = "an ensemble of networks that all answer as many steps"
        raise bad_argument("model", f"answers of {shapes}", expected)
    inputs = keras.tree.map_structure(
        lambda part: keras.Input(part.shape[1:], dtype=part.dtype, name=part.name), first.input
    )
    members = [
        keras.Model(network.input, network.output, name=f"{MEMBER}{number}")
        for number, network in enumerate(networks, start=1)
    ]
    answers = [member(inputs) for member in members]
    return keras.Model(inputs, keras.layers.Average(name="mean")(answers), name="ensemble")


def networks_of(network: keras.Model) -> list[keras.Model]:
    """The networks that `averaged` has joined, in order; of another network, that itself."""
    found = [
        layer
        for layer in network.layers
        if isinstance(layer, keras.Model) and layer.name.startswith(MEMBER)
    ]
    return found or [network]

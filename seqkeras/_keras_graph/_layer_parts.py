"""What Keras stores about a layer: its calls, constructor arguments and random generators."""

from typing import Any


def calls_to(layer: Any) -> list[Any]:
    """Return the arguments of every call of a layer in a graph, each with `args` and `kwargs`."""
    return [node.arguments for node in layer._inbound_nodes]


def recorded_arguments(layer: Any) -> dict[str, Any]:
    """Return the arguments of a layer's constructor, or an empty dict if Keras did not record them.

    Keras records them only if all are plain values, such as numbers and strings.
    """
    recorded = getattr(layer, "_auto_config", None)
    return recorded.config if recorded is not None else {}


def random_states(layer: Any) -> list[Any]:
    """Return the variables of a layer's random generators, without those of its sublayers."""
    return [generator.state for generator in layer._seed_generators]

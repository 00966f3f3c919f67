"""Small forecasters, made from flat options, which tests combine freely."""

import inspect

from seqkeras.forecasting import Forecaster, Intervals, Network, Training

OBJECTS = {"network": Network, "intervals": Intervals, "training": Training}


def flat_forecaster(horizon, **options):
    """Return a `Forecaster` from its parameters and the options of its objects, all in one level.

    `flat_forecaster(4, units=2, epochs=1, levels=())` is
    `Forecaster(4, network=Network(units=2), training=Training(epochs=1), intervals=Intervals(()))`.
    """
    for name, kind in OBJECTS.items():
        known = inspect.signature(kind).parameters
        own = {option: options.pop(option) for option in [*options] if option in known}
        if own:
            options[name] = kind(**own)
    return Forecaster(horizon, **options)

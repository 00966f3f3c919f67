"""Small forecasters, made from flat options, which tests combine freely."""

import inspect

from seqkeras.forecasting import Forecaster, Intervals, Network, Training

#: Options of point forecasts: no intervals, and nothing held out.
POINT = {"levels": (), "validation": 0}

OBJECTS = {"network": Network, "intervals": Intervals, "training": Training}


def nested(options):
    """Rename flat options for `Forecaster.set_params`: `units` becomes `network__units`."""
    owners = {
        option: name
        for name, kind in OBJECTS.items()
        for option in inspect.signature(kind).parameters
    }
    return {
        f"{owners[option]}__{option}" if option in owners else option: value
        for option, value in options.items()
    }


def flat_forecaster(horizon, **options):
    """Return a `Forecaster` from its parameters and the options of its objects, all in one level.

    `flat_forecaster(4, units=2, epochs=1, levels=())` is
    `Forecaster(4, network=Network(units=2), training=Training(epochs=1), intervals=Intervals(()))`.
    """
    return Forecaster(horizon).set_params(**nested(options))

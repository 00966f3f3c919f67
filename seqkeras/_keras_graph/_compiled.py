"""What a model was compiled with, and the variables of its optimizer, for a copy of the model."""

from typing import Any

import keras
from keras import ops, tree


def copy_compiled(model: keras.Model, copy: keras.Model, variables: dict[int, Any]) -> None:
    """Compiles a copy as the model is, with an optimizer that goes on where that of the model is.

    Args:
        model: compiled, or not; then nothing is done.
        copy: built.
        variables: the variable of the copy for each weight of the model, by its `id`.
    """
    if not model.compiled:
        return
    optimizer = model.optimizer
    if type(copy).compile is keras.Model.compile:
        scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        copy.compile(**_options(model), auto_scale_loss=scaled)
    else:  # what it takes, its own class knows
        copy.compile_from_config(model.get_compile_config())
    if copy.compiled and optimizer.built:
        # In the order of its own, for layers may have been frozen since. Of one that scales losses,
        # the optimizer within knows them.
        trained = getattr(optimizer, "inner_optimizer", optimizer)._trainable_variables
        copy.optimizer.build([variables[id(one)] for one in trained])
        for old, new in zip(optimizer.variables, copy.optimizer.variables, strict=True):
            new.assign(ops.convert_to_numpy(old))


def _options(model: keras.Model) -> dict[str, Any]:
    """What `compile` was called with."""
    # The objects themselves: written down and read again, a loss in a lambda would be lost.
    options = dict(model._compile_config.config)
    for name in ("metrics", "weighted_metrics"):
        options[name] = tree.map_structure(_new_metric, options[name])
    optimizer = model.optimizer
    options["optimizer"] = type(optimizer).from_config(optimizer.get_config())
    return options


def _new_metric(metric: Any) -> Any:
    """A metric of the same kind that has seen nothing; a function or a name as it is."""
    if isinstance(metric, keras.metrics.Metric):
        return type(metric).from_config(metric.get_config())
    return metric

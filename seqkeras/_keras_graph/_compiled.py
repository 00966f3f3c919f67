"""Copy to a model what another one was compiled with, including its optimizer's variables."""

from typing import Any

import keras
from keras import ops, tree


def copy_compiled(model: keras.Model, copy: keras.Model, variables: dict[int, Any]) -> None:
    """Compile a copy as its model is, with an optimizer that continues where the model's is.

    Args:
        model: the model. If it is not compiled, nothing is done.
        copy: its copy, built.
        variables: the variable of the copy for each weight of the model, by the weight's `id`.
    """
    if not model.compiled:
        return
    optimizer = model.optimizer
    if type(copy).compile is keras.Model.compile:
        scales_loss = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        copy.compile(**_options(model), auto_scale_loss=scales_loss)
    else:  # only its own class knows what its compile() takes
        copy.compile_from_config(model.get_compile_config())
    if copy.compiled and optimizer.built:
        # In the optimizer's own order, because layers may have been frozen since. An optimizer that
        # scales losses leaves the variables to the one that it wraps.
        inner = getattr(optimizer, "inner_optimizer", optimizer)
        copy.optimizer.build([variables[id(weight)] for weight in inner._trainable_variables])
        for old, new in zip(optimizer.variables, copy.optimizer.variables, strict=True):
            new.assign(ops.convert_to_numpy(old))


def _options(model: keras.Model) -> dict[str, Any]:
    # The objects themselves: through a config, a loss in a lambda would be lost.
    options = dict(model._compile_config.config)
    for name in ("metrics", "weighted_metrics"):
        options[name] = tree.map_structure(_new_metric, options[name])
    optimizer = model.optimizer
    options["optimizer"] = type(optimizer).from_config(optimizer.get_config())
    return options


def _new_metric(metric: Any) -> Any:
    """Return a metric of the same kind without results; a function or a name as it is."""
    if isinstance(metric, keras.metrics.Metric):
        return type(metric).from_config(metric.get_config())
    return metric

"""Compile a copy of a model as the model was, and copy the variables of its optimizer."""

from typing import Any

import keras
from keras import ops, tree


def copy_compiled(model: keras.Model, copy: keras.Model, variables: dict[int, Any] | None) -> None:
    """Compile a copy like its model, with the optimizer's variables, to continue training.

    Args:
        model: the model. If it is not compiled, the copy stays uncompiled.
        copy: its copy, built.
        variables: the copy's variable for each weight of the model, by the `id` of the weight. If
            None, the optimizer of the copy starts anew.
    """
    if not model.compiled:
        return
    optimizer = model.optimizer
    if type(copy).compile is keras.Model.compile:
        scales_loss = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        copy.compile(**_options(model), auto_scale_loss=scales_loss)
    else:  # only the class that overrides compile() knows its arguments
        copy.compile_from_config(model.get_compile_config())
    if copy.compiled and optimizer.built and variables is not None:
        # Take the order of variables from the optimizer, because layers may have been frozen since
        # it was built. A LossScaleOptimizer leaves its variables to the optimizer that it wraps.
        inner = getattr(optimizer, "inner_optimizer", optimizer)
        copy.optimizer.build([variables[id(weight)] for weight in inner._trainable_variables])
        for old, new in zip(optimizer.variables, copy.optimizer.variables, strict=True):
            new.assign(ops.convert_to_numpy(old))


def _options(model: keras.Model) -> dict[str, Any]:
    # Pass the objects themselves, because a config cannot restore a loss that is a lambda.
    options = dict(model._compile_config.config)
    for name in ("metrics", "weighted_metrics"):
        options[name] = tree.map_structure(_new_metric, options[name])
    optimizer = model.optimizer
    options["optimizer"] = type(optimizer).from_config(optimizer.get_config())
    return options


def _new_metric(metric: Any) -> Any:
    """Return a new metric with the same config; return a function or a name unchanged."""
    if isinstance(metric, keras.metrics.Metric):
        return type(metric).from_config(metric.get_config())
    return metric

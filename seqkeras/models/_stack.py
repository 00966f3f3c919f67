"""Stacks of recurrent layers, which every builder is made of."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, TypedDict, Unpack

import keras

from seqkeras._checks import (
    bad_argument,
    check_flag,
    check_fraction,
    check_integer,
    check_one_of,
    nearest,
)
from seqkeras.errors import ArgumentError
from seqkeras.kernels import IMPLEMENTATIONS
from seqkeras.layers import Bidirectional, Cell, recurrent_layer
from seqkeras.models._layer_options import check_layer_options, new_options

DEFAULT_UNITS = 64

#: Advice for keywords of other libraries and of Keras' layers.
_ELSEWHERE = {
    "return_sequences": "For an output at each timestep, use many_to_many; for one, many_to_one.",
    **dict.fromkeys(("hidden_size", "hidden_dim", "d_model"), "Did you mean 'units'?"),
    **dict.fromkeys(
        ("num_layers", "n_layers", "n_rnn_layers"), "For a stack of layers, use units=(64, 64)."
    ),
}

#: The state of one layer.
States: TypeAlias = list[keras.KerasTensor]


class StackOptions(TypedDict, total=False):
    """The keywords that every builder takes for its recurrent layers.

    Attributes:
        units: width of the state, default 64; a tuple such as `(64, 32)` is a stack of two
            layers. Must be omitted with Keras cells, which have their own width.
        cell: `"lstm"` (default), `"gru"`, `"simple_rnn"`, a Keras RNN cell, or a list of cells,
            one for each layer of the stack.
        bidirectional: read the sequence in both directions in every layer, default False; each
            layer sees both directions of the layer below, so its output has `2 * units` features.
        dropout: share of each layer's inputs that training drops, default 0.
        recurrent_dropout: share of each layer's state that training drops, default 0. cuDNN cannot
            do this.
        implementation: which kernel runs the loop over time: `"auto"` (default) takes the fastest
            that can run the layer; `"cudnn"`, `"fused"` and `"scan"` require that kernel.
            `seqkeras.explain(model)` tells which kernel runs, and why.
        stateful: continue each batch where the batch before it ended, default False; needs
            `batch_size`. `seqkeras.states.reset_state(model)` clears the state.
        reset_input: add an input for flags that clear the state of a row before it reads a
            timestep, default False; needs `stateful=True`. The model then takes a dict of
            `"sequence"` and `"reset"`; the flags are `(batch, 1)`, `(batch, timesteps)` or None.
        batch_size: fixed number of rows in a batch. Default: any number.
        input_projection: width of a linear layer between the inputs and the recurrent layers.
            Default: none.
        layer_options: more arguments of the recurrent layers, the same for each, such as
            `{"recurrent_initializer": "he_normal", "unit_forget_bias": False}`, or regularizers and
            `zoneout_h`; see `seqkeras.layers.LSTM`. An initializer without a seed draws new values
            for each layer. Default: none.
    """

    units: int | Sequence[int]
    cell: Cell | Sequence[Cell]
    bidirectional: bool
    dropout: float
    recurrent_dropout: float
    implementation: str
    stateful: bool
    reset_input: bool
    batch_size: int | None
    input_projection: int | None
    layer_options: Mapping[str, Any]


@dataclass(frozen=True)
class Stack:
    """A checked plan of a stack: one cell and one number of units for each layer."""

    cells: tuple[Cell, ...]
    units: tuple[int, ...]
    bidirectional: bool = False
    dropout: float = 0.0
    recurrent_dropout: float = 0.0
    implementation: str = "auto"
    stateful: bool = False
    reset_input: bool = False
    batch_size: int | None = None
    input_projection: int | None = None
    layer_options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, **options: Unpack[StackOptions]) -> "Stack":
        """Check the stack keywords of a builder.

        Raises:
            ArgumentError: a keyword is unknown, or a value cannot work.
        """
        keywords: dict[str, Any] = dict(options)
        for name in keywords.keys() - StackOptions.__annotations__.keys():
            known = ", ".join(StackOptions.__annotations__)
            hint = _ELSEWHERE.get(name) or nearest(name, StackOptions.__annotations__)
            hint = f" {hint}" if hint else ""
            raise ArgumentError(f"Unknown keyword {name!r}.{hint} The stack takes: {known}.")
        cells, units = _layers(keywords.pop("cell", "lstm"), keywords.pop("units", None))
        return cls(cells, units, **keywords)

    def __post_init__(self) -> None:
        check_flag("bidirectional", self.bidirectional)
        check_flag("stateful", self.stateful)
        check_flag("reset_input", self.reset_input)
        for name in ("dropout", "recurrent_dropout"):
            object.__setattr__(self, name, check_fraction(name, getattr(self, name)))
        check_one_of("implementation", self.implementation, IMPLEMENTATIONS)
        layer_options = check_layer_options(self.layer_options, self.cells)
        object.__setattr__(self, "layer_options", layer_options)
        for name in ("batch_size", "input_projection"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, check_integer(name, getattr(self, name)))
        if self.stateful and self.batch_size is None:
            fix = "Each row of the batch keeps its own state, so their number must be fixed."
            raise bad_argument("batch_size", None, "given where stateful=True", fix)
        if self.stateful and self.bidirectional:
            fix = "The backward direction starts at the end of a sequence: it cannot be continued."
            raise bad_argument("bidirectional", True, "False where stateful=True", fix)
        if self.reset_input and not self.stateful:
            fix = "Only a state that is kept from batch to batch can be cleared."
            raise bad_argument("reset_input", True, "False where stateful=False", fix)

    def input(
        self, *shape: int | None, name: str = "sequence", dtype: str | None = None
    ) -> keras.KerasTensor:
        """Return an input `(batch, *shape)` with the batch size of the plan."""
        return keras.Input(batch_shape=(self.batch_size, *shape), name=name, dtype=dtype)

    def model(
        self, x: keras.KerasTensor, read: Callable[..., keras.KerasTensor], name: str
    ) -> keras.Model:
        """Build the model from `x` to `read(reset)`, with a reset input if the plan has one.

        Args:
            x: input of the model.
            read: function that returns the output, given the reset flags, or None without them.
            name: name of the model.
        """
        if not self.reset_input:
            return mask_reader(keras.Model(x, read(None), name=name))
        reset = keras.Input(
            batch_shape=(self.batch_size, None), name="reset", dtype="bool", optional=True
        )
        return mask_reader(keras.Model({"sequence": x, "reset": reset}, read(reset), name=name))

    def __call__(
        self,
        x: keras.KerasTensor,
        *,
        return_sequences: bool,
        reset: keras.KerasTensor | None = None,
        between: Callable[[keras.KerasTensor], keras.KerasTensor] | None = None,
    ) -> keras.KerasTensor:
        """Run `(batch, timesteps, features)` through the stack.

        Args:
            x: the sequences.
            return_sequences: whether to return every timestep of the last layer, or only the last.
            reset: flags for every layer of a stateful stack, default None.
            between: function for the outputs of a layer that the next one reads, such as dropout.
                Default: none.

        Returns:
            `(batch, timesteps, units)` with `return_sequences`, else the last output
            `(batch, units)`. Twice the units if bidirectional.
        """
        x = self.project(x)
        for level, layer in enumerate(self.layers(return_sequences=return_sequences), start=1):
            if between is not None and level > 1:
                x = between(x)
            if self.bidirectional:
                layer = both_ways(layer, name=f"bidirectional_{level}")
            x = layer(x, reset=reset) if reset is not None else layer(x)
        return x

    def project(self, x: keras.KerasTensor, name: str = "input_projection") -> keras.KerasTensor:
        """Return what the lowest layer reads: the sequences, or a linear projection of them."""
        if self.input_projection is None:
            return x
        return keras.layers.Dense(self.input_projection, name=name)(x)

    def layers(
        self, name: str = "recurrent", *, return_sequences: bool, **options: Any
    ) -> list[keras.layers.RNN]:
        """Return the layers of the stack, the lowest first, named `recurrent_1` and so on."""
        depth = len(self.cells)
        return [
            recurrent_layer(
                cell,
                units=units,
                dropout=self.dropout,
                recurrent_dropout=self.recurrent_dropout,
                implementation=self.implementation,
                return_sequences=return_sequences or level < depth,
                stateful=self.stateful,
                name=f"{name}_{level}",
                **new_options(self.layer_options),
                **options,
            )
            for level, (cell, units) in enumerate(zip(self.cells, self.units, strict=True), start=1)
        ]

    def mirrored(self) -> "Stack":
        """Return the plan of a decoder: layers in the opposite order, no projection of inputs."""
        return replace(self, cells=self.cells[::-1], units=self.units[::-1], input_projection=None)


def recurrent_stack(
    x: keras.KerasTensor, *, return_sequences: bool = True, **options: Unpack[StackOptions]
) -> keras.KerasTensor:
    """Put recurrent layers on top of `x`, stacked as in every builder.

    Args:
        x: `(batch, timesteps, features)`.
        return_sequences: whether to return every timestep of the last layer, the default, or only
            the last.
        **options: the stack keywords, see `StackOptions`.

    Returns:
        `(batch, timesteps, units)` or `(batch, units)`; twice the units if bidirectional.

    Raises:
        ArgumentError: a keyword is unknown, or a value cannot work.

    Example:
        >>> x = keras.Input((None, 3))
        >>> recurrent_stack(x, units=(64, 32), cell="gru", bidirectional=True).shape
        (None, None, 64)
    """
    return Stack.parse(**options)(x, return_sequences=return_sequences)


def run_from(
    layers: Sequence[keras.layers.RNN],
    x: keras.KerasTensor,
    states: Sequence[States] | None = None,
) -> tuple[keras.KerasTensor, list[States]]:
    """Run sequences through layers of a stack that return their states.

    Args:
        layers: the layers, the lowest first.
        x: `(batch, timesteps, features)`.
        states: initial states of each layer. Default: the states of new sequences.

    Returns:
        The output of the last layer, and the final states of each layer.
    """
    final_states = []
    for level, layer in enumerate(layers):
        x, *final = layer(x, initial_state=states[level] if states is not None else None)
        final_states.append(final)
    return x, final_states


def one_way(builder: str, stack: StackOptions) -> None:
    """Refuse stateful and bidirectional stacks, for a builder that continues from the last state.

    Raises:
        ArgumentError: the stack is stateful or bidirectional.
    """
    fixes = {
        "stateful": "A forecast reads its own window from its start. Use next_step for a model "
        "that continues from batch to batch.",
        "bidirectional": "The forecast continues from the newest value, and the backward direction "
        "ends at the oldest.",
    }
    for name, fix in fixes.items():
        if stack.get(name):
            raise bad_argument(name, True, f"False for {builder}", fix)


def mask_reader(model: keras.Model) -> keras.Model:
    """Return the model, after telling Keras that its layers read masks and set those of outputs.

    Otherwise Keras warns that a model within another model destroys the masks of its inputs.
    """
    model.supports_masking = True
    model.compute_mask = _no_more_masks
    return model


def _no_more_masks(inputs: Any, previous_mask: Any) -> None:
    """Return no mask: the layers of a functional model have set the masks of its outputs."""


def both_ways(layer: keras.layers.RNN, *, name: str) -> Bidirectional:
    # Bidirectional copies the layer through its config, which holds only the name of a user's cell.
    cell = type(layer.cell)
    with keras.saving.custom_object_scope({cell.__name__: cell}):
        return Bidirectional(layer, name=name)


def _layers(cell: Any, units: Any) -> tuple[tuple[Cell, ...], tuple[int, ...]]:
    """Return one cell and one number of units for each layer."""
    cells = tuple(cell) if isinstance(cell, (list, tuple)) else (cell,)
    if not cells:
        raise bad_argument("cell", cell, "a cell, or a list of one cell or more")
    if units is not None and not all(isinstance(entry, str) for entry in cells):
        fix = "A Keras cell has its own units. Omit units, or name the cells instead."
        raise bad_argument("units", units, "omitted where cell is a Keras cell", fix)
    widths = check_widths(units if units is not None else DEFAULT_UNITS)
    if len(cells) == 1:
        cells *= len(widths)
    elif len(widths) == 1:
        widths *= len(cells)
    if len(cells) != len(widths):
        fix = f"There are {len(cells)} cells."
        raise bad_argument("units", units, "one number for each cell", fix)
    return cells, widths


def check_activation(activation: Any) -> Any:
    """Return the activation of a head.

    Raises:
        ArgumentError: Keras knows no activation of this name.
    """
    try:
        return keras.activations.get(activation)
    except ValueError as error:
        expected = "the name of an activation of Keras, such as 'softmax', a function, or None"
        hint = nearest(activation, dir(keras.activations))
        raise bad_argument("activation", activation, expected, hint) from error


def check_widths(units: Any) -> tuple[int, ...]:
    """Return the widths of the layers of a stack.

    Raises:
        ArgumentError: they are neither an integer nor a tuple of integers.
    """
    if not isinstance(units, (list, tuple)):
        return (check_integer("units", units),)
    if not units:
        raise bad_argument("units", units, "an integer, or a tuple of one integer or more")
    return tuple(check_integer("units", width, fix=f"Got it in {units!r}.") for width in units)

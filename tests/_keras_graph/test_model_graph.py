"""Model graphs: what they hold, how values run through them, and which models have none."""

import keras
import pytest
from keras import layers

from seqkeras._keras_graph import ModelGraph, walk
from seqkeras.errors import ArgumentError


def visited(model):
    """Return the names of operations in the order in which they are visited."""
    names = []

    def visit(call, args, kwargs):
        names.append(call.operation.name)
        return [0] * len(call.outputs)

    walk(ModelGraph(model), [0] * len(model.inputs), visit)
    return names


def test_calls_are_visited_in_order_including_those_of_nested_models():
    inner = keras.Sequential(
        [keras.Input((None, 2)), layers.GRU(2, name="b"), layers.Dense(1, name="c")]
    )
    x = keras.Input((None, 2))
    model = keras.Model(x, layers.Dense(1, name="d")(inner(layers.Dense(2, name="a")(x))))
    assert visited(model) == ["a", "b", "c", "d"]


def test_a_shared_layer_is_visited_at_each_call():
    x = keras.Input((None, 2))
    layer = layers.Dense(2, name="twice")
    assert visited(keras.Model(x, layer(layer(x)))) == ["twice", "twice"]


@pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask")
def test_masks_of_nested_models_are_attached_to_their_inputs():
    inner = keras.Sequential([keras.Input((None, 2)), layers.GRU(2)])
    x = keras.Input((None, 2))
    mask = keras.Input((None,), dtype="bool")
    graph = ModelGraph(keras.Model([x, mask], inner(x, mask=mask)))
    values = []

    def visit(call, args, kwargs):
        values.append(args[0])
        return "output"

    walk(graph, ["x", "mask"], visit, attach_mask=lambda value, mask: f"{value} with {mask}")
    walk(graph, ["x", "mask"], visit)
    assert values == ["x with mask", "x"]


def test_inputs_and_outputs_keep_their_structure():
    x = keras.Input((None, 2), name="x")
    static = keras.Input((1,), name="static")
    h = layers.GRU(2)(x)
    graph = ModelGraph(keras.Model({"x": x, "static": static}, {"sum": h + static}))
    assert graph.input_names == ["static", "x"]
    assert graph.pack_inputs([1, 2]) == {"static": 1, "x": 2}
    assert list(graph.output_structure) == ["sum"]


def test_a_sequential_model_takes_a_single_tensor():
    graph = ModelGraph(keras.Sequential([keras.Input((None, 2), name="x"), layers.GRU(2)]))
    assert graph.input_names == ["x"]
    assert graph.pack_inputs([1]) == 1


def test_readers_are_the_layers_of_this_model_only():
    x = keras.Input((None,))
    embedding = layers.Embedding(5, 2)
    other = layers.Embedding(3, 2)
    keras.Model(x, other(x))
    assert ModelGraph(keras.Model(x, embedding(x))).readers(x) == [embedding]


def test_layers_and_their_dtypes_include_nested_ones():
    inner = keras.Sequential([keras.Input((None, 2)), layers.GRU(2, dtype="float64", name="gru")])
    x = keras.Input((None, 2))
    graph = ModelGraph(keras.Model(x, layers.Dense(1, dtype="float32")(inner(x))))
    assert "gru" in [layer.name for layer in graph.layers]
    assert {"float32", "float64"} <= graph.compute_dtypes


class Own(keras.Model):
    def call(self, x):
        return x


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("model.keras", r"model must be a keras\.Model\. Got: model='str'"),
        (Own(), r"functional or Sequential.*Got: model='Own'.*cannot be inspected"),
        (keras.Sequential([layers.GRU(3)], name="bare"), r"built.*'bare'.*Give it an Input"),
    ],
)
def test_models_without_a_visible_graph_are_refused(model, message):
    with pytest.raises(ArgumentError, match=message):
        ModelGraph(model)

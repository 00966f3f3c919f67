"""Private names of Keras are used only in `_keras_graph` and `layers`, which subclasses them."""

import ast
from pathlib import Path

import pytest

import seqkeras

PACKAGE = Path(seqkeras.__file__).parent

#: Attributes that Keras does not promise to keep.
PRIVATE = {
    "_assert_input_compatibility",
    "_call_has_mask_arg",
    "_call_has_training_arg",
    "_compile_config",
    "_flatten_layers",
    "_functional",
    "_inbound_nodes",
    "_inputs_struct",
    "_keras_call_info_injected",
    "_keras_history",
    "_keras_mask",
    "_nodes_by_depth",
    "_outbound_nodes",
    "_output_shape",
    "_outputs_struct",
    "_run_through_graph",
    "_seed_generators",
    "_tracker",
    "_trainable_variables",
}

#: Packages that may use them.
ALLOWED = ("_keras_graph", "layers")


def private_names(path: Path) -> set[str]:
    """Return the private names in a file: as attributes, or as text for `getattr`."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.add(node.value)
    return names & PRIVATE


FILES = [
    path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] not in ALLOWED
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_private_names_of_keras_stay_in_their_rooms(path):
    names = private_names(path)
    assert not names, (
        f"{path.relative_to(PACKAGE)} uses {sorted(names)}, which Keras may change in any release. "
        "Use a function of seqkeras._keras_graph, or add one there."
    )


def test_private_names_are_found_where_they_are_allowed():
    assert private_names(PACKAGE / "_keras_graph" / "_calls.py") >= {"_keras_history"}

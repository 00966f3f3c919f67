"""The vocabularies of Keras' preprocessing layers."""

from typing import Any, NamedTuple

from seqkeras._checks import Description, bad_argument


class LookupTable(NamedTuple):
    """What a layer of Keras knows about its tokens.

    Attributes:
        tokens: all tokens in the order of their ids, with the special ones.
        pad: the token of the padding, or None.
        unknown: the token that stands for unknown ones, or None.
    """

    tokens: list[str]
    pad: str | None
    unknown: str | None


def read_lookup(layer: Any) -> LookupTable:
    """Return the tokens of a `StringLookup` or `TextVectorization` layer.

    Raises:
        ArgumentError: the layer is of another kind, or its outputs are not the ids of tokens.
    """
    # Recognized by name: Keras need not be imported to make a vocabulary.
    if type(layer).__name__ not in ("StringLookup", "TextVectorization"):
        actual = Description(f"a {type(layer).__name__}")
        raise bad_argument("layer", actual, "a StringLookup or TextVectorization layer of Keras")
    config = layer.get_config()
    if config["output_mode"] != "int" or config.get("invert"):
        actual = Description(
            f"output_mode={config['output_mode']!r}, invert={config.get('invert')}"
        )
        raise bad_argument(
            "layer", actual, "a layer whose outputs are ids", "Use output_mode='int'."
        )
    # TextVectorization has fixed special tokens, which its config does not list.
    pad = config.get("mask_token", "")
    unknowns = config.get("num_oov_indices", 1)
    if unknowns > 1:
        actual = Description(f"num_oov_indices={unknowns}")
        raise bad_argument("layer", actual, "a layer with at most 1 id for unknown tokens")
    unknown = config.get("oov_token", "[UNK]") if unknowns else None
    tokens = [str(token) for token in layer.get_vocabulary()]
    if not set(tokens) - {pad, unknown}:
        fix = "Call layer.adapt(texts) first."
        raise bad_argument("layer", Description("no token"), "a layer with a vocabulary", fix)
    return LookupTable(tokens, pad, unknown)

"""Tests of the exception tree."""

import pickle
import re

import pytest

from seqkeras import errors

CLASSES = [value for value in vars(errors).values() if isinstance(value, type)]
ROOTS = (errors.SeqkerasError, errors.SeqkerasWarning)


@pytest.mark.parametrize("cls", CLASSES)
def test_every_class_is_in_the_tree_of_the_docstring_with_its_built_in_base(cls):
    drawn = dict(re.findall(r"(\w+)(?: \((\w+)\))?", errors.__doc__))
    built_in = [base for base in cls.__bases__ if base not in (*ROOTS, Exception)]
    assert drawn[cls.__name__] == "".join(base.__name__ for base in built_in)


@pytest.mark.parametrize("cls", CLASSES)
def test_one_base_catches_all_of_a_kind(cls):
    assert issubclass(cls, ROOTS)
    assert issubclass(cls, Warning) == issubclass(cls, errors.SeqkerasWarning)


@pytest.mark.parametrize("cls", CLASSES)
def test_message_survives_pickle(cls):
    # Worker processes pickle their errors.
    assert str(pickle.loads(pickle.dumps(cls("what went wrong")))) == "what went wrong"

"""What language models and translators share: parameters, the state of a fit, and their file."""

import os
from collections.abc import Callable
from typing import Any, ClassVar, Self

import keras
from sklearn.base import BaseEstimator

from seqkeras.errors import NotFittedError
from seqkeras.text._text_file import Parts, read_parts, write_parts
from seqkeras.text._text_settings import TextSettings
from seqkeras.text._vocabulary import Vocabulary
from seqkeras.training import TrainingLog


class TextEstimator(BaseEstimator):
    """Base of estimators that learn from texts.

    Attributes:
        model_: the trained `keras.Model`.
        log_: losses and the best epoch.
    """

    model_: keras.Model
    log_: TrainingLog

    #: Names of the attributes with a vocabulary; the last has the ids that the model predicts.
    _vocabularies: ClassVar[tuple[str, ...]]
    #: Names of further attributes that a fit sets: numbers and flags.
    _facts: ClassVar[tuple[str, ...]]

    def settings(self) -> TextSettings:
        """Check the parameters.

        Raises:
            ArgumentError: a parameter is invalid.
        """
        return TextSettings.parse(self.get_params(deep=False))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything into one file, without pickle.

        The file holds a JSON header, the vocabulary, and the network as `.keras`. A file that is
        already there is replaced only by a complete one. Where `tokens` is a function, `load`
        needs it again.

        Raises:
            NotFittedError: `fit` was not called.
            ArgumentError: a parameter that was set after the fit is invalid.
        """
        self.check_fitted()
        self.settings()
        parts = Parts(
            params=self.get_params(deep=False),
            model=self.model_,
            vocabularies={name: getattr(self, name) for name in self._vocabularies},
            facts={name: getattr(self, name) for name in self._facts},
            log=self.log_,
        )
        write_parts(path, parts, kind=self._kind())

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], *, tokens: Callable[[str], Any] | None = None
    ) -> Self:
        """Read what `save` wrote.

        Args:
            path: the file.
            tokens: the function that made the tokens, if `tokens` was one. Default: none.

        Raises:
            ArgumentError: `tokens` is missing, or was a kind and not a function.
            FileFormatError: the file is damaged, of another kind, or from a later version.
        """
        parts = read_parts(path, kind=cls._kind(), tokens=tokens, names=cls._vocabularies)
        estimator = cls(**parts.params)
        estimator.settings()
        estimator._set(parts.model, parts.log, **parts.vocabularies, **parts.facts)
        return estimator

    def check_fitted(self) -> None:
        """Check that there is a trained model.

        Raises:
            NotFittedError: `fit` was not called.
        """
        if not hasattr(self, "model_"):
            raise NotFittedError(f"This {type(self).__name__} is not fitted. Call fit(...) first.")

    def _set(self, model: keras.Model, log: TrainingLog, **attributes: Vocabulary | Any) -> None:
        """Take over the result of a fit."""
        for name, value in attributes.items():
            setattr(self, name, value)
        self.log_ = log
        self.model_ = model

    @classmethod
    def _kind(cls) -> str:
        return f"seqkeras.{cls.__name__}"

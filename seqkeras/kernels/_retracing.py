"""TensorFlow's notes about functions that are traced again."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_retracing_notes() -> Iterator[None]:
    """Suppress these notes where the library trains or runs a new model on each call.

    TensorFlow counts traces by the line of code in Keras, over all models of a process. So it warns
    at the fifth model, although each was traced once and there is nothing to change.
    """

    def is_other(record: logging.LogRecord) -> bool:
        return "triggered tf.function retracing" not in record.getMessage()

    logger = logging.getLogger("tensorflow")
    logger.addFilter(is_other)
    try:
        yield
    finally:
        logger.removeFilter(is_other)

"""The logarithm of the gamma function, which Keras lacks."""

import math
from typing import Any

from keras import ops


def log_gamma(x: Any) -> Any:
    """Return the logarithm of the gamma function, for x > 0, to a relative error of about 1e-7.

    Stirling's series, evaluated at x + 4 (Abramowitz & Stegun 1964, 6.1.41 and 6.1.15).

    Example:
        >>> float(log_gamma(ops.convert_to_tensor(5.0)))  # log(4!)  # doctest: +ELLIPSIS
        3.178...
    """
    z = x + 4
    inverse = 1 / z
    series = inverse * (1 / 12 - inverse**2 * (1 / 360 - inverse**2 / 1260))
    stirling = (z - 0.5) * ops.log(z) - z + 0.5 * math.log(2 * math.pi) + series
    return stirling - ops.log(x) - ops.log(x + 1) - ops.log(x + 2) - ops.log(x + 3)

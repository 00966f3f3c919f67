"""What tells the series of two frames apart."""

import numpy as np

from seqkeras.engines._parts import checksum
from seqkeras.forecasting.frames._panel import Panel


def panel_checksum(panel: Panel) -> str:
    """Return the SHA-256 of ids, timestamps, targets and covariates, in hexadecimal digits."""
    known = panel.known
    texts = [repr(index.astype(str).tolist()).encode() for index in (panel.ids, panel.last)]
    return checksum(
        [
            panel.values.indptr,
            panel.values.values,
            known.rows.values,
            known.static,
            known.categories,
            *(np.frombuffer(text, np.uint8) for text in texts),
        ]
    )

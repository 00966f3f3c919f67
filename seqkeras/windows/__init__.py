"""Windows over long series: index arithmetic, many series in one array, batches for `fit`."""

from typing import TYPE_CHECKING

from seqkeras._lazy import attach

if TYPE_CHECKING:  # the same names for type checkers; a test holds the two lists equal
    from seqkeras.windows._gather import gather as gather
    from seqkeras.windows._grouped import GroupedArray as GroupedArray
    from seqkeras.windows._layout import WindowIndex as WindowIndex
    from seqkeras.windows._scaling import StandardScaler as StandardScaler
    from seqkeras.windows._spec import WindowSpec as WindowSpec
    from seqkeras.windows._stateful_batches import StatefulBatches as StatefulBatches
    from seqkeras.windows._windows import Windows as Windows

# Lazy, because `Windows` is a Keras class and the rest needs only NumPy.
__getattr__, __dir__ = attach(
    __name__,
    {
        "_gather": ("gather",),
        "_grouped": ("GroupedArray",),
        "_layout": ("WindowIndex",),
        "_scaling": ("StandardScaler",),
        "_spec": ("WindowSpec",),
        "_stateful_batches": ("StatefulBatches",),
        "_windows": ("Windows",),
    },
)

"""What the results of an evaluation depend on, as text."""

from collections.abc import Collection

from seqkeras.forecasting._forecaster import Forecaster
from seqkeras.forecasting.evaluation._space import readable
from seqkeras.forecasting.frames._checksum import panel_checksum
from seqkeras.forecasting.frames._columns import Columns
from seqkeras.forecasting.frames._panel import Panel


def inputs_of(forecaster: Forecaster, panel: Panel, columns: Columns) -> dict[str, str]:
    """Describe a forecaster and its data."""
    return {
        "data": panel_checksum(panel),
        "columns": described_columns(panel, columns),
        "parameters": described_parameters(forecaster),
    }


def described_columns(panel: Panel, columns: Columns) -> str:
    """Describe how the columns of a frame were read."""
    return (
        f"{panel.columns} {panel.covariates} {panel.calendar}"
        f" missing={columns.missing} short_series={columns.short_series}"
    )


def described_parameters(forecaster: Forecaster, omitted: Collection[str] = ()) -> str:
    """Describe the parameters of a forecaster, except some, and except what changes no number."""
    params = forecaster.get_params()
    holders = {"network", "intervals", "training", "training__progress"}
    names = sorted(set(params) - set(omitted) - holders)
    return readable({name: params[name] for name in names})

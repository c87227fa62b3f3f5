"""All fits of the repository, done again. Inputs are the evidence that ships."""

from collections.abc import Iterator

from simulator.calibration.aic_rows import cell_fits, shipped_cells
from simulator.calibration.fit_grid import ALL, GRIDS, HELD, grid_fits
from simulator.calibration.refit import Refit
from simulator.catalog import names
from simulator.hardware.load import load_deployment


def all_fits() -> list[Refit]:
    """One for each profile that holds fitted coefficients."""
    return [*grid_fits(), *cell_fits()]


def not_reproduced() -> list[tuple[str, str, str]]:
    """Coefficients of step laws that profiles call fitted and no fit here reproduces: profile, field, source."""
    return list(_strays())


def _strays() -> Iterator[tuple[str, str, str]]:
    known = {(key, float(load_deployment(grid.deployment).fields[key].value)) for grid in GRIDS for key in (*grid.fitted, *HELD)}
    for name in sorted(set(names("deployments")) - set(shipped_cells())):
        fields = load_deployment(name).fields
        for key in (*ALL, *HELD, "host_s"):
            field = fields.get(key)
            if field is not None and field.quality == "fitted" and (key, float(field.value)) not in known:
                yield f"deployments/{name}", key, field.source

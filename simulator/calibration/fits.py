"""All fits of the repository, done again. Inputs are the evidence that ships."""

import math
from collections.abc import Iterable, Iterator, Mapping

from simulator.calibration.aic_rows import cell_fits, shipped_cells
from simulator.calibration.evidence import shipped_rows
from simulator.calibration.fit_grid import ALL, GRIDS, HELD, grid_fits
from simulator.calibration.fit_law import fit_table, samples_of
from simulator.calibration.fit_power import FREE, fit_power
from simulator.calibration.fit_served import served_fits
from simulator.calibration.power_rows import power_models, power_rows
from simulator.calibration.refit import Coefficient, Refit
from simulator.catalog import names
from simulator.hardware.efficiency import NAMES, Fitted, efficiencies, table_text
from simulator.hardware.load import load_deployment, load_system
from simulator.hardware.served import served, served_text

SILICON = "silicon_fit"
"""Word in the source of the rows that the efficiencies are fitted to."""

EFFICIENCY_HEADING = """Efficiencies of serving stacks, fitted by `agentwatt fit` to hardware_profiles/evidence/silicon.csv (docs/laws.md).
Times in s; weights, kv, decode_gemm, prefill_* and link are times over the datasheet's; errors are medians, absolute and relative."""


SERVED_HEADING = """What served engines take over the sum of their operators, fitted by `agentwatt fit` to served rows (docs/laws.md).
prefill: times over the operators' own, for a prompt's tokens; request_s: s before the scheduler sees a call; errors are medians."""


def all_fits() -> list[Refit]:
    """One for each profile or table that holds fitted coefficients."""
    return [*grid_fits(), *cell_fits(), *law_fits(), *engine_fits(), *power_fits()]


def refitted_efficiencies() -> list[Fitted]:
    """The table of efficiencies from the rows that it rests on."""
    return fit_table(samples_of(row for row in shipped_rows() if SILICON in row.source))


def table_again(name: str) -> str:
    """The file of a table of laws, ``efficiencies`` or ``served``, fitted again."""
    if name == "served":
        return served_text(served_fits(shipped_rows()), SERVED_HEADING)
    return table_text(refitted_efficiencies(), EFFICIENCY_HEADING)


def law_fits() -> list[Refit]:
    """Every row of the table of efficiencies beside its fit."""
    again = {" ".join(row.key): row.efficiency for row in refitted_efficiencies()}
    return _beside("efficiencies", NAMES, {" ".join(key): row.efficiency for key, row in efficiencies().items()}, again)


def engine_fits() -> list[Refit]:
    """What served engines take over the sum of their operators, beside its fit."""
    shipped, again = ({f"{row.engine} {row.family}": row for row in rows} for rows in (served(), served_fits(shipped_rows())))
    return _beside("served", ("prefill", "request_s"), shipped, again)


def _beside(table: str, names: Iterable[str], shipped: Mapping[str, object], again: Mapping[str, object]) -> list[Refit]:
    """The coefficients of each row of a table; of a row that one of the two lacks all are against NaN."""

    def pairs(row: str) -> Iterator[Coefficient]:
        for name in names:
            yield Coefficient(name, *(getattr(found.get(row), name, math.nan) for found in (shipped, again)))

    return [Refit(f"laws/{table}: {row}", tuple(pairs(row)), ()) for row in dict.fromkeys((*shipped, *again))]


def power_fits() -> list[Refit]:
    """The power law of each system that is fitted."""
    systems = {name: load_system(name) for name in FREE}
    return [
        Refit(
            f"systems/{name}",
            tuple(Coefficient(key, float(getattr(systems[name], key)), fit.coefficients[key]) for key in FREE[name][1]),
            (),
        )
        for name, fit in fit_power(power_rows(), systems, power_models()).items()
    ]


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

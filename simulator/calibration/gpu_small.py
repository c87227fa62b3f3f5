"""The plan at sizes that any CPU gets through in seconds: it tries every kernel and the file, and measures nothing. Input is a plan."""

from dataclasses import replace

from simulator.calibration import gpu_cells as cells
from simulator.calibration.gpu_cells import Cell, Entry
from simulator.calibration.gpu_plan import Plan, Visit

LARGEST = {
    "tokens": 48, "k": 64, "n": 96, "chosen": 4, "of": 8, "rows": 4, "batch": 2, "context": 256, "held": 512, "heads": 4, "kv_heads": 2,
    "key": 32, "value": 16, "chunk": 32, "prefix": 64, "megabytes": 1,
}  # fmt: skip
WINDOW_S = 0.01


def small_plan(plan: Plan) -> Plan:
    """Every visit with its sizes cut to `LARGEST`; cells that become equal are visited once."""
    visits = [Visit(small(visit.cell), visit.number, 4 * WINDOW_S) for visit in plan.visits]
    return Plan(tuple({visit.key: visit for visit in visits}.values()), (), WINDOW_S)


def small(cell: Cell) -> Cell:
    """A cell of the same kind with small sizes, its FLOPs and bytes worked out anew."""
    cut = {name: min(value, LARGEST.get(name, value)) for name, value in cell.size.items()}
    match cell.kind:
        case "gemm":
            return cells.gemm(cell.part, cell.model, cell.dtype, tokens=cut["tokens"], k=cut["k"], n=cut["n"])
        case "duty":
            work = small(replace(cell, kind="gemm"))
            return cells.duty(work, cell.size["busy_percent"])
        case "experts":
            return cells.experts(cell.model, chosen=cut["chosen"], of=cut["of"], rows=cut["rows"], k=cut["k"], n=cut["n"])
        case "copy":
            return cells.copy(cut["megabytes"])
        case "host":
            return cells.host(cell.part, cut["megabytes"])
        case "decode":
            held = cut["held"] if cell.size["context"] < cell.size["held"] else cut["context"]
            return cells.decode(
                cell.part, cell.model, batch=cut["batch"], context=cut["context"], held=held, heads=cut["heads"], entry=_entry(cell, cut)
            )
        case "prefill":
            return cells.prefill(
                cell.part, cell.model, chunk=cut["chunk"], prefix=cut["prefix"], heads=cut["heads"], entry=_entry(cell, cut)
            )
        case _:
            return replace(cell, memory_bytes=min(cell.memory_bytes, 1e6))


def _entry(cell: Cell, cut: dict[str, int]) -> Entry:
    """Keys as wide as values stay so; narrower values stay narrower."""
    value = cut["key"] if cell.size["value"] == cell.size["key"] else cut["value"]
    return Entry(cut["kv_heads"], cut["key"], value, bool(cell.size["shared"]))

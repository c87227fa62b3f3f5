"""What compiled code tells the processor and plain Python has no words for: rows to fetch ahead, and division of what is never negative.
With the JIT off nothing, and `//`."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import lower_builtin

from simulator.engine.tables import WORD, Table, address

LINE = 8
"""Integers in a line of the processor's cache."""


def prefetch(table: Any, row: int) -> None:
    """Fetch a row of a table into the processor's cache, for it is asked for soon. A hint, with the JIT off nothing; any row will do."""


@infer_global(prefetch)
class _Prefetch(AbstractTemplate):
    def generic(self, args: Any, kws: Any) -> Any:
        return signature(types.none, *args) if isinstance(args[0], Table) else None


@lower_builtin(prefetch, Table, types.Integer)
def _prefetch(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    table, _ = sig.args
    place, _ = address(context, builder, table, args[0], sig.args[1], args[1], inside=False)
    flag = ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [place.type, flag, flag, flag])
    hint = builder.module.declare_intrinsic("llvm.prefetch", [place.type], kind)
    for column in range(0, table.columns if table.dimensions > 1 else 1, LINE):
        builder.call(hint, [builder.gep(place, [ir.Constant(WORD, column)]), flag(0), flag(3), flag(1)])  # to read, keep it, data
    return context.get_dummy_value()


def quotient(a: int, b: int) -> int:
    """``a // b`` of integers of which neither is negative, ``b`` not 0: a third of the instructions that Python's rule for signs takes."""
    return a // b


@infer_global(quotient)
class _Quotient(AbstractTemplate):
    def generic(self, args: Any, kws: Any) -> Any:
        return signature(types.int64, types.int64, types.int64) if all(isinstance(arg, types.Integer) for arg in args) else None


@lower_builtin(quotient, types.int64, types.int64)
def _quotient(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return builder.udiv(*args)

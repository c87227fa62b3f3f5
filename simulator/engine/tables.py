"""Bundles of int64 tables that compiled code passes on as one pointer. Inputs are NamedTuples whose fields are arrays.

Numba takes a tuple of arrays apart into nine words an array at every call of every function, and makes every index that may be negative
count from the end: for the two bundles of the kernel that was some 250 arguments a call. A class that
`bundle` knows is passed as the address of a list of its arrays' addresses and lengths instead, and its fields are plain tables: indices
count from the front, all columns of a row lie side by side. With the JIT off a bundle is the NamedTuple of arrays that it is.
"""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import AbstractTemplate, AttributeTemplate, infer_getattr, infer_global, signature
from numba.extending import NativeValue, lower_builtin, lower_getattr_generic, models, register_model, typeof_impl, unbox
from numba.np.arrayobj import make_array

WORD = ir.IntType(64)


class Table(types.Type):
    """The type of a table or of a part of one; ``columns`` is the length of its last dimension where that is always the same, else 0."""

    def __init__(self, dimensions: int, columns: int) -> None:
        self.dimensions, self.columns = dimensions, columns
        super().__init__(name=f"Table({dimensions}, {columns})")


class Bundle(types.Type):
    """The type of a bundle: its fields with their dimensions and columns."""

    def __init__(self, name: str, fields: tuple[tuple[str, int, int], ...]) -> None:
        self.fields = fields
        self.tables = {field: Table(dimensions, columns) for field, dimensions, columns in fields}
        starts = np.cumsum([0] + [1 + dimensions for _, dimensions, _ in fields]).tolist()
        self.words = starts[-1]
        self.word = dict(zip(self.tables, starts, strict=False))
        """Where in the list the words of each field begin: its address, then its lengths."""
        super().__init__(name=f"Bundle({name}, {fields})")


def bundle(**columns: int) -> Callable[[type], type]:
    """Let compiled functions take a NamedTuple of C-ordered int64 arrays as one pointer.

    Parameters
    ----------
    **columns : int
        Length of the last dimension of the fields for which it is always the same.
    """

    def known(kind: type) -> type:
        @typeof_impl.register(kind)
        def typeof_bundle(value: Any, context: Any) -> Bundle:
            for field, table in zip(value._fields, value, strict=True):
                assert table.dtype == np.int64, field
                assert table.flags.c_contiguous, field
                assert table.shape[-1] == columns.get(field, table.shape[-1]), field
            fields = ((field, table.ndim, columns.get(field, 0)) for field, table in zip(value._fields, value, strict=True))
            return Bundle(kind.__name__, tuple(fields))

        return kind

    return known


@register_model(Bundle)
class _BundleModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Bundle) -> None:
        super().__init__(manager, kind, WORD.as_pointer())


@register_model(Table)
class _TableModel(models.StructModel):
    def __init__(self, manager: Any, kind: Table) -> None:
        lengths = [(f"length{i}", types.int64) for i in range(kind.dimensions)]
        super().__init__(manager, kind, [("data", types.CPointer(types.int64)), *lengths])


@unbox(Bundle)
def _unbox_bundle(kind: Bundle, obj: Any, c: Any) -> NativeValue:
    """The list is made on the stack of the caller and lives as long as the call."""
    words = cgutils.alloca_once(c.builder, WORD, size=kind.words)
    for place, (field, table) in enumerate(kind.tables.items()):
        array_type = types.Array(types.int64, table.dimensions, "C")
        native = c.unbox(array_type, c.pyapi.tuple_getitem(obj, place))
        array = make_array(array_type)(c.context, c.builder, native.value)
        lengths = cgutils.unpack_tuple(c.builder, array.shape, table.dimensions)
        for i, value in enumerate((c.builder.ptrtoint(array.data, WORD), *lengths)):
            c.builder.store(value, cgutils.gep(c.builder, words, kind.word[field] + i, inbounds=True))
    return NativeValue(words)


@infer_getattr
class _BundleFields(AttributeTemplate):
    key = Bundle

    def generic_resolve(self, value: Any, attr: Any) -> Any:  # type: ignore[override]
        return value.tables.get(attr)


@lower_getattr_generic(Bundle)
def _field_of_bundle(context: Any, builder: Any, kind: Bundle, value: Any, field: str) -> Any:
    table = kind.tables[field]
    once = builder.module.add_metadata([])

    def word(i: int) -> Any:
        found = builder.load(cgutils.gep(builder, value, kind.word[field] + i, inbounds=True))
        found.set_metadata("invariant.load", once)
        return found

    found = cgutils.create_struct_proxy(table)(context, builder)
    found.data = builder.inttoptr(word(0), WORD.as_pointer())
    for i in range(table.dimensions):
        setattr(found, f"length{i}", word(1 + i))
    return found._getvalue()


def _kinds(index: Any) -> tuple[Any, ...]:
    """The types of the one or several numbers of an index."""
    return tuple(index) if isinstance(index, types.BaseTuple) else (index,)  # type: ignore[arg-type]


def _part(table: Any, index: Any) -> Any:
    """What an index of a table gives: an integer, a part of fewer dimensions, or nothing that is known."""
    indices = _kinds(index)
    if not isinstance(table, Table) or not all(isinstance(i, types.Integer) for i in indices):
        return None
    left = table.dimensions - len(indices)
    return types.int64 if left == 0 else Table(left, table.columns) if left > 0 else None


@infer_global(operator.getitem)
class _GetItem(AbstractTemplate):
    def generic(self, args: Any, kws: Any) -> Any:
        found = _part(*args)
        return None if found is None else signature(found, *args)


@infer_global(operator.setitem)
class _SetItem(AbstractTemplate):
    def generic(self, args: Any, kws: Any) -> Any:
        table, index, _ = args
        return signature(types.none, table, index, types.int64) if _part(table, index) == types.int64 else None


@infer_global(len)
class _Len(AbstractTemplate):
    def generic(self, args: Any, kws: Any) -> Any:
        return signature(types.int64, *args) if isinstance(args[0], Table) else None


def address(
    context: Any, builder: Any, table: Table, value: Any, index_type: Any, index: Any, inside: bool = True
) -> tuple[Any, list[Any]]:
    """Where an index of a table lies, and the lengths of what follows; ``inside``: it is known to lie in the table."""
    kinds = _kinds(index_type)
    numbers = cgutils.unpack_tuple(builder, index, len(kinds)) if isinstance(index_type, types.BaseTuple) else [index]
    proxy = cgutils.create_struct_proxy(table)(context, builder, value)
    lengths = [getattr(proxy, f"length{i}") for i in range(table.dimensions)]
    if table.columns:
        lengths[-1] = ir.Constant(WORD, table.columns)
    at = None
    for length, number, kind in zip(lengths, numbers, kinds, strict=False):
        number = context.cast(builder, number, kind, types.int64)
        at = number if at is None else builder.add(builder.mul(at, length), number)
    for length in lengths[len(kinds) :]:
        at = builder.mul(at, length)
    return builder.gep(proxy.data, [at], inbounds=inside), lengths[len(kinds) :]


@lower_builtin(operator.getitem, Table, types.Integer)
@lower_builtin(operator.getitem, Table, types.BaseTuple)
def _get_item(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    place, lengths = address(context, builder, sig.args[0], args[0], sig.args[1], args[1])
    if not lengths:
        return builder.load(place)
    part = cgutils.create_struct_proxy(sig.return_type)(context, builder)
    part.data = place
    for i, length in enumerate(lengths):
        setattr(part, f"length{i}", length)
    return part._getvalue()


@lower_builtin(operator.setitem, Table, types.Integer, types.int64)
@lower_builtin(operator.setitem, Table, types.BaseTuple, types.int64)
def _set_item(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    place, _ = address(context, builder, sig.args[0], args[0], sig.args[1], args[1])
    builder.store(args[2], place)
    return context.get_dummy_value()


@lower_builtin(len, Table)
def _len(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return cgutils.create_struct_proxy(sig.args[0])(context, builder, args[0]).length0

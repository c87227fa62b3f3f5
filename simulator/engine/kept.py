"""Compiled code kept on disk from one process to the next. Inputs are a Python function and the modules its code comes from.

Numba's own store takes a caller for fresh while a function it calls has changed in another file, lets two machines with one home write
under one name, and raises on files that a full disk or a lost power supply cut short. Here file names carry a digest of all sources and of
the processor, what cannot be read is compiled anew, and what cannot be written is compiled by every process.
"""

import hashlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import llvmlite.binding as llvm
from numba import njit
from numba.core.caching import FunctionCache, IndexDataCacheFile


def kept(modules: Iterable[ModuleType], **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Lets a function be compiled when first called, or loaded if that was done before on such a processor from the same sources.

    Parameters
    ----------
    modules : iterable of module
        All those in whose files code or constants of the function stand, its own among them.
    **options
        Those of `numba.njit`, without ``cache``.
    """

    def decorated(function: Callable[..., Any]) -> Any:
        compiled: Any = njit(**options)(function)
        if compiled is not function:  # as with the JIT off
            with suppress(RuntimeError):  # no folder can be written: each process compiles for itself
                compiled._cache = KeptCode(function, digest_of(modules))
        return compiled

    return decorated


def is_kept(compiled: Any) -> bool:
    """Whether nothing has to be compiled before the first call, by the files there are."""
    store = getattr(compiled, "_cache", None)  # none with the JIT off
    return store is None or (isinstance(store, KeptCode) and store.index.exists())


def digest_of(modules: Iterable[ModuleType]) -> str:
    """What tells apart code from other sources or for another processor."""
    found = hashlib.sha256(llvm.get_host_cpu_name().encode() + llvm.get_host_cpu_features().flatten().encode())
    for module in modules:
        found.update(Path(str(module.__file__)).read_bytes())
    return found.hexdigest()[:16]


class KeptCode(FunctionCache):
    """Numba's store, under names of ours, that never fails: at worst it holds nothing."""

    def __init__(self, function: Callable[..., Any], digest: str) -> None:
        super().__init__(function)
        name = f"{self._impl.filename_base}-{digest}"
        self._cache_file = IndexDataCacheFile(self._cache_path, name, digest)
        self.index = Path(self._cache_path) / f"{name}.nbi"

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Nothing where files are damaged, in whatever way: reading them may raise anything."""
        try:
            return super().load_overload(sig, target_context)
        except Exception:
            self._try(self.flush)
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Nothing where the disk is full or the folder is no longer there."""
        self._try(super().save_overload, sig, data)

    def _try(self, action: Callable[..., Any], *arguments: Any) -> None:
        try:
            action(*arguments)
        except OSError:
            self.disable()

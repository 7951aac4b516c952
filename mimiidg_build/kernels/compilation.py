"""How the functions of this room are compiled: once for the processor at hand, with the same bits on every one.

numba compiles a function when its module is first imported, which takes some seconds, and caches it beside the module
or in the user's cache folder. Three rules keep the bits independent of the processor:

- Every floating-point operation is a single IEEE one, in the order written. numba's ``fastmath`` stays off: it would
  allow fused multiply-adds, and sums in another order for every vector width.
- No mathematical function of a library is called: their last bits differ. The logarithm is in :mod:`.decibels`.
- Integer sums are exact, so these the compiler may reorder as it likes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from mimiidg_build.kernels.cache import RoomCache

log = logging.getLogger(__name__)

Array = npt.NDArray[Any]
Function = Callable[..., Any]
f32, i32, i64 = np.float32, np.int32, np.int64


def _read_only(dtype: Any) -> Any:
    """An argument's type: a contiguous array of one axis that is only read, so the caller's may be read-only, too."""
    return numba.types.Array(dtype, 1, "C", readonly=True)


INT16S, FLOATS, INTEGERS = _read_only(numba.int16), _read_only(numba.float32), _read_only(numba.int64)
INT16S_OUT = numba.int16[::1]


def compiled(*signatures: tuple[Any, ...]) -> Callable[[Function], Function]:
    """Decorate an entry point of this room: compiled now, for arguments of the given types, and cached.

    Where nothing can be cached (neither this folder nor the user's can be written), it is compiled all the same, and a
    warning says how to avoid that.
    """

    def decorated(function: Function) -> Function:
        # nogil: worker threads run it at the same time
        dispatcher: Any = numba.njit(nogil=True)(function)
        try:
            # an attribute of numba's own: njit(cache=True) would set its FunctionCache here, and takes no other class
            dispatcher._cache = RoomCache(function)
        except RuntimeError as error:
            log.warning(
                "%s; every process will compile this again. Set NUMBA_CACHE_DIR to a folder that can be written.", error
            )
        for signature in signatures:
            dispatcher.compile(signature)
        dispatcher.disable_compile()  # arguments of other types are an error rather than some seconds of compilation
        entry: Function = dispatcher
        return entry

    return decorated


def part(function: Function) -> Function:
    """Decorate a part of an entry point: compiled with it, and cached as part of its machine code."""
    return numba.njit(nogil=True)(function)


def inlined(function: Function) -> Function:
    """Decorate a part that the compiler must see as if it stood where it is called."""
    return numba.njit(nogil=True, forceinline=True)(function)

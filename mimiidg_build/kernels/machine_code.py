"""Machine code of this room's entry points: made once by :mod:`.compilation`, kept by :mod:`.cache`, loaded here.

Only making it takes numba, whose import is half a processor second and which compiles for some ten. Loading it from
the cache takes llvmlite alone, a tenth of a second, so this module must not import numba, nor any that does.
"""

from __future__ import annotations

import ctypes
import hashlib
import itertools
import threading
from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from llvmlite import binding as llvm

from mimiidg_build.kernels.cache import CodeCache, digest_of_files
from mimiidg_build.settings import compiled_for

LOADING = threading.Lock()  # the first clips come on all worker threads at once, and one of them is enough to compile
NUMBERED = itertools.count()  # LLVM wants a name of its own for everything that it loads
NUMBERS = {np.float32: ctypes.c_float, np.int64: ctypes.c_int64}


def digest_of_sources() -> str:
    """Digest of this room's source text: machine code holds everything that was called from where it begins."""
    # sorted, since the file system lists files in any order, and another digest is another compilation
    return digest_of_files(sorted(Path(__file__).parent.glob("*.py")))


@cache
def processor() -> tuple[str, str]:
    """Name and features of the processor that is compiled for, as numba takes them from the environment or LLVM."""
    name, features = compiled_for()
    flat = llvm.get_host_cpu_features().flatten() if features is None else features
    return name or llvm.get_host_cpu_name(), flat


@cache
def room_key() -> tuple[str, ...]:
    """What all machine code of this process depends on. Machines of several kinds may share a cache folder."""
    return (digest_of_sources(), version("numba"), version("llvmlite"), llvm.get_process_triple(), *processor())


class MachineCode:
    """A compiled function, to be called with arrays and numbers; it returns nothing and allocates nothing.

    Parameters
    ----------
    module : str
        Of this room, which has the function.
    function : str
    *arguments : np.dtype or list of one
        The type of each number (float32 or int64), and of the items of each array, as a list: ``[np.int16]``. Arrays
        are contiguous and reach the function with one axis.
    """

    def __init__(self, module: str, function: str, *arguments: Any) -> None:
        self.module, self.function, self.arguments = module, function, arguments
        # None for a number
        self._dtypes = [np.dtype(kind[0]) if isinstance(kind, list) else None for kind in arguments]
        self._call: Any = None
        self._library: Any = None  # the code lives as long as this does

    def __call__(self, *given: Any) -> None:
        """Call it; other threads run meanwhile.

        Raises
        ------
        TypeError
            An array has items of another type, or is not contiguous: the code would read what is not there.
        """
        if self._call is None:
            self.load()
        self._call(*self._values(self._dtypes, given))

    def bound(self, *arguments: Any) -> Callable[..., None]:
        """The call with those of its arguments that are not ``...``; those come with each call.

        Addresses of what is bound are looked up once: a microsecond for each array, four when nothing is in the cache.

        Raises
        ------
        TypeError
            As a call does.
        """
        if self._call is None:
            self.load()
        call, values, places = self._call, list[Any](), list[tuple[int, int, np.dtype[Any] | None]]()
        for dtype, argument in zip(self._dtypes, arguments, strict=True):
            begin, n = len(values), 1 if dtype is None else 2
            if argument is ...:
                places.append((begin, begin + n, dtype))
            values += [None] * n if argument is ... else self._values([dtype], [argument])

        def bound(*given: Any, kept: Any = arguments) -> None:  # the arrays live as long as this does
            filled = values.copy()  # another thread may be calling
            for (begin, end, dtype), value in zip(places, given, strict=True):
                filled[begin:end] = self._values((dtype,), (value,))
            call(*filled)

        return bound

    def _values(self, dtypes: Sequence[np.dtype[Any] | None], given: Sequence[Any]) -> list[Any]:
        """Arguments as the code takes them: of an array, its address and its length."""
        values: list[Any] = []
        for dtype, value in zip(dtypes, given, strict=True):
            if dtype is None:
                values.append(value)
                continue
            if value.dtype != dtype or not value.flags.c_contiguous:
                raise TypeError(f"{self.function} takes contiguous {dtype}, got {value.dtype}")
            # not value.ctypes.data: that makes objects, which takes a clip's calls 80 us when nothing is in the cache
            values += value.__array_interface__["data"][0], value.size
        return values

    def load(self) -> None:
        """Have the code ready: from the cache, else compiled now."""
        with LOADING:
            if self._call is None:
                kept = CodeCache(f"{self.module}.{self.function}", room_key()[0])
                key = hashlib.sha256(repr((*room_key(), self.arguments)).encode()).hexdigest()
                code = kept.load(key)
                if code is None:
                    from mimiidg_build.kernels.compilation import compile_function

                    code = compile_function(self.module, self.function, self.arguments)
                    kept.save(key, code)
                self._library = _linked(code, self.function)
                self._call = self._prototype()(self._library[self.function])

    def _prototype(self) -> Any:
        """Its type in C: a pointer and a length for each array."""
        kinds: list[Any] = []
        for kind in self.arguments:
            kinds += [ctypes.c_void_p, ctypes.c_int64] if isinstance(kind, list) else [NUMBERS[kind]]
        return ctypes.CFUNCTYPE(None, *kinds)


def _linked(code: bytes, function: str) -> Any:
    """Object code, loaded into this process."""
    builder = llvm.JITLibraryBuilder().add_object_img(code).add_current_process().export_symbol(function)
    return builder.link(_linker(), f"{function} {next(NUMBERED)}")


@cache
def _linker() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.create_lljit_compiler()

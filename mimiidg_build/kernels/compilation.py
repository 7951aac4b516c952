"""How the functions of this room are compiled: once for the processor at hand, with the same bits on every one.

numba makes LLVM's language of them, and LLVM object code, which :mod:`.machine_code` has kept and loads without either.
Three rules keep the bits independent of the processor:

- Every floating-point operation is a single IEEE one, in the order written. numba's ``fastmath`` stays off: it would
  allow fused multiply-adds, and sums in another order for every vector width.
- No mathematical function of a library is called: their last bits differ. The logarithm is in :mod:`.decibels`.
- Integer sums are exact, so these the compiler may reorder as it likes.

And one lets numba stay away later: entry points allocate nothing and raise nothing, since that is its runtime's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from llvmlite import binding as llvm

from mimiidg_build.kernels.machine_code import processor

Array = npt.NDArray[Any]
Function = Callable[..., Any]
f32, f64, i32, i64 = np.float32, np.float64, np.int32, np.int64


def part(function: Function) -> Function:
    """Decorate a function of this room: compiled as part of the entry point that calls it, or as one."""
    return numba.njit(function)


def inlined(function: Function) -> Function:
    """Decorate a part that the compiler must see as if it stood where it is called."""
    return numba.njit(forceinline=True)(function)


def compile_function(module: str, function: str, arguments: Sequence[Any]) -> bytes:
    """Object code of a function of this room, under its name, with C's way of being called.

    Parameters
    ----------
    module, function : str
    arguments : sequence
        See :class:`mimiidg_build.kernels.machine_code.MachineCode`: an array is passed as a pointer and a length.

    Returns
    -------
    bytes
    """
    compiled = vars(import_module(f"mimiidg_build.kernels.{module}"))[function]
    names, values, kinds = [], [], []
    for number, kind in enumerate(arguments):
        names.append(f"a{number}")
        if isinstance(kind, list):
            names.append(f"n{number}")
            values.append(f"carray(a{number}, n{number})")
            pointer: Any = numba.types.CPointer  # numba is hardly annotated
            kinds += [pointer(numba.from_dtype(np.dtype(kind[0]))), numba.int64]
        else:
            values.append(f"a{number}")
            kinds.append(numba.from_dtype(np.dtype(kind)))
    # numba takes no function of any number of arguments here, so this one is written out
    namespace = {"function": compiled, "carray": vars(numba)["carray"]}
    exec(f"def entry({', '.join(names)}):\n    function({', '.join(values)})", namespace)
    entry: Any = numba.cfunc(numba.void(*kinds))(namespace["entry"])
    return _object_code(entry.inspect_llvm(), entry.native_name, function)


def _object_code(text: str, entry: str, name: str) -> bytes:
    """Object code of one function of a module in LLVM's language, and of what it calls, for the processor at hand."""
    module = llvm.parse_assembly(text)
    module.get_function(entry).name = name
    for function in module.functions:
        if function.name != name and not function.is_declaration:
            function.linkage = "internal"  # so that what only Python would call is left out
    cpu, features = processor()
    target = llvm.Target.from_triple(llvm.get_process_triple())
    machine = target.create_target_machine(cpu, features, opt=3, reloc="static", codemodel="jitdefault", jit=True)
    passes = llvm.create_new_module_pass_manager()
    passes.add_ipsccp_pass()  # that the function never fails makes what numba's wrapper does then unreachable
    passes.add_simplify_cfg_pass()
    passes.add_global_dead_code_eliminate_pass()
    passes.run(module, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options()))
    code: bytes = machine.emit_object(module)
    return code

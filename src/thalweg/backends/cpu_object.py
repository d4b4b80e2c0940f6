"""CPU kernels as object code: Numba compiles a kernel once, LLVM alone loads it from then on.

The process that compiles loads the same bytes as every later one. (Run where Numba has linked them,
the same functions come out inlined otherwise, and sums in other last bits.) A file holds a checksum
before its code, so that a damaged one is compiled anew and never run.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
from llvmlite import binding as llvm

from thalweg.backends import kernels

ENTRY = "thalweg_kernel"
_DIGEST_SIZE = hashlib.sha256().digest_size

_WRAPPER = """
define void @{entry}(i64 %at) {{
  %nothing = alloca i8*
  %trouble = alloca i8*
  call i32 @"{main}"(i8** %nothing, i8** %trouble, i64 %at)
  ret void
}}
"""
"""Numba's functions return a status, always 0 here: kernels raise nothing."""

_engines: list[Any] = []
"""What holds the loaded code, as long as the process lives."""


def address_of(name: str, text: str, depends_on: str) -> int:
    """The address of the function `main` of this source: of one int64, and no result.

    depends_on: what the source imports; versions and the processor are seen to here
    """
    versions = f"llvmlite {llvmlite.__version__} {_processor()}"
    source = kernels.place(name, text, f"{depends_on}\n{versions}")
    path = source.with_suffix(".o")
    code = _read(path)
    if code is None:
        code = _compiled(source, text)
        with suppress(OSError):  # a full disk: later processes compile it again
            kernels.write(path, hashlib.sha256(code).digest() + code)
    return _loaded(code)


def _read(path: Path) -> bytes | None:
    """The code in a file; None where there is none, or it is damaged."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    digest, code = data[:_DIGEST_SIZE], data[_DIGEST_SIZE:]
    return code if hashlib.sha256(code).digest() == digest else None


def _compiled(source: Path, text: str) -> bytes:
    """Object code with one function that others see, ENTRY, and nothing of Python's in it."""
    main = kernels.module(source, text).main
    inner = main.native_name.removeprefix("cfunc.")
    written = main.inspect_llvm() + _WRAPPER.format(entry=ENTRY, main=inner)
    module = llvm.parse_assembly(written)
    _hide(module)
    return _machine().emit_object(module)


def _hide(module: Any) -> None:
    """Make every name but ENTRY the module's own, and drop what ENTRY does not need."""
    for value in (*module.functions, *module.global_variables):
        if not value.is_declaration and value.name != ENTRY:
            value.linkage = "internal"
    passes = llvm.create_new_module_pass_manager()
    passes.add_global_dead_code_eliminate_pass()
    passes.run(module, llvm.create_pass_builder(_machine(), llvm.create_pipeline_tuning_options()))


def _loaded(code: bytes) -> int:
    """Where ENTRY of this object code lies, once it is in memory."""
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _engines.append(engine)
    return engine.get_function_address(ENTRY)


@cache
def _processor() -> str:
    """What code for this machine is compiled for."""
    return f"{llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"


def _machine() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    name, features = _processor().split(" ", 1)
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=name, features=features, opt=3, jit=True, codemodel="jitdefault"
    )

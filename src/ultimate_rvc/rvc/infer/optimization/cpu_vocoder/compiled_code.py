"""Code for this processor, written at run time: loops over vectors of channels, compiled by LLVM.

numba brings LLVM along. Its own compiler turns loops of Python into code, but neither keeps two dozen vectors
in registers nor writes out a transform without loops; here Python writes the operations one by one.
Compiling takes some hundredths of a second for each function.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from llvmlite import binding, ir

LANES = 16
"""Channels of a vector: one register with AVX-512, two or four elsewhere."""

INT, POINTER = ir.IntType(64), ir.PointerType()
NUMBER = "number"
"""Stands for the program's type of numbers among the arguments of a function."""

_NUMBERS = {
    torch.float32: (ir.FloatType(), ctypes.c_float),
    torch.float64: (ir.DoubleType(), ctypes.c_double),
}


class _Bfloat16(ir.types.Type):  # type: ignore[misc]  # llvmlite has no types
    """LLVM's type, which llvmlite has not."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Bfloat16)

    def __hash__(self) -> int:
        return hash(_Bfloat16)


_ROUNDED, _PAIRS = (ir.VectorType(_Bfloat16(), count * LANES) for count in (1, 2))
_EPSILON = 1e-12  # constants nearer to 0 or 1 are these
_FREE_ORDER = ("reassoc", "contract", "nsz")


def has_bfloat16() -> bool:
    """Whether this processor rounds to bfloat16 and multiplies pairs of it (AVX512-BF16)."""
    return bool(binding.get_host_cpu_features().get("avx512bf16"))


class Program:
    """Functions over numbers of one type, ``float32`` or ``float64``, to be written and then compiled."""

    def __init__(self, dtype: torch.dtype) -> None:
        self._number, ctype = _NUMBERS[dtype]
        self._size = dtype.itemsize
        self._ctypes = {INT: ctypes.c_int64, POINTER: ctypes.c_void_p, NUMBER: ctype}
        self._module = ir.Module()
        self._arguments: dict[str, list[Any]] = {}

    @contextmanager
    def function(self, name: str, *arguments: Any) -> Iterator[Writer]:
        """Begin a function without a result; its end is written on leaving."""
        self._arguments[name] = [self._ctypes[kind] for kind in arguments]
        kinds = [self._number if kind == NUMBER else kind for kind in arguments]
        function = ir.Function(self._module, ir.FunctionType(ir.VoidType(), kinds), name)
        write = Writer(function, self._number, self._size)
        yield write
        write.code.ret_void()

    @property
    def source(self) -> str:
        """What was written, in LLVM's language."""
        return str(self._module)

    def assembly(self) -> str:
        """What LLVM makes of it for this processor: for reading only, docs/fast-vocoder.md says how."""
        module, machine = _optimised(self.source)
        text: str = machine.emit_assembly(module)
        return text

    def compiled(self) -> dict[str, Callable[..., None]]:
        """Return the functions by name; they take integers, numbers and ``Tensor.data_ptr()``."""
        engine = binding.create_mcjit_compiler(*_optimised(self.source))
        engine.finalize_object()

        def callable_from_python(name: str) -> Callable[..., None]:
            # A call through ctypes lets other Python threads run meanwhile.
            function = ctypes.CFUNCTYPE(None, *self._arguments[name])(engine.get_function_address(name))
            function.engine = engine  # type: ignore[attr-defined]  # the code lives as long as its engine
            return function

        return {name: callable_from_python(name) for name in self._arguments}


class Writer:
    """Writes the body of a function over vectors of ``LANES`` numbers."""

    def __init__(self, function: Any, number: Any, size: int) -> None:
        self.arguments = function.args
        self.number, self._size = number, size
        self.vector = ir.VectorType(number, LANES)
        self.code = ir.IRBuilder(function.append_basic_block())

    @contextmanager
    def counted(self, end: Any, step: int = 1) -> Iterator[Any]:
        """``for index in range(0, end, step)`` around what is written inside."""
        before = self.code.block
        head, body, behind = (self.code.append_basic_block() for _ in range(3))
        self.code.branch(head)
        self.code.position_at_end(head)
        index = self.code.phi(INT)
        index.add_incoming(constant(0), before)
        self.code.cbranch(self.code.icmp_signed("<", index, end), body, behind)
        self.code.position_at_end(body)
        yield index
        index.add_incoming(self.code.add(index, constant(step)), self.code.block)
        self.code.branch(head)
        self.code.position_at_end(behind)

    def at(self, pointer: Any, index: Any) -> Any:
        return self.code.gep(pointer, [index], source_etype=self.number)

    def at_rounded(self, pointer: Any, index: Any) -> Any:
        """The same among numbers of bfloat16."""
        return self.code.gep(pointer, [index], source_etype=ir.IntType(16))

    def load(self, pointer: Any) -> Any:
        return self.code.load(pointer, typ=self.vector, align=self._size)

    def store(self, vector: Any, pointer: Any) -> None:
        self.code.store(vector, pointer, align=self._size)

    def store_rounded(self, vector: Any, pointer: Any) -> None:
        """Store float32 numbers as bfloat16, where :func:`has_bfloat16`."""
        rounded = self._call("llvm.x86.avx512bf16.cvtneps2bf16.512", _ROUNDED, vector)
        self.code.store(rounded, pointer, align=2)

    def add_pairs(self, total: Any, one: Any, other: Any) -> Any:
        """``total`` and two products a lane: pairs of bfloat16 fill it in ``one`` and ``other``."""
        pairs = [self.code.bitcast(vector, _PAIRS) for vector in (one, other)]
        return self._call("llvm.x86.avx512bf16.dpbf16ps.512", self.vector, total, *pairs)

    def _call(self, name: str, result: Any, *arguments: Any) -> Any:
        module = self.code.module
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        return self.code.call(module.globals.get(name) or ir.Function(module, kind, name), arguments)

    def load_spread(self, pointer: Any) -> Any:
        """Return a vector that holds the number at ``pointer`` in every lane."""
        return self.spread(self.code.load(pointer, typ=self.number, align=self._size))

    def spread(self, number: Any) -> Any:
        undefined, lane = ir.Constant(self.vector, ir.Undefined), ir.IntType(32)
        first = self.code.insert_element(undefined, number, ir.Constant(lane, 0))
        same = ir.Constant(ir.VectorType(lane, LANES), [0] * LANES)
        return self.code.shuffle_vector(first, undefined, same)

    def repeated(self, number: float) -> Any:
        return ir.Constant(self.vector, [number] * LANES)

    def add(self, one: Any, other: Any) -> Any:
        return self.code.fadd(one, other, flags=_FREE_ORDER)

    def subtract(self, one: Any, other: Any) -> Any:
        return self.code.fsub(one, other, flags=_FREE_ORDER)

    def multiply(self, one: Any, other: Any) -> Any:
        return self.code.fmul(one, other, flags=_FREE_ORDER)

    def leaky_relu(self, vector: Any, slopes: Any) -> Any:
        scaled = self.multiply(vector, slopes)
        return self.code.select(self.code.fcmp_ordered(">", vector, scaled), vector, scaled)

    def weighted_sum(self, vectors: list[Any], weights: list[float]) -> Any:
        total = None
        for vector, weight in zip(vectors, weights, strict=True):
            if abs(weight) < _EPSILON:
                continue
            plain = abs(weight - 1) < _EPSILON
            term = vector if plain else self.multiply(vector, self.repeated(weight))
            total = term if total is None else self.add(total, term)
        return total


def constant(value: int) -> Any:
    return ir.Constant(INT, value)


def _optimised(source: str) -> tuple[Any, Any]:
    """The module of that source, optimised for this processor, and the machine it is for."""
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    machine = binding.Target.from_default_triple().create_target_machine(
        cpu=binding.get_host_cpu_name(), features=binding.get_host_cpu_features().flatten(), opt=3
    )
    module = binding.parse_assembly(source)
    module.verify()
    passes = binding.create_pass_builder(machine, binding.create_pipeline_tuning_options(speed_level=2))
    passes.getModulePassManager().run(module, passes)
    return module, machine

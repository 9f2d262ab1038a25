"""A GPU that is not there: what would lie on it is marked, and what would cross its border is counted.

Computed is on the CPU. Tensors made for the device ``cuda``, brought there or computed from such ones are
:class:`OnGpu`; they say that their device is ``cuda``, so code takes the ways it takes for a GPU. A tensor
of the host in the same operation is an error, as it is on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

GPU = torch.device("cuda", 0)
_HOST = torch.device("cpu")
_TO_HOST = {torch.Tensor.cpu, torch.Tensor.numpy, torch.Tensor.tolist, torch.Tensor.__array__}
_FROM_DATA = {torch.tensor, torch.as_tensor}
_MAY_MIX = {torch.Tensor.to, torch.Tensor.copy_, torch.Tensor.__getitem__, torch.Tensor.__setitem__}
# Their result, or its shape, depends on numbers that only the device knows.
_WAITING = {
    "item", "_local_scalar_dense", "is_nonzero", "equal", "allclose", "nonzero", "masked_select", "unique",
    "_unique", "_unique2", "unique_dim", "unique_consecutive", "bincount", "histc",
}  # fmt: skip
_INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}


class OnGpu(torch.Tensor):
    """A tensor that would lie on the GPU."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # the mode does it all


@dataclass
class Traffic:
    """What crossed the border: numbers in each transfer, in order."""

    to_device: list[int] = field(default_factory=list)
    to_host: list[int] = field(default_factory=list)

    def clear(self) -> None:
        self.to_device.clear()
        self.to_host.clear()


@contextmanager
def pretend_gpu() -> Iterator[Traffic]:
    """Inside, ``cuda`` can be used like a device, if only by code that never asks whether it is there."""
    traffic = Traffic()
    autocast = torch.autocast
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(torch, "Generator", _Generator)
        monkeypatch.setattr(torch, "autocast", lambda kind, *a, **k: autocast("cpu", *a, **k))
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
        with _Border(traffic), _Waits(traffic):
            yield traffic


def on_gpu(network: torch.nn.Module) -> torch.nn.Module:
    """The network with its weights on the device."""
    for module in network.modules():
        for weights in (module._parameters, module._buffers):
            for name, weight in weights.items():
                if weight is not None:
                    weights[name] = weight.detach().as_subclass(OnGpu)  # type: ignore[assignment]
    return network


class _Generator(torch.Generator):
    """One that says it is on the device it was asked for."""

    def __new__(cls, device: torch.device | str = "cpu") -> _Generator:
        return super().__new__(cls, "cpu")

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self._pretended = torch.device(device)

    @property
    def device(self) -> torch.device:
        return self._pretended


class _Border(TorchFunctionMode):
    """Marks tensors and counts what Python asks for by name."""

    def __init__(self, traffic: Traffic) -> None:
        super().__init__()
        self._traffic = traffic

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        given = tree_leaves((args, kwargs))
        tensors = [item for item in given if isinstance(item, torch.Tensor)]
        marked = [isinstance(item, OnGpu) for item in tensors]
        if func is torch.device:
            return func(*args, **kwargs)
        if func == torch.Tensor.device.__get__:  # type: ignore[attr-defined]
            return GPU if marked[0] else _HOST
        if any(marked) and not all(marked) and func not in _MAY_MIX:
            raise AssertionError(f"{func} mixes tensors of the host and of the device")
        to_gpu = any(isinstance(item, torch.device) and item.type == "cuda" for item in given)
        to_cpu = any(isinstance(item, torch.device) and item.type == "cpu" for item in given) or "cpu" in [
            item for item in given if isinstance(item, str)
        ]
        result = func(*tree_map(_real, tuple(args)), **tree_map(_real, kwargs))
        if func is torch.Tensor.to:
            target = _target(args, marked, to_gpu, to_cpu)
            self._crossed(tensors[0], marked[0], target)
            return _mark(result) if target else _unmark(result)
        if func in _TO_HOST:
            self._crossed(tensors[0], marked[0], False)
            return _unmark(result)
        if func is torch.Tensor.copy_:
            self._crossed(tensors[1], marked[1], marked[0])
        elif func in _FROM_DATA and to_gpu:
            self._traffic.to_device.append(result.numel())
        elif func in (torch.Tensor.__getitem__, torch.Tensor.__setitem__) and marked[0]:
            self._brought_along(args[1:])
        return _mark(result) if to_gpu or any(marked) else result

    def _crossed(self, tensor: torch.Tensor, on_device: bool, to_device: bool) -> None:
        if on_device != to_device:
            (self._traffic.to_device if to_device else self._traffic.to_host).append(tensor.numel())

    def _brought_along(self, indices_and_value: Sequence[Any]) -> None:
        """Lists of places, arrays and tensors of the host are sent to the device first."""
        index, *value = indices_and_value
        for item in [*(index if isinstance(index, tuple) else [index]), *value]:
            sent = isinstance(item, (list, np.ndarray)) or (
                isinstance(item, torch.Tensor) and not isinstance(item, OnGpu) and item.dim() > 0
            )
            if sent:
                self._traffic.to_device.append(len(item))


class _Waits(TorchDispatchMode):
    """Counts operations that cannot go on before the device has answered, wherever torch runs them."""

    def __init__(self, traffic: Traffic) -> None:
        super().__init__()
        self._traffic = traffic

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        tensors = [item for item in tree_leaves(args) if isinstance(item, torch.Tensor)]
        by_mask = name in _INDEXING and any(t.dtype in (torch.bool, torch.uint8) for t in tensors[1:])
        counted = func is torch.ops.aten.repeat_interleave.Tensor and "output_size" not in (kwargs or {})
        if name in _WAITING or by_mask or counted:
            self._traffic.to_host.append(tensors[0].numel())
        return func(*args, **(kwargs or {}))


def _real(item: Any) -> Any:
    return _HOST if isinstance(item, torch.device) else item


def _target(args: Sequence[Any], marked: list[bool], to_gpu: bool, to_cpu: bool) -> bool:
    """Whether ``Tensor.to`` gives a tensor on the device: where it is, or where another tensor is."""
    if to_gpu or to_cpu:
        return to_gpu
    return marked[-1]


def _mark(result: Any) -> Any:
    return tree_map(
        lambda item: (
            item.as_subclass(OnGpu)
            if isinstance(item, torch.Tensor) and not isinstance(item, OnGpu)
            else item
        ),
        result,
    )


def _unmark(result: Any) -> Any:
    return result.as_subclass(torch.Tensor) if isinstance(result, OnGpu) else result

"""A CUDA device where there is none: tensors that say that they are on it, and hold their numbers on the CPU.

What a device would refuse is refused: tensors of two devices in one operation, a generator of the other device, what
torch's fused Adam does not take.  What would make Python wait for a device is counted.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from unittest.mock import patch

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("cuda:0")  # with its number, as torch would ask CUDA for the current one
_WAITS = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "bincount", "equal"}
_aten = torch.ops.aten
_to = torch.Tensor.to
_seeds_there: set[int] = set()  # of the generators
waits: Counter[str] = Counter()  # by operation


class There(torch.Tensor):
    """A tensor on the device; ``here`` is what it holds."""

    __torch_function__ = torch._C._disabled_torch_function_impl
    device = property(lambda self: DEVICE)
    is_cuda = property(lambda self: True)

    @staticmethod
    def __new__(cls, here):
        tensor = torch.Tensor._make_wrapper_subclass(
            cls, here.shape, strides=here.stride(), storage_offset=here.storage_offset(), dtype=here.dtype,
            storage_size=here.untyped_storage().nbytes(),
        )  # fmt: skip
        tensor.here = here
        return tensor

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return _run(function, args, kwargs or {})

    def __tensor_flatten__(self):  # else nn.Module.to would write into parameters instead of replacing them
        return ["here"], None

    @staticmethod
    def __tensor_unflatten__(inner, *_):
        return There(inner["here"])

    def __repr__(self):
        return f"There({self.here})"

    def to(self, *args, **kwargs):
        copy = kwargs.pop("copy", False)
        args = (args[0].device, args[0].dtype) if args and isinstance(args[0], torch.Tensor) else args
        device, dtype, _, _ = torch._C._nn._parse_to(*args, **kwargs)
        dtype = dtype or self.dtype
        if device is not None and device.type == "cpu":
            return _aten._to_copy.default(self, dtype=dtype, device=device)
        return self if dtype == self.dtype and not copy else _aten._to_copy.default(self, dtype=dtype)

    def cpu(self):
        return self.to("cpu")

    def tolist(self):
        return self.cpu().tolist()

    def numpy(self, *args, **kwargs):
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    __array__ = numpy


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return _run(function, args, kwargs or {})


def _run(function, args, kwargs):
    """Do what ``function`` does, with the numbers on the CPU."""
    name = function._schema.name.removeprefix("aten::")
    if function._can_decompose():  # what is made in inference mode
        with _Mode():
            return function.decompose(*args, **kwargs)
    tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
    there = [x for x in tensors if isinstance(x, There)]
    here = [x for x in tensors if not isinstance(x, There)]
    device = kwargs.get("device")
    is_there = bool(there) if device is None else torch.device(device).type == "cuda"
    if name in ("_to_copy", "copy_"):
        is_there = isinstance(args[0], There) if name == "copy_" else is_there
        waits[name] += bool(here) if is_there else bool(there)
    elif there:
        _refuse(name, function, args, kwargs, here)
        waits[name] += name in _WAITS or (name == "repeat_interleave" and kwargs.get("output_size") is None)
        if name.startswith("index"):  # of places on the CPU, or of a mask
            places = [x for x in tree_leaves(args[1:2]) if isinstance(x, torch.Tensor)]
            waits[name] += any(x.dtype == torch.bool or not isinstance(x, There) for x in places)
    generator = kwargs.get("generator")
    if isinstance(generator, torch.Generator):
        assert (generator.initial_seed() in _seeds_there) == is_there, f"{name}: a generator of the other device"
    if is_there and device is not None:
        kwargs = {**kwargs, "device": "cpu"}
    result = function(*tree_map(_numbers, args), **tree_map(_numbers, kwargs))
    given = {id(_numbers(x)): x for x in tensors}  # what was written to comes back itself
    return tree_map(lambda x: given[id(x)] if id(x) in given else _made(x, is_there), result)


def _numbers(x):
    return x.here if isinstance(x, There) else x


def _made(x, is_there):
    return There(x) if is_there and isinstance(x, torch.Tensor) else x


def _refuse(name, function, args, kwargs, here):
    """Raise where a device would: beside its tensors there may be places on the CPU, and single numbers."""
    may_be_here = [x for x in tree_leaves(args[1:2]) if name.startswith("index") and isinstance(x, torch.Tensor)]
    meets = [x for x in here if x.dim() > 0 and all(x is not place for place in may_be_here)]
    assert not meets, f"{name}: a tensor {tuple(meets[0].shape)} on the CPU meets others on the device"
    values = {argument.name: x for argument, x in zip(function._schema.arguments, args, strict=False)} | kwargs
    for argument in function._schema.arguments:
        if argument.alias_info is not None and argument.alias_info.is_write:
            written = [x for x in tree_leaves(values.get(argument.name)) if isinstance(x, torch.Tensor)]
            assert all(isinstance(x, There) for x in written), f"{name} would write to the CPU"
    if name == "_fused_adam_":  # its kernel reads the steps as float32, whatever they are
        assert all(isinstance(step, There) and step.dtype == torch.float32 for step in args[5])
        for of_one in zip(*args[:4], strict=True):
            assert len({(x.dtype, x.shape, x.stride() if len(x) > 1 else None) for x in of_one}) == 1
            assert all(_aten.is_non_overlapping_and_dense.default(x.here) for x in of_one)


def _generator(seed, device):
    is_there = torch.device(device).type == "cuda"
    number = (int(seed.generate_state(1, np.uint64)[0]) >> 1) ^ is_there
    if is_there:
        _seeds_there.add(number)
    return torch.Generator().manual_seed(number)


def _to_another(tensor, *args, **kwargs):
    if args and isinstance(args[0], There):  # torch would look at where its numbers are
        args = (DEVICE, args[0].dtype, *args[1:])
    return _to(tensor, *args, **kwargs)


@contextlib.contextmanager
def pretended_cuda(memory=2**33):
    """Let there be a device, in this thread and in all that it starts; yield the count of what waits for it."""
    run = threading.Thread.run

    def run_there(thread):
        torch._C._set_only_lift_cpu_tensors(True)  # else torch.tensor(..., device=...) would not come by us
        with _Mode():
            run(thread)

    fakes = {
        "torch.cuda._lazy_init": lambda: None, "torch.cuda.is_available": lambda: True,
        "torch.cuda.device_count": lambda: 1, "torch.cuda.current_device": lambda: 0,
        "torch.cuda.mem_get_info": lambda device=None: (memory, memory), "torch.cuda.empty_cache": lambda: None,
        "torch.Tensor.to": _to_another, "threading.Thread.run": run_there,
        "sklreg.engine.streams._on_device": _generator,
    }  # fmt: skip
    waits.clear()
    with contextlib.ExitStack() as stack:
        for target, fake in fakes.items():
            stack.enter_context(patch(target, fake))
        torch._C._set_only_lift_cpu_tensors(True)
        stack.callback(torch._C._set_only_lift_cpu_tensors, False)
        stack.enter_context(_Mode())
        yield waits

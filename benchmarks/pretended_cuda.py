"""A pretended GPU: counts what a CUDA device would be asked to do, on a machine that has none.

Tensors on it say `cuda:0`. Those of floating point have a shape and no values; whole numbers and booleans have values,
in the CPU's memory, since shapes may depend on them. Counted are

- launches: operations that start a kernel. A convolution with a bias that is not depthwise starts two, as cuDNN's does;
  fused attention one, and one more where its bias is not aligned and has to be copied; a sort or a cumulative sum two;
- waits: where the host needs a value (`item`, `tolist`, a boolean index), and copies to the device that block;
- copies: all copies to the device, also those that do not block. A CUDA graph can't be captured with one.

It shows what a model asks for, not how long that takes: no time is measured here.
"""

from collections import Counter
from contextlib import contextmanager

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_flatten, tree_map

CUDA = torch.device("cuda:0")
NO_KERNEL = {"alias", "detach", "empty", "empty_like", "empty_permuted", "empty_strided", "lift_fresh", "new_empty"}
NO_KERNEL |= {"_reshape_alias", "_unsafe_view", "new_empty_strided"}
KERNELS = {"cumsum": 2, "sort": 2, "argsort": 2}
ALIGNMENT = 8  # numbers; strides of the bias of fused attention


class PretendedTensor(torch.Tensor):
    """A tensor that says that it is on a GPU; `inner` is on the CPU or without values."""

    @staticmethod
    def __new__(cls, inner):
        tensor = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=CUDA,
        )
        tensor.inner = inner
        return tensor

    def __repr__(self):
        return f"PretendedTensor({tuple(self.shape)}, {self.dtype})"

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise RuntimeError(f"{func} was called outside of `pretended_cuda`.")


def has_values(dtype: torch.dtype) -> bool:
    return not (dtype.is_floating_point or dtype.is_complex)


def to_device(tensor: torch.Tensor) -> PretendedTensor:
    """A tensor on the pretended GPU; the copy is not counted."""
    with _disable_current_modes():
        shape = tensor.shape, tensor.stride()
        values = has_values(tensor.dtype)
        return PretendedTensor(tensor if values else torch.empty_strided(*shape, dtype=tensor.dtype, device="meta"))


def move(module: torch.nn.Module) -> torch.nn.Module:
    """Puts a module's parameters and buffers on the pretended GPU."""
    for part in module.modules():
        for name, value in part._parameters.items():
            if value is not None:
                part._parameters[name] = to_device(value.detach())
        for name, value in part._buffers.items():
            if value is not None:
                part._buffers[name] = to_device(value)
    return module


class Counts:
    """What was asked of the device: `launches` and `waits`, both also by the name of the operation, and `copies`."""

    def __init__(self):
        self.copies = 0
        self.launches_by_name, self.waits_by_name = Counter(), Counter()

    @property
    def launches(self) -> int:
        return self.launches_by_name.total()

    @property
    def waits(self) -> int:
        return self.waits_by_name.total()


@contextmanager
def pretended_cuda():
    """Inside, the device `cuda` is the pretended one. Gives [`Counts`]."""
    torch._C._ensureCUDADeviceGuardSet()  # indexing sets the current device, which would start CUDA
    counts = Counts()
    with torch.no_grad(), _Operations(counts), _Functions(counts):
        yield counts


class _Operations(TorchDispatchMode):
    """Counts each operation on pretended tensors, and runs it on what is inside them."""

    def __init__(self, counts):
        super().__init__()
        self.counts = counts

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs, name = dict(kwargs or {}), func.__name__.split(".")[0]
        tensors = [each for each in tree_flatten((args, kwargs))[0] if isinstance(each, torch.Tensor)]
        on_device = [each for each in tensors if isinstance(each, PretendedTensor)]
        device = kwargs.get("device")
        if not on_device and (device is None or torch.device(device).type != "cuda"):
            return func(*args, **kwargs)  # the host's own work
        if name == "_local_scalar_dense":
            self.counts.waits_by_name["item"] += 1
            inner = args[0].inner
            return inner.item() if inner.device.type == "cpu" else 1.0 if inner.is_floating_point() else True
        if name == "_to_copy" and device is not None and torch.device(device).type == "cpu":
            self.counts.waits_by_name["copy to the host"] += 1
            inner = args[0].inner
            return inner.clone() if inner.device.type == "cpu" else torch.zeros(inner.shape, dtype=inner.dtype)
        if name == "copy_" and not isinstance(args[1], PretendedTensor):
            self.counts.waits_by_name["copy to the device"] += 1
            self.counts.copies += 1
            return args[0]
        if name in ("nonzero", "masked_select", "_unique2", "unique_dim"):
            self.counts.waits_by_name[name] += 1
        if name == "repeat_interleave" and kwargs.get("output_size") is None:
            self.counts.waits_by_name[name] += 1
        if name in ("index", "index_put", "index_put_", "_index_put_impl_"):
            args = (args[0], self._whole_numbers(args[1]), *args[2:])
        return self._run(func, name, args, kwargs)

    def _whole_numbers(self, indices):
        """Boolean indices as those of their true elements, which the host has to know the number of."""
        found = []
        for each in indices:
            if each is not None and not isinstance(each, PretendedTensor):
                self.counts.waits_by_name["copy to the device"] += 1
                self.counts.copies += 1
                each = to_device(each)
            if each is not None and each.dtype in (torch.bool, torch.uint8):
                self.counts.waits_by_name["boolean index"] += 1
                found += [PretendedTensor(axis) for axis in each.inner.nonzero(as_tuple=True)]
            else:
                found.append(each)
        return found

    def _run(self, func, name, args, kwargs):
        flat = [each for each in tree_flatten((args, kwargs))[0] if isinstance(each, PretendedTensor)]
        on_meta = any(each.inner.device.type == "meta" for each in flat)

        def inner(each):
            if isinstance(each, PretendedTensor):
                each = each.inner
            return each.to("meta") if on_meta and isinstance(each, torch.Tensor) else each

        run_args, run_kwargs = tree_map(inner, (args, kwargs))
        if "device" in kwargs:
            dtype = kwargs.get("dtype") or (flat[0].dtype if flat else torch.get_default_dtype())
            run_kwargs["device"] = "cpu" if has_values(dtype) and not on_meta else "meta"
        result = func(*run_args, **run_kwargs)
        if not (func.is_view or name in NO_KERNEL):
            launches = KERNELS.get(name, 1)
            if name == "convolution" and args[2] is not None and args[8] == 1:
                launches = 2
            self.counts.launches_by_name[name] += launches
        if name.endswith("_") and not name.endswith("__") and isinstance(args[0], PretendedTensor):
            return args[0]
        return tree_map(lambda each: PretendedTensor(each) if isinstance(each, torch.Tensor) else each, result)


class _Functions(TorchFunctionMode):
    """Keeps torch's C++ from starting CUDA: functions that look for the device before any operation is dispatched."""

    def __init__(self, counts):
        super().__init__()
        self.counts = counts

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        first = args[0] if args else None
        on_device = isinstance(first, PretendedTensor)
        if func is torch.nn.functional.scaled_dot_product_attention and on_device:
            return self._attention(*args, **kwargs)
        if func is torch.nn.functional.batch_norm and on_device:
            self.counts.launches_by_name["batch_norm"] += 1
            return _like(first, first.shape, first.stride())
        if func is torch.Tensor.tolist and on_device:
            self.counts.waits_by_name["tolist"] += 1
            with _disable_current_modes():
                return first.inner.tolist()
        if func is torch.Tensor.pin_memory:
            first.is_pinned_here = True
            return first
        if func is torch.Tensor.to:
            device = next(
                (each for each in [kwargs.get("device"), *args[1:]] if isinstance(each, (str, torch.device))), None
            )
            if device is not None and torch.device(device).type == "cuda":
                if on_device:
                    rest = [each for each in args[1:] if each is not device]
                    kwargs.pop("device", None)
                    return func(first, *rest, **kwargs) if rest or "dtype" in kwargs else first
                self.counts.copies += 1
                if not (kwargs.get("non_blocking") and getattr(first, "is_pinned_here", False)):
                    self.counts.waits_by_name["copy to the device"] += 1
                return to_device(first)
        if kwargs.get("device") is not None and torch.device(kwargs["device"]).type == "cuda" and not on_device:
            return self._made(func, args, kwargs)
        return func(*args, **kwargs)

    def _made(self, func, args, kwargs):
        """What makes a tensor on the device, such as torch.arange."""
        self.counts.launches_by_name[func.__name__] += func.__name__ not in NO_KERNEL
        with _disable_current_modes():
            made = func(*args, **(kwargs | {"device": "meta"}))
            if has_values(made.dtype):
                made = func(*args, **(kwargs | {"device": "cpu"}))
            return PretendedTensor(made)

    def _attention(self, query, key, value, attn_mask=None, *args, **kwargs):
        if attn_mask is not None:
            strides = attn_mask.stride()
            if strides[-1] != 1 or any(stride % ALIGNMENT for stride in strides[:-1]):
                self.counts.launches_by_name["copy of the bias"] += 1
        self.counts.launches_by_name["attention"] += 1
        batch, heads, queries, _ = query.shape
        size = value.shape[-1]
        return _like(query, (batch, heads, queries, size), (queries * heads * size, size, heads * size, 1))


def _like(tensor, shape, strides):
    with _disable_current_modes():
        return PretendedTensor(torch.empty_strided(shape, strides, dtype=tensor.dtype, device="meta"))

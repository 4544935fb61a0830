"""A pretend GPU, "cuda" or "mps": tensors with real data that can't be mixed with those of the CPU.

A CPU runs all of it, so no test needs a GPU to find a tensor that was left on the wrong device. Every operation reaches
`_run`, which computes it on the CPU and first refuses what a GPU refuses: tensors of two devices, a CPU's random
generator, NumPy, and, as on Apple's GPU, float64. To PyTorch's own code the device is "meta", the only one that needs
no driver; programs see the GPU's name. It says nothing of speed or rounding.
"""

import sys
import threading
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing

aten = torch.ops.aten
_META = torch.device("meta")
_BOTH_DEVICES = {aten.copy_.default, aten._to_copy.default}
# A GPU's tensor may be indexed by positions that are on the CPU.
_INDEXED = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_, aten._unsafe_index}
_NO_CPU_SCALARS = {aten.stack.default, aten.cat.default}  # others take a CPU tensor of no dimensions
_64_BITS = (torch.float64, torch.complex128)
_gpu = torch.device("cuda", 0)


class PretendTensor(Tensor):
    """A tensor of the pretend GPU."""

    inner: Tensor  # its values, on the CPU
    __torch_function__ = torch._C._disabled_torch_function_impl  # results have the class that `_run` gives them

    @staticmethod
    def __new__(cls, inner: Tensor) -> "PretendTensor":
        if _gpu.type == "mps" and inner.dtype in _64_BITS:
            raise TypeError("the pretend GPU has no float64")
        self = Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            layout=inner.layout,
            device=_META,
        )
        self.inner = inner
        return self

    def __repr__(self) -> str:
        return f"PretendTensor({tuple(self.shape)}, {self.dtype})"

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return _gpu

    def numpy(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("a tensor of the pretend GPU can't become a NumPy array; use .cpu() first")

    __array__ = numpy

    def tolist(self) -> Any:
        return self.inner.tolist()

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if id(self) not in memo:
            copy = PretendTensor(self.inner.clone())
            made = nn.Parameter(copy) if isinstance(self, nn.Parameter) else copy
            memo[id(self)] = made.requires_grad_(self.requires_grad)
        return memo[id(self)]

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return _run(func, args, kwargs or {})


class PretendGPU(TorchDispatchMode):
    """While it is entered, "meta" means the pretend GPU for tensors that are made or moved, too."""

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return _run(func, args, kwargs or {})


class GPUName(TorchFunctionMode):
    """While it is entered, PyTorch's functions take the GPU's name for "meta"."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if func is torch.device:
            return func(*args, **(kwargs or {}))
        kwargs = {name: _meta(value) for name, value in (kwargs or {}).items()}
        if func in (torch.tensor, torch.as_tensor) and kwargs.get("device") == _META:  # gives one without data
            del kwargs["device"]
            return func(*args, **kwargs).to(_META)
        return func(*map(_meta, args), **kwargs)


def _meta(value: Any) -> Any:
    return _META if isinstance(value, torch.device) and value.type == _gpu.type else value


def _run(func: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """Compute on the CPU what a GPU would compute, or raise where it would."""
    tensors: list[Tensor] = []
    generators: list[torch.Generator] = []

    def unwrap(value: Any) -> Any:  # faster than PyTorch's tree functions, which know more containers
        if isinstance(value, Tensor):
            tensors.append(value)
            return value.inner if isinstance(value, PretendTensor) else value
        if isinstance(value, torch.Generator):
            generators.append(value)
        return type(value)(map(unwrap, value)) if isinstance(value, list | tuple) else value

    inner_args = unwrap(args)
    inner_kwargs = {name: unwrap(value) for name, value in kwargs.items()}
    on_gpu = any(isinstance(tensor, PretendTensor) for tensor in tensors)
    device = kwargs.get("device")
    to_gpu = on_gpu if device is None else torch.device(device) == _META
    if on_gpu and func not in _BOTH_DEVICES:
        _check_devices(func, args, tensors)
    if generators and (on_gpu or to_gpu):
        raise RuntimeError(f"{func} needs a generator of the pretend GPU, not the CPU's")
    if device is not None:
        inner_kwargs["device"] = "cpu"
    result = func(*inner_args, **inner_kwargs)
    if not to_gpu:
        return result
    known = {id(getattr(tensor, "inner", tensor)): tensor for tensor in tensors}

    def wrap(value: Any) -> Any:
        if isinstance(value, Tensor):  # in-place operations return an argument
            return known[id(value)] if id(value) in known else PretendTensor(value)
        return type(value)(map(wrap, value)) if isinstance(value, list | tuple) else value

    result = wrap(result)
    return return_and_correct_aliasing(func, args, kwargs, result) if on_gpu else result


def _check_devices(func: Any, args: tuple, tensors: list[Tensor]) -> None:
    """Refuse tensors of two devices, apart from the CPU's scalars and indices, which a GPU reads too."""
    indices = [each for each in args[1] if each is not None] if func.overloadpacket in _INDEXED else []
    for tensor in tensors:
        if isinstance(tensor, PretendTensor) or any(tensor is index for index in indices):
            continue
        written = func._schema.is_mutable and tensor is args[0]
        if tensor.dim() > 0 or written or func in _NO_CPU_SCALARS:
            raise RuntimeError(f"{func} got tensors of the pretend GPU and of the {tensor.device}")


def install(kind: str) -> None:
    """Give this process a GPU. Nothing takes it away again: use a process of its own.

    Args:
        kind: "cuda", or "mps", which has no float64.
    """
    global _gpu
    _gpu = torch.device(kind, 0)
    _patch_torch()
    _patch_package()
    PretendGPU().__enter__()
    GPUName().__enter__()
    run_thread = threading.Thread.run

    def run_with_gpu(thread: threading.Thread) -> None:
        with PretendGPU(), GPUName():  # modes are a thread's own
            run_thread(thread)

    threading.Thread.run = run_with_gpu  # type: ignore[method-assign]


def _patch_torch() -> None:
    """What PyTorch decides by a device's name, or in C++ where no operation is seen."""
    torch.__future__.set_overwrite_module_params_on_conversion(True)  # `Module.to` can't swap the data of a subclass
    if _gpu.type == "cuda":
        torch.cuda.is_available, torch.cuda.device_count = lambda: True, lambda: 1
        torch.cuda.get_rng_state = lambda device: torch.get_rng_state()
        torch.cuda.set_rng_state = lambda state, device: None
        torch.cuda.get_device_name = lambda device: "pretend GPU"
    else:
        torch.backends.mps.is_available = lambda: True
    # Inference tensors and wrapper subclasses don't go together; no gradient is all that the package wants of it.
    inference = torch.inference_mode

    def enter(self: Any) -> None:
        self.before = torch.is_grad_enabled()
        torch._C._set_grad_enabled(not self.mode)

    inference.__enter__ = enter  # type: ignore[method-assign]
    inference.__exit__ = lambda self, *_: torch._C._set_grad_enabled(self.before)  # type: ignore[method-assign]


def _patch_package() -> None:
    """The Triton engine runs there: by the CPU's kernels. On Apple's GPU it stands for an engine of the user's."""
    import skinlesion.scan.operator as operator

    engines = sys.modules["skinlesion.scan.engines"]  # the attribute of this name is a function
    status = engines.EngineStatus("triton", True, "the CPU's kernels in disguise", (_gpu.type,))
    engines._PROBES["triton"] = lambda: status
    operator._SCANS["triton"] = operator._scan_cpu

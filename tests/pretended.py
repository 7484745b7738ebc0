"""A device that is not there: tensors that obey the rules of a GPU and hold numbers, computed on the CPU.

    with pretended("cuda") as device:
        x = torch.randn(3, device=device)     # x.device is cuda:0
        x + torch.ones(3)                     # RuntimeError: Expected all tensors to be on the same device …
        if (x > 0).any(): …                   # a number, so the program goes on as it would

`FakeTensorMode` and the meta device know devices but no numbers, and end at the first `.item()`.

Pretended, as torch does it: one device an operator, but for numbers (0 axes) and indices from the CPU; a
generator of the device that is drawn on; random numbers of its own, seeded by `torch.manual_seed`; no
`.numpy()` of a device's tensor; whatever `_patches` names of `torch.cuda` and `torch.mps`. On "mps" no
float64, and none of the operators in `NOT_ON_MPS`. With one seed, device and CPU draw the same numbers, which
real ones do not, unless a `shift` is asked for.

Not pretended: memory that ends, time, streams, other rounding than the CPU's, two devices of a kind,
storages, pinned memory, `torch.compile`, `torch.save`. `torch.autocast` lowers matrix products and
convolutions, and raises nothing to float32 again. Meanwhile there is no meta device, and threads that are
started know of nothing. What passes here may yet fail on a real device; what fails here fails there,
`NOT_ON_MPS` apart.

How: to C++ such a tensor is one of the meta device that has the dispatch keys of the CPU, so that autograd,
views and whatever makes new tensors do their part; `.device` tells Python another name. `_Operators` sees
every operator after autograd, looks at the devices, and computes with the tensors on the CPU that are held
inside. `_Names` sees every call from Python, and says "meta" where that says "cuda". It works with torch 2.4
and with 2.15.
"""

import copy
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from types import SimpleNamespace
from unittest.mock import patch
from weakref import WeakValueDictionary

import numpy as np
import torch
import torch._dynamo  # looks at the devices when it is imported, so before one is pretended
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

CPU, META = torch.device("cpu"), torch.device("meta")
aten = torch.ops.aten
BETWEEN_DEVICES = {aten._to_copy, aten.copy_, aten.lift_fresh, aten._foreach_copy_}
FILLING = {aten.fill, aten.fill_, aten.masked_fill, aten.masked_fill_}
BY_INDEX = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}
# By autocast; torch has a longer list.
LOWERED = "addmm baddbmm bmm conv2d conv_transpose2d einsum linear matmul __matmul__ mm __rmatmul__".split()  # noqa: SIM905

# Operators without a kernel for Apple's GPUs in torch 2.4, the oldest that the package allows, as its
# native_functions.yaml says; those of them that a package like ours may meet. Newer versions have many.
NOT_ON_MPS = """
    angle binomial cauchy_ cholesky_inverse _cholesky_solve_helper _cummax_helper _cummin_helper
    erfc geometric_ geqrf index_copy kthvalue linalg_cholesky_ex _linalg_det linalg_eig _linalg_eigh
    _linalg_eigvals linalg_householder_product linalg_lu linalg_lu_factor_ex linalg_lu_solve
    linalg_matrix_exp linalg_qr _linalg_slogdet _linalg_solve_ex _linalg_svd log_normal_
    _logcumsumexp lu_unpack mode nanmedian poisson put_ _sample_dirichlet scatter_reduce
    special_entr special_ndtri _standard_gamma take tril_indices triu_indices unique_dim
    upsample_bicubic2d _upsample_bicubic2d_aa _upsample_bilinear2d_aa vdot
""".split()  # noqa: SIM905 (a list of one a line, formatted, is a page)


class OnDevice(Tensor):
    """A tensor on the pretended device.

    held : its numbers, on the CPU, of the same shape and strides; views hold views
    """

    held: Tensor
    device: torch.device = None  # of every tensor its own
    is_cuda = property(lambda self: self.device.type == "cuda")
    is_mps = property(lambda self: self.device.type == "mps")
    is_cpu = is_meta = property(lambda self: False)
    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise RuntimeError(f"{func} met a tensor of a pretended device, outside of the `with` that made it")

    def get_device(self) -> int:
        return self.device.index

    def tolist(self):
        return self.detach().cpu().tolist()

    def numpy(self, *, force: bool = False):
        if force:
            return self.detach().cpu().numpy()
        raise TypeError(
            f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() to copy the tensor "
            "to host memory first."
        )

    def __array__(self, *args, **kwargs):
        return self.numpy()

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if self.ndim == 0 else object.__format__(self, spec)

    def __repr__(self, **options) -> str:
        return f"{repr(self.detach().cpu())[:-1]}, device='{self.device}')"

    def __deepcopy__(self, memo: dict) -> "OnDevice":
        if id(self) not in memo:
            twin = self.detach().clone().requires_grad_(self.requires_grad)
            twin.grad = copy.deepcopy(self.grad, memo)
            learned = isinstance(self, nn.Parameter)
            memo[id(self)] = nn.Parameter(twin, self.requires_grad) if learned else twin
        return memo[id(self)]

    def __reduce_ex__(self, protocol):
        raise NotImplementedError("a pretended tensor cannot be pickled; move it to the CPU first")


def _on(device: torch.device, held: Tensor) -> OnDevice:
    """A tensor on the device, of these numbers."""
    size = held.untyped_storage().nbytes() // held.element_size()
    shape = torch.empty(size, dtype=held.dtype, device=META)
    shape = shape.as_strided(held.shape, held.stride(), held.storage_offset())
    tensor = Tensor._make_subclass(OnDevice, shape, device_for_backend_keys=CPU)
    tensor.held, tensor.device = held, device
    return tensor


class _Operators(TorchDispatchMode):
    """Computes on the CPU what is asked of the device, if the device could."""

    def __init__(self, kind: str, shift: int):
        super().__init__()
        self.device, self.shift = torch.device(kind, 0), shift
        self.generator = torch.Generator()  # of draws that name none
        self.seed(torch.initial_seed())
        self.generators = WeakValueDictionary()  # of the device, by address: C++ forgets the Python object

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        flat, form = tree_flatten((args, kwargs or {}))
        tensors = [a for a in flat if isinstance(a, Tensor)]
        asked = (kwargs or {}).get("device")
        here = any(isinstance(t, OnDevice) for t in tensors)
        on_device = here if asked is None else asked.type in (META.type, self.device.type)
        if here and func.overloadpacket not in BETWEEN_DEVICES:
            self._require_one_device(func, args, tensors)
        if on_device and self.device.type == "mps" and _name(func) in NOT_ON_MPS:
            raise NotImplementedError(
                f"The operator 'aten::{_name(func)}' is not currently implemented for the MPS device."
            )
        seeded = self._require_generator(flat, on_device)
        args, kwargs = tree_unflatten([self._inside(a) for a in flat], form)
        draws = on_device and not seeded and torch.Tag.nondeterministic_seeded in func.tags
        with self._own_random_numbers() if draws else nullcontext():
            found = func(*args, **kwargs)
        known = {id(t.held if isinstance(t, OnDevice) else t): t for t in tensors}
        return tree_map(lambda t: self._outside(t, known, on_device) if isinstance(t, Tensor) else t, found)

    def _inside(self, a):
        """An argument as the CPU takes it."""
        if isinstance(a, torch.device):
            return CPU
        return a.held if isinstance(a, OnDevice) else a

    def _outside(self, found: Tensor, known: dict[int, Tensor], on_device: bool) -> Tensor:
        """A result where it belongs; what was changed in place is the tensor that was given."""
        given = known.get(id(found))
        if given is not None and given.shape != found.shape:
            raise NotImplementedError("the pretence knows no operator that changes a shape in place")
        if given is not None or not on_device:
            return found if given is None else given
        if self.device.type == "mps" and found.dtype in (torch.float64, torch.complex128):
            name = str(found.dtype).removeprefix("torch.")
            raise TypeError(
                f"Cannot convert a MPS Tensor to {name} dtype as the MPS framework doesn't support {name}. "
                "Please use float32 instead."
            )
        return _on(self.device, found)

    def _require_one_device(self, func, args: tuple, tensors: list[Tensor]) -> None:
        """Refuse tensors from elsewhere: all but numbers beside a formula of entries, and indices."""
        numbers = torch.Tag.pointwise in func.tags or func.overloadpacket in FILLING
        if func.overloadpacket in BY_INDEX:
            if not isinstance(args[0], OnDevice) and any(isinstance(i, OnDevice) for i in args[1]):
                raise RuntimeError(
                    "indices should be either on cpu or on the same device as the indexed tensor (cpu)"
                )
            tensors, numbers = [a for a in args if isinstance(a, Tensor)], True
        first = func._schema.arguments[0].alias_info
        changed = args[0] if first is not None and first.is_write else None
        for t in tensors:
            if not isinstance(t, OnDevice) and (t.ndim or not numbers or t is changed):
                raise RuntimeError(
                    "Expected all tensors to be on the same device, but found at least two devices, "
                    f"{self.device} and {t.device}! (when checking arguments of aten::{_name(func)})"
                )

    def _require_generator(self, flat: list, on_device: bool) -> bool:
        """Whether a generator is given; refuse one of another device."""
        given = [a for a in flat if isinstance(a, torch._C.Generator)]
        for generator in given:
            found = self.device.type if generator._cdata in self.generators else "cpu"
            wanted = self.device.type if on_device else "cpu"
            if found != wanted:
                raise RuntimeError(f"Expected a '{wanted}' device type for generator but found '{found}'")
        return bool(given)

    def seed(self, seed: int) -> None:
        self.generator.manual_seed(seed + self.shift)

    @contextmanager
    def _own_random_numbers(self) -> Iterator[None]:
        """Draw from the device's random numbers; the CPU's stay where they are."""
        before = torch.get_rng_state()
        torch.set_rng_state(self.generator.get_state())
        try:
            yield
        finally:
            self.generator.set_state(torch.get_rng_state())
            torch.set_rng_state(before)


class _Names(TorchFunctionMode):
    """Calls from Python: what they name by "cuda" or "mps", and what ends before it is an operator."""

    def __init__(self, kind: str):
        super().__init__()
        self.kind, self.lowered_to = kind, None

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.device:
            return func(*args, **(kwargs or {}))
        args = [self._meta(a, func is Tensor.to) for a in args]
        kwargs = {key: self._meta(a, key == "device") for key, a in (kwargs or {}).items()}
        if func in (torch.tensor, torch.as_tensor, torch.asarray, Tensor.new_tensor):  # of meta: no numbers
            return _from_data(func, *args, **kwargs)
        if func is Tensor.cuda and self.kind == "cuda":
            return args[0].to(META)
        if func is torch._has_compatible_shallow_copy_type:  # so a module moves its parameters as they are
            return True
        if func == Tensor.data.__set__:
            return _set_data(*args)
        if func in (Tensor.__getitem__, Tensor.__setitem__):
            args[1] = _index(args[1])
        if self.lowered_to is not None and getattr(func, "__name__", "") in LOWERED:
            args, kwargs = tree_map(self._lowered, (args, kwargs))
        return func(*args, **kwargs)

    def _meta(self, a, by_name: bool):
        """An argument, as C++ knows the device."""
        if isinstance(a, torch.device) or (by_name and isinstance(a, str)):
            device = torch.device(a)
            if device.type == self.kind and (device.index or 0) > 0:
                raise RuntimeError(f"invalid device ordinal: there is one pretended device, got {a}")
            return META if device.type == self.kind else a
        return a

    def _lowered(self, a):
        fits = isinstance(a, OnDevice) and a.dtype in (torch.float32, torch.bfloat16, torch.float16)
        return a.to(self.lowered_to) if fits else a

    @contextmanager
    def lowered(self, dtype: torch.dtype | None) -> Iterator[None]:
        """`torch.autocast` on the device."""
        before, self.lowered_to = self.lowered_to, dtype
        try:
            yield
        finally:
            self.lowered_to = before


def _from_data(func, *args, device=None, requires_grad: bool = False, **kwargs) -> Tensor:
    """`torch.tensor` and its like: made on the CPU, then moved."""
    if func is Tensor.new_tensor:
        func, like, *args = torch.tensor, *args
        device = device or (META if isinstance(like, OnDevice) else None)
    if not isinstance(args[0], Tensor):
        args = tree_map(_numbers, args)
    made = func(*args, **kwargs)
    return (made if device is None else made.to(device)).requires_grad_(requires_grad or made.requires_grad)


def _numbers(a):
    """What is in a list, as C++ can read it."""
    return a.detach().cpu() if isinstance(a, OnDevice) else a


def _index(a):
    """An index without lists, of which C++ would make tensors on the meta device, without numbers."""
    if isinstance(a, tuple):
        return tuple(_index(part) for part in a)
    return torch.as_tensor(a) if isinstance(a, (list, np.ndarray)) else a


def _set_data(tensor: Tensor, data: Tensor) -> None:
    """`tensor.data = data`, also where that moves it: a parameter remains the same object."""
    if isinstance(tensor, OnDevice) != isinstance(data, OnDevice):
        grad, new = tensor.grad, data.detach().requires_grad_(tensor.requires_grad)
        tensor.grad = None
        learned = isinstance(tensor, nn.Parameter)
        torch.utils.swap_tensors(tensor, nn.Parameter(new, new.requires_grad) if learned else new)
        tensor.grad = None if grad is None else grad.to(tensor.device)
    else:
        Tensor.data.__set__(tensor, data)
        if isinstance(tensor, OnDevice):
            tensor.held = data.held


def _name(func) -> str:
    return func.overloadpacket.__name__


@contextmanager
def pretended(kind: str, *, shift: int = 0) -> Iterator[torch.device]:
    """A device of this kind, "cuda" or "mps", inside, which it gives; everything as it was, outside.

    shift : is added to every seed on the device; with another than 0 it draws other numbers than the CPU
    """
    if kind not in ("cuda", "mps"):
        raise ValueError(f'can pretend "cuda" or "mps", not "{kind}"')
    operators, names = _Operators(kind, shift), _Names(kind)
    with ExitStack() as stack:
        for module, values in _patches(kind, operators, names):
            for name, value in values.items():
                if hasattr(module, name):  # not all versions have all
                    stack.enter_context(patch.object(module, name, value))
        stack.enter_context(operators)
        stack.enter_context(names)
        yield torch.device(kind)


def _patches(kind: str, operators: _Operators, names: _Names) -> list[tuple[object, dict]]:
    """What torch is asked about its devices, and answers without an operator."""

    class Generator(torch.Generator):
        """Random numbers of the CPU that say they are the device's."""

        def __new__(cls, device="cpu"):
            other = torch.device(device).type == kind
            self = super().__new__(cls, "cpu" if other else device)
            if other:
                operators.generators[self._cdata] = self
            return self

        def manual_seed(self, seed: int) -> "Generator":
            return super().manual_seed(seed + operators.shift * (self._cdata in operators.generators))

        @property
        def device(self) -> torch.device:
            return operators.device if self._cdata in operators.generators else CPU

    autocast = torch.autocast

    def autocast_here(device_type, *args, **kwargs):
        context = autocast(device_type, *args, **kwargs)  # which knows what this torch can do on the device
        if device_type != kind:
            return context
        return names.lowered(context.fast_dtype if context._enabled else None)

    def get_rng_state(device=kind) -> Tensor:
        return operators.generator.get_state()

    def set_rng_state(new_state: Tensor, device=kind) -> None:
        operators.generator.set_state(new_state)

    def nothing(*args, **kwargs) -> None:
        pass

    module = {
        "_lazy_init": nothing,
        "current_device": lambda: 0,
        "device_count": lambda: 1,
        "empty_cache": nothing,
        "get_device_name": lambda device=None: f"pretended {kind}",
        "get_rng_state": get_rng_state,
        "is_available": lambda: True,
        "is_bf16_supported": lambda *args, **kwargs: True,
        "is_current_stream_capturing": lambda: False,
        "manual_seed": operators.seed,
        "manual_seed_all": operators.seed,
        "max_memory_allocated": lambda device=None: 2**30,
        "mem_get_info": lambda device=None: (2**33, 2**34),
        "memory_allocated": lambda device=None: 2**30,
        "reset_peak_memory_stats": nothing,
        "set_device": nothing,
        "set_rng_state": set_rng_state,
        "synchronize": nothing,
    }
    accelerator = {
        "current_accelerator": lambda check_available=False: torch.device(kind),
        "current_stream": lambda device=None: SimpleNamespace(is_capturing=lambda: False),
    }
    return [
        (torch, {"Generator": Generator, "autocast": autocast_here}),
        (torch.cuda, module if kind == "cuda" else {"is_available": lambda: False}),
        (torch.mps, module if kind == "mps" else {}),
        (torch.backends.mps, {"is_available": lambda: kind == "mps"}),
        (getattr(torch, "accelerator", None), accelerator),
    ]

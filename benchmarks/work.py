"""What a training step must do at least, counted: floating-point operations, and bytes kept and moved."""

from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from vae_lab.objectives import elbo


def count(model: nn.Module, x: Tensor, objective=elbo) -> tuple[int, int]:
    """Operations of the objective and its gradient on `x` (B, C, H, W), and bytes that autograd keeps."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept = {}  # the tensors themselves, so that none is freed and its place taken by another

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage
        return tensor

    with FlopCounterMode(display=False) as operations, saved_tensors_hooks(keep, lambda tensor: tensor):
        objective(model, x).value.mean().backward()
    return operations.get_total_flops(), sum(storage.nbytes() for storage in kept.values())


def bytes_moved(parameters: int, kept: int, *, batch: int) -> int:
    """Bytes that a step reads and writes at least.

    parameters : how many; each has a gradient and two moments, four numbers of 4 bytes read and written
    kept : bytes that autograd keeps of an image, written once and read once
    """
    return 2 * 4 * 4 * parameters + 2 * kept * batch

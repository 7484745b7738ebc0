"""The rules of a device, asked of the pretended ones and, where there is one, of a real one."""

import copy

import numpy as np
import pytest
import torch
from places import PLACES, missing, place
from pretended import NOT_ON_MPS, OnDevice, pretended
from torch import nn
from torch.nn import functional as F
from torch.utils._foreach_utils import _get_fused_kernels_supported_devices
from torch.utils._python_dispatch import _get_current_dispatch_mode

TWO_DEVICES = "on the same device|is on cpu|is on (cuda|mps)|but got|indices should be"


@pytest.fixture(params=PLACES)
def device(request):
    with place(request.param) as device:
        yield device


@pytest.fixture(params=["cuda", "mps"])
def imagined(request):
    with pretended(request.param) as device:
        yield device


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(8, 2), nn.BatchNorm1d(2))


# Where tensors are


@pytest.mark.parametrize(
    "make",
    [
        lambda d: torch.zeros(2, device=d),
        lambda d: torch.empty(2, 3, device=d.type),
        lambda d: torch.full((2,), 3.0, device=f"{d.type}:0"),
        lambda d: torch.arange(3, device=d),
        lambda d: torch.eye(3, device=d),
        lambda d: torch.linspace(0, 1, 3, device=d),
        lambda d: torch.randn(2, device=d),
        lambda d: torch.randperm(4, device=d),
        lambda d: torch.randint(4, (2,), device=d),
        lambda d: torch.tensor([1.0, 2.0], device=d),
        lambda d: torch.tensor(True, device=d),
        lambda d: torch.as_tensor([1, 2], device=d),
        lambda d: torch.as_tensor(np.ones(2, np.float32), device=d),
        lambda d: torch.ones(2).to(d),
        lambda d: torch.ones(2).to(torch.zeros(1, device=d)),
        lambda d: torch.zeros_like(torch.ones(2, device=d)),
        lambda d: torch.rand_like(torch.ones(2, device=d)),
        lambda d: torch.zeros_like(torch.ones(2), device=d),
        lambda d: torch.ones(2, device=d).new_zeros(3),
        lambda d: torch.ones(2, device=d).new_tensor([3.0]),
        lambda d: torch.ones(2).new_ones(3, device=d),
        lambda d: F.one_hot(torch.arange(3, device=d)),
        lambda d: torch.cartesian_prod(torch.arange(3, device=d), torch.arange(2, device=d)),
        lambda d: torch.ones(2, device=d) * 2 + 1,
        lambda d: torch.ones(4, device=d).view(2, 2)[0],
        lambda d: nn.Linear(2, 3, device=d).weight,
    ],
)
def test_a_new_tensor_is_where_it_was_asked_for(device, make):
    x = make(device)
    assert x.device == torch.device(device.type, 0) and x.get_device() == 0
    assert (x.is_cuda, x.is_mps, x.is_cpu) == (device.type == "cuda", device.type == "mps", False)
    assert x.cpu().device.type == "cpu" and type(x.cpu()) is torch.Tensor


def test_numbers_arrive_and_come_back(device):
    x = torch.arange(6.0).view(2, 3)
    there = x.to(device)
    assert there.tolist() == x.tolist() and there.sum().item() == 15 and bool((there > 4).any())
    assert torch.equal(there.cpu(), x) and torch.equal((there @ there.T).cpu(), x @ x.T)
    assert torch.tensor([[1.5, 2.5]], device=device).tolist() == [[1.5, 2.5]]
    assert torch.tensor([there[0, 1], there[1, 2]]).tolist() == [1, 5]
    assert there.to(device) is there and there.to(torch.float32) is there
    assert f"{there[0, 1]:.2f}" == "1.00" and f"device='{device.type}:0'" in repr(there)
    assert [int(row[0]) for row in there] == [0, 3] and len(there) == 2


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_a_real_device_takes_part(kind):
    if why := missing(kind):
        pytest.skip(f"{why}: the rules are asked of the pretended one alone")


def test_cuda_is_a_method(device):
    if device.type == "cuda":
        assert torch.ones(2).cuda().device.type == "cuda"
    else:
        with pytest.raises((RuntimeError, AssertionError)):
            torch.ones(2).cuda()


@pytest.mark.parametrize("convert", [lambda x: x.numpy(), np.asarray, lambda x: np.array([x, x])])
def test_numpy_takes_no_tensor_of_a_device(device, convert):
    with pytest.raises(TypeError, match=r"can't convert (cuda|mps):0 device type tensor to numpy"):
        convert(torch.ones(2, device=device))
    assert torch.ones(2, device=device).cpu().numpy().sum() == 2


def test_there_are_no_bytes_to_look_at(device):
    with pytest.raises(TypeError):
        memoryview(torch.ones(2, device=device))


# One device an operator


@pytest.mark.parametrize(
    "mix",
    [
        lambda a, b: a + b,
        lambda a, b: b + a,
        lambda a, b: a.mul_(b),
        lambda a, b: b.mul_(a),
        lambda a, b: a @ b,
        lambda a, b: torch.cat([a, b]),
        lambda a, b: torch.stack([a, b]),
        lambda a, b: torch.where(a > 0, a, b),
        lambda a, b: torch.where(b > 0, a, a),
        lambda a, b: torch.equal(a, b),
        lambda a, b: torch.cdist(a, b),
        lambda a, b: F.linear(a, b),
        lambda a, b: torch.einsum("ij,jk->ik", a, b),
        lambda a, b: a.gather(1, b.long()),
        lambda a, b: torch.searchsorted(a, b),
        lambda a, b: F.cross_entropy(a, b[0].long()),
        lambda a, b: torch.distributions.Normal(a, 1.0).log_prob(b),
        lambda a, b: b[a.long()],
        lambda a, b: a.index_select(0, b[0].long()),
        lambda a, b: torch.stack([a[0, 0], b[0, 0]]),
        lambda a, b: b[0, 0].add_(a[0, 0]),
        lambda a, b: a.__setitem__(0, b[0] + a[0]),
    ],
)
def test_devices_do_not_mix(device, mix):
    with pytest.raises(RuntimeError, match=TWO_DEVICES):
        mix(torch.ones(2, 2, device=device), torch.ones(2, 2))


@pytest.mark.parametrize(
    "mix",
    [
        lambda a, n: a + n,
        lambda a, n: n * a,
        lambda a, n: a.clamp(min=n),
        lambda a, n: torch.where(a > n, a, n),
        lambda a, n: a.masked_fill(a > 0, n),
        lambda a, n: a.fill_(n),
        lambda a, n: a.index_put((torch.tensor([0]),), n),
        lambda a, n: a[n.long()],
        lambda a, n: a[torch.tensor([1, 0])],
        lambda a, n: a[torch.tensor([True, False])],
        lambda a, n: a[torch.tensor([1, 0]), 0],
        lambda a, n: a.copy_(torch.zeros(2, 2)),
    ],
)
def test_numbers_and_indices_may_come_from_the_cpu(device, mix):
    there, here = (
        mix(torch.ones(2, 2, device=device), torch.tensor(0.5)),
        mix(torch.ones(2, 2), torch.tensor(0.5)),
    )
    assert there.device.type == device.type and torch.equal(there.cpu(), here)


def test_what_is_set_may_come_from_the_cpu(device):
    x, mask = torch.zeros(3, device=device), torch.tensor([True, False, True])
    x[0], x[1:2], x[[2]] = 5, torch.tensor(2.0), 3
    assert x.tolist() == [5, 2, 3]
    x[mask] = torch.tensor([7.0, 8.0], device=device)
    x[:2].copy_(torch.tensor([1.0, 1.0]))
    assert x.tolist() == [1, 1, 8]


def test_a_number_beside_a_number_is_on_the_device(device):
    assert (torch.tensor(2.0) * torch.tensor(3.0, device=device)).device.type == device.type


# Views and what is changed in place


def test_views_share_their_numbers(device):
    x = torch.zeros(3, 4, device=device)
    x[1].add_(1)
    x.T[2:, 2].fill_(5)
    x.view(-1)[0] = 7
    rows = x.unbind(0)
    rows[2][3] = 9
    expected = torch.zeros(3, 4)
    expected[1], expected[2, 2:], expected[0, 0], expected[2, 3] = 1, 5, 7, 9
    assert torch.equal(x.cpu(), expected)
    assert x.expand(2, 3, 4).stride() == (0, 4, 1) and x[1:, 1:].storage_offset() == 5


def test_gradients_go_through_views_that_were_changed(device):
    def slope(x):
        x = x.requires_grad_()
        y = x * 2
        y[1:].mul_(3)
        (y.square() * y.detach().new_tensor([1.0, 2.0, 3.0])).sum().backward()
        return x.grad

    found = slope(torch.arange(3.0, device=device))
    assert found.device.type == device.type and torch.equal(found.cpu(), slope(torch.arange(3.0)))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        x = torch.ones(2, device=device, requires_grad=True)
        y = x.exp()
        y.add_(1)
        y.sum().backward()


# Random numbers


def test_a_generator_belongs_to_a_device(device):
    g = torch.Generator(device).manual_seed(3)
    assert isinstance(g, torch.Generator) and g.device == torch.device(device.type, 0)
    assert torch.Generator().device.type == "cpu"
    a = torch.randn(2, 3, generator=g, device=device)
    g.manual_seed(3)
    assert torch.equal(a, torch.randn(2, 3, generator=g, device=device))
    state = g.get_state()
    b = torch.rand(4, generator=g, device=device)
    assert torch.equal(b, torch.rand(4, generator=g.set_state(state) or g, device=device))


@pytest.mark.parametrize(
    "draw",
    [
        lambda g, d: torch.randn(2, generator=g, device=d),
        lambda g, d: torch.rand(2, generator=g, device=d),
        lambda g, d: torch.randint(5, (2,), generator=g, device=d),
        lambda g, d: torch.randperm(5, generator=g, device=d),
        lambda g, d: torch.bernoulli(torch.full((3,), 0.5, device=d), generator=g),
        lambda g, d: torch.multinomial(torch.ones(5, device=d), 2, generator=g),
        lambda g, d: torch.zeros(3, device=d).normal_(generator=g),
        lambda g, d: torch.normal(torch.zeros(3, device=d), 1.0, generator=g),
    ],
)
def test_a_generator_draws_on_its_own_device(device, draw):
    assert draw(torch.Generator(device), device).device.type == device.type
    with pytest.raises(RuntimeError, match=r"(?i)expected a '?.* device type for generator"):
        draw(torch.Generator(), device)
    with pytest.raises(RuntimeError, match=r"(?i)expected a '?cpu'? device type for generator"):
        draw(torch.Generator(device), "cpu")


def test_the_device_has_random_numbers_of_its_own(device):
    module = torch.get_device_module(device)
    torch.manual_seed(4)
    a, cpu = torch.rand(3, device=device), torch.get_rng_state()
    state = module.get_rng_state()
    b = torch.rand(3, device=device)
    F.dropout(b)
    assert torch.equal(torch.get_rng_state(), cpu)
    module.set_rng_state(state)
    assert torch.equal(torch.rand(3, device=device), b)
    torch.manual_seed(4)
    assert torch.equal(torch.rand(3, device=device), a) and not torch.equal(a, b)
    torch.rand(3)
    with torch.random.fork_rng([device], device_type=device.type):
        torch.manual_seed(9)
        inside = torch.rand(3, device=device), torch.rand(3)
    torch.manual_seed(4)
    torch.rand(3, device=device)
    with torch.random.fork_rng([device], device_type=device.type):
        torch.manual_seed(9)
        assert torch.equal(inside[0], torch.rand(3, device=device)) and torch.equal(inside[1], torch.rand(3))
    assert torch.equal(torch.rand(3, device=device), b)


def test_the_same_seed_draws_the_same_as_on_the_cpu(imagined):
    torch.manual_seed(5)
    here, there = torch.randn(5), torch.randn(5, device=imagined)
    assert torch.equal(here, there.cpu())
    g, h = torch.Generator().manual_seed(6), torch.Generator(imagined).manual_seed(6)
    assert torch.equal(torch.randperm(9, generator=g), torch.randperm(9, generator=h, device=imagined).cpu())


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_or_others_where_that_is_asked_for(kind):
    with pretended(kind, shift=1) as device:
        g, h = torch.Generator().manual_seed(6), torch.Generator(device).manual_seed(6)
        assert not torch.equal(torch.rand(3, generator=g), torch.rand(3, generator=h, device=device).cpu())
        torch.manual_seed(6)
        here, there = torch.rand(3), torch.rand(3, device=device)
        torch.manual_seed(6)
        assert torch.equal(there, torch.rand(3, device=device)) and not torch.equal(here, there.cpu())


# Precision


@pytest.mark.parametrize(
    "make",
    [
        lambda d: torch.ones(2, device=d).double(),
        lambda d: torch.ones(2, dtype=torch.float64).to(d),
        lambda d: torch.zeros(2, dtype=torch.float64, device=d),
        lambda d: torch.ones(2, device=d).to(torch.float64),
        lambda d: torch.as_tensor(np.ones(2), device=d),
        lambda d: torch.ones(2, device=d).sum(dtype=torch.float64),
        lambda d: torch.tensor([1.0], dtype=torch.float64, device=d),
        lambda d: nn.Linear(2, 2).double().to(d),
    ],
)
def test_an_apple_gpu_has_no_float64(device, make):
    if device.type == "cuda":
        make(device)
    else:
        with pytest.raises(TypeError, match=r"Cannot convert a MPS Tensor to float64|float64"):
            make(device)


def test_an_apple_gpu_takes_float64_on_the_way(device):
    x = torch.ones(2, dtype=torch.float64)
    assert x.to(device, torch.float32).tolist() == [1, 1]
    assert torch.as_tensor(np.ones(2), dtype=torch.float32, device=device).dtype == torch.float32
    y = torch.ones(2, device=device) * torch.tensor(2.0, dtype=torch.float64)  # a number, not a tensor
    assert y.dtype == torch.float32 and y.cpu().double().sum() == 4
    y.copy_(x)
    assert y.tolist() == [1, 1]


@pytest.mark.parametrize(
    "function",
    [torch.linalg.eigh, torch.linalg.cholesky, torch.linalg.svdvals, torch.linalg.qr],
)
def test_old_versions_of_torch_lack_operators_on_apple_gpus(function):
    with pretended("cuda") as device:
        function(torch.eye(3, device=device))
    with pretended("mps") as device, pytest.raises(NotImplementedError, match="not currently implemented"):
        function(torch.eye(3, device=device))


def test_the_operators_that_are_lacking_exist():
    assert not [name for name in NOT_ON_MPS if not hasattr(torch.ops.aten, name)]


def test_autocast_lowers_products(device):
    if not torch.amp.is_autocast_available(device.type):
        with pytest.raises(RuntimeError, match="unsupported autocast device_type"):
            torch.autocast(device.type, torch.bfloat16)
        return
    model = net().eval().to(device)
    x = torch.ones(2, 1, 4, 4, device=device)
    with torch.autocast(device.type, torch.bfloat16):
        assert model[0](x).dtype == model[3](model[2](model[0](x))).dtype == torch.bfloat16
        assert (x[0, 0] @ x[0, 0]).dtype == torch.bfloat16
        with torch.autocast(device.type, enabled=False):
            assert model[0](x).dtype == torch.float32
        model(x).float().sum().backward()
    assert model(x).dtype == model[0].weight.grad.dtype == torch.float32


# Modules and training


def test_a_module_moves_and_its_parameters_remain_the_same_objects(device):
    model = net()
    before, optimizer = list(model.parameters()), torch.optim.SGD(model.parameters(), 0.1)
    assert model.to(device) is model
    assert all(a is b for a, b in zip(before, model.parameters(), strict=True))
    for p in model.parameters():
        assert isinstance(p, nn.Parameter) and p.is_leaf and p.requires_grad and p.device.type == device.type
    assert all(b.device.type == device.type for b in model.buffers())
    assert not any(p.requires_grad for p in net().requires_grad_(False).to(device).parameters())
    with pytest.raises(RuntimeError):
        model(torch.ones(2, 1, 4, 4))
    old = model[3].weight.detach().cpu()
    (model(torch.randn(4, 1, 4, 4).to(device)).sigmoid().sum()).backward()
    optimizer.step()
    assert not torch.equal(model[3].weight.detach().cpu(), old)
    assert model.to("cpu")[3].weight.device.type == "cpu"
    assert all(p.device.type == p.grad.device.type == "cpu" for p in model.parameters())
    model(torch.ones(2, 1, 4, 4))


def test_copies_have_numbers_of_their_own(device):
    model = net().to(device).requires_grad_(True)
    twin = copy.deepcopy(model)
    with torch.no_grad():
        model[3].weight.fill_(0)
        model[3].bias.data.fill_(0)
    assert torch.equal(twin[3].weight.detach().cpu(), net()[3].weight.detach())
    assert twin[3].bias.any() and isinstance(twin[3].weight, nn.Parameter) and twin[3].weight.requires_grad
    tied = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)]).to(device)
    tied[0].weight = tied[1].weight
    a, b = copy.deepcopy(tied)
    assert a.weight is b.weight and a.bias is not b.bias


def test_weights_are_read_from_files_on_the_cpu(device):
    model, other = net().to(device), net()
    state = {name: tensor.detach().cpu() + 1 for name, tensor in model.state_dict().items()}
    other.load_state_dict(state)
    model.load_state_dict(state)
    assert model[3].weight.device.type == device.type
    assert torch.equal(model[3].weight.detach().cpu(), other[3].weight.detach())


@pytest.mark.parametrize("options", [{}, {"fused": True}])
def test_training_ends_with_the_same_weights(device, options):
    if options and device.type == "mps" and "mps" not in _get_fused_kernels_supported_devices():
        pytest.skip("this torch has no fused Adam on Apple GPUs")

    def trained(where):
        torch.manual_seed(1)
        model, x = net().to(where), torch.randn(8, 1, 4, 4).to(where)
        optimizer = torch.optim.Adam(model.parameters(), 0.01, **options)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=5)
        for _ in range(4):
            optimizer.zero_grad()
            loss = model(x).square().mean() + F.cross_entropy(model(x), torch.ones(8, device=where).long())
            loss.backward()
            optimizer.step()
            schedule.step()
        again = torch.optim.Adam(model.parameters(), 0.01, **options)
        again.load_state_dict(optimizer.state_dict())
        assert again.state[model[0].weight]["exp_avg"].device.type == torch.device(where).type
        return torch.cat([p.detach().cpu().flatten() for p in model.parameters()])

    there, here = trained(device), trained("cpu")
    torch.testing.assert_close(there, here, rtol=1e-3, atol=1e-4)


def test_second_derivatives(device):
    x = torch.tensor([0.3, 0.7], device=device, requires_grad=True)
    (slope,) = torch.autograd.grad(x.sin().sum(), x, create_graph=True)
    (bend,) = torch.autograd.grad(slope.sum(), x)
    torch.testing.assert_close(bend.cpu(), -torch.tensor([0.3, 0.7]).sin())


@pytest.mark.parametrize(
    "function",
    [
        lambda x: torch.cdist(x, x),
        lambda x: x.unique(return_inverse=True)[1],
        lambda x: torch.searchsorted(x.flatten().sort().values, x),
        lambda x: x.sort(0).values,
        lambda x: x.topk(2, 0).values,
        lambda x: x.logsumexp(0),
        lambda x: torch.bincount(x.flatten().long().abs()),
        lambda x: F.conv2d(x[None, None], x[None, None, :2, :2]),
        lambda x: F.interpolate(x[None, None], scale_factor=2, mode="bilinear"),
        lambda x: torch.where(x > 0)[0],
        lambda x: x.nonzero(),
        lambda x: x[x > 0],
        lambda x: torch.einsum("ij,kj->ik", x, x),
        lambda x: torch.baddbmm(x[None], x[None], x[None]),
        lambda x: x.view(torch.int32),
        lambda x: torch.aminmax(x)[0],
        lambda x: x.tril(-1) + torch.diag_embed(x[0].exp()),
    ],
)
def test_operators_give_what_the_cpu_gives(device, function):
    x = torch.arange(9.0).view(3, 3).sin()
    there = function(x.to(device))
    assert there.device.type == device.type
    torch.testing.assert_close(there.cpu(), function(x))


# What torch is asked about


def test_torch_says_that_there_is_a_device(device, capsys):
    from vae_lab.devices import pick_device

    assert torch.cuda.is_available() == (device.type == "cuda")
    assert pick_device().type == device.type
    module = torch.get_device_module(device)
    module.empty_cache()
    module.synchronize()
    assert module.device_count() >= 1
    if device.type == "cuda":
        assert torch.cuda.get_device_name(device) and torch.cuda.max_memory_allocated(device) >= 0
        assert torch.cuda.mem_get_info(device)[1] > 0


# Nothing is left behind


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_everything_is_as_it_was(kind):
    def asked():
        modules = torch, torch.cuda, torch.mps, torch.backends.mps
        return [dict(vars(module)) for module in modules], _get_current_dispatch_mode()

    before, model = asked(), net()
    numbers = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError), pretended(kind) as device:
        x, there = torch.ones(2, device=device), model.to(device)
        _ = 1 / 0
    after = asked()
    assert before == after and torch.equal(torch.get_rng_state(), numbers)
    assert torch.ones(2).device.type == "cpu"
    with pytest.raises(RuntimeError, match="outside of the `with` that made it"):
        x + 1
    assert isinstance(there[3].weight, OnDevice)


def test_only_two_kinds_can_be_pretended():
    with pytest.raises(ValueError, match='can pretend "cuda" or "mps", not "xpu"'), pretended("xpu"):
        pass


def test_there_is_one_device(imagined):
    with pytest.raises(RuntimeError, match="invalid device ordinal"):
        torch.ones(2, device=f"{imagined.type}:1")

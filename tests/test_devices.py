import os
import random
import shutil
import subprocess
import sys
import weakref
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import two_processes
from tiny import QUICK, Level, gray, new_autoencoder, new_vae, weights
from torch import nn

from vae_lab import devices
from vae_lab.devices import accelerated, pick_device, seed_all
from vae_lab.objectives import elbo, squared_error
from vae_lab.training import BatchTooLarge, fit, loop
from vae_lab.training.memory import largest_batch


@pytest.mark.parametrize(
    ("cuda", "mps", "line"),
    [
        (True, True, "Computing on cuda (H200)\n"),
        (False, True, "Computing on mps (Apple GPU)\n"),
        (False, False, "Computing on cpu (1 thread of 6 cores)\n"),
    ],
)
def test_the_fastest_device_is_picked_and_printed(monkeypatch, capsys, cuda, mps, line):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "H200")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    assert pick_device().type == line.split()[2]
    assert capsys.readouterr().out == line


def test_no_import_is_left_for_the_first_optimizer():
    """An interrupt amid that import would break every later optimizer until the kernel is restarted."""
    program = """if True:
        import sys, torch
        from vae_lab.devices import pick_device
        pick_device()
        before = set(sys.modules)
        torch.optim.Adam([torch.zeros(1, requires_grad=True)])
        print(set(sys.modules) - before)"""
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert told.splitlines()[-1] == "set()", told


def test_a_seed_seeds_everything():
    def draws(seed):
        g = seed_all(seed)
        return random.random(), np.random.rand(), torch.rand(()).item(), torch.rand((), generator=g).item()

    a, b, c = draws(1), draws(1), draws(2)
    assert a == b and not set(a) & set(c)
    assert draws(2**40) == draws(2**40)  # more than NumPy takes


def test_every_process_gets_its_own_random_numbers_back(monkeypatch):
    cpu = torch.device("cpu")
    states = [torch.Generator().manual_seed(seed).get_state() for seed in (5, 6)]
    for rank, seed in enumerate((5, 6)):
        monkeypatch.setattr(devices, "process", lambda: (rank, 2))  # noqa: B023
        devices.set_random_state({"cpu": torch.stack(states)}, cpu)
        found = torch.rand(3)
        assert torch.equal(found, torch.rand(3, generator=torch.Generator().manual_seed(seed)))


def test_random_numbers_go_on_where_they_were():
    state = devices.random_state(torch.device("cpu"))
    a = torch.rand(5)
    with devices.same_random_numbers_after(torch.device("cpu")):
        torch.manual_seed(9)
        torch.rand(3)
    b = torch.rand(5)
    devices.set_random_state(state, torch.device("cpu"))
    assert torch.equal(torch.rand(10), torch.cat([a, b])) and state["cpu"].shape[0] == 1


# Memory


def memory_for(images: int, words: str | None = None, objective=elbo):
    """The objective, on a device whose memory ends above so many images."""

    def limited(model, x):
        if len(x) > images and model.training:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory") if words is None else RuntimeError(words)
        return objective(model, x)

    return limited


SHORT_OF_MEMORY = [
    None,
    "MPS backend out of memory (MPS allocated: 3 GB)\nmore lines",
    "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9",
    "DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes.",
]


@pytest.mark.parametrize("words", SHORT_OF_MEMORY)
@pytest.mark.parametrize(
    ("room", "batch_size", "fits"),
    [(16, 64, 16), (17, 50, 16), (63, 64, 32), (33, 34, 32), (1, 2, 1), (40, 41, 32)],
)
def test_a_batch_that_does_not_fit_names_one_that_does(words, room, batch_size, fits):
    model = new_vae()
    before, named = weights(model), "CUDA out of memory" if words is None else words.splitlines()[0]
    with pytest.raises(BatchTooLarge) as caught:
        fit(model, gray(), memory_for(room, words), batch_size=batch_size)
    assert str(caught.value) == (
        f"a batch of {batch_size} images does not fit in the memory of cpu ({named}). {fits} images do: "
        f'say batch_size={fits}, or batch_size="auto"'
    )
    assert torch.equal(weights(model), before) and all(p.grad is None for p in model.parameters())
    fit(model, gray(), memory_for(room, words), batch_size=fits, epochs=1)  # and it does


def test_a_batch_of_all_images_that_does_not_fit_names_one_that_does():
    with pytest.raises(BatchTooLarge, match=r"a batch of 1,000 images does not fit .* 32 images do"):
        fit(new_vae(), gray(), memory_for(40), batch_size=1000)


@pytest.mark.parametrize("batch_size", [1, 20, "auto"])
def test_a_model_too_large_for_one_image_is_said(batch_size):
    with pytest.raises(BatchTooLarge, match="not even one image fits in the memory of cpu; use a smaller"):
        fit(new_vae(), gray(), memory_for(0), batch_size=batch_size)


@pytest.mark.parametrize("batch_size", [20, "auto"])
def test_other_errors_are_not_about_memory(batch_size):
    error = RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    def broken(model, x):
        raise error

    with pytest.raises(RuntimeError) as caught:
        fit(new_vae(), gray(), broken, batch_size=batch_size)
    assert caught.value is error


def test_what_the_failed_step_held_is_freed_before_trying_smaller_ones():
    held, free = [], []

    def limited(model, x):
        free.append(held and held[-1]() is None)
        y = x + 1
        held.append(weakref.ref(y))
        if len(x) > 16:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return elbo(model, y - 1 + 0 * x)

    with pytest.raises(BatchTooLarge):
        fit(new_vae(), gray(), limited, batch_size=64)
    assert free[1:] == [True, True]


@pytest.mark.parametrize("room", [5, 16, 1000])
def test_auto_is_the_number_it_finds(room):
    sizes = []

    def watched(model, x):
        sizes.append(len(x))
        return memory_for(room)(model, x)

    found, given = new_vae(), new_vae()
    images = gray().dynamic()
    a = fit(found, images, watched, epochs=3, batch_size="auto", seed=4)
    size = min(64, 2 ** (room.bit_length() - 1))
    b = fit(given, images, epochs=3, batch_size=size, seed=4)
    assert sizes[-1] == size and a.terms == b.terms and torch.equal(weights(found), weights(given))


def test_auto_takes_a_fiftieth_of_the_images_at_most():
    sizes = []

    def watched(model, x):
        sizes.append(len(x))
        return elbo(model, x)

    fit(new_vae(), gray(300), watched, epochs=1, batch_size="auto")
    assert set(sizes) == {128}
    sizes.clear()
    fit(new_vae(), gray(15_000), watched, epochs=1, batch_size="auto")
    assert set(sizes) == {256}  # 300, down to a power of two


def test_looking_for_a_batch_leaves_no_trace():
    model = new_vae()
    model.encoder.append(nn.Dropout(0.5))
    model.encoder.append(nn.BatchNorm1d(4))
    model.eval()
    state, before = torch.get_rng_state(), {k: v.clone() for k, v in model.state_dict().items()}
    step = partial(loop.ascend, objective=memory_for(20))
    assert largest_batch(model, gray().dynamic(), step, at_most=64) == 16
    assert torch.equal(torch.get_rng_state(), state) and not model.encoder[-1].training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device whose memory could run out")
def test_a_real_graphics_card_runs_out_of_memory():
    device = torch.device("cuda")
    share = torch.cuda.mem_get_info()[1]

    def hungry(model, x):
        kept = torch.empty(len(x) * share // 100, dtype=torch.uint8, device=device)  # 1% an image
        return Level(elbo(model, x).value + 0 * kept[0])

    with pytest.raises(BatchTooLarge, match=r"the peak was .* GiB .* 64 images do"):
        fit(new_vae().to(device), gray(256).to(device), hungry, batch_size=128)
    with pytest.raises(BatchTooLarge, match="not even one image"):
        fit(new_vae().to(device), gray(256).to(device), lambda m, x: hungry(m, x.repeat(200, 1, 1, 1)))


# Precision and compilation


@pytest.mark.parametrize(
    ("build", "objective"), [(partial(new_vae, hidden=(64,)), elbo), (new_autoencoder, squared_error)]
)
def test_sixteen_bits_give_nearly_the_same(build, objective):
    model, x, found = build(), gray().read(), []
    for precision in ("float32", "bfloat16"):
        torch.manual_seed(1)
        model.zero_grad()
        terms = accelerated(model, objective, precision=precision)(model, x)
        terms.value.mean().backward()
        found.append((terms, torch.cat([p.grad.flatten() for p in model.parameters()])))
    (full, gradient), (half, rough) = found
    assert all(term.dtype == torch.float32 for term in half) and rough.dtype == torch.float32
    torch.testing.assert_close(half.value, full.value, rtol=0.02, atol=0.02)
    assert not torch.equal(half.value, full.value)
    assert (rough - gradient).norm() < 0.03 * gradient.norm()


def test_networks_run_in_sixteen_bits_and_distributions_do_not():
    seen = []
    model = new_vae()
    model.decoder.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))

    def watched(model, x):
        q_z = model.encode(x)
        seen.append(q_z.mean.dtype)
        return elbo(model, x)

    accelerated(model, watched, precision="bfloat16")(model, gray().read())
    assert seen == [torch.float32, torch.bfloat16]


def test_plain_is_the_objective_itself():
    assert accelerated(new_vae(), elbo) is elbo


@pytest.mark.parametrize("precision", ["float16", "bf16", None])
def test_an_unknown_precision_is_refused_before_anything_happens(tmp_path, precision):
    with pytest.raises((ValueError, TypeError), match="precision must be one of float32, bfloat16, got"):
        fit(new_vae(), gray(), precision=precision, checkpoint=tmp_path / "run")
    assert not os.listdir(tmp_path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_the_bound_compiles_as_one_graph():
    model, x = new_vae(), gray().read()
    torch.manual_seed(1)
    plain = elbo(model, x)
    torch.manual_seed(1)
    whole = torch.compile(elbo, fullgraph=True, backend="eager")(model, x)
    torch.testing.assert_close(tuple(whole), tuple(plain))


@pytest.mark.slow
@pytest.mark.skipif(
    sys.platform != "linux" or not (shutil.which("g++") or shutil.which("clang++")),
    reason="no C++ compiler that torch.compile can count on",
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_compiled_is_the_same_to_rounding(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))

    plain, compiled = new_vae(hidden=()), new_vae(hidden=())
    a = fit(plain, gray().dynamic(), **QUICK)
    with torch._inductor.config.patch(fallback_random=True):  # its own random numbers are others
        b = fit(compiled, gray().dynamic(), compile=True, **QUICK)
    assert a.terms.keys() == b.terms.keys()
    for name, values in a.terms.items():
        np.testing.assert_allclose(b.terms[name], values, rtol=1e-4)
    torch.testing.assert_close(weights(compiled), weights(plain), rtol=1e-3, atol=1e-5)


# Two processes


@pytest.fixture(scope="module")
def launched(tmp_path_factory):
    """What two processes left behind: trained, died, and gone on."""
    if sys.platform == "win32":
        pytest.skip("torchrun wants other settings on Windows")
    folder, here = tmp_path_factory.mktemp("two"), Path(__file__).parent
    path = os.pathsep.join([str(here.parent), str(here)])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += [str(here / "two_processes.py"), str(folder)]
    first = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert (folder / "died.0").exists() and (folder / "died.1").exists(), first.stdout + first.stderr
    second = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert second.returncode == 0, second.stdout + second.stderr
    return folder, first.stdout, second.stdout


def left(folder: Path, name: str):
    """((weights, terms, test, state of the random numbers) of process 0, the same of process 1)."""
    return tuple(torch.load(folder / f"{name}.{rank}") for rank in (0, 1))


@pytest.mark.slow
@pytest.mark.parametrize("name", [*two_processes.CASES, "whole", "resumed"])
def test_processes_end_with_the_same_weights_and_history_and_draw_their_own_noise(launched, name):
    (a, *books, noise), (b, *others, other_noise) = left(launched[0], name)
    assert all(torch.equal(a[key], b[key]) for key in a) and books == others
    assert not torch.equal(noise, other_noise)


@pytest.mark.slow
@pytest.mark.parametrize("case", two_processes.CASES)
def test_two_processes_do_what_one_does_with_the_doubled_batch(launched, case):
    (found, terms, test, _), _ = left(launched[0], case)
    model, history = two_processes.train(case, 16)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-5, atol=1e-6)
    assert len(history) == len(terms["value"]) == 24
    for name, values in history.terms.items():
        np.testing.assert_allclose(terms[name], values, rtol=1e-5)
    for (step, there), (same, here) in zip(test, history.test, strict=True):
        assert step == same and there == pytest.approx(tuple(here), rel=1e-5)


@pytest.mark.slow
def test_two_processes_go_on_where_they_died(launched):
    folder, first, second = launched
    assert "process 1 of 2" in first and "process 2 of 2" in first
    assert second.count("Resuming ") == 2 and "after step 42 of 60" in second
    whole, resumed = left(folder, "whole"), left(folder, "resumed")
    for (a, *books, noise), (b, *others, same_noise) in zip(whole, resumed, strict=True):
        assert all(torch.equal(a[key], b[key]) for key in a) and books == others
        assert torch.equal(noise, same_noise)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"RANK": "first"}, "RANK must be a whole number, as torchrun sets it, got 'first'"),
        ({"WORLD_SIZE": "-2"}, "WORLD_SIZE must be a whole number"),
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE is set, but RANK, MASTER_ADDR, MASTER_PORT not; start by torchrun"),
    ],
)
def test_a_half_launch_is_explained(monkeypatch, settings, words):
    for name in ("RANK", "WORLD_SIZE", *devices.TORCHRUN):
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(OSError, match=words):
        pick_device()

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vae_lab import data
from vae_lab.data import Dataset, Images


def blank(*shape) -> torch.Tensor:
    return torch.zeros(shape, dtype=torch.uint8)


def numbered(n: int) -> Images:
    """n images of one pixel, by whose value they can be told: 255, 254, …"""
    return Images((255 - torch.arange(n)).view(n, 1, 1, 1), torch.arange(n))


def numbers(batch) -> list[int]:
    return (255 - (batch * 255).round()).int().flatten().tolist()


def together(batches) -> list[int]:
    return numbers(torch.cat(list(batches)))


def generator(seed=0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_unknown_name_lists_the_names():
    with pytest.raises(
        ValueError,
        match=r"name must be one of digits, mnist, fashion-mnist.*got 'minst'; did you mean 'mnist'",
    ):
        data.load("minst")


def test_digits_are_all_there_and_split(digits):
    assert (len(digits.train), len(digits.test)) == (1437, 360)
    assert digits.train.shape == (1, 28, 28)
    shares = [part.labels.bincount(minlength=10) / len(part) for part in (digits.train, digits.test)]
    torch.testing.assert_close(*shares, atol=0.003, rtol=0)  # stratified


def test_digits_split_is_the_same_each_time(digits):
    again = data.load()
    assert torch.equal(again.train.pixels, digits.train.pixels)
    assert torch.equal(again.test.labels, digits.test.labels)


def test_no_digit_is_in_both_train_and_test(digits):
    train, test = ({x.numpy().tobytes() for x in part.pixels} for part in (digits.train, digits.test))
    assert not train & test


def test_digits_keep_their_labels(digits):
    distance = torch.cdist(digits.test.read().flatten(1), digits.train.read().flatten(1))
    nearest = digits.train.labels[distance.argmin(1)]
    assert (nearest == digits.test.labels).float().mean() > 0.95


def test_digits_are_framed_like_mnist(digits):
    x = digits.train.pixels
    inside = torch.zeros(28, 28, dtype=bool)
    inside[3:25, 3:25] = True
    assert not x[..., ~inside].any()
    assert x.max() == 255 and (x == 0).float().mean() > 0.7  # black paper, white ink


@pytest.mark.parametrize(
    ("pixels", "labels", "view", "words"),
    [
        (
            blank(2, 1, 4, 4),
            torch.zeros(3),
            "plain",
            r"labels must be one for each of 2 images, got shape \(3,\)",
        ),
        (blank(0, 1, 4, 4), torch.zeros(0), "plain", "at least one image"),
        (blank(2, 1, 4, 4), torch.zeros(2), "sepia", "view must be one of plain, .*, got 'sepia'"),
    ],
)
def test_what_are_no_images_is_refused(pixels, labels, view, words):
    with pytest.raises(ValueError, match=words):
        Images(pixels, labels, view)


def test_plain_pixels_are_255ths():
    assert numbered(256).read().flatten().tolist() == pytest.approx([1 - i / 255 for i in range(256)])


def test_binarized_is_drawn_once():
    black_and_white = numbered(256).binarized(generator())
    x = black_and_white.read()
    assert black_and_white.view == "binarized" and set(x.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(x, black_and_white.read())
    assert not torch.equal(x, numbered(256).binarized(generator(1)).read())


def test_dynamic_is_drawn_at_every_reading():
    images = numbered(256).dynamic()
    g = generator()
    first, second = images.read(generator=g), images.read(generator=g)
    assert not torch.equal(first, second)
    assert torch.equal(first, images.read(generator=generator()))


@pytest.mark.parametrize("view", ["binarized", "dynamic"])
def test_binary_pixels_have_the_plain_mean(view):
    gray = Images(torch.full((100, 1, 20, 20), 77, dtype=torch.uint8), torch.zeros(100))
    images = gray.dynamic() if view == "dynamic" else gray.binarized(generator())
    p, n = 77 / 255, 100 * 20 * 20
    found = images.read(generator=generator()).mean().item()
    assert found == pytest.approx(p, abs=4 * (p * (1 - p) / n) ** 0.5)


@given(n=st.integers(1, 60), batch_size=st.integers(1, 70), steps=st.integers(0, 40))
def test_a_pass_visits_no_image_twice_and_leaves_less_than_a_batch(n, batch_size, steps):
    batches = list(numbered(n).batches(batch_size, steps, generator()))
    size = min(batch_size, n)
    assert [len(b) for b in batches] == [size] * steps
    whole = n // size
    for start in range(0, steps, whole):
        seen = together(batches[start : start + whole])
        assert len(set(seen)) == len(seen) and n - whole * size < size


def test_a_pass_that_divides_evenly_visits_all():
    assert sorted(together(numbered(60).batches(20, 3, generator()))) == list(range(60))


def test_each_pass_has_its_own_order():
    first, second = map(numbers, numbered(60).batches(60, 2, generator()))
    assert first != second != list(range(60)) and sorted(first) == sorted(second)


def test_the_seed_is_the_order():
    a, b, c = (list(map(numbers, numbered(60).batches(7, 20, generator(s)))) for s in (3, 3, 4))
    assert a == b != c


def test_dynamic_batches_repeat_with_torchs_seed_and_the_orders():
    found = []
    for _ in range(2):
        torch.manual_seed(6)
        found.append(torch.cat(list(numbered(60).dynamic().batches(20, 6, generator(5)))))
    a, b = found
    assert torch.equal(a, b) and not torch.equal(a[:60].sort(0)[0], a[60:].sort(0)[0])


@given(
    n=st.integers(1, 60), batch_size=st.integers(1, 70), steps=st.integers(0, 40), start=st.integers(0, 45)
)
def test_a_start_passes_over_the_first_batches(n, batch_size, steps, start):
    whole = list(numbered(n).batches(batch_size, steps, generator()))
    rest = list(numbered(n).batches(batch_size, steps, generator(), start=start))
    assert list(map(numbers, rest)) == list(map(numbers, whole[start:]))


def test_what_is_passed_over_draws_no_pixels():
    images = numbered(60).dynamic()
    state = torch.get_rng_state()
    batches = images.batches(20, 6, generator(5), start=6)
    assert list(batches) == [] and torch.equal(torch.get_rng_state(), state)


@given(
    n=st.integers(1, 60), batch_size=st.integers(1, 40), processes=st.integers(1, 4), start=st.integers(0, 9)
)
def test_parts_split_every_batch(n, batch_size, processes, start):
    n = max(n, processes)
    parts = [
        list(numbered(n).batches(batch_size, 12, generator(), start=start, part=(rank, processes)))
        for rank in range(processes)
    ]
    size = min(batch_size, n // processes)
    whole = numbered(n).batches(size * processes, 12, generator(), start=start)
    for together, *split in zip(whole, *parts, strict=True):
        assert numbers(together) == numbers(torch.cat(split))
        assert {len(part) for part in split} == {size}


def test_an_empty_batch_is_refused():
    with pytest.raises(ValueError, match="batch_size must be a whole number of at least 1, got 0"):
        next(numbered(3).batches(0, 1, generator()))


def test_fingerprints_tell_images_apart():
    a = numbered(6)
    others = [
        numbered(7),
        a.dynamic(),
        Images(a.pixels.view(6, 1, 1, 1).flip(0), a.labels),
        Images(a.pixels, a.labels.flip(0)),
        Images(blank(2, 1, 2, 3), torch.zeros(2)),
        Images(blank(2, 1, 3, 2), torch.zeros(2)),
        Images(blank(2, 3, 2, 1), torch.zeros(2)),
        a.mirrored(),
    ]
    assert len({x.fingerprint() for x in (a, *others)}) == 9
    assert a.fingerprint() == numbered(6).fingerprint() == Images(a.pixels.clone(), a.labels).fingerprint()
    turned = blank(2, 1, 3, 4).transpose(2, 3)  # the same numbers, otherwise in memory
    labels = torch.zeros(2)
    assert Images(turned, labels).fingerprint() == Images(turned.contiguous(), labels).fingerprint()


def test_an_unknown_name_that_is_nearly_one_is_told():
    with pytest.raises(ValueError, match="did you mean 'mnist'"):
        data.load("mnit")


@pytest.mark.parametrize(
    "index", [slice(0, 3), [0, 1, 2], range(3), torch.arange(3), np.arange(3), np.arange(3)[::-1]]
)
def test_images_are_read_by_any_index(index):
    assert sorted(numbers(numbered(5).read(index))) == [0, 1, 2]


@pytest.mark.parametrize(
    "index", [2, np.int64(2), torch.tensor(2), -3, torch.arange(5) == 2, [False] * 2 + [True] + [False] * 2]
)
def test_one_image_is_read_as_a_batch(index):
    x = numbered(5).mirrored().read(index)
    assert numbers(x) == [2] and x.shape == (1, 1, 1, 1)


@pytest.mark.parametrize(
    "index", [5, [-6], "2", 1.0, None, [0.5], [[0, 1]], torch.ones(4, dtype=bool), {0: 1}]
)
def test_an_index_of_no_image_is_refused(index):
    with pytest.raises((IndexError, TypeError), match=r"^index must be"):
        numbered(5).read(index)


def test_moving_moves_pixels_and_labels():
    there = Dataset("d", numbered(3), numbered(2).dynamic()).to("meta")
    parts = [there.train.pixels, there.train.labels, there.test.pixels, there.test.labels]
    assert {x.device.type for x in parts} == {"meta"} and there.test.view == "dynamic"


def test_reprs_are_readable(digits):
    assert repr(digits) == "digits: 1,437 images to train on, 360 to test, 1×28×28, on cpu"
    assert repr(digits.test.dynamic()) == "Images(360 of 1×28×28, dynamic, 10 classes)"


def test_images_can_be_compared_and_hashed(digits):
    assert digits.train == digits.train != digits.test
    assert len({digits.train, digits.test}) == 2


def test_root_is_the_environments_or_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("VAE_LAB_DATA", str(tmp_path))
    assert data.root() == tmp_path
    monkeypatch.setenv("VAE_LAB_DATA", "")
    for home in ("HOME", "USERPROFILE"):  # the second on Windows
        monkeypatch.setenv(home, str(tmp_path))
    assert data.root() == tmp_path / ".cache" / "vae_lab"

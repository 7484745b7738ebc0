"""Experiments on faces at quick scale: what they write, what it is worth, and what they refuse."""

import io
import json

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from showing import run_node
from test_widgets import RUN, rounded
from torch import nn

from vae_lab import data
from vae_lab.data import Images, sets
from vae_lab.experiments import (
    EXPERIMENTS,
    NOT_RECORDED,
    comparison,
    faces,
    generation,
    judge,
    recording,
    run,
    sources,
)
from vae_lab.experiments.__main__ import main
from vae_lab.experiments.faces import Faces, principal_axes
from vae_lab.experiments.gray import GrayAutoencoder
from vae_lab.experiments.recording import prior_means
from vae_lab.metrics import InceptionUnavailable, frechet_distance
from vae_lab.objectives import elbo
from vae_lab.records import load_decoder
from vae_lab.training import evaluate
from vae_lab.widgets.decoder import export

FACES = [name for name, experiment in EXPERIMENTS.items() if isinstance(experiment, Faces)]


def few_faces(patch, folder) -> None:
    """No data on disk, and a twentieth of the drawn faces."""
    all_of_them = sets._faces
    patch.setenv("VAE_LAB_DATA", str(folder))
    patch.setattr(sets, "_faces", lambda n, side, *, seed: all_of_them(n // 20, side, seed=seed))


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    few_faces(monkeypatch, tmp_path / "no data")
    return data.load("toy-faces", side=32)


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """The folder of a quick run of cat-64, the model that was trained, and the drawn faces it took."""
    torch.set_num_threads(1)
    out, kept, real = tmp_path_factory.mktemp("results"), [], faces.build
    with pytest.MonkeyPatch.context() as patch:
        few_faces(patch, out / "no data")
        patch.setattr(faces, "build", lambda *args: kept.append(real(*args)) or kept[0])
        folder = run("cat-64", scale="quick", out=out)
        return folder, kept[0], data.load("toy-faces", side=32)


def metrics(folder) -> dict:
    return json.loads((folder / "metrics.json").read_text("utf8"))


def test_a_run_of_faces_writes_everything_and_nothing_else(quick):
    folder, _, _ = quick
    sheets = {"samples.jpg", "reconstructions.jpg"}
    assert {path.name for path in folder.iterdir()} == sheets | {
        "metrics.json",
        "decoder.safetensors",
        "codes.safetensors",
    }
    found = metrics(folder)
    assert found["data"] | {"sha256": ""} == {"name": "toy-faces", "train": 200, "test": 25, "sha256": ""}
    assert (found["name"], found["scale"]) == ("cat-64", "quick")
    assert "mirrored" in found and "binarized" not in found
    assert found["configuration"]["side"] == 32 and len(found["curve"]) == 10


@torch.no_grad()
def test_figures_of_faces_agree_with_the_model(quick):
    folder, model, drawn = quick
    found, x = metrics(folder), drawn.test.read()
    terms, q = evaluate(model, drawn.test), model.encode(x)
    assert found["test"]["negative_elbo"] == pytest.approx(-terms.value, rel=1e-5)
    assert found["test"]["negative_elbo"] == pytest.approx(found["curve"][-1]["negative_elbo"], rel=1e-4)
    error = (x - model.decode(q.mean).mean).square().mean().item()
    assert found["pixel_error"]["test"] == pytest.approx(error, rel=1e-4)
    average = drawn.train.read().mean(0)
    assert found["pixel_error"]["of the average face"] == pytest.approx(
        (x - average).square().mean().item(), rel=1e-4
    )
    assert found["noise"] == pytest.approx(model.likelihood.scale.item())
    by_hand = 0.5 * (q.mean**2 + q.variance - 1 - q.variance.log()).mean(0)
    torch.testing.assert_close(torch.tensor(found["kl_by_latent"]), by_hand, atol=1e-3, rtol=0)
    assert sum(found["kl_by_latent"]) == pytest.approx(found["test"]["kl"], abs=0.01)


@torch.no_grad()
def test_the_files_of_faces_show_the_model(quick):
    folder, model, drawn = quick
    codes, decoder = load_file(folder / "codes.safetensors"), load_decoder(folder / "decoder.safetensors")
    q = model.encode(drawn.test.first(24).read())
    torch.testing.assert_close(codes["faces"].float(), q.mean, atol=2e-3, rtol=2e-3)
    torch.testing.assert_close(decoder(q.mean).sigmoid(), model.decode(q.mean).mean, atol=5e-3, rtol=0)
    for name, x in (
        ("samples.jpg", prior_means(model, 24)),
        ("reconstructions.jpg", model.decode(q.mean).mean),
    ):
        with Image.open(folder / name) as sheet:
            assert sheet.mode == "RGB" and sheet.size == (8 * 33 + 1, 3 * 33 + 1)
            tenth = torch.tensor(list(sheet.crop((33 + 1, 33 + 1, 66, 66)).tobytes())).view(32, 32, 3)
        assert (tenth / 255 - x[9].permute(1, 2, 0)).abs().mean() < 0.02  # a JPEG is not exact


def test_principal_axes_are_orthogonal_and_as_long_as_the_spread():
    stretch = torch.diag(torch.tensor([3.0, 0.5, 1.5]))
    codes = torch.randn(4000, 3) @ stretch + torch.tensor([1.0, 2.0, 3.0])
    mean, axes = principal_axes(codes, 2)
    torch.testing.assert_close(mean, codes.mean(0))
    torch.testing.assert_close(axes, torch.tensor([[3.0, 0, 0], [0, 0, 1.5]]), atol=0.1, rtol=0)
    assert (axes @ axes.T)[0, 1].abs() < 1e-4


@pytest.mark.parametrize("name", FACES)
def test_the_full_decoder_is_small_enough_for_a_page(name):
    e = EXPERIMENTS[name]
    model = faces.build(e, (3, e.side, e.side))
    architecture = {"shape": (3, e.side, e.side), "latents": e.latents, "width": e.width}
    assert len(recording.decoder_bytes(model.decoder, architecture)) <= recording.LARGEST_DECODER
    assert export(nn.Sequential(model.decoder, nn.Sigmoid()), e.latents).shape == (3, e.side, e.side)
    assert torch.isfinite(elbo(model, torch.rand(2, 3, e.side, e.side)).value).all()


def test_gray_is_the_brightness_of_a_color(drawn):
    ours = sources.gray(drawn.test)
    assert ours.shape == (1, 32, 32) and torch.equal(ours.labels, drawn.test.labels)
    for color, gray in zip(drawn.test.pixels[:5], ours.pixels[:5], strict=True):
        theirs = Image.fromarray(color.permute(1, 2, 0).numpy()).convert("L")
        theirs = torch.tensor(list(theirs.tobytes())).view(32, 32)
        assert (gray[0].int() - theirs).abs().max() <= 1


def test_the_gray_autoencoder_is_measured(drawn, tmp_path):
    folder = run("cat-gray", scale="quick", out=tmp_path)
    assert {path.name for path in folder.iterdir()} == {"metrics.json", "reconstructions.png"}
    found = metrics(folder)
    assert found["pixel_error"]["test"] == pytest.approx(found["curve"][-1]["pixel_error"], rel=1e-3)
    assert 0 < found["pixel_error"]["test"] < 2 * found["pixel_error"]["of the average face"]
    with Image.open(folder / "reconstructions.png") as sheet:
        assert sheet.mode == "L"
    assert isinstance(EXPERIMENTS["cat-gray"], GrayAutoencoder)


def unavailable(x):
    raise InceptionUnavailable("no weights")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """The record of a quick comparison, made without Inception's weights."""
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        few_faces(patch, out / "no data")
        patch.setattr(comparison, "inception_features", unavailable)
        folder = run("cat-generation", scale="quick", out=out)
    assert {path.name for path in folder.iterdir()} == {"metrics.json", "samples.jpg"}
    return metrics(folder)


def test_every_likelihood_meets_every_prior(table):
    likelihoods = (generation.FIXED, generation.LEARNED, generation.WAVELETS)
    priors = (generation.NORMAL, generation.MIXTURE, generation.SECOND, None)
    rows = table["models"]
    assert [(row["likelihood"], row["prior"]) for row in rows] == [
        (x, z) for x in likelihoods for z in priors
    ]
    for row in rows:
        assert row["frechet"] > 0 and row["kernel_error"] > 0 and "fid" not in row
        if row["prior"]:
            assert row["negative_elbo"] == pytest.approx(row["kl"] - row["log_lik"])
            assert 0 <= row["precision"] <= 1 and 0 <= row["recall"] <= 1 and row["nearest"] > 0
    for one in likelihoods:  # a prior changes what a code costs, and nothing of what it says
        assert len({row["log_lik"] for row in rows if row["likelihood"] == one and row["prior"]}) == 1
    assert table["nearest"] > 0 and set(table["judge"]) == {"accuracy", "train", "blurred", "noisy"}


def test_the_fid_is_in_the_table_where_inception_is(drawn, monkeypatch):
    """With features that are the images' mean colors, in place of Inception's."""
    monkeypatch.setattr(comparison, "inception_features", lambda x: x.mean((2, 3)))
    compare = comparison.Comparison(drawn.train, drawn.test, drawn=100, steps=5)
    x = drawn.train.first(50).read()
    expected = frechet_distance(x.mean((2, 3)), drawn.test.read().mean((2, 3)))
    assert compare.distances(x)["fid"] == pytest.approx(expected)


def test_faces_are_turned_and_blurred(drawn):
    few = drawn.train.first(6)
    eight = judge.turned_and_blurred(few)
    assert len(eight) == 48 and eight.labels.tolist() == [k for k in range(8) for _ in range(6)]
    assert torch.equal(eight.pixels[:6], few.pixels)
    assert torch.equal(eight.pixels[6:12].rot90(3, (2, 3)), few.pixels)
    torch.testing.assert_close(eight.pixels[24:30].float(), judge.blur(few.pixels.float(), 2), atol=1, rtol=0)
    torch.testing.assert_close(eight.pixels[42:].rot90(1, (2, 3)), eight.pixels[24:30])


def test_blurring_keeps_what_is_level_and_evens_out_the_rest():
    x = torch.rand(3, 3, 16, 16)
    torch.testing.assert_close(
        judge.blur(torch.full((1, 3, 16, 16), 0.4), 4), torch.full((1, 3, 16, 16), 0.4)
    )
    rough = [(judge.blur(x, f)[..., 1:] - judge.blur(x, f)[..., :-1]).abs().mean() for f in (1, 2, 4)]
    assert rough[0] > rough[1] > rough[2] and torch.equal(judge.blur(x, 1), x)


def test_the_judge_sees_damage(drawn):
    network = judge.fit_judge(drawn.train, steps=150)
    trust = judge.judged(network, drawn.train.read(), drawn.test)
    assert trust["accuracy"] > 0.5  # of eight
    for damaged in (trust["blurred"], trust["noisy"]):
        distances = list(damaged.values())
        assert distances == sorted(distances) and distances[-1] > 2 * distances[0]


def test_drawings_come_from_the_models_own_prior(quick):
    _, model, _ = quick
    state = torch.get_rng_state()
    x = comparison.draw(model, 7, seed=3, chunk_size=3)
    assert torch.equal(torch.get_rng_state(), state) and x.shape == (7, 3, 32, 32)
    torch.testing.assert_close(x, comparison.draw(model, 7, seed=3))
    z = model.prior().sample((7,))
    assert not torch.allclose(x, model.decode(z).mean)


@pytest.mark.parametrize("name", ["cat-64", "wild-128", "faces-128"])
def test_missing_pictures_are_told_in_one_sentence(name, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("VAE_LAB_DATA", str(tmp_path / "no data"))
    assert main([name, "--out", str(tmp_path)]) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: no pictures") and "afhq/train" in told and told.count("\n") == 1


def test_a_species_that_is_missing_is_named(monkeypatch, tmp_path, capsys):
    """Cats alone are no full set, whatever else is in order."""
    cats = tmp_path / "afhq" / "train" / "cat"
    cats.mkdir(parents=True)
    for i in range(12):
        Image.new("RGB", (16, 16), (20 * i, 0, 0)).save(cats / f"{i}.png")
    monkeypatch.setenv("VAE_LAB_DATA", str(tmp_path))
    assert main(["faces-128", "--out", str(tmp_path / "out")]) == 1
    told = capsys.readouterr().err
    assert "no pictures of dog and wild" in told and told.count("\n") == 1


def test_what_is_not_recorded_can_be_run():
    assert set(NOT_RECORDED) < set(EXPERIMENTS)
    assert EXPERIMENTS["wild-128"].epochs == 70 and EXPERIMENTS["cat-128"].epochs == 40  # the paper's


def test_a_colored_sheet_is_close_to_its_images():
    x = torch.linspace(0, 1, 3 * 16 * 16).view(1, 3, 16, 16).expand(5, -1, -1, -1)
    sheet = Image.open(io.BytesIO(recording.color_sheet(x, columns=3)))
    assert sheet.size == (3 * 17 + 1, 2 * 17 + 1) and sheet.mode == "RGB"


def test_mirrored_images_are_read_as_they_are_or_turned(drawn):
    images, turned = drawn.train, drawn.train.pixels.flip(-1)
    read = images.mirrored().read(slice(None), torch.Generator().manual_seed(0)).mul(255).round().byte()
    same, other = ((read == x).flatten(1).all(1) for x in (images.pixels, turned))
    assert (same | other).all() and 70 < same.sum() < 130  # of 200
    assert isinstance(images.mirrored(), Images) and images.mirrored().fingerprint() != images.fingerprint()


def test_the_page_decodes_a_face_as_pytorch_does(quick, tmp_path):
    decoder = nn.Sequential(load_decoder(quick[0] / "decoder.safetensors"), nn.Sigmoid())
    codes = torch.randn(2, 64)
    layers, weights, _ = export(decoder, 64)
    (tmp_path / "case.json").write_text(json.dumps({"layers": layers, "codes": codes.tolist()}))
    (tmp_path / "weights").write_bytes(weights)
    ours = torch.tensor(json.loads(run_node(tmp_path, RUN))).view(-1, 3, 32, 32)
    with torch.no_grad():
        assert (ours - rounded(decoder)(codes)).abs().max() < 2e-6

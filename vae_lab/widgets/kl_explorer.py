"""The weight β of the KL as one slider: reconstructions, samples, codes and the rate–distortion point."""

import anywidget
import numpy as np
import torch
import traitlets
from torch import Tensor, nn

from vae_lab import devices, training
from vae_lab.arguments import Numbers, Positive, checked, points, tensor
from vae_lab.data import Images, ImagesLike
from vae_lab.likelihoods import Bernoulli
from vae_lab.models import check_decoder
from vae_lab.multirate import MultiRateVAE
from vae_lab.widgets.bundle import script, style
from vae_lab.widgets.decoder import export, to_halves
from vae_lab.widgets.scale import subscript

PLACES = 41  # weights β at which the encoder is run; between them the page interpolates
PICTURES, SAMPLES, CODES, MEASURED = 10, 25, 200, 1000  # images shown, drawn, dotted, measured
HINT = "Push β up, then down: what do the copies lose, and what the drawings? The dot can be dragged too."


class KLExplorer(anywidget.AnyWidget):
    """Four views of a multi-rate VAE at one β; its decoder, gates included, runs in the browser.

    What the encoder says is in tables over β, evenly spaced in log β. See `kl_explorer`.
    """

    _esm = script(
        "ui.js", "scale.js", "sliders.js", "parts.js", "decoder.js", "pictures.js", "kl_explorer.js"
    )
    _css = style("base.css", "parts.css", "kl_explorer.css")
    layers = traitlets.List().tag(sync=True)
    weights = traitlets.Bytes().tag(sync=True)
    shape = traitlets.List().tag(sync=True)
    trained = traitlets.List().tag(sync=True)  # the ends of β in training, which the gates are told
    betas = traitlets.List().tag(sync=True)  # the ends of the slider and of the tables
    pictures = traitlets.Bytes().tag(sync=True)  # (PICTURES, C, H, W) uint8
    samples = traitlets.Bytes().tag(sync=True)  # (SAMPLES, L) float16
    codes = traitlets.Bytes().tag(sync=True)  # (PLACES, PICTURES, L) float16, posterior means
    scales = traitlets.Dict().tag(sync=True)  # what samples and codes are to be multiplied by
    cloud = traitlets.Bytes().tag(sync=True)  # (PLACES, CODES, 4) float16: 2 means, 2 scales, in half widths
    half_width = traitlets.Float().tag(sync=True)  # of the plane of codes
    names = traitlets.List().tag(sync=True)  # of the two coordinates
    labels = traitlets.Bytes().tag(sync=True)  # (CODES,) uint8
    curve = traitlets.List().tag(sync=True)  # (PLACES, 2) rate and distortion, nats
    separate = traitlets.List().tag(sync=True)  # (n, 3) β, rate and distortion of other models
    beta = traitlets.Float().tag(sync=True)
    start = traitlets.Float().tag(sync=True)
    hint = traitlets.Unicode(HINT).tag(sync=True)

    def __repr__(self) -> str:
        return f"KLExplorer(β {self.betas[0]:g} … {self.betas[1]:g}, {'×'.join(map(str, self.shape))})"


@checked
def kl_explorer(
    model: MultiRateVAE,
    images: ImagesLike,
    *,
    separate=(),
    betas: Numbers | None = None,
    start: Positive = 1.0,
    hint: str = HINT,
) -> KLExplorer:
    """A slider over β, and what it moves: reconstructions, samples, the cloud of codes, rate and distortion.

    model : with a Bernoulli likelihood and a decoder of layers that `decoder.export` knows
    images : for the encoder: the first 10 are shown, 200 drawn as dots, 1,000 measured
    separate : rows (β, rate, distortion in nats) of models trained for one β each, drawn as dots
    betas : the ends of the slider, default the model's
    start : the β at the beginning; hint : one line on what to try

    The page runs the decoder at any β. Means, scales, rate and distortion are computed here at 41 β, evenly
    spaced in log β, and interpolated there by cubics.

    Raises `ValueError` for a model the page cannot run and for arguments that do not fit it.
    """
    ends = [float(b) for b in betas or model.betas]
    rows = tensor("separate", separate)
    separate = points(3)("separate", rows).numpy() if rows.numel() else np.zeros((0, 3))
    _refuse(model, images, ends, separate, start)
    images = images.to(devices.of(model))
    layers, weights, shape = export(nn.Sequential(model.decoder, nn.Sigmoid()), model.latents)
    seen = images.first(CODES).read()
    means, scales = _codes(model, seen, _grid(ends))
    across, up = means.std(1).mean(0).argsort()[::-1][:2].tolist()  # the two that vary most, over all β
    plane = np.concatenate([means[..., [across, up]], scales[..., [across, up]]], axis=2)
    half_width = _half_width(plane[..., :2])
    (samples, of_samples), (codes, of_codes) = map(to_halves, (_prior_draws(model), means[:, :PICTURES]))
    return KLExplorer(
        layers=layers,
        weights=weights,
        shape=list(shape),
        trained=[float(b) for b in model.betas],
        betas=ends,
        pictures=seen[:PICTURES].mul(255).round().byte().cpu().numpy().tobytes(),
        samples=samples,
        codes=codes,
        scales={"samples": of_samples, "codes": of_codes},
        cloud=(plane / half_width).clip(-65504, 65504).astype("<f2").tobytes(),
        half_width=half_width,
        names=[f"z{subscript(i + 1)}" for i in (across, up)],
        labels=images.first(CODES).labels.cpu().numpy().astype(np.uint8).tobytes(),
        curve=_curve(model, images.first(MEASURED), _grid(ends)),
        separate=separate.tolist(),
        beta=float(start),
        start=float(start),
        hint=hint,
    )


def _grid(ends: list[float]) -> list[float]:
    return np.geomspace(*ends, PLACES).clip(*ends).tolist()


@torch.no_grad()
def _codes(model: MultiRateVAE, x: Tensor, betas: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Means and scales of q(z|x) at every β, (PLACES, N, L) each."""
    posteriors = [model.at(beta).encode(x) for beta in betas]
    means, scales = ([getattr(q_z, name) for q_z in posteriors] for name in ("mean", "stddev"))
    return torch.stack(means).cpu().numpy(), torch.stack(scales).cpu().numpy()


def _curve(model: MultiRateVAE, images: Images, betas: list[float]) -> list[list[float]]:
    """Rate and distortion at every β, by the same draws of z."""
    terms = [training.evaluate(model.at(beta), images) for beta in betas]
    return [[t.kl, -t.log_lik] for t in terms]


def _prior_draws(model: MultiRateVAE) -> np.ndarray:
    """(SAMPLES, L) codes, always the same."""
    prior = model.at(model.betas[0]).prior()
    generator = torch.Generator().manual_seed(0)
    return (
        prior.mean.cpu() + prior.stddev.cpu() * torch.randn(SAMPLES, model.latents, generator=generator)
    ).numpy()


def _half_width(means: np.ndarray) -> float:
    """A whole number that nearly all means stay below, at every β, with room for the prior's two circles."""
    return float(max(3, np.ceil(np.quantile(abs(means), 0.995))))


def _refuse(model: MultiRateVAE, images: Images, ends: list[float], separate: np.ndarray, start: float):
    """Say in one sentence what does not fit."""
    low, high = model.betas
    if not isinstance(model.likelihood, Bernoulli):
        raise ValueError(
            f"model must have a Bernoulli likelihood, whose means the page draws, not {model.likelihood}"
        )
    if model.latents < 2:
        raise ValueError("model must have at least two latents, for there is a plane of codes; it has one")
    check_decoder(model)
    if len(ends) != 2 or not low <= ends[0] < ends[1] <= high:
        raise ValueError(
            f"betas must rise within {low:g} … {high:g}, where it was trained; got {tuple(ends)}"
        )
    if not ends[0] <= start <= ends[1]:
        raise ValueError(f"start must be a β from {ends[0]:g} to {ends[1]:g}, got {start}")
    if not (separate[:, :1] > 0).all():
        raise ValueError("separate must be rows (β > 0, rate, distortion) of finite numbers")
    if not 0 <= int(images.labels.min()) <= int(images.labels.max()) < 256:
        raise ValueError("images must have labels from 0 to 255")

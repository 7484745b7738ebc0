"""What training maximizes: free functions of a model and a batch that return named terms.

Every term is a (B,) tensor, one number per image; `.value` is the quantity that is maximized. The minus
sign and the mean over the batch are written once, in the training loop.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution, kl_divergence

from vae_lab.arguments import (
    AutoencoderLike,
    Count,
    Floats,
    NonNegative,
    VAELike,
    checked,
    digits,
    real,
    shown,
    tensor,
)


class SquaredError(NamedTuple):
    """Σ_d (x_d − x̂_d)², summed over the D pixels of an image."""

    squared_error: Tensor  # (B,)

    @property
    def value(self) -> Tensor:
        return -self.squared_error


class ContractiveError(NamedTuple):
    """‖x − x̂‖² + λ ‖∂x̂/∂x‖², the second norm over all D × D derivatives."""

    squared_error: Tensor  # (B,)
    contraction: Tensor  # (B,)
    weight: Tensor  # (B,)

    @property
    def value(self) -> Tensor:
        return -(self.squared_error + self.weight * self.contraction)


class SparseError(NamedTuple):
    """‖x − x̂‖² + λ Σ_l |z_l|."""

    squared_error: Tensor  # (B,)
    size: Tensor  # (B,)
    weight: Tensor  # (B,)

    @property
    def value(self) -> Tensor:
        return -(self.squared_error + self.weight * self.size)


class ELBO(NamedTuple):
    """The evidence lower bound: E_q[log p(x|z)] − KL(q(z|x) ‖ p(z)) ≤ log p(x), in nats."""

    log_lik: Tensor  # (B,)
    kl: Tensor  # (B,)

    @property
    def value(self) -> Tensor:
        return self.log_lik - self.kl


class PricedELBO(NamedTuple):
    """E_q[log p(x|z)] − price, where the price differs from the full KL. `elbo` is still the bound."""

    log_lik: Tensor  # (B,)
    kl: Tensor  # (B,)
    price: Tensor  # (B,)

    @property
    def value(self) -> Tensor:
        return self.log_lik - self.price


class BetaELBO(NamedTuple):
    """E_q[log p(x|z)] − β KL(q(z|x) ‖ p(z)); sure to be a lower bound on log p(x) only for β ≥ 1."""

    log_lik: Tensor  # (B,)
    kl: Tensor  # (B,)
    beta: Tensor  # (B,)

    @property
    def value(self) -> Tensor:
        return self.log_lik - self.beta * self.kl


@checked
def squared_error(model: AutoencoderLike, x: Tensor) -> SquaredError:
    """−‖x − g(f(x))‖² of an autoencoder for images x (B, C, H, W); the sum over pixels, not the mean."""
    return SquaredError(_misfit(x, model.decode(model.encode(x))))


@checked
def denoising_error(model: AutoencoderLike, x: Tensor, corrupt: Callable[[Tensor], Tensor]) -> SquaredError:
    """−‖x − g(f(x̃))‖² for x̃ drawn around x: the clean image from a corrupted one (Vincent et al. 2008).

    corrupt : images (B, …) → corrupted images of the same shape, drawn afresh at every call
    """
    damaged = tensor("what corrupt gives", corrupt(x))
    if damaged.shape != x.shape:
        raise ValueError(
            f"corrupt must keep the shape {tuple(x.shape)} of images, got {tuple(damaged.shape)}"
        )
    return SquaredError(_misfit(x, model.decode(model.encode(damaged))))


@checked
def contractive_error(
    model: AutoencoderLike, x: Tensor, weight: NonNegative, *, probes: Count | None = None
) -> ContractiveError:
    """−(‖x − r(x)‖² + λ ‖∂r/∂x‖²) of the reconstruction r = g∘f (Alain & Bengio 2014).

    Rifai et al. (2011) penalize ∂f/∂x, which a smaller code and a decoder that enlarges it can evade, unless
    the two share their weights. ∂r/∂x cannot be evaded in this way.

    weight : λ ≥ 0; probes : as in `jacobian_norm`
    """
    error = squared_error(model, x).squared_error
    contraction = jacobian_norm(lambda x: model.decode(model.encode(x)), x, probes=probes)
    return ContractiveError(error, contraction, torch.full_like(error, weight))


@checked
def sparse_error(model: AutoencoderLike, x: Tensor, weight: NonNegative) -> SparseError:
    """−(‖x − g(z)‖² + λ Σ_l |z_l|) with z = f(x) (after Olshausen & Field 1996).

    The decoder must not be free to undo a shrinking of the code: give its columns a fixed length.
    """
    z = model.encode(x)
    error = _misfit(x, model.decode(z))
    return SparseError(error, z.abs().sum(1), torch.full_like(error, weight))


def _misfit(x: Tensor, x_hat: Tensor) -> Tensor:
    """‖x − x̂‖² of each image, (B,)."""
    require_same_shape(x_hat.shape, x.shape)
    return (x - x_hat).square().flatten(1).sum(1)


@checked
def jacobian_norm(function: Callable[[Tensor], Tensor], x: Floats, *, probes: Count | None = None) -> Tensor:
    """Σ_ij (∂y_i/∂x_j)² of y = function(x) for each x of a batch (B, …), of shape (B,).

    No y may depend on the x of another row (as it would under batch normalization).

    probes : None computes it exactly, by a backward pass for each number of y; a number averages ‖Jᵀv‖²
        over so many random vectors v of signs, whose mean is the same (Hutchinson 1990), by as many passes
    """
    if not x.ndim:
        raise ValueError(f"x must be a batch, (B, …), got {shown(x)}")
    further = torch.is_grad_enabled()
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        y = tensor("what function gives", function(x))
        if not y.ndim or len(y) != len(x):
            raise ValueError(f"function must give a row for each of {len(x)}, got shape {tuple(y.shape)}")
        y = y[:, None].flatten(1)  # (B, numbers of y)
        if not y.requires_grad:
            raise ValueError("function passes no derivative on to x; remove no_grad or detach")
        if probes is None:
            directions = torch.eye(y.shape[1], dtype=y.dtype, device=y.device)[:, None].expand(-1, len(y), -1)
        else:
            directions = torch.randint(2, (probes, *y.shape), device=y.device).to(y.dtype) * 2 - 1
        rows = [torch.autograd.grad(y, x, v, retain_graph=True, create_graph=further)[0] for v in directions]
        squares = torch.stack([row.square().flatten(1).sum(1) for row in rows])  # (passes, B)
    return squares.sum(0) if probes is None else squares.mean(0)


@checked
def elbo(model: VAELike, x: Tensor, *, n_samples: Count = 1, analytic: bool = True) -> ELBO:
    """E_q[log p(x|z)] − KL(q(z|x) ‖ p(z)) for images x (B, C, H, W) (Kingma & Welling 2014, eq. 7).

    n_samples : K draws of z ~ q(z|x) per image, over which the first term is averaged
    analytic : the KL in closed form; else log q(z|x) − log p(z) averaged over the same draws, which has
        the same mean and, in general, more variance
    """
    return _bound(model, x, n_samples, analytic)[0]


def _bound(
    model, x: Tensor, n_samples: int, analytic: bool = True
) -> tuple[ELBO, Distribution, Distribution]:
    """The ELBO, and the q(z|x) and p(z) that it was computed with."""
    prior, q_z = model.prior(), model.encode(x)
    z = q_z.rsample((n_samples,))  # (K, B, L)
    p_x = model.decode(z)  # batch shape (K, B)
    require_same_shape(p_x.event_shape, x.shape[1:])
    log_lik = p_x.log_prob(x).mean(0)  # (B,)
    kl = kl_divergence(q_z, prior) if analytic else (q_z.log_prob(z) - prior.log_prob(z)).mean(0)
    return ELBO(log_lik, kl), q_z, prior


@checked
def beta_elbo(model: VAELike, x: Tensor, beta: float | Tensor, *, n_samples: Count = 1) -> BetaELBO:
    """The ELBO with its KL weighted by β (Higgins et al. 2017; λ of the lecture slides).

    beta : a number ≥ 0, or one per image as a tensor of shape (B,)
    """
    beta = _weights(beta) if isinstance(beta, Tensor) else _weight("beta", beta)
    (log_lik, kl), _, _ = _bound(model, x, n_samples)
    if not isinstance(beta, Tensor) and beta == 0:
        # unpriced, the noise of a code may shrink until its KL is infinite, and 0 · ∞ is no number
        kl = kl.detach().clamp(max=torch.finfo(kl.dtype).max)
    try:
        weights = (kl.new_ones(()) * beta).expand_as(kl)
    except RuntimeError:
        raise ValueError(
            f"beta must be a number, or one an image, {tuple(kl.shape)}, got shape {tuple(beta.shape)}"
        ) from None
    return BetaELBO(log_lik, kl, weights)


@checked
def free_bits_elbo(model: VAELike, x: Tensor, free: NonNegative, *, n_samples: Count = 1) -> PricedELBO:
    """E_q[log p(x|z)] − Σ_l max(free, mean over the batch of KL_l) (Kingma et al. 2016, eq. 15).

    The first `free` nats of each latent cost what they would cost unused, so giving them up
    saves nothing.

    free : nats per latent, ≥ 0; with 0 it is the ELBO
    """
    (log_lik, kl), q_z, prior = _bound(model, x, n_samples)
    mean_kl = kl_divergence(q_z.base_dist, prior.base_dist).mean(-2, keepdim=True)  # (1, L)
    return PricedELBO(log_lik, kl, mean_kl.clamp(min=free).sum(-1).expand_as(kl))


@checked
def capacity_elbo(
    model: VAELike, x: Tensor, capacity: NonNegative, *, weight: NonNegative, n_samples: Count = 1
) -> PricedELBO:
    """E_q[log p(x|z)] − γ |mean over the batch of KL − C| (Burgess et al. 2018, eq. 8).

    capacity : C ≥ 0, the KL to aim at, in nats; weight : γ ≥ 0, what a nat too many or too few costs
    """
    (log_lik, kl), _, _ = _bound(model, x, n_samples)
    missed = (kl.mean(-1, keepdim=True) - capacity).abs()  # (1,)
    return PricedELBO(log_lik, kl, (weight * missed).expand_as(kl))


def check_terms(terms: Any, model: Any, x: Tensor) -> Any:
    """The same terms, if they are what an objective must return: named, each one number per image.

    Those of M models in one (`ensembles.Ensemble`) are (M, B), as the model's `batch_shape` says.
    """
    if not (isinstance(terms, tuple) and hasattr(terms, "_asdict") and hasattr(type(terms), "value")):
        raise TypeError(
            "objective must return a NamedTuple of terms with a property `value`, such as ELBO, "
            f"got {shown(terms)}"
        )
    expected = (*getattr(model, "batch_shape", ()), len(x))
    for name in (*terms._fields, "value"):  # the value last: it is made of the others
        term = getattr(terms, name)
        if isinstance(term, Tensor) and not term.is_floating_point():
            raise TypeError(f"objective must return float numbers, but its {name} is of {term.dtype}")
        if not isinstance(term, Tensor) or tuple(term.shape) != expected:
            raise ValueError(
                f"objective must return one number for each image, but its {name} is {shown(term)} "
                f"and not of shape {expected}; sum over pixels and latents, "
                "and leave the mean over images to training"
            )
    return terms


def _weights(beta: Tensor) -> Tensor:
    """The same weights, if none is negative; looked at where that does not make a training step wait."""
    if (
        beta.device.type == "cpu"
        and not torch.compiler.is_compiling()
        and not (beta.isfinite() & (beta >= 0)).all()
    ):
        raise ValueError(
            f"beta must be finite numbers of at least 0, got {digits(beta.min().item(), 0)} … "
            f"{digits(beta.max().item(), 0)}"
        )
    return beta


def require_same_shape(decoded: tuple[int, ...], given: tuple[int, ...]) -> None:
    """Refuse a decoder of the wrong shape, which broadcasting would silently turn into a wrong number."""
    if tuple(decoded) != tuple(given):
        raise ValueError(
            f"the decoder describes images of shape {tuple(decoded)}, but was given {tuple(given)}; "
            "make its last layer fit"
        )


_weight = real(0)

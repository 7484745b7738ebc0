"""What training maximizes: free functions of a model and a batch that return named terms.

Every term is a (B,) tensor, one number an image; `.value` is the quantity that is maximized. The minus
sign and the mean over the batch are written once, in the training loop.
"""

from typing import NamedTuple

from torch import Tensor
from torch.distributions import kl_divergence


class SquaredError(NamedTuple):
    """Σ_d (x_d − x̂_d)², summed over the D pixels of an image."""

    squared_error: Tensor  # (B,)

    @property
    def value(self) -> Tensor:
        return -self.squared_error


class ELBO(NamedTuple):
    """The evidence lower bound: E_q[log p(x|z)] − KL(q(z|x) ‖ p(z)) ≤ log p(x), in nats."""

    log_lik: Tensor  # (B,)
    kl: Tensor  # (B,)

    @property
    def value(self) -> Tensor:
        return self.log_lik - self.kl


class BetaELBO(NamedTuple):
    """E_q[log p(x|z)] − β KL(q(z|x) ‖ p(z)); sure to be a lower bound on log p(x) only for β ≥ 1."""

    log_lik: Tensor  # (B,)
    kl: Tensor  # (B,)
    beta: Tensor  # (B,)

    @property
    def value(self) -> Tensor:
        return self.log_lik - self.beta * self.kl


def squared_error(model, x: Tensor) -> SquaredError:
    """−‖x − g(f(x))‖² of an autoencoder for images x (B, C, H, W); the sum over pixels, not the mean."""
    x_hat = model.decode(model.encode(x))
    require_same_shape(x_hat.shape[1:], x.shape[1:])
    return SquaredError((x - x_hat).square().flatten(1).sum(1))


def elbo(model, x: Tensor, *, samples: int = 1, analytic: bool = True) -> ELBO:
    """E_q[log p(x|z)] − KL(q(z|x) ‖ p(z)) for images x (B, C, H, W) (Kingma & Welling 2014, eq. 7).

    samples : K draws of z ~ q(z|x) an image, over which the first term is averaged
    analytic : the KL in closed form; else log q(z|x) − log p(z) averaged over the same draws, which has
        the same mean and, in general, more variance
    """
    if samples < 1:
        raise ValueError(f"the expectation needs at least one sample, got {samples}")
    prior, q_z = model.prior(), model.encode(x)
    z = q_z.rsample((samples,))  # (K, B, L)
    p_x = model.decode(z)  # batch shape (K, B)
    require_same_shape(p_x.event_shape, x.shape[1:])
    log_lik = p_x.log_prob(x).mean(0)  # (B,)
    kl = kl_divergence(q_z, prior) if analytic else (q_z.log_prob(z) - prior.log_prob(z)).mean(0)
    return ELBO(log_lik, kl)


def beta_elbo(model, x: Tensor, beta: float | Tensor, *, samples: int = 1) -> BetaELBO:
    """The ELBO with its KL weighted by β (Higgins et al. 2017; λ of the lecture slides).

    beta : a number ≥ 0, or one an image as a tensor of shape (B,)
    """
    if isinstance(beta, (int, float)) and not beta >= 0:
        raise ValueError(f"the weight β of the KL must not be negative, got {beta}")
    log_lik, kl = elbo(model, x, samples=samples)
    return BetaELBO(log_lik, kl, (kl.new_ones(()) * beta).expand_as(kl))


def require_same_shape(decoded: tuple[int, ...], given: tuple[int, ...]) -> None:
    """Broadcasting would turn a decoder of the wrong shape into a wrong number without a word."""
    if tuple(decoded) != tuple(given):
        raise ValueError(
            f"the decoder describes images of shape {tuple(decoded)}, but was given {tuple(given)}; "
            "make its last layer fit"
        )

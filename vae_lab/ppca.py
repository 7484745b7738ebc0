"""Probabilistic PCA, a VAE with a linear decoder: fitted by `em.fit`, or in closed form.

Data are (N, D) float64, terms (N,) nats. Source: Tipping & Bishop 1999; Bishop 2006, section 12.2.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, kl_divergence

from vae_lab.em import FLOOR, LOG_2PI, as_data, variance_of, warn_singular
from vae_lab.objectives import ELBO


@dataclass(frozen=True, eq=False)
class PPCA:
    """x = W z + μ + ε, z ~ N(0, I), ε ~ N(0, σ² I): PCA as a linear VAE (Tipping & Bishop 1999).

    mean : (D,) μ; loadings : (D, L) W; variance : σ², a number
    """

    mean: Tensor
    loadings: Tensor
    variance: Tensor

    def e_step(self, x) -> MultivariateNormal:
        """p(z|x) = N(M⁻¹Wᵀ(x − μ), σ²M⁻¹), M = WᵀW + σ²I: N Gaussians over L latents."""
        root = torch.linalg.cholesky(self._precision())
        mu = torch.cholesky_solve(self.loadings.T @ (as_data(x, len(self.mean)) - self.mean).T, root).T
        covariance = self.variance * torch.cholesky_inverse(root)  # (L, L), the same for every point
        return MultivariateNormal(mu, scale_tril=torch.linalg.cholesky(covariance), validate_args=False)

    def m_step(self, x, q: MultivariateNormal, *, floor: float = FLOOR) -> "PPCA":
        """The best W, μ and σ² for Gaussians q over the latents: a linear regression of x on z.

        σ² is held above `floor` times the data's variance, with a `SingularCovarianceWarning`.
        """
        x = as_data(x, len(self.mean))
        z, covariance = q.mean, q.covariance_matrix.mean(0)  # (N, L), (L, L)
        from_mean, from_z = x - x.mean(0), z - z.mean(0)
        second = covariance + from_z.T @ from_z / len(x)  # (L, L)
        loadings = torch.linalg.solve(second, from_z.T @ from_mean / len(x)).T
        misfit = (from_mean - from_z @ loadings.T).square().sum(1).mean()
        variance = (misfit + ((loadings.T @ loadings) * covariance).sum()) / x.shape[1]
        least = floor * variance_of(x)
        if variance < least:
            warn_singular(f"the noise variance reached zero and is held at {least:.2g}")
        return PPCA(x.mean(0) - loadings @ z.mean(0), loadings, variance.clamp(min=least))

    def lower_bound(self, x, q: MultivariateNormal) -> ELBO:
        """E_q[log p(x|z)] and KL(q ‖ N(0, I)) of each point, (N,), for Gaussians q over the latents."""
        x = as_data(x, len(self.mean))
        misfit = (x - self.mean - q.mean @ self.loadings.T).square().sum(1)
        misfit = misfit + (self.loadings.T @ self.loadings * q.covariance_matrix).sum((-1, -2))
        log_lik = -0.5 * (x.shape[1] * (LOG_2PI + self.variance.log()) + misfit / self.variance)
        zero = torch.zeros_like(q.mean[0])
        return ELBO(log_lik, kl_divergence(q, MultivariateNormal(zero, torch.eye(len(zero)).to(zero))))

    def log_evidence(self, x) -> Tensor:
        """log N(x; μ, WWᵀ + σ²I), (N,), by matrices of L×L (Woodbury's identity)."""
        x, latents = as_data(x, len(self.mean)), self.loadings.shape[1]
        root = torch.linalg.cholesky(self._precision())
        from_mean = x - self.mean
        seen = torch.linalg.solve_triangular(root, self.loadings.T @ from_mean.T, upper=False)  # (L, N)
        distance = (from_mean.square().sum(1) - seen.square().sum(0)) / self.variance
        log_det = (x.shape[1] - latents) * self.variance.log() + 2 * root.diagonal().log().sum()
        return -0.5 * (distance + log_det + x.shape[1] * LOG_2PI)

    def _precision(self) -> Tensor:
        """M = WᵀW + σ²I, (L, L): σ² times the precision of the posterior."""
        w = self.loadings
        return w.T @ w + self.variance * torch.eye(w.shape[1]).to(w)


def start(x, latents: int, generator: torch.Generator) -> PPCA:
    """A place to start EM: the data's mean, random loadings, and half of the variance left to the noise."""
    x = _data_for(x, latents)
    half = variance_of(x) / 2
    loadings = torch.randn(x.shape[1], latents, generator=generator, dtype=x.dtype) * (half / latents).sqrt()
    return PPCA(x.mean(0), loadings, half)


def closed_form(x, latents: int) -> PPCA:
    """The likeliest model: W = U_L (Λ_L − σ²I)^½, σ² the mean of the eigenvalues left out.

    U_L, Λ_L : the L leading eigenvectors and eigenvalues of the covariance of x (N, D)
    """
    x = _data_for(x, latents)
    from_mean = x - x.mean(0)
    values, vectors = torch.linalg.eigh(from_mean.T @ from_mean / len(x))  # ascending
    variance = values[:-latents].mean().clamp(min=FLOOR * variance_of(x))
    stretch = (values[-latents:] - variance).clamp(min=0).sqrt()
    return PPCA(x.mean(0), (vectors[:, -latents:] * stretch).flip(1), variance)


def _data_for(x, latents: int) -> Tensor:
    """Points as `em.as_data` returns them; refuses as many latents as there are numbers, or none."""
    x = as_data(x)
    if not 1 <= latents < x.shape[1]:
        raise ValueError(f"data of {x.shape[1]} numbers take 1 … {x.shape[1] - 1} latents, not {latents}")
    return x

"""Probabilistic PCA, a VAE with a linear decoder: fitted by `em.fit`, or in closed form.

Data are (N, D) float64 on the CPU, terms (N,) nats. Source: Tipping & Bishop 1999; Bishop 2006, section 12.2.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, kl_divergence

from vae_lab.arguments import Count, NonNegative, Points, checked, cpu_generator, finite, points, tensor
from vae_lab.em import FLOOR, LOG_2PI, column_variances, warn_singular
from vae_lab.objectives import ELBO

TOO_FAR = "x lies too far from the mean for float64, or variance is too small; measure in other units"


@dataclass(frozen=True, eq=False)
class PPCA:
    """x = W z + μ + ε, z ~ N(0, I), ε ~ N(0, σ² I): PCA as a linear VAE (Tipping & Bishop 1999).

    mean : (D,) μ; loadings : (D, L) W; variance : σ², a number
    """

    mean: Tensor
    loadings: Tensor
    variance: Tensor

    def __post_init__(self):
        for name in ("mean", "loadings", "variance"):
            object.__setattr__(self, name, tensor(name, getattr(self, name)).to("cpu").double())
        d = self.mean.shape
        if len(d) != 1 or not d[0] or self.loadings.ndim != 2 or self.loadings.shape[:1] != d:
            raise ValueError(
                f"mean must be (D,) and loadings (D, L), got {tuple(d)} and {tuple(self.loadings.shape)}"
            )
        if self.variance.shape != () or not 0 < self.variance.item() < torch.inf:
            raise ValueError(f"variance must be a finite number above 0, got {self.variance.tolist()}")
        finite(
            "the model", torch.cat([self.mean, self.loadings.flatten()]).detach(), "look at mean and loadings"
        )

    @checked
    def e_step(self, x: Points) -> MultivariateNormal:
        """p(z|x) = N(M⁻¹Wᵀ(x − μ), σ²M⁻¹), M = WᵀW + σ²I: N Gaussians over L latents."""
        _, z, triangle = self._seen(x)
        scale = self.variance.sqrt() * torch.linalg.inv(triangle)  # σ² M⁻¹ = scale scaleᵀ, but scale is upper
        lower = torch.linalg.qr(scale.T, mode="r").R.T
        lower = lower * lower.diagonal().sign()
        return MultivariateNormal(z, scale_tril=lower.expand(len(z), -1, -1), validate_args=False)

    @checked
    def m_step(self, x: Points, q: MultivariateNormal, *, floor: NonNegative = FLOOR) -> "PPCA":
        """The best W, μ and σ² for Gaussians q over the latents: a linear regression of x on z.

        σ² is held above `floor` times the variance of the quietest column, or above what it was before if
        that was less, with a `SingularCovarianceWarning`.
        """
        x = self._data(x)
        z, covariance = self._codes(x, q).mean, q.covariance_matrix.mean(0)  # (N, L), (L, L)
        from_mean, from_z = x - x.mean(0), z - z.mean(0)
        second = covariance + from_z.T @ from_z / len(x)  # (L, L)
        slopes, singular = torch.linalg.solve_ex(second, from_z.T @ from_mean / len(x))
        if singular:
            raise ValueError(
                "q must be Gaussians whose codes vary in every direction, but in one they do not"
            )
        loadings = slopes.T
        misfit = (from_mean - from_z @ loadings.T).square().sum(1).mean()
        variance = (misfit + ((loadings.T @ loadings) * covariance).sum()) / x.shape[1]
        least = (floor * column_variances(x).min()).minimum(self.variance)
        if variance < least:
            warn_singular(f"the noise variance reached zero and is held at {least:.2g}")
        return PPCA(x.mean(0) - loadings @ z.mean(0), loadings, variance.maximum(least))

    @checked
    def lower_bound(self, x: Points, q: MultivariateNormal) -> ELBO:
        """E_q[log p(x|z)] and KL(q ‖ N(0, I)) of each point, (N,), for Gaussians q over the latents."""
        x = self._data(x)
        q = self._codes(x, q)
        misfit = (x - self.mean - q.mean @ self.loadings.T).square().sum(1)
        misfit = misfit + (self.loadings.T @ self.loadings * q.covariance_matrix).sum((-1, -2))
        log_lik = -0.5 * (x.shape[1] * (LOG_2PI + self.variance.log()) + misfit / self.variance)
        finite("the bound", log_lik, TOO_FAR)
        zero = torch.zeros_like(q.mean[0])
        return ELBO(log_lik, kl_divergence(q, MultivariateNormal(zero, torch.eye(len(zero)).to(zero))))

    @checked
    def log_evidence(self, x: Points) -> Tensor:
        """log N(x; μ, WWᵀ + σ²I), (N,), by matrices of L×L.

        (x − μ)ᵀ(WWᵀ + σ²I)⁻¹(x − μ) = ‖x − μ − Wz‖²/σ² + ‖z‖² at the posterior mean z, a sum of squares, in
        which nothing cancels.
        """
        misfit, z, triangle = self._seen(x)
        distance = misfit.square().sum(1) / self.variance + z.square().sum(1)
        d, latents = self.loadings.shape
        log_det = (d - latents) * self.variance.log() + 2 * triangle.diagonal().abs().log().sum()
        return finite("log p(x)", -0.5 * (distance + log_det + d * LOG_2PI), TOO_FAR)

    @checked
    def rescaled(self, x: Points) -> "PPCA":
        """The same subspace and noise, W rescaled until the data's codes vary as the prior says: E[zzᵀ] = I.

        The result is never less likely. EM itself takes this step slowly where there is little noise
        (parameter expansion: Liu, Rubin & Wu 1998).
        """
        q = self.e_step(x)
        from_mean = q.mean - q.mean.mean(0)
        second = q.covariance_matrix.mean(0) + from_mean.T @ from_mean / len(x)
        loadings = self.loadings @ torch.linalg.cholesky(second)
        return PPCA(self.mean + self.loadings @ q.mean.mean(0), loadings, self.variance)

    def _seen(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x − μ − Wz, (N, D), the posterior mean z, (N, L), and an upper triangle R with RᵀR = M = WᵀW + σ²I.

        By a QR decomposition of W over σI, which is better conditioned than M.
        """
        from_mean, latents = self._data(x) - self.mean, self.loadings.shape[1]
        stacked = torch.cat([self.loadings, self.variance.sqrt() * torch.eye(latents).to(self.mean)])
        across, triangle = torch.linalg.qr(stacked)  # (D + L, L), (L, L)
        z = torch.linalg.solve_triangular(triangle, across[: len(self.mean)].T @ from_mean.T, upper=True).T
        return from_mean - z @ self.loadings.T, z, triangle

    def _data(self, x) -> Tensor:
        return points(len(self.mean))("x", x)

    def _codes(self, x: Tensor, q: MultivariateNormal) -> MultivariateNormal:
        expected = (len(x), self.loadings.shape[1])
        if tuple(q.mean.shape) != expected:
            raise ValueError(f"q must be Gaussians with means of shape {expected}, got {tuple(q.mean.shape)}")
        mean, root = (numbers.to("cpu").double() for numbers in (q.mean, q.scale_tril))
        finite("q", torch.cat([mean.flatten(), root.flatten()]).detach(), "look at what it was computed from")
        return MultivariateNormal(mean, scale_tril=root, validate_args=False)


@checked
def random_start(x: Points, latents: Count, generator: Annotated[torch.Generator, cpu_generator]) -> PPCA:
    """A start for EM: the data's mean, random loadings, and as noise half of the quietest column's variance.

    A larger noise would at first drown out columns of small numbers.
    """
    _check_latents(x, latents)
    half = column_variances(x) / 2  # (D,)
    noise = torch.randn(x.shape[1], latents, generator=generator, dtype=x.dtype)
    loadings, lengths, _ = torch.linalg.svd(noise * (half[:, None] / latents).sqrt(), full_matrices=False)
    return PPCA(x.mean(0), loadings * lengths, half.min())  # turned, to keep the digits of small columns


@checked
def closed_form(x: Points, latents: Count) -> PPCA:
    """The likeliest model: W = U_L (Λ_L − σ²I)^½, σ² the mean of the eigenvalues left out.

    U_L, Λ_L : the L leading eigenvectors and eigenvalues of the covariance of x (N, D)

    σ² is held above `FLOOR` times the variance of the quietest column, with a `SingularCovarianceWarning`.
    """
    _check_latents(x, latents)
    columns = column_variances(x)
    triangle = torch.linalg.qr((x - x.mean(0)) / len(x) ** 0.5, mode="r").R
    # No squares: small ones keep their digits
    _, roots, vectors = torch.linalg.svd(triangle, full_matrices=False)
    values = torch.zeros(x.shape[1], dtype=x.dtype)
    values[: len(roots)] = roots.square()
    variance, least = values[latents:].mean(), FLOOR * columns.min()
    if variance < least:
        variance = least
        warn_singular(f"the noise variance would be zero and is held at {least:.2g}")
    stretch = (values[:latents] - variance).clamp(min=0).sqrt()
    directions = torch.zeros(latents, x.shape[1], dtype=x.dtype)
    directions[: len(roots)] = vectors[:latents]
    return PPCA(x.mean(0), directions.T * stretch, variance)


def _check_latents(x: Tensor, latents: int) -> None:
    """Refuse as many latents as there are columns, or more."""
    if latents >= x.shape[1]:
        raise ValueError(
            f"latents must be from 1 to {x.shape[1] - 1} for data of {x.shape[1]} numbers, got {latents}"
        )

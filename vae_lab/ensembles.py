"""Several VAEs of one architecture as a single one whose weights have one axis more.

Small models leave a processor idle between their many small steps. Trained together, on the same images in
the same order, they turn M matrix products into one.
"""

from collections.abc import Sequence
from copy import deepcopy
from typing import Annotated

import torch
from torch import Tensor, nn

from vae_lab import devices, identity
from vae_lab.arguments import checked, instance, several, shown
from vae_lab.models import VAE, evaluating


class StackedLinear(nn.Module):
    """M linear layers side by side: y_m = x_m W_mᵀ + b_m.

    layers : M of `nn.Linear`, of one size; their weights are copied

    Takes (B, in), the same for all, or (M, B, in); gives (M, B, out).
    """

    @checked
    def __init__(self, layers: Annotated[Sequence[nn.Linear], several(instance(nn.Linear))]):
        super().__init__()
        if any(layer.bias is None for layer in layers):
            raise ValueError("layers must have a bias; build them without bias=False")
        if len({layer.weight.shape for layer in layers}) != 1:
            raise ValueError(f"layers must be linear layers of one size, at least one, got {len(layers)}")
        self.weight = nn.Parameter(torch.stack([layer.weight.detach() for layer in layers]))  # (M, out, in)
        self.bias = nn.Parameter(torch.stack([layer.bias.detach() for layer in layers]))  # (M, out)
        for mine, theirs in ((self.weight, "weight"), (self.bias, "bias")):
            mine.requires_grad_(any(getattr(layer, theirs).requires_grad for layer in layers))

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim == 2:  # one product serves all, and nothing is copied
            y = nn.functional.linear(x, self.weight.flatten(0, 1), self.bias.flatten())
            return y.unflatten(1, self.bias.shape).transpose(0, 1)
        return torch.baddbmm(self.bias[:, None], x, self.weight.mT)


class Ensemble(VAE):
    """M VAEs of fully connected layers as one, for `training.fit` and any objective of one sample.

    `encode(x)` has batch shape (M, B), as do an objective's terms. Taking their mean over the models changes
    only the scale of each model's gradient, which Adam ignores. Training and `evaluate` report the means of
    each model. Pass a number that differs from model to model to the objective as a tensor of shape (M, 1).

    members : M models of one architecture, each with its own weights; they are not changed
    """

    @checked
    def __init__(self, members: Sequence[VAE]):
        members = _alike(members)
        first, count = members[0], len(members)
        encoder = _stack([member.encoder for member in members])
        decoder = nn.Sequential(
            nn.Unflatten(0, (count, -1)),  # (M B, L) → (M, B, L)
            *_stack([member.decoder[:-1] for member in members]),
            nn.Flatten(0, 1),
            first.decoder[-1],
        )
        super().__init__(encoder, decoder, first.latents, first.likelihood)
        self.to(devices.of(first))
        self._members = tuple(members)  # no nn.ModuleList: these are not part of this module
        self._check()

    @property
    def batch_shape(self) -> tuple[int]:
        """(M,), the axes before that of the images in an objective's terms."""
        return (len(self._members),)

    @torch.no_grad()
    def _check(self) -> None:
        """Refuse members that give other numbers: a layer mixes rows, or they have a pass of their own."""
        count, first = len(self._members), next(self.parameters())
        z = torch.linspace(-1, 1, 3 * self.latents).view(3, -1).to(first)
        with evaluating(self), evaluating(self._members[0]), evaluating(self._members[-1]):
            theirs = [self._members[m].decode(z) for m in (0, -1)]
            x = (
                torch.linspace(0, 1, 3 * theirs[0].event_shape.numel())
                .view(3, *theirs[0].event_shape)
                .to(first)
            )
            ours, codes = self.decode(z.expand(count, -1, -1)), self.encode(x)
            pairs = [(ours.mean[m], p.mean) for m, p in zip((0, -1), theirs, strict=True)]
            pairs += [(codes.mean[m], self._members[m].encode(x).mean) for m in (0, -1)]
        if not all(torch.allclose(a, b, rtol=1e-3, atol=1e-4) for a, b in pairs):
            raise ValueError(
                "members must do what their layers do, one row at a time; this one gives other numbers"
            )

    def members(self) -> list[VAE]:
        """M models with the weights as they are now, on the device where these are."""
        copies = [member.to(devices.of(self)) for member in deepcopy(self._members)]
        for body in ("encoder", "decoder"):
            stacked = [layer for layer in getattr(self, body) if isinstance(layer, StackedLinear)]
            for m, member in enumerate(copies):
                single = [layer for layer in getattr(member, body) if isinstance(layer, nn.Linear)]
                for one, all_of_them in zip(single, stacked, strict=True):
                    one.weight.data.copy_(all_of_them.weight[m])
                    one.bias.data.copy_(all_of_them.bias[m])
        return copies


def _alike(members) -> list[VAE]:
    """The members, if they differ in their weights only, and not in those of their likelihoods."""
    several = isinstance(members, Sequence) and not isinstance(members, str)
    if not several or not members or not all(isinstance(member, VAE) for member in members):
        raise TypeError(f"members must be a list of VAEs, at least one, got {shown(members)}")
    members, first = list(members), members[0]
    if not all(
        isinstance(body, nn.Sequential) for member in members for body in (member.encoder, member.decoder)
    ):
        raise TypeError(
            "members must have encoders and decoders that are nn.Sequential; see nets.mlp_encoder"
        )
    if any(p.requires_grad for p in first.likelihood.parameters()):
        raise ValueError("members share one likelihood, so it must not learn; train them one by one")
    for number, member in enumerate(members[1:], 1):
        others = identity.differences(identity.describe(member=first), identity.describe(member=member))
        for key, value in first.likelihood.state_dict().items():
            if not torch.equal(value, member.likelihood.state_dict().get(key, value + 1)):
                others.append(f"likelihood.{key}: not the same")
        if others:
            raise ValueError(
                f"members must be of one architecture, but number {number} is not: {'; '.join(others)}"
            )
    return members


def _stack(bodies: Sequence[nn.Sequential]) -> nn.Sequential:
    """M bodies of fully connected layers as one."""
    layers = []
    for group in zip(*bodies, strict=True):
        if any(True for _ in group[0].parameters()) and not isinstance(group[0], nn.Linear):
            raise ValueError(f"members must be of fully connected layers, not of {type(group[0]).__name__}")
        layers.append(StackedLinear(group) if isinstance(group[0], nn.Linear) else group[0])
    return nn.Sequential(*layers)

import pytest
import torch
from torch import nn

from vae_lab.likelihoods import Bernoulli, Gaussian
from vae_lab.models import VAE, Autoencoder
from vae_lab.multirate import MultiRateVAE
from vae_lab.nets import conv_decoder, conv_encoder, mlp_decoder, mlp_encoder
from vae_lab.objectives import elbo, squared_error

SHAPE = (1, 28, 28)


@pytest.fixture
def vae():
    return VAE(conv_encoder(SHAPE, 6, width=4), conv_decoder(3, SHAPE, width=4), 3)


def test_an_autoencoder_is_its_two_functions():
    encoder, decoder = nn.Linear(5, 2), nn.Linear(2, 5)
    model, x = Autoencoder(encoder, decoder), torch.rand(4, 5)
    assert torch.equal(model.encode(x), encoder(x))
    assert torch.equal(model.decode(model.encode(x)), decoder(encoder(x)))
    assert len(list(model.parameters())) == 4


def test_the_prior_is_a_standard_normal(vae):
    z = torch.randn(10, 3, dtype=torch.float64)
    standard = torch.distributions.MultivariateNormal(torch.zeros(3).double(), torch.eye(3).double())
    torch.testing.assert_close(vae.double().prior().log_prob(z), standard.log_prob(z))
    assert vae.prior().sample((7,)).shape == (7, 3)


def test_the_posterior_is_read_from_means_and_log_variances(vae):
    x = torch.rand(4, *SHAPE)
    mu, log_var = vae.encoder(x).split(3, dim=1)
    q_z = vae.encode(x)
    torch.testing.assert_close(q_z.mean, mu)
    torch.testing.assert_close(q_z.variance, log_var.exp())
    assert q_z.batch_shape == (4,) and q_z.event_shape == (3,)


@pytest.mark.parametrize("batch", [(4,), (5, 4), ()])
def test_decoding_keeps_the_batch_shape(vae, batch):
    p_x = vae.decode(torch.randn(*batch, 3))
    assert p_x.batch_shape == batch and p_x.event_shape == SHAPE and p_x.mean.shape == (*batch, *SHAPE)


def test_decoding_many_codes_is_decoding_each(vae):
    z = torch.randn(5, 4, 3)
    each = torch.stack([vae.decode(row).mean for row in z])
    torch.testing.assert_close(vae.decode(z).mean, each)


def test_pixels_are_coins_unless_told_otherwise(vae):
    z, x = torch.randn(4, 3), torch.rand(4, *SHAPE).round()
    torch.testing.assert_close(vae.decode(z).log_prob(x), Bernoulli()(vae.decoder(z)).log_prob(x))
    vae.likelihood = Gaussian(0.5)
    torch.testing.assert_close(vae.decode(z).log_prob(x), Gaussian(0.5)(vae.decoder(z)).log_prob(x))


def test_a_learnt_scale_is_trained_with_the_model(vae):
    before = sum(p.requires_grad for p in vae.parameters())
    vae.likelihood = Gaussian(learn=True)
    assert sum(p.requires_grad for p in vae.parameters()) == before + 1


def test_an_encoder_of_the_wrong_width_is_refused():
    model = VAE(conv_encoder(SHAPE, 3), conv_decoder(3, SHAPE), 3)
    with pytest.raises(ValueError, match=r"gives shape \(2, 3\) .* Gaussian over 3 latents needs 6"):
        model.encode(torch.rand(2, *SHAPE))


def test_codes_of_the_wrong_length_are_refused(vae):
    with pytest.raises(ValueError, match=r"z must be codes of length 3, .* got \(2, 4\)"):
        vae.decode(torch.randn(2, 4))


def test_only_weights_are_saved(vae):
    assert all(name.startswith(("encoder.", "decoder.")) for name in vae.state_dict())


def test_the_prior_moves_with_the_model(vae):
    assert vae.to("meta").prior().mean.device.type == "meta"


class Giving(nn.Module):
    """Gives what it is told to, of a batch."""

    def __init__(self, give):
        super().__init__()
        self.give = give

    def forward(self, x):
        return self.give(x)


ENCODERS = {
    "of one row for all": (lambda x: torch.zeros(1, 4), "gives shape (1, 4) for 8 images"),
    "without rows": (lambda x: torch.zeros(4), "gives shape (4,) for 8 images"),
    "of an axis too many": (lambda x: torch.zeros(len(x), 1, 4), "gives shape (8, 1, 4) for 8 images"),
    "of two tensors": (
        lambda x: (x, x),
        "the encoder must give one tensor, got a tuple of 2; torch.cat joins",
    ),
    "of nothing": (lambda x: None, "the encoder must give one tensor, got None"),
    "that fails inside torch": (nn.BatchNorm1d(3), "the encoder cannot take images of shape (8, 1, 4, 4)"),
}
DECODERS = {
    "of one row for all": lambda z: torch.zeros(1, 1, 4, 4),
    "of a row too many": lambda z: torch.zeros(len(z) + 1, 1, 4, 4),
    "of half the rows": lambda z: torch.zeros(len(z) // 2, 1, 4, 4),
}


@pytest.mark.parametrize("which", ENCODERS)
def test_an_encoder_gives_a_row_for_each_image(which):
    give, words = ENCODERS[which]
    with pytest.raises((ValueError, TypeError)) as caught:
        elbo(VAE(Giving(give), mlp_decoder(2, (1, 4, 4)), 2), torch.rand(8, 1, 4, 4))
    assert words in str(caught.value)


@pytest.mark.parametrize("which", DECODERS)
def test_a_decoder_gives_an_image_for_each_code(which):
    x, decoder = torch.rand(8, 1, 4, 4), Giving(DECODERS[which])
    for n_samples in (1, 3):
        with pytest.raises(ValueError, match=r"the decoder gives shape .* codes; one image each"):
            elbo(VAE(mlp_encoder((1, 4, 4), 4), decoder, 2), x, n_samples=n_samples)
    with pytest.raises(ValueError, match="the decoder describes images of shape"):
        squared_error(Autoencoder(mlp_encoder((1, 4, 4), 2), decoder), x)


@pytest.mark.parametrize("likelihood", [Bernoulli, "bernoulli", nn.BCELoss(), nn.Linear(2, 2), 3])
def test_a_likelihood_is_one_of_ours(likelihood):
    bodies = mlp_encoder((1, 4, 4), 4), mlp_decoder(2, (1, 4, 4))
    for build in (VAE, MultiRateVAE):
        with pytest.raises(TypeError, match=r"likelihood must be one of vae_lab.likelihoods, such as"):
            build(*bodies, 2, likelihood)


def test_normalizing_over_a_batch_of_one_is_explained():
    decoder = nn.Sequential(nn.Linear(2, 16), nn.BatchNorm1d(16), nn.Unflatten(1, (1, 4, 4)))
    with pytest.raises(ValueError, match=r"the decoder cannot take codes of shape .*: Expected more than 1"):
        VAE(mlp_encoder((1, 4, 4), 4), decoder, 2).decode(torch.zeros(1, 2))

import pytest
import torch
from torch import nn

from vae_lab.likelihoods import Bernoulli, Gaussian
from vae_lab.models import VAE, Autoencoder
from vae_lab.nets import conv_decoder, conv_encoder

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
    with pytest.raises(ValueError, match="gives 3 numbers an image, but a Gaussian over 3 latents needs 6"):
        model.encode(torch.rand(2, *SHAPE))


def test_codes_of_the_wrong_length_are_refused(vae):
    with pytest.raises(ValueError, match=r"z must be codes of length 3, .* got \(2, 4\)"):
        vae.decode(torch.randn(2, 4))


def test_only_weights_are_saved(vae):
    assert all(name.startswith(("encoder.", "decoder.")) for name in vae.state_dict())


def test_the_prior_moves_with_the_model(vae):
    assert vae.to("meta").prior().mean.device.type == "meta"

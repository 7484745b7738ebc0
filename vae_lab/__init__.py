"""The package behind *Variational Autoencoders: a textbook that runs*.

What is learned from
    data            `load` by name, `Images` of your own; one picture, MNIST, Animal Faces-HQ, drawn faces
What learns
    nets            encoder and decoder bodies
    likelihoods     what a decoder's numbers say about pixels: p(x|z)
    wavelets        an image as averages and details of several sizes
    models          `Autoencoder` and `VAE`
    multirate       one VAE for every weight of the KL
    ensembles       several small VAEs as one
    priors          distributions fitted to codes: p(z)
How it learns
    objectives      squared error, `elbo` and its relatives: functions that return named terms
    schedules       numbers that change while training goes on
    training        `fit`, `steps`, `evaluate`
    devices         where to compute, and with which random numbers
Without a network
    em, ppca        expectation maximization; mixtures of Gaussians, probabilistic PCA
    inference       posteriors on a grid and by Markov chains
    variational     variational inference, black-box and by coordinate ascent
    estimators      the gradient of an expectation: score function and path
How good it is
    information     what a code says about its image
    metrics         log p(x), Fréchet distances, precision and recall, disentanglement
    claims          sentences checked where they are made: `claim`
    experiments     the long runs, by name; `records` reads what they found
What one sees
    tables          results, row by row: `table`
    plotting        one look for every figure, in the `colors` of the book; diagrams of the models
    widgets         things to drag
Beneath all of it
    arguments       what callers pass is converted to what functions need, or refused in one sentence
    files           written whole or not at all
    notebook        what a notebook shows and a script prints
    marking         what the assignments' tests say to a student's function
    identity        what a function does, so that a changed run never resumes from an old checkpoint
    colab           a Google Drive to work in

Shapes are written with fixed letters: `B` batch, `K` samples, `L` latents, `D` data dimensions, `C, H, W`
channels, height and width. Log-probabilities are in nats, pixels in [0, 1].
"""

from vae_lab.claims import claim
from vae_lab.tables import table

__version__ = "0.1.0"
__all__ = ["claim", "table"]

"""Things to drag: in a notebook with a kernel, and in a published page without one."""

from vae_lab.widgets.aggregate_posterior import AggregatePosterior, aggregate_posterior
from vae_lab.widgets.bent_decoder import BentDecoder, bent_decoder
from vae_lab.widgets.bound import Bound, bound
from vae_lab.widgets.draw_codes import DrawCodes, draw_codes
from vae_lab.widgets.draw_digit import DrawDigit, draw_digit
from vae_lab.widgets.em_stepper import EMStepper, em_stepper
from vae_lab.widgets.empty_rules import EmptyRules, empty_rules
from vae_lab.widgets.flipbook import Flipbook, flipbook
from vae_lab.widgets.kl_explorer import KLExplorer, kl_explorer
from vae_lab.widgets.latent_explorer import LatentExplorer, latent_explorer
from vae_lab.widgets.phase_portrait import PhasePortrait, phase_portrait
from vae_lab.widgets.train_in_page import TrainInPage, train_in_page
from vae_lab.widgets.two_clouds import TwoClouds, two_clouds
from vae_lab.widgets.two_gradients import TwoGradients, two_gradients
from vae_lab.widgets.two_optimizers import TwoOptimizers, two_optimizers
from vae_lab.widgets.vector_field import VectorField, vector_field
from vae_lab.widgets.water_filling import WaterFilling, water_filling

__all__ = [
    "AggregatePosterior",
    "BentDecoder",
    "Bound",
    "DrawCodes",
    "DrawDigit",
    "EMStepper",
    "EmptyRules",
    "Flipbook",
    "KLExplorer",
    "LatentExplorer",
    "PhasePortrait",
    "TrainInPage",
    "TwoClouds",
    "TwoGradients",
    "TwoOptimizers",
    "VectorField",
    "WaterFilling",
    "aggregate_posterior",
    "bent_decoder",
    "bound",
    "draw_codes",
    "draw_digit",
    "em_stepper",
    "empty_rules",
    "flipbook",
    "kl_explorer",
    "latent_explorer",
    "phase_portrait",
    "train_in_page",
    "two_clouds",
    "two_gradients",
    "two_optimizers",
    "vector_field",
    "water_filling",
]

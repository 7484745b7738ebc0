"""How good a model is, measured after training on images it has never seen.

`likelihood`: log p(x). `classifier`, `inception`: networks whose features judge images,
trained here or FID's own. `distances`, `neighbors`: how two sets of features differ; `resampling`:
how much of that is chance. `disentanglement`: which coordinate of a code tells about which factor.
"""

from vae_lab.metrics.classifier import Classifier, fit_classifier
from vae_lab.metrics.disentanglement import InformationGap, mutual_information_gap
from vae_lab.metrics.distances import KernelDistance, frechet_distance, kernel_distance
from vae_lab.metrics.inception import (
    InceptionUnavailable,
    fid,
    fid_by_command,
    inception_features,
    write_images,
)
from vae_lab.metrics.likelihood import log_likelihood
from vae_lab.metrics.neighbors import PrecisionRecall, nearest_distance, precision_recall
from vae_lab.metrics.resampling import bootstrap, subsample

__all__ = [
    "Classifier",
    "InceptionUnavailable",
    "InformationGap",
    "KernelDistance",
    "PrecisionRecall",
    "bootstrap",
    "fid",
    "fid_by_command",
    "fit_classifier",
    "frechet_distance",
    "inception_features",
    "kernel_distance",
    "log_likelihood",
    "mutual_information_gap",
    "nearest_distance",
    "precision_recall",
    "subsample",
    "write_images",
]

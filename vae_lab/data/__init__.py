"""Data sets and how they are held: `load` by name, `Images` of your own, `pictures.read` for one file.

`images`, `pixels`: a set of images, and the checks that they pass on the way in.
`pictures`: one file as a viewer shows it.
`sets`: the data sets by name; `mnist`, `afhq`, `toy_faces`: where they come from; `fetch`, `cache`: the disk.
"""

from vae_lab.data.images import VIEWS, Dataset, Images, ImagesLike, as_images, from_floats
from vae_lab.data.pictures import DataError
from vae_lab.data.sets import NAMES, load, root

__all__ = [
    "NAMES",
    "VIEWS",
    "DataError",
    "Dataset",
    "Images",
    "ImagesLike",
    "as_images",
    "from_floats",
    "load",
    "root",
]

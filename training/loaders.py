"""Loaders: labelled images from where they lie, by format. `LOADERS` names them for recipes."""

from collections.abc import Callable, Mapping
from pathlib import Path

from training.data import Dataset
from training.folders import class_folders
from training.letters import packed_letters, pen_tracks
from training.mnist import mnist
from training.recipe import Recipe

Loader = Callable[[Recipe, Path, int], Dataset]
"""(recipe, path of the data, seed) to a data set, split; raises DataError."""

LOADERS: Mapping[str, Loader] = {
    "class-folders": class_folders,
    "mnist": mnist,
    "packed-letters": packed_letters,
    "pen-tracks": pen_tracks,
}

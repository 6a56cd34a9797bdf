"""Classifiers: what the training loop learns of labelled images, and what an exported graph reaches on them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.augment import augmented
from training.calibrate import fit_temperature, probabilities
from training.data import DataError, Dataset, without_shared_pictures
from training.evaluate import TABLE_HEAD, THRESHOLD, answers, graph_logits, measure, metrics, table_row
from training.loaders import LOADERS
from training.nets import NETS
from training.recipe import Recipe, RecipeError
from training.report import Report
from training.train import Task, as_input, outputs


def load(recipe: Recipe, path: Path, seed: int) -> Dataset:
    """The recipe's data set, less pictures to learn or choose from that are also measured on.

    Raises:
        DataError: as its loader does, and for fewer than two classes or a class that is missing from a part.
        RecipeError: there is no such loader.
    """
    if recipe.data.loader not in LOADERS:
        raise RecipeError(f"data.loader: no loader {recipe.data.loader!r}; there are: {', '.join(sorted(LOADERS))}")
    dataset = without_shared_pictures(LOADERS[recipe.data.loader](recipe, path, seed))
    if len(dataset.labels) < 2:
        raise DataError(f"{path}: a classifier needs at least two classes, not {', '.join(dataset.labels) or 'none'}")
    for part in ("train", "validation", "test"):
        counts = np.bincount(getattr(dataset, part).labels, minlength=len(dataset.labels))
        if missing := [label for label, count in zip(dataset.labels, counts, strict=True) if not count]:
            raise DataError(f"{path}: the {part} part has no picture of {', '.join(missing)}")
    return dataset


def untrained(recipe: Recipe, classes: int) -> nn.Module:
    """The recipe's network for so many classes.

    Raises:
        RecipeError: there is no such network, or it takes other options.
    """
    if recipe.net.name not in NETS:
        raise RecipeError(f"net.name: no network {recipe.net.name!r}; there are: {', '.join(sorted(NETS))}")
    try:
        return NETS[recipe.net.name](classes, recipe.input.channels, **recipe.net.options)
    except TypeError as error:
        raise RecipeError(f"net.options: {error}") from error


def task(recipe: Recipe, dataset: Dataset) -> Task:
    """Cross-entropy over the recipe's augmented batches.

    Raises:
        RecipeError: there is no such network or augmentation, or it takes other options.
    """
    schedule, classes = recipe.schedule, len(dataset.labels)
    images, labels = torch.from_numpy(dataset.train.images), torch.from_numpy(dataset.train.labels)
    held_images, held_labels = torch.from_numpy(dataset.validation.images), torch.from_numpy(dataset.validation.labels)

    def batches(epoch: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        size = schedule.sizes[epoch * len(schedule.sizes) // schedule.epochs]
        for rows in torch.randperm(len(images), generator=generator).split(schedule.batch):
            targets = F.one_hot(labels[rows], classes).float()
            targets = targets * (1 - schedule.smoothing) + schedule.smoothing / classes
            yield augmented(_at_size(as_input(images[rows]), size), targets, recipe.augment, generator)

    def validate(net: nn.Module) -> tuple[float, float]:
        answers = outputs(net, held_images)
        accuracy = (answers.argmax(1) == held_labels).float().mean().item()
        return F.cross_entropy(answers, held_labels).item(), accuracy

    return Task(
        recipe.name,
        net=lambda: untrained(recipe, classes),
        steps=-(-len(images) // schedule.batch),
        batches=batches,
        loss=F.cross_entropy,
        validate=validate,
        metric="accuracy",
        identity={"images": len(images), "classes": classes},
    )


def _at_size(images: Tensor, share: float) -> Tensor:
    """Images [N, channels, height, width] at a share of their height and width."""
    sides = [max(1, round(share * side)) for side in images.shape[2:]]
    return images if share == 1 else F.interpolate(images, sides, mode="bilinear", antialias=True)


def report(graph: bytes, recipe: Recipe, dataset: Dataset) -> Report:
    """Calibrate a graph on the validation part, and measure it on the test part and on all other sources."""
    held = dataset.validation
    temperature = fit_temperature(graph_logits(graph, held.images), held.labels, recipe.caution)
    tested = answers(graph_logits(graph, dataset.test.images), dataset.test.labels, dataset.labels, temperature)
    measured = {
        described: measure(graph_logits(graph, part.images), part.labels, temperature)
        for described, part in {dataset.described: dataset.test, **dataset.elsewhere}.items()
    }
    nothing: list[Mapping[str, Any]] = []
    for described, pictures in dataset.nothing.items():
        unsure = probabilities(graph_logits(graph, pictures), temperature).max(axis=1)
        share = float((unsure >= THRESHOLD).mean())
        nothing.append({f"share_at_{THRESHOLD}": share, "images": len(pictures), "data": described})
    test, *elsewhere = (metrics(described, figures) for described, figures in measured.items())
    table = [
        *TABLE_HEAD,
        *(table_row(described, figures) for described, figures in measured.items()),
        *(
            f"\nOf {each['images']} {each['data']}, none of which shows a class, "
            f"{each[f'share_at_{THRESHOLD}']:.1%} were accepted."
            for each in nothing
        ),
    ]
    return Report(temperature, {**test, "elsewhere": elsewhere, "nothing": nothing}, "\n".join(table), tested)

"""The one training loop: deterministic by seed, stopped early, safe to interrupt after any epoch and to resume."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from training.measures import chosen_by
from training.recipe import Schedule


class ResumeError(ValueError):
    """There is no checkpoint to resume from, or it belongs to another training."""


@dataclass(frozen=True)
class Task:
    """What the loop learns.

    `net()` makes the untrained network. `batches(epoch, generator)` gives the `steps` batches of an epoch, augmented:
    inputs as the network takes them and whatever targets `loss(outputs, targets)` compares its outputs with; all that
    is random in them comes from `generator`. `validate(net)` is the loss and the `metric` on held-out images;
    `training.measures.chosen_by` says which of the two chooses the epoch. `identity` tells data sets apart: a
    checkpoint of another is not resumed. `warm_up` is the part of all steps in which the learning rate rises.
    """

    name: str
    net: Callable[[], nn.Module]
    steps: int
    batches: Callable[[int, torch.Generator], Iterator[tuple[Tensor, Any]]]
    loss: Callable[[Tensor, Any], Tensor]
    validate: Callable[[nn.Module], tuple[float, float]]
    metric: str
    identity: Mapping[str, Any]
    warm_up: float = 0.25


@dataclass(frozen=True)
class Fitted:
    """A trained network in evaluation mode, and what was seen on the way: a mapping an epoch, for the curves."""

    net: nn.Module
    history: list[dict[str, float]]


@dataclass
class _Best:
    reached: float = float("inf")
    epoch: int = -1
    weights: dict[str, Tensor] | None = None
    history: list[dict[str, float]] = field(default_factory=list)


def as_input(images: Tensor) -> Tensor:
    """uint8 [N, height, width, channels] to what networks take: float32 [N, channels, height, width] in 0..1."""
    return images.permute(0, 3, 1, 2).float() / 255


@torch.inference_mode()
def outputs(net: nn.Module, images: Tensor, batch: int = 500) -> Tensor:
    """A network's answers, image by image, for uint8 [N, height, width, channels]."""
    net.eval()
    return torch.cat([net(as_input(part)) for part in images.split(batch)])


def fit(task: Task, schedule: Schedule, checkpoint: Path, console: Console, *, resume: bool = False) -> Fitted:
    """Train a fresh network and return its averaged weights of the best epoch, by validation.

    Writes `checkpoint` after every epoch, atomically; with `resume` it goes on from there and, on the same machine and
    number of threads, ends with the same weights to the bit as if it had never stopped.

    Raises:
        ResumeError: `resume` finds no checkpoint, or one of another recipe, schedule or data set.
    """
    torch.manual_seed(schedule.seed)
    net = task.net().to(memory_format=torch.channels_last)
    averaged = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(schedule.ema_decay), use_buffers=True)
    learned = [parameter for parameter in net.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=schedule.peak_rate, weight_decay=schedule.weight_decay)
    # it divides by the length of its rise, less one: that must not be nothing
    steps = max(task.steps * schedule.epochs, math.ceil(2 / task.warm_up))
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, schedule.peak_rate, total_steps=steps, pct_start=task.warm_up)
    parts: dict[str, Any] = {"net": net, "averaged": averaged, "optimizer": optimizer, "rate": rate}
    identity = {"task": task.name, **task.identity, **asdict(schedule)}
    best, first = _restore(checkpoint, identity, parts) if resume else (_Best(), 0)

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        reached = ""
        bar = progress.add_task("", total=task.steps * schedule.epochs, completed=task.steps * first)
        for epoch in range(first, schedule.epochs):
            if best.epoch >= 0 and epoch - best.epoch > schedule.patience:
                console.print(f"no better for {schedule.patience} epochs: stopped")
                break
            # one generator an epoch, so that a resumed epoch draws what it would have drawn
            generator = torch.Generator().manual_seed(schedule.seed * 1_000_003 + epoch)
            torch.manual_seed(schedule.seed * 1_000_003 + epoch)  # for dropout
            net.train()
            total = 0.0
            for step, (inputs, targets) in enumerate(task.batches(epoch, generator), 1):
                loss = task.loss(net(inputs.contiguous(memory_format=torch.channels_last)), targets)
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(learned, 5.0)
                optimizer.step()
                rate.step()
                averaged.update_parameters(net)
                total += loss.item()
                progress.update(bar, advance=1, description=f"epoch {epoch + 1}, loss {total / step:.4f}{reached}")
            held_loss, metric = task.validate(averaged)
            reached = f", {task.metric} {metric:.4f}"
            best.history.append(
                {"epoch": epoch + 1, "loss": total / task.steps, "validation loss": held_loss, task.metric: metric}
            )
            value = {"validation loss": held_loss, task.metric: metric}[chosen_by(task.metric)]
            if value < best.reached:
                weights = averaged.module.state_dict()
                best.reached, best.epoch = value, epoch
                best.weights = {name: value.clone() for name, value in weights.items()}
            _save(checkpoint, identity, parts, best, epoch + 1)
            console.print(
                f"epoch {epoch + 1} of {schedule.epochs}: loss {total / task.steps:.4f}, "
                f"validation loss {held_loss:.4f}, {task.metric} {metric:.4f}",
                soft_wrap=True,
                highlight=False,
            )
    if best.weights is None:
        raise FloatingPointError("the validation loss was never a number; a lower peak_rate may help")
    net.load_state_dict(best.weights)
    return Fitted(net.eval(), best.history)


def _save(checkpoint: Path, identity: dict[str, Any], parts: dict[str, Any], best: _Best, epoch: int) -> None:
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    unfinished = checkpoint.with_suffix(".part")
    states = {name: part.state_dict() for name, part in parts.items()}
    torch.save({"identity": identity, "states": states, "best": asdict(best), "epoch": epoch}, unfinished)
    unfinished.replace(checkpoint)


def _restore(checkpoint: Path, identity: dict[str, Any], parts: dict[str, Any]) -> tuple[_Best, int]:
    if not checkpoint.is_file():
        raise ResumeError(f"no checkpoint at {checkpoint}; start without --resume")
    saved = torch.load(checkpoint, weights_only=True)
    if saved["identity"] != identity:
        other = {name: value for name, value in saved["identity"].items() if identity.get(name) != value}
        raise ResumeError(f"{checkpoint} is of another training: {other}; start without --resume, or give --checkpoint")
    for name, state in saved["states"].items():
        parts[name].load_state_dict(state)
    return _Best(**saved["best"]), saved["epoch"]

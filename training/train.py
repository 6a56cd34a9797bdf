"""The one training loop: deterministic by seed, stopped early, safe to interrupt after any epoch and to resume."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from training.data import Labelled
from training.recipe import Recipe


class ResumeError(ValueError):
    """There is no checkpoint to resume from, or it belongs to another training."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to learn.

    AdamW under one learning-rate cycle (Smith 2018) that peaks at `peak_rate`. Validation looks at an exponential
    moving average of the weights, decaying by `ema_decay` a step, and training stops `patience` epochs after its best.
    """

    epochs: int = 20
    batch: int = 256
    peak_rate: float = 4e-3
    weight_decay: float = 0.01
    ema_decay: float = 0.998
    patience: int = 6
    seed: int = 0


@dataclass
class _Best:
    loss: float = float("inf")
    epoch: int = -1
    weights: dict[str, Tensor] | None = None


def as_input(images: Tensor) -> Tensor:
    """uint8 [N, height, width, channels] to what networks take: float32 [N, channels, height, width] in 0..1."""
    return images.permute(0, 3, 1, 2).float() / 255


@torch.inference_mode()
def logits(net: nn.Module, images: Tensor, batch: int = 500) -> Tensor:
    """A network's answers [N, classes] for uint8 [N, height, width, channels]."""
    net.eval()
    return torch.cat([net(as_input(part)) for part in images.split(batch)])


def fit(
    recipe: Recipe,
    train: Labelled,
    validation: Labelled,
    schedule: Schedule,
    checkpoint: Path,
    console: Console,
    *,
    resume: bool = False,
) -> nn.Module:
    """Train a fresh network and return its averaged weights of the epoch with the lowest validation loss.

    Writes `checkpoint` after every epoch, atomically; with `resume` it goes on from there and, on the same machine and
    number of threads, ends with the same weights to the bit as if it had never stopped.

    Raises ResumeError where `resume` finds no checkpoint, or one of another recipe, schedule or data set.
    """
    torch.manual_seed(schedule.seed)
    net = recipe.build().to(memory_format=torch.channels_last)
    averaged = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(schedule.ema_decay), use_buffers=True)
    optimizer = torch.optim.AdamW(net.parameters(), lr=schedule.peak_rate, weight_decay=schedule.weight_decay)
    steps = -(-len(train) // schedule.batch)
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, schedule.peak_rate, total_steps=steps * schedule.epochs, pct_start=0.25
    )
    parts: dict[str, Any] = {"net": net, "averaged": averaged, "optimizer": optimizer, "rate": rate}
    identity = {"recipe": recipe.name, "images": len(train), **asdict(schedule)}
    best, first = _restore(checkpoint, identity, parts) if resume else (_Best(), 0)
    images, labels = torch.from_numpy(train.images), torch.from_numpy(train.labels)
    held_images, held_labels = torch.from_numpy(validation.images), torch.from_numpy(validation.labels)

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("", total=steps * schedule.epochs, completed=steps * first)
        for epoch in range(first, schedule.epochs):
            if best.epoch >= 0 and epoch - best.epoch > schedule.patience:
                console.print(f"no better for {schedule.patience} epochs: stopped")
                break
            # one generator an epoch, so that a resumed epoch draws what it would have drawn
            generator = torch.Generator().manual_seed(schedule.seed * 1_000_003 + epoch)
            net.train()
            total = 0.0
            for step, rows in enumerate(torch.randperm(len(images), generator=generator).split(schedule.batch), 1):
                inputs, targets = recipe.batch(as_input(images[rows]), labels[rows], generator)
                loss = F.cross_entropy(net(inputs.contiguous(memory_format=torch.channels_last)), targets)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                rate.step()
                averaged.update_parameters(net)
                total += loss.item()
                progress.update(bar, advance=1, description=f"epoch {epoch + 1}, loss {total / step:.4f}")
            answers = logits(averaged, held_images)
            held_loss = F.cross_entropy(answers, held_labels).item()
            accuracy = (answers.argmax(1) == held_labels).float().mean().item()
            if held_loss < best.loss:
                weights = averaged.module.state_dict()
                best = _Best(held_loss, epoch, {name: value.clone() for name, value in weights.items()})
            _save(checkpoint, identity, parts, best, epoch + 1)
            console.print(
                f"epoch {epoch + 1} of {schedule.epochs}: loss {total / steps:.4f}, "
                f"validation loss {held_loss:.4f}, accuracy {accuracy:.4f}",
                soft_wrap=True,
                highlight=False,
            )
    assert best.weights is not None, "the loss was never a number"
    net.load_state_dict(best.weights)
    return net.eval()


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
        raise ResumeError(f"{checkpoint} is of {saved['identity']}, not of {identity}")
    for name, state in saved["states"].items():
        parts[name].load_state_dict(state)
    return _Best(**saved["best"]), saved["epoch"]

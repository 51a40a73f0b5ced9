"""Training of the demo networks: one loop, seeded, resumable, planned either in steps or in minutes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from npc_networks.losses import deep_supervision_loss
from npc_networks.networks import NETWORKS, NetworkSpec
from npc_networks.patches import SampledCase, draw_patch
from npc_networks.phantom_data import TRAINING_SEED
from npc_networks.start import fitted
from npc_networks.unet import PlainConvUNet

HEADS = 3
WARM_UP_STEPS = 50
WEIGHT_DECAY = 1e-4
MAX_GRADIENT_NORM = 5.0
EMA_DECAY = 0.995
FINAL_LEARNING_SHARE = 0.01
KIND_WORDS = {"npc": "paired CT", "han": "head-and-neck CT", "chest": "chest CT", "mr": "MR"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How long and with what to train.

    Attributes:
        steps: end after so many steps; the learning rate follows the steps and the result is reproducible.
        minutes: end after so much training time instead (over all resumptions); the learning rate follows the clock.
        first_cases: cases drawn from at the start.
        cases: cases drawn from in the end.
        steps_per_new_case: how fast the pool grows from the one to the other.
        device: "cpu" or "cuda".
        mixed_precision: convolutions in bfloat16.
        learning_rate: at its highest; None takes the network's own. Less suits weights that are nearly there.
    """

    seed: int
    steps: int | None = None
    minutes: float | None = None
    first_cases: int = 10
    cases: int = 60
    steps_per_new_case: int = 20
    device: str = "cpu"
    mixed_precision: bool = True
    learning_rate: float | None = None

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            raise ValueError(f"give either steps or minutes, got steps={self.steps} and minutes={self.minutes}")

    def pool_size(self, step: int) -> int:
        """How many cases step `step` draws from: a function of the step alone, so that runs repeat."""
        return min(self.cases, self.first_cases + step // self.steps_per_new_case)

    def progress(self, step: int, elapsed_s: float) -> float:
        """Share of the training that is done, from 0 to 1."""
        by_steps = step / self.steps if self.steps is not None else 0.0
        by_clock = elapsed_s / (60 * self.minutes) if self.minutes is not None else 0.0
        return min(1.0, max(by_steps, by_clock))


class Pool(Protocol):
    """Where cases come from, by their number from 0."""

    def case(self, number: int) -> SampledCase:
        """Return a case; may take long the first time."""
        ...


@dataclass(frozen=True, slots=True)
class StepReport:
    """What one step did."""

    step: int
    progress: float
    loss: float
    learning_rate: float
    elapsed_s: float


class Training:
    """A network while it learns."""

    def __init__(self, spec: NetworkSpec, recipe: Recipe) -> None:
        torch.manual_seed(recipe.seed)
        self.spec = spec
        self.recipe = recipe
        self.step = 0
        self.elapsed_s = 0.0
        self.started_from = ""
        self.network = channels_last(PlainConvUNet(spec.plan), recipe.device)
        self.average = {key: value.clone() for key, value in self.network.state_dict().items()}
        self.rate = recipe.learning_rate or spec.learning_rate
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=self.rate, weight_decay=WEIGHT_DECAY)

    @property
    def finished(self) -> bool:
        """Whether the plan is fulfilled."""
        return self.recipe.progress(self.step, self.elapsed_s) >= 1.0

    def run(self, pool: Pool) -> Iterator[StepReport]:
        """Train to the end of the plan, one report a step; the caller may stop and save at any of them."""
        self.network.train()
        while not self.finished:
            started = time.perf_counter()
            image, labels = self._patch(pool)
            loss, rate = self._learn(image, labels)
            self.step += 1
            self.elapsed_s += time.perf_counter() - started
            progress = self.recipe.progress(self.step, self.elapsed_s)
            yield StepReport(self.step, progress, loss, rate, self.elapsed_s)

    def start_from(self, name: str, weights: Mapping[str, Tensor], labels: Sequence[str]) -> int:
        """Begin with the weights of an exported network; return how many labels found their row.

        Raises:
            ValueError: the networks are of different forms.
        """
        state, taken = fitted(self.network.state_dict(), self.spec.labels, weights, labels)
        self.network.load_state_dict(state)
        self.started_from = name
        self.average = {key: value.clone() for key, value in self.network.state_dict().items()}
        return taken

    def save(self, path: Path) -> None:
        """Write a checkpoint; a reader never sees half of one."""
        state = {
            "network_name": self.spec.name,
            "seed": self.recipe.seed,
            "cases": self.recipe.pool_size(self.step),
            "learning_rate": self.rate,
            "device": self._machine(),
            "started_from": self.started_from,
            "step": self.step,
            "elapsed_s": self.elapsed_s,
            "network": self.network.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
        }
        part = path.with_suffix(".part")
        torch.save(state, part)
        part.replace(path)

    def load(self, path: Path) -> None:
        """Continue from a checkpoint.

        Raises:
            ValueError: it is of another network or another seed.
        """
        state = read_checkpoint(path, self.spec.name)
        if state["seed"] != self.recipe.seed:
            raise ValueError(f"{path} was trained with seed {state['seed']}, asked to continue with {self.recipe.seed}")
        self.network.load_state_dict(state["network"])
        self.average = {key: value.to(self.recipe.device) for key, value in state["average"].items()}
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        self.started_from = state.get("started_from", "")
        self.elapsed_s = state["elapsed_s"]

    def _patch(self, pool: Pool) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng([self.recipe.seed, self.step])
        case = pool.case(int(rng.integers(self.recipe.pool_size(self.step))))
        image, labels = draw_patch(case, self.spec, rng)
        device = self.recipe.device
        batch = torch.from_numpy(image)[None].to(device, memory_format=torch.channels_last_3d)
        return batch, torch.from_numpy(labels)[None].to(device)

    def _learn(self, image: Tensor, labels: Tensor) -> tuple[float, float]:
        rate = self._learning_rate()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.recipe.device, torch.bfloat16, enabled=self.recipe.mixed_precision):
            logits = self.network.forward_deep(image, heads=HEADS)
        loss = deep_supervision_loss(logits, labels, self._class_balance())
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), MAX_GRADIENT_NORM)
        self.optimizer.step()
        self._follow()
        value: float = loss.item()
        return value, rate

    def _machine(self) -> str:
        if self.recipe.device == "cuda":
            return torch.cuda.get_device_name()
        return f"{torch.get_num_threads()} CPU cores"

    def _class_balance(self) -> float:
        done = self.recipe.progress(self.step, self.elapsed_s)
        return self.spec.class_balance * min(1.0, 2.0 * (1.0 - done))

    def _learning_rate(self) -> float:
        warm = min(1.0, (self.step + 1) / WARM_UP_STEPS)
        done = self.recipe.progress(self.step, self.elapsed_s)
        return self.rate * warm * max(FINAL_LEARNING_SHARE, float((1.0 - done) ** 0.9))

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the running average of the weights, which is what is exported."""
        decay = min(EMA_DECAY, (1 + self.step) / (10 + self.step))
        for key, value in self.network.state_dict().items():
            self.average[key].lerp_(value, 1 - decay)


def trained_on(state: Mapping[str, Any]) -> str:
    """Return one sentence on how the weights of a checkpoint came about."""
    spec = NETWORKS[state["network_name"]]
    kind = KIND_WORDS[spec.kind]
    rate = state.get("learning_rate", spec.learning_rate)
    peak = "" if rate == spec.learning_rate else f", learning rate {rate:g}"
    start = f" It began with the weights of {state['started_from']}." if state.get("started_from") else ""
    return (
        f"Synthetic phantoms only: {state['cases']} {kind} phantoms of this project's generator "
        f"(seeds {TRAINING_SEED} to {TRAINING_SEED + state['cases'] - 1}), {state['step']} steps of one patch "
        f"in {state['elapsed_s'] / 60:.0f} minutes on {state['device']}, seed {state['seed']}{peak}.{start}"
    )


def channels_last(network: PlainConvUNet, device: str) -> PlainConvUNet:
    """Move a network to a device with its weights in the memory order that convolutions like."""
    network.to(device)
    for parameter in network.parameters():
        if parameter.ndim == 5:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last_3d)
    return network


def read_checkpoint(path: Path, network_name: str) -> Mapping[str, Any]:
    """Return the state that `Training.save` wrote.

    Raises:
        ValueError: it is of another network.
    """
    state: Mapping[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    if state["network_name"] != network_name:
        raise ValueError(f"{path} holds network {state['network_name']}, expected {network_name}")
    return state

"""`step`: recorded steps get all that changes, played without a GPU, and parts of a batch count by their size."""

import contextlib
import importlib.util
import sys
import types
import warnings
from pathlib import Path

import pytest
import torch

from aecore.objectives import Batch, Reconstruction
from aecore.training import Batches, Plan
from aecore.training.optimizer import Adam
from aecore.training.step import GraphedTrainStep, TrainStep, train_step_for

CPU = torch.device("cpu")

_spec = importlib.util.spec_from_file_location("tiny", Path(__file__).parents[1] / "campaigns" / "tiny.py")
tiny = sys.modules["tiny"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny)


class Played(GraphedTrainStep):
    """A recorded step without a GPU: recording changes nothing, and a replay does what was recorded again."""

    replays = 0

    def _record(self, batch, lr):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch.cuda, "CUDAGraph", lambda: types.SimpleNamespace(replay=self._replay))
            patch.setattr(torch.cuda, "graph", lambda graph: self._undone())
            super()._record(batch, lr)

    @contextlib.contextmanager
    def _undone(self):
        adam = self.optimizer
        changed = [weight.detach() for weight in adam.weights] + list(adam.state().values())
        before = [value.clone() for value in changed]
        with torch.random.fork_rng():
            yield
        for value, old in zip(changed, before, strict=True):
            value.copy_(old)

    def _replay(self):
        self.replays += 1
        self.values.copy_(TrainStep.__call__(self, self.batch, self.lr))

    def _on_a_side_stream(self, batch, lr):
        return TrainStep.__call__(self, batch, lr)


@pytest.fixture(autouse=True)
def _no_gpu_to_wait_for(monkeypatch):
    """The watched step asks CUDA for its waits, of which a processor has none."""
    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: 0)
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", lambda mode: None)


PLAN = Plan(epochs=2, batch_size=5, crop=8, flip=True, schedule="cosine", weight_decay=0.1, clip_norm=0.5)


def trained(kind, name):
    """Return the weights after two epochs of 28 images, and all values that came back from the steps."""
    case, images = tiny.OBJECTIVES[name], tiny.noise(28, 10)
    model, objective = tiny.drawn(case.model(), 0), case.objective()
    adam = Adam(model.parameters(), PLAN.weight_decay, PLAN.clip_norm)
    step, batches = kind(model, objective, adam, PLAN), Batches(images, PLAN, CPU, objective.needs_labels)
    values = []
    for number, batch in enumerate(batch for epoch in range(2) for batch in batches.shuffled(epoch)):
        torch.manual_seed(number)
        values.append(step(batch, PLAN.lr_at(number, 12)).clone())
    return torch.cat([weight.detach().flatten() for weight in model.parameters()]), torch.stack(values), step


@pytest.mark.parametrize("name", tiny.OBJECTIVES)
def test_a_recorded_step_gets_all_that_changes_from_step_to_step(name):
    """Images, labels, progress and rate: were one left from the recording, other weights would come out."""
    (weights, values, _), (wanted, ordinary, _) = trained(Played, name), trained(TrainStep, name)
    # The rate goes in as a float32 tensor, and 12 steps of up to .001 follow it.
    assert torch.allclose(weights, wanted, rtol=0, atol=1e-7)
    assert torch.allclose(values, ordinary, rtol=1e-5)


def test_steps_are_recorded_after_three_and_a_smaller_batch_is_not():
    """28 images in batches of 5: per epoch five whole ones and one of three. Steps 4 and 5, then five."""
    assert trained(Played, "Reconstruction")[2].replays == 7


class Counts(Reconstruction):
    """Weighs each step by a number that only Python knows."""

    steps = 0

    def forward(self, model, batch):
        self.steps += 1
        return {name: self.steps * value for name, value in super().forward(model, batch).items()}


def of_dense(kind, objective, **told):
    """Return the weights after nine steps on one batch, and the step."""
    model = tiny.drawn(tiny.dense(), 0)
    adam, batch = Adam(model.parameters()), Batch(tiny.noise(5).floats(), None, 5, torch.zeros(()))
    step = kind(model, objective, adam, PLAN, **told)
    for _ in range(9):
        step(batch, 1e-2)
    return torch.cat([weight.detach().flatten() for weight in model.parameters()]), step


def test_steps_that_count_in_an_attribute_are_not_recorded_and_the_user_is_told():
    told = []
    weights, step = of_dense(Played, Counts("mse"), tell=told.append)
    assert torch.equal(weights, of_dense(TrainStep, Counts("mse"))[0])
    assert (step.replays, len(told)) == (0, 1)
    assert "objective: its attribute steps" in told[0]


def test_steps_that_wait_for_the_gpu_are_not_recorded_and_the_user_is_told(monkeypatch):
    def waits(step, batch, lr):
        warnings.warn("called a synchronizing CUDA operation", stacklevel=1)
        return TrainStep.__call__(step, batch, lr)

    monkeypatch.setattr(Played, "_on_a_side_stream", waits)
    monkeypatch.setattr(warnings, "filters", [("ignore", None, Warning, None, 0)])  # as in a quiet notebook
    told = []
    weights, step = of_dense(Played, Reconstruction(), tell=told.append)
    assert torch.equal(weights, of_dense(TrainStep, Reconstruction())[0])
    assert (step.replays, step.seen, len(told)) == (0, 3, 1)
    assert "they wait for a value from the GPU" in told[0]


def test_a_step_that_cannot_be_recorded_says_how_to_train_without(monkeypatch):
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: None)
    monkeypatch.setattr(torch.cuda, "graph", lambda graph: contextlib.ExitStack().__enter__())

    def fails(step, batch, lr):
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(TrainStep, "__call__", fails)
    step = GraphedTrainStep(tiny.dense(), Reconstruction(), None, PLAN)
    with pytest.raises(RuntimeError, match=r"DenseAutoencoder and Reconstruction.*AECORE_CUDA_GRAPHS=0"):
        step._record(Batch(tiny.noise(5).floats(), None, 5, torch.zeros(())), 1e-3)


def test_on_a_cpu_nothing_is_recorded(monkeypatch):
    monkeypatch.setenv("AECORE_CUDA_GRAPHS", "1")
    model = tiny.dense()
    step = train_step_for(model, Reconstruction(), Adam(model.parameters()), PLAN, CPU, tell=pytest.fail)
    assert type(step) is TrainStep


@pytest.mark.parametrize(("graphs", "kind"), [(None, GraphedTrainStep), ("1", GraphedTrainStep), ("0", TrainStep)])
def test_on_one_gpu_steps_are_recorded_unless_the_reader_forbids_it(monkeypatch, graphs, kind):
    monkeypatch.delenv("AECORE_CUDA_GRAPHS", raising=False)
    if graphs is not None:
        monkeypatch.setenv("AECORE_CUDA_GRAPHS", graphs)
    model = tiny.dense()
    step = train_step_for(model, Reconstruction(), Adam(model.parameters()), PLAN, torch.device("cuda"), tell=print)
    assert type(step) is kind


def gradients_of(x, count, names=()):
    """Return what a step's part of a batch gives, before it is added up over the processes."""
    model = tiny.drawn(tiny.dense(), 0)
    step = TrainStep(model, Reconstruction(), Adam(model.parameters()), Plan())
    step.names = names
    return step._gradients(Batch(x, None, count, torch.zeros(())))


def test_parts_of_a_batch_add_up_to_its_values_and_gradients():
    """Five images as 3 and 2, whose means count 3/5 and 2/5."""
    x = tiny.noise(5).floats()
    values, gradients = gradients_of(x, 5)
    (three, of_three), (two, of_two) = gradients_of(x[:3], 5), gradients_of(x[3:], 5)
    assert torch.allclose(three + two, values)
    together = [a + b for a, b in zip(of_three, of_two, strict=True)]
    assert all(torch.allclose(*pair, atol=1e-7) for pair in zip(together, gradients, strict=True))  # float32


def test_an_empty_part_adds_nothing():
    values, gradients = gradients_of(torch.zeros(0, 1, 8, 8), 1)
    assert (values.tolist(), any(bool(gradient.any()) for gradient in gradients)) == ([0], False)

"""What only a GPU can show. Without one these tests are skipped and say so."""

import importlib.util
import signal
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from aecore import alignment
from aecore.data import Splits
from aecore.models import (
    ConvAutoencoder,
    JointAutoencoder,
    LinearAutoencoder,
    VariationalAutoencoder,
    init_weights,
)
from aecore.objectives import ELBO, Batch, JointResolutions, Reconstruction
from aecore.training import Batches, Checkpoints, Observer, Plan, train
from aecore.training.optimizer import Adam
from aecore.training.precision import chosen_precision
from aecore.training.randomness import own_randomness
from aecore.training.step import GraphedTrainStep, TrainStep

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU; there is none here")
GPU, CPU = torch.device("cuda"), torch.device("cpu")

_spec = importlib.util.spec_from_file_location("tiny", Path(__file__).parents[1] / "campaigns" / "tiny.py")
tiny = sys.modules["tiny"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny)


def trained(model, data, plan=None, objective=None, device=GPU, **observed):
    """Return the weights after a training, on the CPU and in one row."""
    init_weights(model, 0)
    plan = plan or Plan(epochs=2, batch_size=16)
    train(model, data, plan, objective or Reconstruction(), device, Observer(**observed))
    return torch.cat([weight.detach().flatten().cpu() for weight in model.parameters()])


@pytest.fixture
def pictures(noise):
    """168 images: ten batches of 16 and one of 8, which is done without the recorded step."""
    return Splits(noise(168, 1, 8, 8), noise(0, 1, 8, 8), noise(0, 1, 8, 8))


@pytest.fixture
def recorded(monkeypatch):
    """Count how often a recorded step is started."""
    count, fill = [], GraphedTrainStep._fill
    monkeypatch.setattr(GraphedTrainStep, "_fill", lambda self, batch, lr: count.append(1) or fill(self, batch, lr))
    return count


@pytest.mark.parametrize("make", [lambda: LinearAutoencoder((1, 8, 8), 4), lambda: ConvAutoencoder((1, 8, 8), 8)])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.usefixtures("precision_as_planned")
def test_recorded_steps_train_what_ordinary_ones_do(pictures, monkeypatch, recorded, make, precision):
    plan = Plan(epochs=2, batch_size=16, schedule="cosine", precision=precision)
    monkeypatch.setenv("AECORE_CUDA_GRAPHS", "0")
    ordinary = trained(make(), pictures, plan)
    monkeypatch.setenv("AECORE_CUDA_GRAPHS", "1")
    # 22 steps; float32's last digits may differ where a kernel adds up in another order.
    assert torch.allclose(trained(make(), pictures, plan), ordinary, atol=1e-5)
    assert len(recorded) == 17  # after three to warm up: 7 of the first epoch, 10 of the second


@pytest.mark.parametrize("name", tiny.OBJECTIVES)
def test_recorded_steps_of_every_objective_train_what_ordinary_ones_do(monkeypatch, recorded, name):
    """With labels, progress, windows and mirrors, which are filled in anew before each step."""
    case, data = tiny.OBJECTIVES[name], tiny.splits(168, 10)
    plan = Plan(epochs=2, batch_size=16, crop=8, flip=True, weight_decay=0.01, clip_norm=0.5, ema=0.9)
    monkeypatch.setenv("AECORE_CUDA_GRAPHS", "0")
    ordinary = trained(case.model(), data, plan, case.objective())
    monkeypatch.setenv("AECORE_CUDA_GRAPHS", "1")
    found = trained(case.model(), data, plan, case.objective())
    assert torch.allclose(found, ordinary, atol=1e-5)
    assert len(recorded) == 17
    assert found.isfinite().all()


@pytest.mark.parametrize(
    ("make", "objective"),
    [
        (lambda: VariationalAutoencoder((1, 8, 8), 4, 4, width=8), ELBO(0.1)),
        (lambda: JointAutoencoder((1, 8, 8), 4, (4, 2), width=8), JointResolutions((4, 8))),
    ],
    ids=["variational", "joint"],
)
def test_recorded_steps_of_models_for_one_objective_train_what_ordinary_ones_do(
    pictures, monkeypatch, recorded, make, objective
):
    monkeypatch.setenv("AECORE_CUDA_GRAPHS", "0")
    ordinary = trained(make(), pictures, objective=objective)
    monkeypatch.setenv("AECORE_CUDA_GRAPHS", "1")
    assert torch.allclose(trained(make(), pictures, objective=objective), ordinary, atol=1e-5)
    assert len(recorded) == 17


@pytest.mark.parametrize("fit", [alignment.signed_permutation, alignment.procrustes, alignment.affine,
                                 alignment.convolution])  # fmt: skip
@pytest.mark.parametrize("fitted_on", [CPU, GPU])
@pytest.mark.parametrize("moved", [False, True])
def test_a_map_between_codes_gives_on_the_gpu_what_it_gives_on_the_cpu(fit, fitted_on, moved):
    z_a, z_b = torch.randn(2, 5, 3, 6, 6)
    found = fit(z_a.to(fitted_on), z_b.to(fitted_on))
    wanted = found(z_a)
    mapped = (found.to(GPU) if moved else found)(z_a.to(GPU))
    assert mapped.device.type == "cuda"
    assert torch.allclose(mapped.cpu(), wanted, atol=1e-6)  # float64 inside, then float32


@pytest.mark.parametrize("name", tiny.OBJECTIVES)
def test_a_training_of_every_objective_goes_on_after_ctrl_c(tmp_path, name):
    """To rounding: some of a GPU's kernels add up in another order each time."""
    case, data, plan = tiny.OBJECTIVES[name], tiny.splits(168), Plan(epochs=2, batch_size=16)
    undisturbed = trained(case.model(), data, plan, case.objective())

    def ctrl_c(done):
        if done == 5:
            signal.raise_signal(signal.SIGINT)

    for on_step in (ctrl_c, lambda done: None):
        kept = Checkpoints(tmp_path, "f", 3600)
        found = trained(case.model(), data, plan, case.objective(), checkpoints=kept, on_step=on_step)
    assert torch.allclose(found, undisturbed, atol=1e-5)


def test_the_cpu_trains_the_same_weights(pictures):
    on_gpu = trained(LinearAutoencoder((1, 8, 8), 4), pictures)
    assert torch.allclose(trained(LinearAutoencoder((1, 8, 8), 4), pictures, device=CPU), on_gpu, atol=1e-4)


def test_the_cpu_draws_the_same_windows_and_mirrors(pictures):
    plan = Plan(epochs=2, batch_size=16, crop=4, flip=True)
    on_gpu, on_cpu = (Batches(pictures.train, plan, device).shuffled(1) for device in (GPU, CPU))
    batches = list(zip(on_gpu, on_cpu, strict=True))
    assert len(batches) == 11
    # A GPU multiplies by 1/255 where a processor divides, which differs in the last digit.
    assert all(torch.allclose(one.x.cpu(), other.x, rtol=0, atol=1e-6) for one, other in batches)


class Draws(nn.Module):
    """Adds to its loss what a step draws by chance, 100 times, so that only equal numbers give equal values."""

    needs_labels = False

    def forward(self, model, batch):
        drawn = torch.rand(100, device=batch.x.device)
        return {"loss": F.mse_loss(model(batch.x), batch.x), **{str(i): value for i, value in enumerate(drawn)}}


def test_a_replay_draws_new_random_numbers_those_that_an_ordinary_step_draws(pictures):
    """They depend on the number of the step alone, so that a training that goes on draws what it would have drawn."""
    found = {}
    for kind in (TrainStep, GraphedTrainStep):
        model = LinearAutoencoder((1, 8, 8), 4).to(GPU)
        step = kind(model, Draws(), Adam(model.parameters()), Plan(batch_size=16))
        batch = Batch(pictures.train.floats(GPU)[:16], None, 16, torch.zeros((), device=GPU))
        with own_randomness(GPU, seed=0) as chance:
            for number in range(8):
                chance.of_step(number)
                values = step(batch, 1e-3)
                found[kind, number] = values[1:].tolist()
    assert found[GraphedTrainStep, 6] != found[GraphedTrainStep, 7]
    assert all(found[GraphedTrainStep, number] == found[TrainStep, number] for number in range(8))


class Looks(Reconstruction):
    """Decides by a value that it reads back."""

    def forward(self, model, batch):
        found = super().forward(model, batch)
        return {name: 2 * value for name, value in found.items()} if found["loss"].item() > 0 else found


class Counts(Reconstruction):
    """Weighs each step by a number that only Python knows."""

    steps = 0

    def forward(self, model, batch):
        self.steps += 1
        return {name: self.steps * value for name, value in super().forward(model, batch).items()}


@pytest.mark.parametrize("objective", [Looks, Counts])
def test_steps_that_python_must_accompany_are_not_recorded(pictures, monkeypatch, recorded, objective):
    told = []
    model = LinearAutoencoder((1, 8, 8), 4)
    found = trained(model, pictures, objective=objective("mse"), tell=told.append)
    monkeypatch.setenv("AECORE_CUDA_GRAPHS", "0")
    assert torch.allclose(found, trained(model, pictures, objective=objective("mse")), atol=1e-5)
    assert (len(recorded), len(told)) == (0, 1)


def test_steps_are_recorded_unless_the_reader_forbids_it(pictures, monkeypatch, recorded):
    monkeypatch.delenv("AECORE_CUDA_GRAPHS", raising=False)
    trained(LinearAutoencoder((1, 8, 8), 4), pictures)
    assert len(recorded) == 17


def test_bfloat16_is_tried_with_recorded_steps(pictures, monkeypatch):
    """Whatever the trial finds, it must come to an end and leave the model as it is."""
    monkeypatch.delenv("AECORE_CUDA_GRAPHS", raising=False)
    model = ConvAutoencoder((1, 8, 8), 8).to(GPU)
    before = [weight.clone() for weight in model.parameters()]
    batch = Batch(pictures.train.floats(GPU)[:16], None, 16, torch.zeros((), device=GPU))
    chosen, reason = chosen_precision(model, Reconstruction(), batch, Plan(batch_size=16, precision="bfloat16"))
    assert (chosen == "bfloat16") == (reason is None)
    assert all(torch.equal(weight, old) for weight, old in zip(model.parameters(), before, strict=True))


@pytest.mark.parametrize("graphs", ["0", "1"])
@pytest.mark.parametrize("plan", [{}, {"crop": 4, "flip": True}, {"ema": 0.9}, {"clip_norm": 0.5, "weight_decay": 0.1}])
def test_no_step_makes_the_processor_wait(noise, monkeypatch, graphs, plan):
    """PyTorch raises an error at each synchronising call between the sixth step and the last but one."""
    monkeypatch.setenv("AECORE_CUDA_GRAPHS", graphs)

    def on_step(done):
        if done in (6, 19):
            torch.cuda.set_sync_debug_mode("error" if done == 6 else "default")

    data = Splits(noise(320, 1, 8, 8), noise(0, 1, 8, 8), noise(0, 1, 8, 8))
    edge = plan.get("crop", 8)
    try:
        trained(LinearAutoencoder((1, edge, edge), 4), data, Plan(epochs=1, batch_size=16, **plan), on_step=on_step)
    finally:
        torch.cuda.set_sync_debug_mode("default")

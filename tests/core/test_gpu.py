"""What only a GPU can show. Without one these tests are skipped and say so."""

import pytest
import torch

from aecore import losses
from aecore.models import ConvAutoencoder, LinearAutoencoder, init_weights
from aecore.training import Plan, train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU; there is none here")
GPU = torch.device("cuda")


def trained(model, images, **calls):
    init_weights(model, 0)
    plan = calls.pop("plan", Plan(epochs=2, batch_size=16))
    train(model, images, images[:0], plan, losses.mse, GPU, **calls)
    return torch.cat([weight.flatten().cpu() for weight in model.parameters()])


@pytest.mark.parametrize("make", [lambda: LinearAutoencoder((1, 8, 8), 4), lambda: ConvAutoencoder((1, 8, 8), 8)])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_recorded_steps_train_what_ordinary_ones_do(noise, monkeypatch, make, precision):
    images, plan = noise(168, 1, 8, 8), Plan(epochs=2, batch_size=16, schedule="cosine", precision=precision)
    monkeypatch.setenv("AECORE_CUDA_GRAPHS", "0")
    ordinary = trained(make(), images, plan=plan)
    monkeypatch.setenv("AECORE_CUDA_GRAPHS", "1")
    # 22 steps; float32's last digits may differ where a kernel adds up in another order.
    assert torch.allclose(trained(make(), images, plan=plan), ordinary, atol=1e-5)


def test_the_cpu_trains_the_same_weights(noise):
    images = noise(160, 1, 8, 8)
    on_gpu = trained(LinearAutoencoder((1, 8, 8), 4), images)
    model = LinearAutoencoder((1, 8, 8), 4)
    init_weights(model, 0)
    train(model, images, images[:0], Plan(epochs=2, batch_size=16), losses.mse, torch.device("cpu"))
    assert torch.allclose(torch.cat([w.detach().flatten() for w in model.parameters()]), on_gpu, atol=1e-4)


@pytest.mark.parametrize("graphs", ["0", "1"])
def test_no_step_makes_the_processor_wait(noise, monkeypatch, graphs):
    """PyTorch raises an error at each synchronising call between the sixth step and the last but one."""
    monkeypatch.setenv("AECORE_CUDA_GRAPHS", graphs)

    def on_step(done):
        if done in (6, 19):
            torch.cuda.set_sync_debug_mode("error" if done == 6 else "default")

    images, plan = noise(320, 1, 8, 8), Plan(epochs=1, batch_size=16)
    try:
        trained(LinearAutoencoder((1, 8, 8), 4), images, plan=plan, on_step=on_step)
    finally:
        torch.cuda.set_sync_debug_mode("default")

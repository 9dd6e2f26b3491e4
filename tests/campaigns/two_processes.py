"""What two processes do, as torchrun starts them; each writes what it found as `rank-0.json` and `rank-1.json`.

    torchrun --nproc-per-node=2 tests/campaigns/two_processes.py FOLDER

tests/core/test_processes.py starts it, does the same alone, and says what is wanted. One start takes some seconds, so
everything happens in one.
"""

from __future__ import annotations

import io
import json
import math
import os
import sys
from pathlib import Path

import torch
from torch import nn

from aecore import config, distributed, losses
from aecore.data import Images, Splits
from aecore.experiment import fit
from aecore.metrics import METRICS, evaluate
from aecore.models import Autoencoder, ConvAutoencoder, LinearAutoencoder, init_weights
from aecore.training import Plan, TrainingDiverged, precision, train, validation_loss

CPU = torch.device("cpu")
MODELS = {
    "linear": lambda: LinearAutoencoder((1, 12, 12), 5),
    "conv": lambda: ConvAutoencoder((1, 12, 12), 18, width=8),
}


def noise(count: int, seed: int = 0) -> Images:
    generator = torch.Generator().manual_seed(seed)
    return Images(torch.randint(0, 256, (count, 1, 12, 12), dtype=torch.uint8, generator=generator), name="noise")


def splits() -> Splits:
    """101 images make five batches of 20 and one of a single image, of which the second process gets nothing."""
    return Splits(noise(101), noise(23, 1), noise(23, 2))


def drawn(name: str) -> Autoencoder:
    """Return a model with its first weights.

    The linear one starts as a projection, where the gradient of its encoder is zero but for rounding, and Adam makes
    steps of full length out of rounding. Any two orders of adding up then differ by 1e-5 after an epoch, in one
    process as in two. With a decoder of half the size there are gradients.
    """
    model = MODELS[name]()
    init_weights(model, 0)
    if name == "linear":
        with torch.no_grad():
            model.decoder[0].weight.mul_(0.5)
    return model


def weights_after_one_epoch(name: str) -> list[float]:
    model = drawn(name)
    train(model, splits().train, noise(0), Plan(epochs=1, batch_size=20), losses.mse, CPU)
    return torch.cat([weight.detach().flatten() for weight in model.parameters()]).tolist()


def losses_of_one_epoch(name: str) -> list[float]:
    """Training and validation loss."""
    model = drawn(name)
    data = splits()
    history = train(model, data.train, data.valid, Plan(epochs=1, batch_size=20), losses.mse, CPU)
    return history.train_loss + history.valid_loss


def validation() -> str:
    """Of 2345 images: batches of 1000, 1000 and 345, so that one process has two and the other has one."""
    model = drawn("linear")
    return validation_loss(model, noise(2345), losses.mse, Plan(), CPU).hex()


def scores() -> dict[str, list[str]]:
    """Of 23 images in five batches: three for one process, two for the other. Every value to its last bit."""
    model = drawn("linear")
    found = evaluate(model, noise(23), batch_size=5)
    means = [found.mse, found.mae, found.psnr_db, found.psnr_of_mse_db, found.ssim]
    each = {name: [value.hex() for value in found.each[name].tolist()] for name in METRICS}
    return {"means": [value.hex() for value in means], **each}


def error_of(call) -> str:
    try:
        call()
    except (ValueError, TrainingDiverged) as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def with_batch_norm() -> Autoencoder:
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(144, 4), nn.BatchNorm1d(4))
    return Autoencoder((1, 12, 12), encoder, nn.Sequential(nn.Linear(4, 144), nn.Unflatten(1, (1, 12, 12))))


def bad_in_one_process(x, x_hat):
    """Is NaN in the third batch, and only in the second process."""
    value = losses.mse(x, x_hat)
    if not torch.is_grad_enabled() or distributed.rank() == 0:
        return value
    bad_in_one_process.calls += 1
    return value * math.nan if bad_in_one_process.calls == 3 else value


bad_in_one_process.calls = 0


def watched(home: Path) -> tuple[list[str], str]:
    """Train a run with a name and a checkpoint after each step; return what this process wrote, and what it said."""
    written: list[str] = []

    def note(event: str, given: tuple) -> None:
        path = str(given[0]) if given else ""
        writes = event in ("os.rename", "os.mkdir", "os.remove")
        if event == "open":
            writes = bool(given[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        if writes and path.startswith(str(home)):
            written.append(f"{event} {path}")

    said, screen = io.StringIO(), sys.stdout
    sys.stdout = said
    config.speak()
    sys.addaudithook(note)
    os.environ.update(AECORE_RUNS=str(home), AECORE_JOURNAL=str(home / "journal"), AECORE_CHECKPOINT_SECONDS="0")
    try:
        fit(MODELS["linear"](), splits(), Plan(epochs=1, batch_size=20), name="mine")
        fit(MODELS["linear"](), splits(), Plan(epochs=1, batch_size=20), name="mine")
    finally:
        sys.stdout = screen
    del os.environ["AECORE_JOURNAL"]
    return written, said.getvalue()


def chosen_precision() -> str:
    """The clocks of the two processes do not agree; for the first one bfloat16 is faster."""
    faster = "bfloat16" if distributed.rank() == 0 else "float32"
    measure, precision._seconds = precision._seconds, lambda update, x: 1.0 if update.plan.precision == faster else 2.0
    asked, precision.has_bfloat16 = precision.has_bfloat16, lambda device: True
    try:
        return fit(MODELS["linear"](), splits(), Plan(epochs=1, batch_size=20, precision="bfloat16")).history.precision
    finally:
        precision._seconds, precision.has_bfloat16 = measure, asked


def in_turn() -> list[int]:
    """Let each process append its rank to a list; the first one goes first."""
    order = torch.zeros(2)
    with distributed.first_rank_first():
        (Path(sys.argv[1]) / f"turn-{distributed.rank()}").touch()
        order[distributed.rank()] = len(list(Path(sys.argv[1]).glob("turn-*")))
    return distributed.all_reduce_sum(order).tolist()


def facts(folder: Path) -> dict:
    written, said = watched(folder / "runs")
    rank = distributed.rank()
    return {
        "count": distributed.world_size(),
        "weights": {name: weights_after_one_epoch(name) for name in MODELS},
        "losses": losses_of_one_epoch("linear"),
        "validation": validation(),
        "scores": scores(),
        "written": written,
        "said": said,
        "batch norm": error_of(lambda: fit(with_batch_norm(), splits(), Plan(epochs=1))),
        "other plan": error_of(lambda: fit(MODELS["linear"](), splits(), Plan(epochs=1, seed=rank))),
        "other images": error_of(
            lambda: fit(MODELS["linear"](), Splits(noise(50, rank), noise(0), noise(0)), Plan(epochs=1))
        ),
        "nan": error_of(
            lambda: fit(MODELS["linear"](), splits(), Plan(epochs=1, batch_size=20), loss=bad_in_one_process)
        ),
        "precision": chosen_precision(),
        "from the first": distributed.broadcast(7 + rank),
        "in turn": in_turn(),
    }


def main() -> None:
    folder = Path(sys.argv[1])
    os.environ.update(AECORE_PROFILE="full", AECORE_PROGRESS="0")
    with distributed.process_group():
        (folder / f"rank-{distributed.rank()}.json").write_text(json.dumps(facts(folder)))


if __name__ == "__main__":
    main()

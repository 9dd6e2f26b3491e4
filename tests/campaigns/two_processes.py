"""What two processes do that train together; each writes what it found as `rank-0.json` and `rank-1.json`.

    python tests/campaigns/two_processes.py FOLDER               # forks the two: PyTorch is imported once
    torchrun --nproc-per-node=2 tests/campaigns/two_processes.py FOLDER
    torchrun --nproc-per-node=2 tests/campaigns/two_processes.py FOLDER killed train …

The last one runs a command of aecore, in which the second process kills itself, without a word, after 20 steps. Where
FOLDER then holds `go-on.json`, the first form runs the command in there in two processes as well.
tests/core/test_distributed.py starts all this, does the same alone, and says what is wanted.
"""

from __future__ import annotations

import io
import json
import math
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import tiny
import torch
from torch import nn

from aecore import cli, config, distributed, experiment, losses, machine
from aecore.data import Images, Splits
from aecore.experiment import fit
from aecore.metrics import METRICS, evaluate
from aecore.models import Autoencoder, ConvAutoencoder, LinearAutoencoder
from aecore.objectives import Objective, Reconstruction
from aecore.training import Checkpoints, History, Observer, Plan, TrainingDiverged, precision, train, validate

CPU = torch.device("cpu")
LAST = 20  # steps of the second process in a training in which it is killed
MODELS = {
    "linear": lambda: LinearAutoencoder((1, 12, 12), 5),
    "conv": lambda: ConvAutoencoder((1, 12, 12), 18, width=8),
}
# What every process must compute alike: nothing is drawn from random numbers of its own.
OBJECTIVES = {
    **{name: case for name, case in tiny.OBJECTIVES.items() if not case.by_chance},
    "Classification": tiny.Case(lambda: tiny.Classifier(dropout=0), tiny.OBJECTIVES["Classification"].objective),
    "RateDistortion": tiny.Case(lambda: tiny.Compressive(noise=False), tiny.OBJECTIVES["RateDistortion"].objective),
}


def noise(count: int, seed: int = 0) -> Images:
    return tiny.noise(count, 12, seed)


def splits() -> Splits:
    """101 images make five batches of 20 and one of a single image, of which the second process gets nothing."""
    return Splits(noise(101), noise(23, 1), noise(23, 2))


def drawn(name: str) -> Autoencoder:
    """Return a model with its first weights.

    The linear one starts as a projection, where the gradient of its encoder is zero but for rounding, and Adam makes
    steps of full length out of rounding. Any two orders of adding up then differ by 1e-5 after an epoch, in one
    process as in two. With a decoder of half the size there are gradients.
    """
    model = tiny.drawn(MODELS[name](), 0)
    if name == "linear":
        with torch.no_grad():
            model.decoder[0].weight.mul_(0.5)
    return model


def one_epoch(name: str) -> tuple[Autoencoder, History]:
    model = drawn(name)
    return model, train(model, splits(), Plan(epochs=1, batch_size=20), Reconstruction(), CPU)


def flat(model: nn.Module) -> list[float]:
    return torch.cat([weight.detach().flatten() for weight in model.parameters()]).tolist()


def weights_after_one_epoch(name: str) -> list[float]:
    return flat(one_epoch(name)[0])


def losses_of_one_epoch(name: str) -> list[float]:
    """Training and validation loss."""
    history = one_epoch(name)[1]
    return history.train_loss + history.valid_loss


def of_objective(name: str) -> dict[str, list[float]]:
    """Weights and all named values after two epochs on windows of 8×8 from images of 10×10, mirrored or not.

    41 images make four batches of 10 and one of a single image, of which the second process gets nothing.
    """
    case, plan = OBJECTIVES[name], Plan(epochs=2, batch_size=10, crop=8, flip=True, clip_norm=0.5, ema=0.75)
    model = tiny.drawn(case.model(), 0)
    history = train(model, tiny.splits(41, 10), plan, case.objective(), CPU)
    values = [*history.train.values(), *history.valid.values()]
    return {"weights": flat(model), "values": [value for each in values for value in each]}


def of_single_images() -> list[float]:
    """Weights after three batches of one image: the second process never gets any, and has no values of its own."""
    case = OBJECTIVES["Classification"]
    model = tiny.drawn(case.model(), 0)
    train(model, tiny.splits(3), Plan(epochs=1, batch_size=1), case.objective(), CPU)
    return flat(model)


def interrupted_before_the_last_batch(folder: Path) -> list[float]:
    """Weights of a training that goes on with a batch of a single image."""
    case = OBJECTIVES["Classification"]
    for stop in (4, None):
        model = tiny.drawn(case.model(), 0)
        observer = Observer(Checkpoints(folder, "f", 3600), lambda done, stop=stop: done == stop and ctrl_c())
        train(model, tiny.splits(41), Plan(epochs=1, batch_size=10), case.objective(), CPU, observer)
        distributed.broadcast(0)  # waits until the first process has written its checkpoint
    return flat(model)


def ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


def validation() -> str:
    """Of 2345 images: batches of 1000, 1000 and 345, so that one process has two and the other has one."""
    return validate(drawn("linear"), noise(2345), Reconstruction(), Plan(), CPU)["loss"].hex()


def scores() -> dict[str, list[str]]:
    """Of 23 images in five batches: three for one process, two for the other. Every value to its last bit."""
    found = evaluate(drawn("linear"), noise(23), batch_size=5)
    means = [found.mse, found.mae, found.psnr_db, found.psnr_of_mse_db, found.ssim]
    each = {name: [value.hex() for value in found.each[name].tolist()] for name in METRICS}
    return {"means": [value.hex() for value in means], **each}


def error_of(call: Callable[[], object]) -> str:
    try:
        call()
    except (ValueError, TrainingDiverged) as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def with_batch_norm() -> Autoencoder:
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(144, 4), nn.BatchNorm1d(4))
    return Autoencoder((1, 12, 12), encoder, nn.Sequential(nn.Linear(4, 144), nn.Unflatten(1, (1, 12, 12))))


class BadInOneProcess(Objective):
    """Is NaN in the third batch, and only in the second process."""

    def forward(self, model, batch):
        loss = losses.mse(batch.x, model(batch.x))
        third = 2 / 6 - 0.01 < batch.progress < 2 / 6 + 0.01
        return {"loss": loss * math.nan if third and distributed.rank() == 1 else loss}


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
    measure, precision._seconds = precision._seconds, lambda step, batch: 1.0 + (step.plan.precision != faster)
    asked, machine.has_bfloat16 = machine.has_bfloat16, lambda device: True
    try:
        return fit(MODELS["linear"](), splits(), Plan(epochs=1, batch_size=20, precision="bfloat16")).history.precision
    finally:
        precision._seconds, machine.has_bfloat16 = measure, asked


def in_turn(folder: Path) -> list[int]:
    """Let each process append its rank to a list; the first one goes first."""
    order = torch.zeros(2)
    with distributed.first_rank_first():
        (folder / f"turn-{distributed.rank()}").touch()
        order[distributed.rank()] = len(list(folder.glob("turn-*")))
    return distributed.all_reduce_sum(order).tolist()


def facts(folder: Path) -> dict:
    written, said = watched(folder / "watched")
    rank = distributed.rank()
    one_epoch, data = Plan(epochs=1, batch_size=20), splits()
    other_images = Splits(noise(50, rank), noise(0), noise(0))
    return {
        "count": distributed.world_size(),
        "weights": {name: weights_after_one_epoch(name) for name in MODELS},
        "losses": losses_of_one_epoch("linear"),
        "objectives": {name: of_objective(name) for name in OBJECTIVES},
        "single images": of_single_images(),
        "interrupted": interrupted_before_the_last_batch(folder / "interrupted"),
        "validation": validation(),
        "scores": scores(),
        "written": written,
        "said": said,
        "batch norm": error_of(lambda: fit(with_batch_norm(), data, one_epoch)),
        "other plan": error_of(lambda: fit(MODELS["linear"](), data, one_epoch.replace(seed=rank))),
        "other images": error_of(lambda: fit(MODELS["linear"](), other_images, one_epoch)),
        "nan": error_of(lambda: fit(MODELS["linear"](), data, one_epoch, objective=BadInOneProcess())),
        "precision": chosen_precision(),
        "from the first": distributed.broadcast(7 + rank),
        "in turn": in_turn(folder),
    }


def find_facts(folder: Path) -> int:
    os.environ.update(AECORE_PROFILE="full", AECORE_PROGRESS="0")
    with distributed.process_group():
        (folder / f"rank-{distributed.rank()}.json").write_text(json.dumps(facts(folder)))
    return 0


def killed(command: list[str]) -> int:
    """Run a command of aecore; the second process is killed after so many steps."""

    def step(self, done: int) -> None:
        if done == LAST and distributed.rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    experiment._Progress.step = step
    return cli.main(command)


def in_two(work: Callable[[], int], said: Path) -> None:
    """Do `work` in two forked processes, with the variables that torchrun sets; what they print goes into `said`.

    Raises:
        RuntimeError: one of them failed; its error stands on the screen.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    children = []
    for rank in range(2):
        child = os.fork()
        if child:
            children.append(child)
            continue
        try:
            os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 1)
            os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=port, WORLD_SIZE="2", RANK=str(rank))
            os.environ["LOCAL_RANK"] = str(rank)
            status = work()
            sys.stdout.flush()
            os._exit(status)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    statuses = [os.waitpid(child, 0)[1] for child in children]
    if any(statuses):
        raise RuntimeError("one of two processes failed; its own error stands above")


def main() -> int:
    folder = Path(sys.argv[1])
    if sys.argv[2:]:
        return killed(sys.argv[3:])
    if "RANK" in os.environ:
        return find_facts(folder)
    in_two(lambda: find_facts(folder), folder / "facts.txt")
    if (folder / "go-on.json").exists():
        command = json.loads((folder / "go-on.json").read_text())
        os.environ.update(command["environment"])
        in_two(lambda: cli.main(command["arguments"]), folder / "go-on.txt")
    return 0


if __name__ == "__main__":
    sys.exit(main())

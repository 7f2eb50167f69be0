"""The shards of a job on Ray Data: the same rows, by a pool of actors on one machine or on a cluster."""

import copy
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ..disk import DiskError
from ..hub.errors import first_line
from .errors import CorpusError
from .plan import Plan, read_plan
from .progress import JobProgress
from .shards import Work


@dataclass(frozen=True)
class RaySettings:
    """How Ray is used.

    Args:
        address: Of a cluster; None starts Ray on this machine. All machines must see the inputs and the output folder.
        actors: Processes that each hold the model.
        gpus: Of each actor; may be a part of one.
    """

    address: str | None = None
    actors: int = 2
    gpus: float = 0.0


def embed_with_ray(
    work: Work,
    plan_path: Path,
    shards: list[int],
    through: Path,
    settings: RaySettings,
    report: Callable[[int, float, int], None],
) -> None:
    """Embeds shards, each written by the actor that embeds it. What an actor that dies had not written, another does.

    Raises:
        CorpusError: Ray is not installed or ended, or a shard can't be written.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise CorpusError("The engine ray was asked for and is not installed: pip install '.[scale]'.") from error
    if not shards:
        return
    own = not ray.is_initialized()
    if own:
        ray.init(address=settings.address, log_to_driver=False, logging_level=logging.ERROR)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        rows = ray.data.from_items([{"shard": shard} for shard in shards], override_num_blocks=len(shards))
        arguments = {"work": ray.put(replace(work, model=copy.deepcopy(work.model).cpu())), "plan_path": plan_path}
        arguments |= {"folder": plan_path.parent.parent, "through": through}
        done = rows.map_batches(
            ShardEmbedder,
            batch_size=1,
            fn_constructor_kwargs=arguments,
            compute=ray.data.ActorPoolStrategy(size=settings.actors),
            num_cpus=max(1, int(ray.cluster_resources().get("CPU", 1)) // settings.actors) if not settings.gpus else 1,
            num_gpus=settings.gpus or None,
        )
        for each in done.iter_rows():
            if each["error"]:
                raise CorpusError(each["error"])
            report(each["rows"], each["seconds"], each["failures"])
    except ray.exceptions.RayError as error:
        raise CorpusError(f"Ray ended ({first_line(error):.200}); give the same command again to go on.") from error
    finally:
        if own:
            ray.shutdown()


class ShardEmbedder:
    """An actor: it holds the model, and embeds one shard after the other."""

    def __init__(self, work: Any, plan_path: Path, folder: Path, through: Path):
        import ray

        self.work = ray.get(work)
        if ray.get_gpu_ids():
            self.work.model.to("cuda")
        else:
            torch.set_num_threads(max(1, int(ray.get_runtime_context().get_assigned_resources().get("CPU", 1))))
            self.work.model.prepare_for_inference()
        self.plan: Plan = read_plan(plan_path)
        self.folder, self.through = folder, through

    def __call__(self, batch: dict[str, Any]) -> dict[str, list]:
        """What was done for one shard; its `error` is a sentence for the one who started the job, or empty."""
        (shard,), error = batch["shard"].tolist(), ""
        count = JobProgress(len(self.plan.rows_of(shard)), is_shown=False)
        try:
            self.work.embed(self.plan, [shard], self.folder, self.through, report=count.advance)
        except (CorpusError, DiskError) as raised:
            error = first_line(raised)
        return {"rows": [count.rows], "seconds": [count.seconds], "failures": [count.failures], "error": [error]}

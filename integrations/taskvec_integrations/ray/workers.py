"""The encoder of an actor: on the device and with the threads that Ray gave it. Knows neither datasets nor stores."""

from collections.abc import Mapping
from typing import Any

import ray
import torch

from taskvec import Encoder, shared_encoder


def load_encoder(model: str, arguments: Mapping[str, Any], threads: int | None = None) -> Encoder:
    """Load the encoder of this process, once.

    Outside of Ray's workers the arguments are used as they are. In an actor, device None is the GPU that Ray assigned (num_gpus),
    else the CPU, also where the machine has GPUs, because those belong to others.

    Args:
        model: A hub id, a folder or "mini".
        arguments: What `shared_encoder` takes beside the model.
        threads: Threads of torch in an actor; None is as many as the actor has CPUs.
    """
    arguments = dict(arguments)
    context: Any = ray.get_runtime_context() if ray.is_initialized() else None
    if context and context.worker.mode == ray.WORKER_MODE:
        if arguments.get("device") is None and not ray.get_gpu_ids():
            arguments["device"] = "cpu"
        cpus = context.get_assigned_resources().get("CPU", 1)
        torch.set_num_threads(threads or max(1, int(cpus)))
    return shared_encoder(model, **arguments)

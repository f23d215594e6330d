"""One run on several nodes of a Slurm job: who starts its processes, and where they meet. No torch."""

import os
import socket


def check_nodes(wanted: int) -> None:
    """A ValueError outside of a Slurm job, and in one that has fewer nodes."""
    there = os.environ.get("SLURM_JOB_NUM_NODES")
    if there is None:
        raise ValueError(
            f"--num-nodes {wanted}: only a Slurm job has several nodes; `launch` submits one, or `run` within salloc --nodes {wanted}"
        )
    if int(there) < wanted:
        raise ValueError(f"--num-nodes {wanted}: this Slurm job has {there}; ask for more, or give a run fewer")


def srun(num_nodes: int, devices: int) -> list[str]:
    """What starts a command once for each device, as a step of the job this process is in, whose resources it shares."""
    cores = max(1, int(os.environ.get("SLURM_CPUS_PER_TASK", devices)) // devices)
    return [
        *("srun", "--overlap", "--kill-on-bad-exit=1", "--unbuffered", "--distribution=block"),
        *(f"--nodes={num_nodes}", f"--ntasks={num_nodes * devices}", f"--ntasks-per-node={devices}", f"--cpus-per-task={cores}"),
    ]


def meeting_place() -> dict[str, str]:
    """For the environment of a run's processes: the first of them is on this machine, where this port is free."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        port = probe.getsockname()[1]
    return {"MASTER_ADDR": socket.gethostname(), "MASTER_PORT": str(port)}


def check_reachable() -> None:
    """A ValueError if the first process's machine has no address here; PyTorch would wait for it in silence."""
    first = os.environ["MASTER_ADDR"]
    try:
        socket.getaddrinfo(first, int(os.environ["MASTER_PORT"]))
    except OSError as error:
        raise ValueError(
            f"{socket.gethostname()} cannot find {first}, where the run's first process is: {error}; ask the cluster's admin"
        ) from None

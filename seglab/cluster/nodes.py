"""One run on several nodes of a Slurm job: who starts its processes, and where they meet. No torch."""

import os
import socket

from seglab.cluster.jobs import ask


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
    """For the environment of a run's processes: the address by which Slurm itself knows the first node, and a port.

    Raises:
        ValueError: Slurm gives no answer.
    """
    first = ask(["scontrol", "show", "hostnames", os.environ["SLURM_JOB_NODELIST"]]).split()[0]
    said = dict(word.split("=", 1) for word in ask(["scontrol", "--oneliner", "show", "node", first]).split() if "=" in word)
    with socket.socket() as probe:
        probe.bind(("", 0))
        port = probe.getsockname()[1]  # free on this machine, which is the first node unless somebody has called salloc elsewhere
    return {"MASTER_ADDR": said.get("NodeAddr", first), "MASTER_PORT": str(port)}


def check_reachable() -> None:
    """A ValueError if the first process's machine has no address here; PyTorch would wait for it in silence."""
    first = os.environ["MASTER_ADDR"]
    try:
        socket.getaddrinfo(first, int(os.environ["MASTER_PORT"]))
    except OSError as error:
        raise ValueError(
            f"{socket.gethostname()} cannot find {first}, where the run's first process is: {error}; ask the cluster's admin"
        ) from None

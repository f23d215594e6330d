"""A Slurm cluster of two nodes with pretended GPUs on this machine, in a folder of its own.

Needs root, and Debian's slurm-wlm and munge.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.waiting import free_ports, wait

PACKAGES = ("slurm-wlm", "munge")
NODES = ("n1", "n2")
GPUS = 2

CONFIGURATION = """
ClusterName=seglab
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
GresTypes=gpu
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0,sched_min_interval=200000
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
KillWait=5
SlurmdTimeout=10
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=4 RealMemory=8000 Gres=gpu:{gpus} State=UNKNOWN
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=4 RealMemory=8000 Gres=gpu:{gpus} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=1-0 PriorityTier=1 PreemptMode=REQUEUE GraceTime=20
PartitionName=urgent Nodes=ALL MaxTime=1-0 PriorityTier=10 PreemptMode=OFF
"""


def obtain() -> str:
    """Return why there can be no cluster here; nothing if there can.

    Installs Slurm where it is missing, and says so.
    """
    if os.geteuid() != 0:
        return "a Slurm cluster of one's own needs root"
    if shutil.which("slurmctld") and shutil.which("munged"):
        return ""
    if shutil.which("apt-get") is None:
        return "there is no Slurm (slurmctld, slurmd, munged) on this machine, and no apt-get to install it"
    print(f"\ninstalling {' and '.join(PACKAGES)} with apt-get", file=sys.__stderr__)
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in (["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", *PACKAGES]):
        done = subprocess.run(words, capture_output=True, text=True, env=quiet)
        if done.returncode != 0:
            return f"{' '.join(words)} has failed: {' '.join(done.stderr.split())[-300:]}"
    return ""


@dataclass
class SlurmCluster:
    """`folder` holds all of it: configuration, sockets, logs, state."""

    folder: Path
    _started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self) -> None:
        (self.folder / "state").mkdir()
        for number in range(GPUS):
            os.mknod(
                self.folder / f"gpu{number}", 0o600 | 0o020000, os.makedev(1, 3)
            )  # slurmd wants character devices; this one is /dev/null
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(1024))
        configuration = CONFIGURATION.format(host=socket.gethostname().split(".")[0], folder=self.folder, gpus=GPUS, ports=free_ports(3))
        (self.folder / "slurm.conf").write_text(configuration)
        (self.folder / "gres.conf").write_text(f"Name=gpu File={self.folder}/gpu[0-{GPUS - 1}]\n")
        (self.folder / "cgroup.conf").write_text("CgroupAutomount=no\nConstrainCores=no\nConstrainDevices=no\nConstrainRAMSpace=no\n")
        names = {
            "socket": "munge.socket",
            "key-file": "munge.key",
            "log-file": "munge.log",
            "pid-file": "munge.pid",
            "seed-file": "munge.seed",
        }
        self._daemon("munged", "--foreground", "--force", *(f"--{flag}={self.folder / name}" for flag, name in names.items()))
        wait("munged", lambda: (self.folder / "munge.socket").exists())
        self._daemon("slurmctld", "-D")
        wait("slurmctld", lambda: " is UP" in self.ask("scontrol", "ping"))
        for node in NODES:
            self.boot(node)

    def boot(self, node: str) -> None:
        """Start a node, and wait until it takes jobs."""
        (self.folder / f"spool-{node}").mkdir(exist_ok=True)
        self._daemon("slurmd", "-D", "-N", node)
        wait(f"node {node}", lambda: self.ask("sinfo", "-h", "-p", "main", "-n", node, "-o", "%T").strip() in ("idle", "mixed"))

    def kill(self, node: str) -> None:
        """All processes of a node at once, as if it had lost its power."""
        jobs = self.ask("squeue", "-h", "-w", node, "-o", "%A").split()
        ours = {pid: name for pid in _processes() if (name := self._name(pid, jobs))}
        slurmd = int((self.folder / f"slurmd-{node}.pid").read_text())
        for pid in (
            slurmd,
            *sorted(ours, key=lambda pid: not ours[pid].startswith("slurmstepd")),
        ):  # nobody is left to tell of the others' end
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        """End all jobs and daemons."""
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            self.ask("scancel", "--user", "root")
            wait("the last jobs", lambda: not self.ask("squeue", "-h").strip(), 20)
        for process in reversed(self._started):
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10)
            process.kill()
            process.wait()

    def ask(self, *words: str) -> str:
        """Return what one of Slurm's commands prints on this cluster."""
        return subprocess.run(words, env=self.environment, capture_output=True, text=True, timeout=60).stdout

    @property
    def environment(self) -> dict[str, str]:
        """In which Slurm's commands, and so seglab, find this cluster."""
        return {**os.environ, "SLURM_CONF": str(self.folder / "slurm.conf")}

    def job(self, job: str) -> dict[str, str]:
        """Return what `scontrol` says of a job."""
        return dict(word.split("=", 1) for word in self.ask("scontrol", "-o", "show", "job", job).split() if "=" in word)

    def log(self, job: str) -> str:
        """Return the controller's log lines of a job."""
        lines = (self.folder / "slurmctld.log").read_text(errors="replace").splitlines()
        return "\n".join(line for line in lines if f"JobId={job}" in line)

    def _daemon(self, *words: str) -> None:
        dies_with_us = ("setpriv", "--pdeathsig", "TERM")
        with (self.folder / f"{words[0]}.out").open("ab") as output:
            process = subprocess.Popen(
                [*dies_with_us, *words], env=self.environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        self._started.append(process)

    def _name(self, pid: int, jobs: Sequence[str]) -> str:
        """The command line of a process, if it is of one of these jobs of this cluster; else nothing."""
        with contextlib.suppress(OSError):
            name = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ")
            variables = Path(f"/proc/{pid}/environ").read_text(errors="replace").split("\0")
            of_the_job = any(name.startswith(f"slurmstepd: [{job}.") or f"SLURM_JOB_ID={job}" in variables for job in jobs)
            return name if of_the_job and f"SLURM_CONF={self.folder / 'slurm.conf'}" in variables else ""
        return ""


def _processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]

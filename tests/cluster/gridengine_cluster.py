"""A Grid Engine of one host on this machine, in a folder of its own.

Needs root, and Debian's gridengine-master, -exec and -client.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.waiting import free_ports, wait

PACKAGES = ("gridengine-master", "gridengine-exec", "gridengine-client")
LIBRARY = Path("/usr/lib/gridengine")
SHARE = Path("/usr/share/gridengine")
SLOTS = 2

BOOTSTRAP = """
admin_user root
default_domain none
ignore_fqdn true
spooling_method berkeleydb
spooling_lib libspoolb
spooling_params {root}/spooldb
binary_path /usr/sbin
qmaster_spool_dir {root}/qmaster
security_mode none
listener_threads 2
worker_threads 2
scheduler_threads 1
"""

PARALLEL_ENVIRONMENT = """
pe_name smp
slots 99
user_lists NONE
xuser_lists NONE
start_proc_args NONE
stop_proc_args NONE
allocation_rule $pe_slots
control_slaves FALSE
job_is_first_task TRUE
urgency_slots min
accounting_summary FALSE
qsort_args NONE
"""

QUEUE = """
qname main
hostlist {host}
seq_no 0
load_thresholds NONE
suspend_thresholds NONE
nsuspend 1
suspend_interval 00:05:00
priority 0
min_cpu_interval 00:05:00
processors UNDEFINED
qtype BATCH INTERACTIVE
ckpt_list NONE
pe_list smp
rerun FALSE
slots {slots}
tmpdir /tmp
shell /bin/bash
prolog NONE
epilog NONE
shell_start_mode posix_compliant
starter_method NONE
suspend_method NONE
resume_method NONE
terminate_method NONE
notify 00:00:30
owner_list NONE
user_lists NONE
xuser_lists NONE
subordinate_list NONE
complex_values NONE
projects NONE
xprojects NONE
calendar NONE
initial_state default
"""


def obtain() -> str:
    """Return why there can be no Grid Engine here; nothing if there can.

    Installs it where it is missing, and says so.
    """
    if os.geteuid() != 0:
        return "a Grid Engine of one's own needs root"
    if shutil.which("sge_qmaster") and shutil.which("sge_execd") and shutil.which("qsub"):
        return ""
    if shutil.which("apt-get") is None or shutil.which("debconf-set-selections") is None:
        return "there is no Grid Engine (sge_qmaster, sge_execd, qsub) on this machine, and no apt-get to install it"
    print(f"\ninstalling {', '.join(PACKAGES)} with apt-get", file=sys.__stderr__)
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    answers = "gridengine-common shared/gridengineconfig boolean false\n"  # no cluster of the packages' own
    for words, given in (
        (["debconf-set-selections"], answers),
        (["apt-get", "update"], ""),
        (["apt-get", "install", "-y", "--no-install-recommends", *PACKAGES], ""),
    ):
        done = subprocess.run(words, input=given, capture_output=True, text=True, env=quiet)
        if done.returncode != 0:
            return f"{' '.join(words)} has failed: {' '.join(done.stderr.split())[-300:]}"
    return ""


@dataclass
class GridEngineCluster:
    """`folder` holds all of it: configuration, spools, logs."""

    folder: Path
    _ports: list[int] = field(default_factory=lambda: free_ports(2))
    _started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self) -> None:
        common = self.folder / "default" / "common"
        for folder in (
            common,
            self.folder / "qmaster" / "job_scripts",
            self.folder / "spooldb",
            self.folder / "execd",
            self.folder / "bin",
        ):
            folder.mkdir(parents=True)
        self.folder.chmod(0o755)
        (self.folder / "util").symlink_to(SHARE / "util")
        (self.folder / "bin" / self._architecture()).symlink_to(LIBRARY)
        host = self._host
        (common / "bootstrap").write_text(BOOTSTRAP.format(root=self.folder))
        (common / "act_qmaster").write_text(f"{host}\n")
        (common / "host_aliases").write_text(f"{host} localhost\n")
        self._must(str(LIBRARY / "spoolinit"), "berkeleydb", "libspoolb", str(self.folder / "spooldb"), "init")
        for kind, path in (
            ("configuration", self._configuration()),
            ("complexes", SHARE / "util/resources/centry"),
            ("usersets", SHARE / "util/resources/usersets"),
            ("managers", "root"),
        ):
            self._must(str(LIBRARY / "spooldefaults"), kind, str(path))
        self._daemon("sge_qmaster")
        wait("sge_qmaster", lambda: self.ask("qconf", "-sh").strip() != "")
        self._must("qconf", "-as", host)
        scheduler = self.ask("qconf", "-ssconf").splitlines()
        self._put("-Msconf", [line if not line.startswith("schedule_interval") else "schedule_interval 0:0:1" for line in scheduler])
        self._put("-Ap", PARALLEL_ENVIRONMENT.split("\n"))
        limits = [f"{limit}_{name} INFINITY" for name in ("rt", "cpu", "fsize", "data", "stack", "core", "rss", "vmem") for limit in "sh"]
        self._put("-Aq", [*QUEUE.format(host=host, slots=SLOTS).split("\n"), *limits])
        self._daemon("sge_execd")
        wait("sge_execd", lambda: " lx-" in self.ask("qstat", "-f") and "au" not in self.ask("qstat", "-f").split()[-1], 120)

    def stop(self) -> None:
        """End all jobs and daemons."""
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            self.ask("qdel", "-f", "-u", "*")
            wait("the last jobs", lambda: not self.ask("qstat").strip(), 40)
        for process in reversed(self._started):
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=20)
            process.kill()
            process.wait()

    def ask(self, *words: str) -> str:
        """Return what one of Grid Engine's commands prints on this cluster."""
        return subprocess.run(words, env=self.environment, capture_output=True, text=True, timeout=60).stdout

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables by which Grid Engine's commands, and so seglab, find this cluster."""
        return {
            "SGE_ROOT": str(self.folder),
            "SGE_CELL": "default",
            "SGE_QMASTER_PORT": str(self._ports[0]),
            "SGE_EXECD_PORT": str(self._ports[1]),
        }

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, **self.variables}

    def accounts(self, job: str) -> list[dict[str, str]]:
        """Return what `qacct` says of each time that a task `17.1` ended."""
        number, _, task = job.partition(".")
        blocks = self.ask("qacct", "-j", number, "-t", task).split("=" * 62)
        return [
            dict(line.split(None, 1) for line in block.splitlines() if len(line.split(None, 1)) == 2) for block in blocks if block.strip()
        ]

    @property
    def _host(self) -> str:
        return socket.gethostname().split(".")[0]

    def _architecture(self) -> str:
        return subprocess.run([SHARE / "util" / "arch"], capture_output=True, text=True, check=True).stdout.strip()

    def _configuration(self) -> Path:
        """Write the default configuration, for root's jobs and with a look at time limits each second."""
        mine = {
            "execd_spool_dir": str(self.folder / "execd"),
            "min_uid": "0",
            "min_gid": "0",
            "load_report_time": "00:00:03",
            "reporting_params": "accounting=true reporting=false flush_time=00:00:01 joblog=false sharelog=00:00:00",
        }
        lines = (SHARE / "default-configuration").read_text().splitlines()
        path = self.folder / "configuration"
        path.write_text(
            "".join(
                f"{name} {mine.get(name, value)}\n" for name, value in (line.split(None, 1) for line in lines if line[:1] not in ("", "#"))
            )
        )
        return path

    def _put(self, flag: str, lines: list[str]) -> None:
        path = self.folder / f"put{flag}"
        path.write_text("".join(f"{line}\n" for line in lines if line))
        self._must("qconf", flag, str(path))

    def _must(self, *words: str) -> None:
        library = {**self.environment, "LD_LIBRARY_PATH": str(LIBRARY)}
        done = subprocess.run(words, env=library, capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(words)}: {done.stdout}{done.stderr}")

    def _daemon(self, name: str) -> None:
        environment = {**self.environment, "SGE_ND": "1"}  # stay in the foreground
        with (self.folder / f"{name}.out").open("ab") as output:
            words = ("setpriv", "--pdeathsig", "TERM", name)
            process = subprocess.Popen(words, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        self._started.append(process)

"""Commands, clocks and caches, and what machine this is."""
import os
import platform
import resource
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
STRATA = os.environ.get("STRATA_BIN") or str(ROOT / "target/release/strata")


def call(*command, **options):
    return subprocess.run([str(c) for c in command], check=True, **options)


def output(*command, **options):
    return call(*command, stdout=subprocess.PIPE, text=True, **options).stdout


def clocked(act):
    """Seconds that `act` takes."""
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def timed(*command, **options):
    return clocked(lambda: call(*command, stdout=subprocess.DEVNULL, **options))


def own_cpu():
    """CPU seconds of this process and of all commands that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def process_cpu(pid):
    """CPU seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def process_memory(pid, what):
    """VmRSS (now) or VmHWM (at most so far) of a process, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(f"no {what} of process {pid}")


def drop_caches():
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")


def file_system(directory):
    return output("stat", "-f", "-c", "%T", directory).strip()


def build():
    """Builds this tree for release, with what is needed for that installed first."""
    script = ". scripts/setup && need_fuse && need_rust && cargo build --release --locked --quiet"
    if "STRATA_BIN" not in os.environ:
        call("bash", "-c", script, cwd=ROOT)


def facts(directory):
    """What the figures depend on besides the program."""
    cpu = next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    source, kind, size = output("df", "--output=source,fstype,size", "-B1", directory).splitlines()[1].split()
    return {
        "kernel": platform.release(), "cpu": cpu, "cores": os.cpu_count(), "memory": memory,
        "disk": {"device": source, "file_system": kind, "size": int(size)},
        "strata": output(STRATA, "--version").strip(), "load_before": os.getloadavg()[0],
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }

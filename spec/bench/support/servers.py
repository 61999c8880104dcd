"""Starts the servers that the benchmarks load, each on one core and a free port, and ends them whatever happens."""
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
START_SECONDS = 20

# A group that loads nothing: what is asked for was Set before.
SCRIPT = """
local lcache = require "lcache"
lcache.group("bench", { getter = function() return nil end })
"""


def fail(text):
    print(text, file=sys.stderr)
    sys.exit(2)


def program(name):
    """A program of ours; LCACHE_BIN_DIR says where they are."""
    path = pathlib.Path(os.environ.get("LCACHE_BIN_DIR", ROOT / ".build/release/bin")) / name
    if not path.exists():
        fail(f"{path} is not there: build it (cmake --preset release && cmake --build --preset release), "
             "or set LCACHE_BIN_DIR")
    return str(path)


def cores():
    """The core of the server and the core of the load: two, or one twice where there is no other."""
    free = sorted(os.sched_getaffinity(0))
    return free[0], free[-1]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Process:
    """A process that ends with its `with` block. core: that it is pinned to."""

    def __init__(self, command, core=None, **options):
        pinned = ["taskset", "-c", str(core)] if core is not None else []
        self.popen = subprocess.Popen(pinned + command, stdin=subprocess.DEVNULL, **options)
        self.pid = self.popen.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.popen.poll() is None:
            self.popen.terminate()
            try:
                self.popen.wait(15)
            except subprocess.TimeoutExpired:
                self.popen.kill()
        self.popen.wait()

    def cpu_seconds(self):
        """That all its threads ran, by the scheduler's own account."""
        tasks = pathlib.Path(f"/proc/{self.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9

    def resident_bytes(self):
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1)) * 1024


class Server(Process):
    """A server that listens on `port` of 127.0.0.1. `log`: its standard error, or what it printed until it listened."""

    def __init__(self, name, command, port, core=None):
        self.name, self.port = name, port
        self.address = f"127.0.0.1:{port}"
        self.output = tempfile.TemporaryFile("w+")
        super().__init__(command, core, stdout=self.output, stderr=self.output)
        deadline = time.monotonic() + START_SECONDS
        while not self.listens():
            if self.popen.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                self.output.seek(0)
                fail(f"{name} did not start: {self.output.read().strip()}")
            time.sleep(0.02)

    def listens(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def stop_cleanly(self):
        """TERM; its exit status."""
        self.popen.terminate()
        return self.popen.wait(30)


def lcache(folder, workers=1, core=None, script=SCRIPT, options=(), wrapper=()):
    path = pathlib.Path(folder) / "app.lua"
    path.write_text(script)
    port = free_port()
    command = [*wrapper, program("lcache"), "--script", str(path), "--listen", f"127.0.0.1:{port}", "--http", "off",
               "--workers", str(workers), "--log-level", "warn", *options]
    return Server("lcache", command, port, core)


def redis(core=None):
    port = free_port()
    return Server("Redis", ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                            "--daemonize", "no"], port, core)


def memcached(core=None):
    port = free_port()
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    return Server("memcached", ["memcached", "-t", "1", "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-m", "512",
                                "-c", "2048", *user], port, core)


def nghttpd(folder, core=None):
    port = free_port()
    return Server("nghttpd", ["nghttpd", "--no-tls", "-a", "127.0.0.1", "-d", str(folder), str(port)], port, core)


def load(address, *arguments, core=None):
    """Runs lcache-bench; what it prints as JSON. Any failed request ends the benchmark."""
    pinned = ["taskset", "-c", str(core)] if core is not None else []
    command = pinned + [program("lcache-bench"), "--server", address, "--json", *arguments]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        fail(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def need(*names):
    """Ends with one line unless the programs are installed."""
    paths = os.environ.get("PATH", "").split(":") + ["/usr/sbin", "/usr/bin"]
    os.environ["PATH"] = ":".join(paths)
    missing = [name for name in names if not any(os.access(f"{path}/{name}", os.X_OK) for path in paths)]
    if missing:
        fail(f"not installed: {', '.join(missing)}. `spec/support/install bench` installs what the benchmarks need")


# `kill` and a closed terminal end a benchmark as Ctrl-C does: through the `with` blocks.
for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, lambda *_: sys.exit(2))

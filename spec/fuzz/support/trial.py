"""A node under attack: starts it, watches it while it is attacked, stops it, says what was wrong.

A finding is: the node ended, or a Get of a client who means well failed or took over a second; it holds more memory than
its limits add up to, or more than nothing once the attackers are gone; its log has an error, a line that is no log line,
or far too many; it doesn't stop cleanly; a sanitizer reports something.
"""
import argparse
import collections
import contextlib
import os
import pathlib
import random
import re
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
VENV = ROOT / ".build/e2e/venv"


def enter_venv():
    """Goes on in the environment of the end-to-end specs, which has grpcio."""
    python = VENV / "bin/python3"
    if pathlib.Path(sys.prefix) == VENV:
        return
    if not python.exists():
        sys.exit(f"{VENV} is not there: ./spec/run e2e makes it")
    os.execv(python, [str(python), *sys.argv])


enter_venv()
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
# Freed memory that ASan keeps for a while would hide what the node holds.
os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "detect_leaks=1") + ":quarantine_size_mb=8"
os.environ.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
sys.path[:0] = [str(ROOT / "spec/bench/support"), str(ROOT / "spec/e2e/support")]

import grpc  # noqa: E402

import protos  # noqa: E402
import servers  # noqa: E402

MIB = 1 << 20
WORKERS = 2
SIZES = {"--memory": 16, "--buffer-memory": 16, "--lua-memory": 8}  # MiB; the last for each worker
RINGS_MIB = 16  # one in force and three past, of a member of the greatest weight
RESIDENT_MIB = 1.1 * (16 + 16 + 8 * WORKERS) + 32 + RINGS_MIB  # what the design promises, and rings out of proportion
GET_SECONDS = 1.0
FENCE_SECONDS = 1.0  # a node that was told that others gave it up waits so long for what it missed
WATCH_PAUSE = 0.05
CLEAN_SECONDS = 15
AFTERWARDS = 50
LOG_LINES_BASE, LOG_LINES_SECOND = 200, 40

# How much slower, and how much larger, each sanitizer makes a program. Its shadow holds a part of every page touched.
SANITIZERS = {b"__asan_init": (3, 4), b"__tsan_init": (6, 10)}

# `watched` is the group of the Gets that must be answered; attackers don't know it.
SCRIPT = """
local lcache = require "lcache"
lcache.group("watched", { getter = function(key) return "v" .. key end, ttl = "1s" })
lcache.group("g", { getter = function(key) return "v" .. key end, ttl = "60s" })
lcache.group("slow", { getter = function(key) lcache.sleep(0.05) return "v" .. key end, bytes = "4MB" })
"""

LOG_LINE = re.compile(r"(\d{4}-\d\d-\d\dT\S+Z (debug|info|warn) |ready grpc=)[^\x00-\x1f\x7f]*")
SANITIZER_REPORT = re.compile(r"^.*(?:Sanitizer|runtime error:).*$", re.MULTILINE)

CHANNEL_OPTIONS = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1),
                   ("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 300)]


def arguments(description):
    """--seconds and --seed of the command line, and the generator that everything random comes from."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    options = parser.parse_args()
    options.random = random.Random(options.seed)
    return options


def sanitizer_costs():
    """Times slower, times larger."""
    program = pathlib.Path(servers.program("lcache")).read_bytes()
    return next((costs for mark, costs in SANITIZERS.items() if mark in program), (1, 1))


def channel(address):
    return grpc.insecure_channel(address, CHANNEL_OPTIONS)


def nowhere(rand):
    """An address of this machine where nobody listens: servers take 127.0.0.1, few take all of 127.0.0.0/8."""
    return f"127.{rand.randint(64, 127)}.{rand.randint(0, 255)}.{rand.randint(1, 254)}:{rand.randint(1, 65535)}"


class Trial:
    """A node under test. server: the process, address: HOST:PORT, pool: the .proto files, counts: for the summary.

    liar: another member is one of the attackers, so a Get may fail because the owner of its key says so; it is to be answered
    in time all the same. It can also say that it gave the node up, which costs a Get another second.
    """

    def __init__(self, folder, seconds, options, liar):
        self.slower, self.larger = sanitizer_costs()
        self.began, self.seconds = time.monotonic(), seconds
        self.pool = protos.read(ROOT / "proto", [f"lcache/v1/{name}.proto" for name in ("admin", "cache", "peer")])
        self.findings, self.counts = [], collections.Counter()
        self.gets, self.slowest, self.resident, self.liar = 0, 0.0, 0, liar
        self.patience = (GET_SECONDS + FENCE_SECONDS * liar) * self.slower
        sizes = [part for flag, size in SIZES.items() for part in (flag, f"{size}MB")]
        self.server = servers.lcache(folder, workers=WORKERS, script=SCRIPT,
                                     options=[*sizes, "--drain-timeout", "2s", *options])
        self.address = self.server.address
        self.watched_channel = channel(self.address)
        self.watcher = threading.Thread(target=self.watch)
        self.watcher.start()

    def close(self):
        self.seconds = 0
        self.watcher.join()
        self.server.__exit__()

    def goes_on(self):
        return not self.findings and time.monotonic() < self.began + self.seconds

    def find(self, text):
        self.findings.append(text)

    def call(self, method, **fields):
        """A call of a client who means well, to `Service/Method`."""
        service, name = method.split("/")
        request, reply = protos.methods(self.pool, "lcache.v1." + service)[name]
        invoke = self.watched_channel.unary_unary("/lcache.v1." + method, request.SerializeToString, reply.FromString)
        return invoke(request(**fields), timeout=self.patience, wait_for_ready=self.gets == 0)

    # ---- while it is attacked ----

    def watch(self):
        """One key again and again, and new ones that have to be loaded."""
        while self.goes_on():
            self.check_get(b"steady" if self.gets % 2 else b"new-%d" % self.gets, must_succeed=not self.liar)
            self.check_process()
            time.sleep(WATCH_PAUSE)

    def check_get(self, key, must_succeed):
        began, failure = time.monotonic(), ""
        try:
            self.call("Cache/Get", group="watched", key=key)
        except grpc.RpcError as error:
            failure = f"{error.code().name} {error.details()[:200]!r}"
        seconds = time.monotonic() - began
        if seconds >= self.patience or failure and must_succeed:
            self.find(f"Get of {key} after {seconds:.3f} s: {failure}")
        self.slowest = max(self.slowest, seconds)
        self.gets += 1

    def check_process(self):
        status = self.server.popen.poll()
        if status is not None:
            self.find(f"the node ended: {status}")
            return
        self.resident = max(self.resident, self.server.resident_bytes())
        if self.resident > RESIDENT_MIB * self.larger * MIB:
            self.find(f"{self.resident / MIB:.0f} MiB resident, limit {RESIDENT_MIB * self.larger:.0f}")

    # ---- afterwards ----

    def check_gets(self):
        """Nobody lies any more: all Gets succeed."""
        for number in range(AFTERWARDS):
            self.check_get(b"afterwards-%d" % number, must_succeed=True)

    def held(self):
        """What the node still holds for others."""
        stats = self.call("Admin/Stats")
        sums = {"buffer bytes": sum(worker.buffer_bytes for worker in stats.workers),
                "flights": sum(group.flights for group in stats.groups),
                "waiters": sum(group.waiters for group in stats.groups)}
        return {name: value for name, value in sums.items() if value}

    def check_clean(self):
        deadline = time.monotonic() + CLEAN_SECONDS
        while held := self.held():
            if time.monotonic() > deadline:
                self.find(f"not given back: {held}")
                return
            time.sleep(0.05)

    def check_stop(self):
        self.watched_channel.close()
        status = self.server.stop_cleanly()
        if status != 0:
            self.find(f"stopped with status {status}")

    def check_log(self):
        self.server.output.seek(0)
        text = self.server.output.buffer.read().decode("utf-8", "backslashreplace")
        for report in SANITIZER_REPORT.findall(text)[:3]:
            self.find(report)
        lines = text.splitlines()
        for line in [line for line in lines if not LOG_LINE.fullmatch(line)][:3]:
            self.find(f"logged: {line[:300]!r}")
        limit = LOG_LINES_BASE + LOG_LINES_SECOND * (time.monotonic() - self.began)
        if len(lines) > limit:
            self.find(f"{len(lines)} lines logged, limit {limit:.0f}")
        self.counts["log lines"] = len(lines)
        return text

    def end(self):
        """The attackers are gone: the last checks. Returns the log."""
        self.watcher.join()
        self.check_gets()
        if not self.findings:
            with contextlib.suppress(grpc.RpcError):
                self.check_clean()
            self.check_stop()
        self.server.__exit__()
        return self.check_log()


@contextlib.contextmanager
def start(seconds, options, liar=False):
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(folder, seconds, options, liar)
        try:
            yield trial
        finally:
            trial.close()


def report(name, options, trial, log):
    """The summary in one line; on standard error each finding, and the log's end. Returns the exit status."""
    if trial.findings:
        print(log[-4000:], *(f"finding: {finding}" for finding in trial.findings), sep="\n", file=sys.stderr)
    counts = "".join(f" {key.replace(' ', '_')}={value}" for key, value in sorted(trial.counts.items()))
    print(f"{name}: seed={options.seed} seconds={options.seconds:g}{counts} gets={trial.gets} "
          f"slowest_ms={trial.slowest * 1000:.0f} resident_mib={trial.resident / MIB:.0f} findings={len(trial.findings)}")
    return 1 if trial.findings else 0

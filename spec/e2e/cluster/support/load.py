#!/usr/bin/env python3
"""Load for the cluster specs: Gets, Sets and Deletes through chosen nodes at a rate, every call recorded.

Reads one JSON operation a line, each with an `id`, answers one line with the same id. Usage: load.py PROTO_FOLDER
Nodes are written `NAME` or `NAME=HOST:PORT` where clients use another address than peers. A writer follows the
rule that history.py checks: the source first, then the cache, one writer of a key at a time.

  begin    nodes, group, source, keys (how many) or key_list, prefix, rate (calls a second), mix {"get": 90, "set": 5,
           "delete": 5}, timeout, retry (a Get or write that got UNAVAILABLE asks another node once), spread ("uniform",
           or "hot": half of the calls go to the first key): a load in the background; gives `run`
  nodes    run, nodes: through these from now on
  mark     run, name: calls that begin from now on are counted under that name
  end      run: stops it, waits for what is under way; gives the counts by mark (see Tally)
  sweep    nodes, group, source, key_list, writes ("set", "delete", "mix", "none"), times, concurrency, passes: for each
           key a write through a random node until it is acknowledged, then Gets at every node at once, `passes` times
  owners   node, group, key_list: the owner's address for each key
  check    windows [[begin, end, [names]]], settle, file: the history so far against history.py
  forget   forgets the history
"""
import asyncio
import collections
import json
import os
import pathlib
import random
import sys
import time

os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc  # noqa: E402
sys.path.append(str(pathlib.Path(__file__).resolve().parents[2] / "support"))

import history  # noqa: E402
import protos  # noqa: E402

CHANNEL_OPTIONS = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1),
                   ("grpc.initial_reconnect_backoff_ms", 100), ("grpc.min_reconnect_backoff_ms", 100),
                   ("grpc.max_reconnect_backoff_ms", 300)]
SERVED = ["UNSPECIFIED", "STORE", "MIRROR", "PEER", "SOURCE", "STALE"]
IN_FLIGHT_MAX = 4000
SOURCE_CONNECTIONS = 16
SWEEP_SECONDS = 30  # that a write of a sweep is tried


def read_methods(folder):
    """Request class, reply class and path of each method of Cache and Admin."""
    pool = protos.read(folder, ["lcache/v1/cache.proto", "lcache/v1/admin.proto"])
    return {name: (*classes, "/%s/%s" % (service, name)) for service in ("lcache.v1.Cache", "lcache.v1.Admin")
            for name, classes in protos.methods(pool, service).items()}


class Nodes:
    """Connections to nodes, by name."""

    def __init__(self, methods):
        self.methods, self.channels, self.calls = methods, {}, {}

    def call(self, node, method):
        name, _, address = node.partition("=")
        if (node, method) not in self.calls:
            if node not in self.channels:
                self.channels[node] = grpc.aio.insecure_channel(address or name, CHANNEL_OPTIONS)
            request, reply, path = self.methods[method]
            self.calls[node, method] = self.channels[node].unary_unary(
                path, request_serializer=request.SerializeToString, response_deserializer=reply.FromString), request
        return self.calls[node, method]


class SourceClient:
    """Raises versions at versions.py over a few connections."""

    def __init__(self, address):
        self.host, _, port = address.rpartition(":")
        self.port, self.idle = int(port), []
        self.slots = asyncio.Semaphore(SOURCE_CONNECTIONS)

    async def bump(self, key):
        async with self.slots:
            ends = self.idle.pop() if self.idle else await asyncio.open_connection(self.host, self.port)
            reader, writer = ends
            writer.write(b"GET /bump/%b HTTP/1.1\r\n\r\n" % key.encode())
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.rsplit(b"Content-Length: ", 1)[1].split(b"\r\n", 1)[0])
            version = int(await reader.readexactly(length))
            self.idle.append(ends)
            return version


class Tally:
    """What calls of one mark and kind came to: {count, codes, served, ms: {p50, p99, max}, failures: first few}."""

    def __init__(self):
        self.codes, self.served = collections.Counter(), collections.Counter()
        self.times, self.failures = [], []

    def add(self, op, message):
        self.codes[op.code] += 1
        self.times.append(op.end - op.begin)
        if op.code != "OK" and len(self.failures) < 5:
            self.failures.append("%s %s at %s: %s %s" % (op.kind, op.key, op.node, op.code, message))
        if op.served:
            self.served[op.served] += 1

    def result(self):
        times = sorted(self.times)

        def at(share):
            return 1000 * times[min(len(times) - 1, int(share * len(times)))]

        return {"count": len(times), "codes": self.codes, "served": self.served, "failures": self.failures,
                "ms": {"p50": at(0.5), "p99": at(0.99), "max": at(1)}}


class Run:
    """A load in the background."""

    def __init__(self, load, op):
        self.load, self.nodes, self.mark = load, op["nodes"], "begin"
        self.group, self.timeout = op["group"], op.get("timeout", 5)
        self.retry, self.spread = op.get("retry", False), op.get("spread", "uniform")
        self.keys = op.get("key_list") or ["%s%012d" % (op.get("prefix", "k-"), n) for n in range(op["keys"])]
        self.interval = 1.0 / op["rate"]
        mix = op.get("mix") or {"get": 1}
        self.kinds, self.weights = list(mix), list(mix.values())
        self.source = load.source(op["source"]) if op.get("source") else None
        self.tallies = collections.defaultdict(lambda: collections.defaultdict(Tally))
        self.under_way, self.over, self.skipped = set(), False, 0
        self.pacer = asyncio.ensure_future(self.pace())

    def pick_key(self):
        if self.spread == "hot" and random.random() < 0.5:
            return self.keys[0]
        return random.choice(self.keys)

    async def pace(self):
        due = time.monotonic()
        while not self.over:
            now = time.monotonic()
            while due <= now:
                due += self.interval
                if len(self.under_way) >= IN_FLIGHT_MAX:
                    self.skipped += 1
                    continue
                task = asyncio.ensure_future(self.one())
                self.under_way.add(task)
                task.add_done_callback(self.under_way.discard)
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def one(self):
        kind = random.choices(self.kinds, self.weights)[0]
        key, node, mark = self.pick_key(), random.choice(self.nodes), self.mark
        if kind == "get":
            op, message = await self.get(key, node)
        else:
            op, message = await self.load.write(self.source, kind, node, self.group, key, self.timeout)
        self.tallies[mark][kind].add(op, message)

    async def get(self, key, node):
        op, message = await self.load.get(node, self.group, key, self.timeout)
        others = [other for other in self.nodes if other != node]
        if self.retry and op.code == "UNAVAILABLE" and others:
            begin = op.begin
            op, message = await self.load.get(random.choice(others), self.group, key, self.timeout)
            op = op._replace(begin=begin)
        return op, message

    async def end(self):
        self.over = True
        await self.pacer
        if self.under_way:
            await asyncio.wait(self.under_way)
        return {"skipped": self.skipped, "marks": {mark: {kind: tally.result() for kind, tally in kinds.items()}
                                                   for mark, kinds in self.tallies.items()}}


class Load:
    def __init__(self, methods):
        self.nodes, self.sources, self.runs = Nodes(methods), {}, {}
        self.history, self.writers = [], collections.defaultdict(asyncio.Lock)

    def source(self, address):
        if address not in self.sources:
            self.sources[address] = SourceClient(address)
        return self.sources[address]

    async def invoke(self, node, method, timeout, **fields):
        """(code, message, reply, begin, end)"""
        call, request = self.nodes.call(node, method)
        begin = time.monotonic()
        try:
            reply, code, message = await call(request(**fields), timeout=timeout), "OK", ""
        except grpc.aio.AioRpcError as error:
            reply, code, message = None, error.code().name, error.details()
        return code, message, reply, begin, time.monotonic()

    async def get(self, node, group, key, timeout=5):
        code, message, reply, begin, end = await self.invoke(node, "Get", timeout, group=group, key=key.encode())
        version = origin = served = None
        if reply is not None:
            version, origin = history.parse_value(key, reply.value.decode("utf-8", "replace"))
            served = SERVED[reply.served_from]
        op = history.Op("get", key, node.partition("=")[0], begin, end, code, version, origin, served)
        self.history.append(op)
        return op, message

    async def write(self, source, kind, node, group, key, timeout=5):
        async with self.writers[key]:
            since = time.monotonic()
            version = await source.bump(key)
            fields = {"group": group, "key": key.encode()}
            if kind == "set":
                fields["value"] = ("%s:%d:set" % (key, version)).encode()
            code, message, _, begin, end = await self.invoke(node, kind.capitalize(), timeout, **fields)
            op = history.Op(kind, key, node.partition("=")[0], begin, end, code, version, None, None, since)
            self.history.append(op)
            return op, message

    # ---- operations ----

    async def op_begin(self, op):
        self.runs[op["id"]] = Run(self, op)
        return {"run": op["id"]}

    async def op_nodes(self, op):
        self.runs[op["run"]].nodes = op["nodes"]
        return {}

    async def op_mark(self, op):
        self.runs[op["run"]].mark = op["name"]
        return {"now": time.monotonic()}

    async def op_end(self, op):
        return await self.runs.pop(op["run"]).end()

    async def op_sweep(self, op):
        tallies, source = collections.defaultdict(Tally), self.source(op["source"])
        keys = collections.deque(op["key_list"] * op.get("times", 1))
        choices = {"mix": ["set", "delete"], "none": []}.get(op["writes"], [op["writes"]])

        async def one(key):
            acknowledged, deadline = not choices, time.monotonic() + SWEEP_SECONDS
            while not acknowledged and time.monotonic() < deadline:
                kind = random.choice(choices)
                write, message = await self.write(source, kind, random.choice(op["nodes"]), op["group"], key)
                tallies[kind].add(write, message)
                acknowledged = write.code == "OK"
                await asyncio.sleep(0 if acknowledged else 0.05)
            for _ in range(op.get("passes", 1)):
                for read, message in await asyncio.gather(*(self.get(node, op["group"], key) for node in op["nodes"])):
                    tallies["get"].add(read, message)

        async def worker():
            while keys:
                await one(keys.popleft())

        await asyncio.gather(*(worker() for _ in range(op.get("concurrency", 16))))
        return {kind: tally.result() for kind, tally in tallies.items()}

    async def op_owners(self, op):
        owners, waiting = {}, collections.deque(op["key_list"])

        async def worker():
            while waiting:
                key = waiting.popleft()
                code, message, reply, _, _ = await self.invoke(op["node"], "Owner", 10, group=op["group"],
                                                               key=key.encode())
                if reply is None:
                    raise RuntimeError("Owner: %s %s" % (code, message))
                owners[key] = reply.address

        await asyncio.gather(*(worker() for _ in range(32)))
        return {"owners": owners}

    async def op_check(self, op):
        windows = [history.Window(begin, end, frozenset(side)) for begin, end, side in op.get("windows", [])]
        result = history.check(self.history, windows, op.get("settle", 10))
        if op.get("file"):
            history.write(op["file"], self.history)
        return {"violations": len(result.violations), "late": len(result.late), "gets": result.gets,
                "writes": result.writes, "acknowledged": result.acknowledged,
                "report": history.report(result, self.history),
                "zero": min((op.begin for op in self.history), default=0.0)}

    async def op_forget(self, _op):
        self.history.clear()
        return {}

    async def answer(self, op):
        try:
            result = await getattr(self, "op_" + op["op"])(op)
        except Exception as error:  # the spec shows it
            result = {"broken": "%s: %s" % (type(error).__name__, error)}
        result["id"] = op["id"]
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()


async def main():
    load = Load(read_methods(sys.argv[1]))
    reader = asyncio.StreamReader(limit=1 << 26)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    print("ready", flush=True)
    running = set()
    while line := await reader.readline():
        task = asyncio.ensure_future(load.answer(json.loads(line)))
        running.add(task)
        task.add_done_callback(running.discard)
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main())

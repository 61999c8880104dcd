#!/usr/bin/env python3
"""The cluster tests' HTTP source: holds a version for each key, and counts loads.

  GET /k/KEY          `KEY:VERSION`, VERSION as it was when the request came, however long the answer takes
  GET /bump/KEY       raises KEY's version, answers the new one
  GET /delay/MS       every load takes that long from now on
  GET /reset          forgets the counts, keeps the versions
  GET /stats          JSON: loads, keys (that were loaded), most (loads of one key), in_flight
  GET /counts         JSON: loads by key

Every key has version 1 at first. Bytes in, bytes out, with no HTTP library: one core must answer some 10,000 loads a
second beside the nodes. It understands only what the tests' own clients send: requests without a body.

Prints `source listening on HOST:PORT`; ends on SIGTERM and when a pipe on its standard input closes.
"""
import argparse
import asyncio
import collections
import json
import os
import signal
import stat
import sys
import urllib.parse


class Source:
    def __init__(self):
        self.versions = {}
        self.loads = collections.Counter()
        self.total = self.in_flight = 0
        self.delay = 0.0

    def value(self, key):
        return "%s:%d" % (key, self.versions.get(key, 1))

    def begin_load(self, key):
        self.loads[key] += 1
        self.total += 1
        return self.value(key)

    def bump(self, key):
        self.versions[key] = self.versions.get(key, 1) + 1
        return str(self.versions[key])

    def set_delay(self, ms):
        self.delay = float(ms) / 1000
        return "ok"

    def reset(self, _):
        self.loads.clear()
        self.total = 0
        return "ok"

    def stats(self, _):
        most = max(self.loads.values(), default=0)
        return json.dumps({"loads": self.total, "keys": len(self.loads), "most": most, "in_flight": self.in_flight})

    def counts(self, _):
        return json.dumps(self.loads)

    def control(self, name, argument):
        handlers = {"bump": self.bump, "delay": self.set_delay, "reset": self.reset, "stats": self.stats,
                    "counts": self.counts}
        handler = handlers.get(name)
        return handler(argument) if handler else None


class Connection(asyncio.Protocol):
    """Requests of one connection, answered in order: a client here has one outstanding at a time."""

    def __init__(self, source):
        self.source, self.buffer, self.transport = source, b"", None

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.buffer += data
        while True:
            head, found, rest = self.buffer.partition(b"\r\n\r\n")
            if not found:
                return
            self.buffer = rest
            self.request(head.split(b" ", 2)[1].decode("latin-1"))

    def request(self, target):
        _, name, *rest = target.split("/", 2)
        argument = urllib.parse.unquote(rest[0] if rest else "")
        if name != "k":
            text = self.source.control(name, argument)
            self.answer(404 if text is None else 200, text or "no such path")
            return
        value = self.source.begin_load(argument)
        if self.source.delay <= 0:
            self.answer(200, value)
            return
        self.source.in_flight += 1
        asyncio.get_running_loop().call_later(self.source.delay, self.end_load, value)

    def end_load(self, value):
        self.source.in_flight -= 1
        self.answer(200, value)

    def answer(self, status, text):
        if self.transport.is_closing():
            return
        body = text.encode()
        self.transport.write(b"HTTP/1.1 %d %s\r\nContent-Length: %d\r\n\r\n%b"
                             % (status, b"OK" if status == 200 else b"Not Found", len(body), body))


def stop_when_orphaned(loop, stop):
    """Only a pipe says something when it closes: /dev/null is at its end from the start."""
    if not stat.S_ISFIFO(os.fstat(0).st_mode):
        return

    def readable():
        if not os.read(0, 4096):
            loop.remove_reader(0)
            stop.set()

    loop.add_reader(0, readable)


async def main(options):
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    stop_when_orphaned(loop, stop)
    source = Source()
    server = await loop.create_server(lambda: Connection(source), options.host, options.port, backlog=1024)
    host, port = server.sockets[0].getsockname()[:2]
    print("source listening on %s:%d" % (host, port), flush=True)
    await stop.wait()
    server.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="the cluster tests' HTTP source")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    try:
        asyncio.run(main(parser.parse_args()))
    except OSError as failure:
        sys.exit("source: %s" % failure)

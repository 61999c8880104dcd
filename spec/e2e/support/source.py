#!/usr/bin/env python3
"""The tests' HTTP source: answers by path, and counts what it was asked.

Written on asyncio with a small HTTP/1.1 loop of its own, because a test double has to do what a library forbids
(close without an answer, drip bytes, never answer) and has to hold 1,000 waiting requests on one core beside the
server under test. It understands only what our own clients send.

  /value/KEY          200, "value of KEY"
  /delay/MS/KEY       the same, MS milliseconds later
  /json/KEY           200, {"key": KEY, "n": how often this path was asked}
  /status/CODE[/...]  that status, with a short body
  /hang               never answers
  /close              closes the connection without an answer
  /slow-drip[/MS[/N]] N bytes (default 600), one each MS milliseconds (default 100)
  /huge/BYTES         that many bytes, with Content-Length
  /huge-chunked/BYTES that many bytes, chunked, so the length is not known beforehand
  /gzip/KEY           "value of KEY" with Content-Encoding: gzip
  /gzip-bomb/BYTES    a small gzip body that unpacks to BYTES
  /broken-json        200, JSON that stops in the middle
  /redirect[/CODE]    302 (or CODE) to /value/redirected
  /redirect-loop      302 to itself
  /echo-headers       JSON of the request's headers, names in lower case
  /echo               JSON: method, path, headers, body

Not counted: /count (JSON, requests by path), /reset, /stats (JSON: requests, in_flight, max_in_flight,
connections_open, connections_opened).

Prints `source listening on 127.0.0.1:PORT`. Ends on SIGTERM, when a pipe on its standard input closes, and when its
parent (or --watch-pid) dies, so that no test leaves it behind.
"""
import argparse
import asyncio
import contextlib
import gzip
import json
import os
import signal
import stat
import sys
import urllib.parse

CHUNK = b"x" * 65536
MAX_HEAD = 64 * 1024
MAX_BODY = 16 * 1024 * 1024
REASONS = {200: "OK", 204: "No Content", 301: "Moved Permanently", 302: "Found", 304: "Not Modified",
           404: "Not Found", 500: "Internal Server Error", 503: "Service Unavailable"}
UNCOUNTED = ("count", "reset", "stats")


class Counters:
    def __init__(self):
        self.connections_open = 0
        self.connections_opened = 0
        self.in_flight = 0
        self.reset()

    def reset(self):
        self.by_path = {}
        self.requests = 0
        self.max_in_flight = self.in_flight
        self.connections_opened = self.connections_open

    def begin(self, path):
        self.requests += 1
        self.by_path[path] = self.by_path.get(path, 0) + 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)

    def end(self):
        self.in_flight -= 1

    def stats(self):
        names = ("requests", "in_flight", "max_in_flight", "connections_open", "connections_opened")
        return {name: getattr(self, name) for name in names}


class Hangup(Exception):
    """The answer to this request is a closed connection."""


class Request:
    def __init__(self, method, target, headers, body):
        self.method, self.target, self.headers, self.body = method, target, headers, body
        self.path = target.split("?", 1)[0]
        self.parts = [urllib.parse.unquote(p, errors="surrogateescape") for p in self.path.split("/")[1:]]

    def number(self, index, default):
        try:
            return int(self.parts[index])
        except (IndexError, ValueError):
            return default

    def tail(self, index):
        return "/".join(self.parts[index:])


class Reply:
    """Writes one answer; the connection stays open unless the client asked otherwise."""

    def __init__(self, writer, request):
        self.writer = writer
        self.head_only = request.method == "HEAD"

    def start(self, status, headers):
        lines = ["HTTP/1.1 %d %s" % (status, REASONS.get(status, "Status"))]
        lines += ["%s: %s" % item for item in headers.items()]
        self.writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))

    async def send(self, status, body, content_type="text/plain", **extra):
        data = body if isinstance(body, bytes) else body.encode("utf-8", "surrogateescape")
        headers = {"Content-Type": content_type, "Content-Length": len(data)}
        headers.update({name.replace("_", "-"): value for name, value in extra.items()})
        if status in (204, 304):
            data = b""
            del headers["Content-Length"]
        self.start(status, headers)
        if not self.head_only:
            self.writer.write(data)
        await self.writer.drain()

    async def json(self, value):
        await self.send(200, json.dumps(value), "application/json")


async def value(request, reply, _source):
    await reply.send(200, "value of " + request.tail(1))


async def delay(request, reply, _source):
    await asyncio.sleep(request.number(1, 0) / 1000)
    await reply.send(200, "value of " + request.tail(2))


async def json_value(request, reply, source):
    await reply.json({"key": request.tail(1), "n": source.counters.by_path[request.path]})


async def status(request, reply, _source):
    code = request.number(1, 500)
    await reply.send(code, "status %d" % code)


async def hang(_request, _reply, _source):
    await asyncio.Event().wait()


async def close(_request, _reply, _source):
    raise Hangup


async def slow_drip(request, reply, _source):
    pause, count = request.number(1, 100) / 1000, request.number(2, 600)
    reply.start(200, {"Content-Type": "text/plain", "Content-Length": count})
    for _ in range(count):
        reply.writer.write(b".")
        await reply.writer.drain()
        await asyncio.sleep(pause)


def pieces(total):
    while total > 0:
        piece = CHUNK[:total]
        total -= len(piece)
        yield piece


async def huge(request, reply, _source):
    total = request.number(1, 0)
    reply.start(200, {"Content-Type": "application/octet-stream", "Content-Length": total})
    for piece in pieces(total):
        reply.writer.write(piece)
        await reply.writer.drain()


async def huge_chunked(request, reply, _source):
    reply.start(200, {"Content-Type": "application/octet-stream", "Transfer-Encoding": "chunked"})
    for piece in pieces(request.number(1, 0)):
        reply.writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        await reply.writer.drain()
    reply.writer.write(b"0\r\n\r\n")
    await reply.writer.drain()


async def gzip_value(request, reply, _source):
    body = ("value of " + request.tail(1)).encode("utf-8", "surrogateescape")
    await reply.send(200, gzip.compress(body), Content_Encoding="gzip")


async def gzip_bomb(request, reply, _source):
    await reply.send(200, gzip.compress(b"\0" * request.number(1, 0)), Content_Encoding="gzip")


async def broken_json(_request, reply, _source):
    await reply.send(200, '{"score": 12, "name": "An', "application/json")


async def redirect(request, reply, _source):
    await reply.send(request.number(1, 302), "", Location="/value/redirected")


async def redirect_loop(_request, reply, _source):
    await reply.send(302, "", Location="/redirect-loop")


async def echo_headers(request, reply, _source):
    await reply.json(request.headers)


async def echo(request, reply, _source):
    await reply.json({"method": request.method, "path": request.target, "headers": request.headers,
                      "body": request.body.decode("utf-8", "replace")})


async def count(_request, reply, source):
    await reply.json(source.counters.by_path)


async def reset(_request, reply, source):
    source.counters.reset()
    await reply.send(200, "reset")


async def stats(_request, reply, source):
    await reply.json(source.counters.stats())


HANDLERS = {
    "value": value, "delay": delay, "json": json_value, "status": status, "hang": hang, "close": close,
    "slow-drip": slow_drip, "huge": huge, "huge-chunked": huge_chunked, "gzip": gzip_value, "gzip-bomb": gzip_bomb,
    "broken-json": broken_json, "redirect": redirect, "redirect-loop": redirect_loop, "echo-headers": echo_headers,
    "echo": echo, "count": count, "reset": reset, "stats": stats,
}


async def read_request(reader):
    """One request, or None when the client has closed."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _version = first.split(" ", 2)
    headers = {}
    for line in filter(None, lines):
        name, _, text = line.partition(":")
        headers[name.strip().lower()] = text.strip()
    length = int(headers.get("content-length", "0"))
    if length > MAX_BODY or "transfer-encoding" in headers:
        raise ValueError("a body this test source cannot read")
    return Request(method, target, headers, await reader.readexactly(length))


class Source:
    def __init__(self):
        self.counters = Counters()

    async def answer(self, request, writer):
        name = request.parts[0]
        handler = HANDLERS.get(name)
        reply = Reply(writer, request)
        if handler is None:
            await reply.send(404, "no such path")
            return
        if name in UNCOUNTED:
            await handler(request, reply, self)
            return
        self.counters.begin(request.path)
        try:
            await handler(request, reply, self)
        finally:
            self.counters.end()

    async def serve(self, reader, writer):
        self.counters.connections_open += 1
        self.counters.connections_opened += 1
        try:
            while True:
                request = await read_request(reader)
                if request is None:
                    break
                # A client that hangs up ends its request, so that `in_flight` tells what a cancelled load left.
                with reader.calling_when_gone(asyncio.current_task().cancel):
                    await self.answer(request, writer)
                if request.headers.get("connection", "").lower() == "close":
                    break
        except (Hangup, ValueError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError,
                asyncio.CancelledError):
            pass
        finally:
            self.counters.connections_open -= 1
            if writer.transport.get_write_buffer_size():
                writer.transport.abort()
            writer.close()


class NoticingReader(asyncio.StreamReader):
    """A StreamReader that calls back when the client is gone, also while nobody reads."""

    when_gone = None

    @contextlib.contextmanager
    def calling_when_gone(self, callback):
        self.when_gone = callback
        try:
            yield
        finally:
            self.when_gone = None

    def feed_eof(self):
        super().feed_eof()
        self._notice()

    def set_exception(self, exc):
        super().set_exception(exc)
        self._notice()

    def _notice(self):
        if self.when_gone is not None:
            self.when_gone()


def watch_stdin(loop, stop):
    """Only a pipe or socket says something when it closes: /dev/null is at its end from the start."""
    try:
        mode = os.fstat(0).st_mode
    except OSError:
        return
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        return

    def readable():
        if not os.read(0, 4096):
            loop.remove_reader(0)
            stop.set()

    loop.add_reader(0, readable)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


async def watch_process(pid, stop):
    own = pid is None
    pid = os.getppid() if own else pid
    while (os.getppid() == pid) if own else alive(pid):
        await asyncio.sleep(0.2)
    stop.set()


async def main(options):
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    loop.set_exception_handler(lambda *_: None)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    watch_stdin(loop, stop)
    watcher = asyncio.ensure_future(watch_process(options.watch_pid, stop))
    source = Source()

    def protocol():
        return asyncio.StreamReaderProtocol(NoticingReader(limit=MAX_HEAD, loop=loop), source.serve, loop=loop)

    server = await loop.create_server(protocol, options.host, options.port, backlog=1024)
    host, port = server.sockets[0].getsockname()[:2]
    print("source listening on %s:%d" % (host, port), flush=True)
    await stop.wait()
    watcher.cancel()
    server.close()


def arguments():
    parser = argparse.ArgumentParser(description="the tests' HTTP source")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes any free port")
    parser.add_argument("--watch-pid", type=int, help="end when this process does (default: the parent)")
    return parser.parse_args()


def main_with_exit():
    try:
        asyncio.run(main(arguments()))
    except OSError as failure:
        sys.exit("source: %s" % failure)


if __name__ == "__main__":
    main_with_exit()

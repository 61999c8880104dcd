#!/usr/bin/env python3
"""A TCP proxy that makes what is behind it slow, stuck or gone. Usage: proxy.py HOST:PORT

Prints `proxy listening on HOST:PORT`. Reads JSON lines, answers each with `ok`:
  {"delay": SECONDS}   every byte arrives that much later, in both directions
  {"stuck": true}      bytes are taken and not passed on until {"stuck": false}; connections stay
  {"gone": true}       connections are cut, new ones are cut at once, until {"gone": false}
  {"cut": true}        connections are cut, once
"""
import asyncio
import json
import sys


class Proxy:
    def __init__(self, target):
        self.host, _, port = target.rpartition(":")
        self.port = int(port)
        self.delay, self.gone = 0.0, False
        self.open = asyncio.Event()
        self.open.set()
        self.writers = set()

    async def command(self, order):
        self.delay = order.get("delay", self.delay)
        if "stuck" in order:
            self.open.clear() if order["stuck"] else self.open.set()
        self.gone = order.get("gone", self.gone)
        if order.get("gone") or order.get("cut"):
            for writer in list(self.writers):
                writer.transport.abort()

    async def deliver(self, queue, writer):
        """Writes each piece when it is due; the queue keeps their order."""
        loop = asyncio.get_running_loop()
        while True:
            due, data = await queue.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            await self.open.wait()
            if not data:
                writer.close()
                return
            writer.write(data)
            await writer.drain()

    async def pump(self, reader, writer):
        queue = asyncio.Queue()
        delivery = asyncio.ensure_future(self.deliver(queue, writer))
        data = b"-"
        try:
            while data:
                data = await reader.read(65536)
                queue.put_nowait((asyncio.get_running_loop().time() + self.delay, data))
            await delivery
        except OSError:
            writer.transport.abort()
            delivery.cancel()

    async def serve(self, reader, writer):
        if self.gone:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(self.host, self.port)
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, far_writer}
        self.writers |= ends
        try:
            await asyncio.gather(self.pump(reader, far_writer), self.pump(far_reader, writer))
        except OSError:
            pass
        finally:
            self.writers -= ends
            for end in ends:
                end.transport.abort()


async def orders(proxy):
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        await proxy.command(json.loads(line))
        print("ok", flush=True)


async def main():
    proxy = Proxy(sys.argv[1])
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, backlog=256)
    print("proxy listening on %s:%d" % server.sockets[0].getsockname()[:2], flush=True)
    await orders(proxy)


if __name__ == "__main__":
    asyncio.run(main())

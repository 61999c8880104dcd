#!/usr/bin/env python3
"""A gRPC proxy in front of one node that lies: now and then it answers a Get with the first reply it ever saw to it.

It is the planted bug that shows that the history checker finds one: a client that goes through it sees old values after
acknowledged writes. Usage: replay.py HOST:PORT EVERY   (every EVERY-th Get is answered so)
Prints `replay listening on HOST:PORT`.
"""
import asyncio
import sys

import grpc


class Replay(grpc.GenericRpcHandler):
    def __init__(self, target, every):
        self.channel = grpc.aio.insecure_channel(target)
        self.every, self.gets, self.first = every, 0, {}

    def service(self, call_details):
        async def handler(request, context):
            return await self.pass_on(call_details.method, request, context)

        return grpc.unary_unary_rpc_method_handler(handler)

    async def pass_on(self, method, request, context):
        if method.endswith("/Get") and request in self.first:
            self.gets += 1
            if self.gets % self.every == 0:
                return self.first[request]
        try:
            reply = await self.channel.unary_unary(method)(request, timeout=context.time_remaining())
        except grpc.aio.AioRpcError as error:
            await context.abort(error.code(), error.details())
        if method.endswith("/Get"):
            self.first.setdefault(request, reply)
        return reply


async def main():
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Replay(sys.argv[1], int(sys.argv[2])),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print("replay listening on 127.0.0.1:%d" % port, flush=True)
    await server.wait_for_termination()


asyncio.run(main())

"""Reads, writes and deletes through lcache's gRPC interface. Usage: client.py HOST:PORT"""
import sys

import grpc
from lcache.v1 import cache_pb2, cache_pb2_grpc

TIMEOUT_SECONDS = 5
GROUP = "scores"


def served_from(number):
    return cache_pb2.ServedFrom.Name(number).removeprefix("SERVED_FROM_")


def get(cache, key):
    """The value as bytes, or None when there is no such key."""
    try:
        reply = cache.Get(cache_pb2.GetRequest(group=GROUP, key=key), timeout=TIMEOUT_SECONDS)
    except grpc.RpcError as error:
        if error.code() != grpc.StatusCode.NOT_FOUND:
            raise
        print("get %s: not found" % key.decode())
        return None
    print("get %s: %d bytes from %s" % (key.decode(), len(reply.value), served_from(reply.served_from)))
    return reply.value


def set_value(cache, key, value):
    cache.Set(cache_pb2.SetRequest(group=GROUP, key=key, value=value, ttl_ms=60_000), timeout=TIMEOUT_SECONDS)
    print("set %s" % key.decode())


def delete(cache, key):
    reply = cache.Delete(cache_pb2.DeleteRequest(group=GROUP, key=key), timeout=TIMEOUT_SECONDS)
    print("delete %s: %s" % (key.decode(), "it was there" if reply.deleted else "it was not there"))


def batch_get(cache, keys):
    reply = cache.BatchGet(cache_pb2.BatchGetRequest(group=GROUP, keys=keys), timeout=TIMEOUT_SECONDS)
    for result in reply.results:
        what = "%d bytes" % len(result.value)
        if result.code == grpc.StatusCode.NOT_FOUND.value[0]:
            what = "not found"
        elif result.code != 0:
            what = "failed: " + result.message
        print("batch %s: %s" % (result.key.decode(), what))


def main(address):
    with grpc.insecure_channel(address) as channel:
        cache = cache_pb2_grpc.CacheStub(channel)
        delete(cache, b"7")
        get(cache, b"7")  # a miss: lcache asks the source
        get(cache, b"7")  # a hit
        get(cache, b"no-such-player")
        set_value(cache, b"8", b"my own value")
        get(cache, b"8")
        delete(cache, b"8")
        batch_get(cache, [b"7", b"9", b"no-such-player"])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: client.py HOST:PORT")
    try:
        main(sys.argv[1])
    except grpc.RpcError as failure:
        sys.exit("%s: %s" % (failure.code().name, failure.details()))

#!/usr/bin/env python3
"""What ordinary tools for gRPC do without any .proto file: the reflection and health packages of grpcio against a node.
Prints one JSON object. Usage: introspect.py ADDRESS v1|v1alpha
"""
import json
import sys

import grpc
from google.protobuf import descriptor_pool, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

TIMEOUT = 20


class OfVersion:
    """A channel for the package's client, which knows v1alpha alone; the messages of v1 are the same."""

    def __init__(self, channel, version):
        self.channel, self.version = channel, version

    def stream_stream(self, path, *args, **kwargs):
        return self.channel.stream_stream(path.replace("v1alpha", self.version), *args, **kwargs)


def call(channel, pool, service, name, **fields):
    method = pool.FindServiceByName(service).methods_by_name[name]
    request = message_factory.GetMessageClass(method.input_type)
    reply = message_factory.GetMessageClass(method.output_type)
    invoke = channel.unary_unary("/%s/%s" % (service, name), request.SerializeToString, reply.FromString)
    return invoke(request(**fields), timeout=TIMEOUT)


def is_unknown(find, name):
    try:
        find(name)
        return False
    except KeyError:
        return True


def reflection(channel, version):
    database = ProtoReflectionDescriptorDatabase(OfVersion(channel, version))
    pool = descriptor_pool.DescriptorPool(database)
    services = sorted(database.get_services())
    return {
        "services": services,
        "methods": {name: sorted(pool.FindServiceByName(name).methods_by_name) for name in services},
        "value": call(channel, pool, "lcache.v1.Cache", "Get", group="echo", key=b"reflected").value.decode(),
        "message": pool.FindMessageTypeByName("lcache.v1.GetRequest").full_name,
        "file": pool.FindFileByName("lcache/v1/cache.proto").package,
        "unknown symbol": is_unknown(pool.FindMessageTypeByName, "no.such.Message"),
        "unknown file": is_unknown(pool.FindFileByName, "no/such.proto"),
    }


def health(channel, services):
    stub = health_pb2_grpc.HealthStub(channel)
    name = health_pb2.HealthCheckResponse.ServingStatus.Name

    def check(service):
        try:
            return name(stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=TIMEOUT).status)
        except grpc.RpcError as error:
            return error.code().name

    def watch(service):
        stream = stub.Watch(health_pb2.HealthCheckRequest(service=service), timeout=TIMEOUT)
        first = name(next(stream).status)
        stream.cancel()
        return first

    return {"node": check(""), "services": {service: check(service) for service in services if "grpc." not in service},
            "unknown": check("no.such.Service"), "watch": watch(""), "watch of unknown": watch("no.such.Service")}


def main(address, version):
    with grpc.insecure_channel(address) as channel:
        result = reflection(channel, version)
        result["health"] = health(channel, result["services"])
    print(json.dumps(result))


main(*sys.argv[1:])

"""The messages of .proto files without generated modules: those would clash with the package `grpc`."""
import sys
import tempfile

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_tools import protoc


def read(folder, names):
    """A pool of these files and what they import."""
    pool = descriptor_pool.DescriptorPool()
    with tempfile.NamedTemporaryFile() as out:
        if protoc.main(["protoc", "-I" + str(folder), "--include_imports", "--descriptor_set_out=" + out.name, *names]):
            sys.exit("protoc failed")
        for file in descriptor_pb2.FileDescriptorSet.FromString(out.read()).file:
            pool.Add(file)
    return pool


def methods(pool, service):
    """Request and reply class by method name."""
    return {method.name: (message_factory.GetMessageClass(method.input_type),
                          message_factory.GetMessageClass(method.output_type))
            for method in pool.FindServiceByName(service).methods}

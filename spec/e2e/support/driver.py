#!/usr/bin/env python3
"""A gRPC client for the specs, and a source of odd bytes. Reads one JSON operation a line, each with an `id`, answers
one line with the same id when the operation has ended. Operations run beside one another. Usage: driver.py PROTO_FOLDER
"""
import concurrent.futures
import json
import os
import queue
import socket
import struct
import sys
import threading
import time

os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc  # noqa: E402
import h2.config  # noqa: E402
import h2.connection  # noqa: E402
import h2.events  # noqa: E402
import h2.exceptions  # noqa: E402
import hpack  # noqa: E402
from google.protobuf import json_format  # noqa: E402

import protos  # noqa: E402

PROTOS = ["lcache/v1/cache.proto", "lcache/v1/admin.proto", "pb/lcache.proto", "grpc/health/v1/health.proto"]
LIMIT = 64 * 1024 * 1024
CHANNEL_OPTIONS = [("grpc.max_receive_message_length", LIMIT), ("grpc.max_send_message_length", LIMIT),
                   ("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]

output_lock = threading.Lock()
state_lock = threading.Lock()
channels, modules, watches, held = {}, {}, {}, []
schema = None


def answer(value):
    with output_lock:
        sys.stdout.write(json.dumps(value) + "\n")
        sys.stdout.flush()


def methods(service):
    """Request and reply class by method name."""
    if service not in modules:
        modules[service] = protos.methods(schema, service)
    return modules[service]


def channel_of(op, name=None):
    key = (op["to"], name or op.get("channel"))
    with state_lock:
        if key not in channels:
            channels[key] = grpc.insecure_channel(op["to"], CHANNEL_OPTIONS)
        return channels[key]


def stub(op, channel, raw=False):
    service, method = op["method"].rsplit("/", 1)
    if raw:
        return channel.unary_unary("/" + op["method"]), None
    request, reply = methods(service)[method]
    return channel.unary_unary("/" + op["method"], request_serializer=request.SerializeToString,
                               response_deserializer=reply.FromString), request


def call(op):
    raw = op.get("raw")
    invoke, request = stub(op, channel_of(op), raw is not None)
    message = bytes.fromhex(raw) if raw is not None else json_format.ParseDict(op["fields"], request())
    began = time.monotonic()
    result = {}
    try:
        timeout = None if op.get("no_timeout") else op["timeout"]
        metadata = [tuple(pair) for pair in op.get("metadata") or []]
        reply = invoke(message, timeout=timeout, metadata=metadata)
        result["code"], result["message"] = "OK", ""
        if raw is None:
            result["reply"] = json_format.MessageToDict(reply, preserving_proto_field_name=True,
                                                        always_print_fields_with_no_presence=True)
    except grpc.RpcError as error:
        result["code"], result["message"] = error.code().name, error.details()
    result["ms"] = (time.monotonic() - began) * 1000
    return result


def many(op):
    import base64
    get = [stub({"method": "lcache.v1.Cache/Get"}, channel_of(op, "many-%d" % i)) for i in range(op["connections"])]
    keys = [base64.b64decode(key) for key in op["keys"]] * op["times"]
    began = time.monotonic()
    futures = []
    for index, key in enumerate(keys):
        invoke, request = get[index % len(get)]
        futures.append(invoke.future(request(group=op["group"], key=key), timeout=op["timeout"]))
    result = {"codes": {}, "froms": {}, "messages": {}, "values": 0}
    values = set()
    for future in futures:
        error = future.exception()
        code = "OK" if error is None else error.code().name
        result["codes"][code] = result["codes"].get(code, 0) + 1
        if error is None:
            reply = future.result()
            values.add(bytes(reply.value))
            result["froms"][str(reply.served_from)] = result["froms"].get(str(reply.served_from), 0) + 1
        else:
            result["messages"][error.details()] = result["messages"].get(error.details(), 0) + 1
    result["values"] = len(values)
    result["ms"] = (time.monotonic() - began) * 1000
    return result


# ---- health ----

def watch(op):
    classes = methods("grpc.health.v1.Health")["Watch"]
    invoke = channel_of(op, "watch").unary_stream("/grpc.health.v1.Health/Watch",
                                                  request_serializer=classes[0].SerializeToString,
                                                  response_deserializer=classes[1].FromString)
    stream = invoke(classes[0](service=op["service"]))
    statuses = queue.Queue()

    def read():
        try:
            for reply in stream:
                statuses.put(classes[1].ServingStatus.Name(reply.status))
            statuses.put("END")
        except grpc.RpcError as error:
            statuses.put("END " + error.code().name)

    threading.Thread(target=read, daemon=True).start()
    watches[op["id"]] = statuses
    return {"watch": op["id"]}


def watch_next(op):
    try:
        return {"status": watches[op["watch"]].get(timeout=op["seconds"])}
    except queue.Empty:
        return {"status": "NONE"}


# ---- plain sockets ----

def connect(op, window=None):
    host, port = op["to"].rsplit(":", 1)
    sock = socket.create_connection((host.strip("[]"), int(port)), timeout=10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


FRAMES = {0: "data", 1: "headers", 2: "priority", 3: "rst", 4: "settings", 5: "push", 6: "ping", 7: "goaway",
          8: "window", 9: "continuation"}


def parse_frames(data):
    """Whole frames of what a server sent."""
    frames, at, decoder = [], 0, hpack.Decoder()
    while at + 9 <= len(data):
        length = int.from_bytes(data[at:at + 3], "big")
        kind, flags = data[at + 3], data[at + 4]
        stream = int.from_bytes(data[at + 5:at + 9], "big") & 0x7fffffff
        payload = data[at + 9:at + 9 + length]
        if len(payload) < length:
            break
        frame = {"type": FRAMES.get(kind, str(kind)), "flags": flags, "stream": stream}
        if kind == 1:
            frame["headers"] = dict(decoder.decode(payload))
        elif kind == 3:
            frame["error"] = struct.unpack(">I", payload)[0]
        elif kind == 7:
            frame["last"], frame["error"] = struct.unpack(">II", payload[:8])
        elif kind == 0:
            frame["length"] = length
        frames.append(frame)
        at += 9 + length
    return frames


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000")


def stops(op, data):
    wanted = op.get("stop_at")
    if not wanted:
        return False
    frames = parse_frames(data)
    if wanted == "end_stream":
        return any(f["type"] in ("headers", "data") and f["flags"] & 1 for f in frames)
    return any(f["type"] == wanted for f in frames)


def send_pieces(op, sock):
    """False when the server has closed meanwhile."""
    try:
        if op["preface"]:
            sock.sendall(PREFACE)
        for piece in op["pieces"]:
            sock.sendall(bytes.fromhex(piece))
            if op["pause"]:
                time.sleep(op["pause"])
        if op["half_close"]:
            sock.shutdown(socket.SHUT_WR)
    except OSError:
        return False
    return True


def raw(op):
    sock, data, closed = connect(op), b"", False
    began = time.monotonic()
    send_pieces(op, sock)
    if op["hold"]:
        time.sleep(op["hold"])
    deadline = time.monotonic() + op["seconds"]
    while not closed and not stops(op, data):
        left = deadline - time.monotonic()
        if left <= 0:
            break
        sock.settimeout(left)
        try:
            got = sock.recv(65536)
            closed = not got
            data += got
        except socket.timeout:
            break
        except OSError:
            closed = True
    sock.close()
    return {"closed": closed, "data": data[:65536].hex(), "ms": (time.monotonic() - began) * 1000,
            "frames": parse_frames(data) if op["preface"] else []}


def hold(op):
    connected = 0
    for _ in range(op["count"]):
        try:
            held.append(connect(op))
            connected += 1
        except OSError:
            break
    return {"connected": connected}


def release(_op):
    while held:
        held.pop().close()
    return {}


# ---- one HTTP/2 request, by hand ----

class Exchange:
    def __init__(self, op):
        self.op, self.sock = op, connect(op)
        config = h2.config.H2Configuration(client_side=True, header_encoding="latin-1", validate_outbound_headers=False,
                                           normalize_outbound_headers=False, validate_inbound_headers=False)
        self.conn = h2.connection.H2Connection(config)
        self.result = {"status": None, "headers": {}, "trailers": {}, "reset": None, "goaway": None, "frames": 0}
        self.body = b""
        self.over = False
        self.deadline = time.monotonic() + op["seconds"]

    def flush(self):
        self.sock.sendall(self.conn.data_to_send())

    def headers(self):
        replace = self.op["replace"]
        usual = [(":method", "POST"), (":scheme", "http"), (":path", self.op["path"]), (":authority", self.op["to"]),
                 ("content-type", "application/grpc"), ("te", "trailers")]
        kept = [(n, replace.get(n, v)) for n, v in usual if replace.get(n, v) is not False]
        return kept + [tuple(pair) for pair in self.op["headers"]]

    def begin(self):
        if self.op.get("window") is not None:
            settings = self.conn.local_settings
            settings.initial_window_size = self.op["window"]
        self.conn.initiate_connection()
        self.stream = self.conn.get_next_available_stream_id()
        self.conn.send_headers(self.stream, self.headers())
        self.flush()

    def send(self):
        pieces = [bytes.fromhex(piece) for piece in self.op["pieces"]]
        for index, piece in enumerate(pieces):
            end = index == len(pieces) - 1 and not self.op["no_end"]
            self.send_piece(piece, end)

    def send_piece(self, piece, end):
        """As the server's windows allow."""
        while not self.over:
            room = min(self.conn.local_flow_control_window(self.stream), self.conn.max_outbound_frame_size)
            if room >= len(piece):
                self.conn.send_data(self.stream, piece, end_stream=end)
                self.flush()
                return
            if room > 0:
                self.conn.send_data(self.stream, piece[:room])
                piece = piece[room:]
                self.flush()
            elif not self.receive(self.deadline - time.monotonic()):
                return

    def take(self, event):
        if isinstance(event, h2.events.ResponseReceived):
            self.result["headers"] = dict(event.headers)
            self.result["status"] = self.result["headers"].get(":status")
        elif isinstance(event, h2.events.TrailersReceived):
            self.result["trailers"] = dict(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            self.body += event.data
            self.result["frames"] += 1
            self.conn.acknowledge_received_data(event.flow_controlled_length, self.stream)
        elif isinstance(event, h2.events.StreamEnded):
            self.over = True
        elif isinstance(event, h2.events.StreamReset):
            self.result["reset"], self.over = int(event.error_code), True
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.result["goaway"], self.over = int(event.error_code), True

    def receive(self, seconds):
        """False when nothing came."""
        self.sock.settimeout(max(seconds, 0.001))
        try:
            data = self.sock.recv(65536)
        except socket.timeout:
            return False
        if not data:
            self.result["closed"], self.over = True, True
            return False
        for event in self.conn.receive_data(data):
            self.take(event)
        self.flush()
        return True

    def read(self):
        cancel_at = time.monotonic() + self.op["cancel_after"] if self.op.get("cancel_after") else self.deadline
        while not self.over:
            now = time.monotonic()
            if now >= cancel_at and self.op.get("cancel_after"):
                self.conn.reset_stream(self.stream, 8)
                self.flush()
                break
            if now >= self.deadline:
                self.result["timeout"] = True
                break
            self.receive(min(self.deadline, cancel_at) - now)


def request(op):
    exchange = Exchange(op)
    began = time.monotonic()
    try:
        exchange.begin()
        exchange.send()
        exchange.read()
    except OSError as error:
        exchange.result["closed"] = str(error)
    exchange.sock.close()
    result = exchange.result
    result["body"] = exchange.body[:1024].hex()
    result["body_length"] = len(exchange.body)
    result["ms"] = (time.monotonic() - began) * 1000
    result["grpc_status"] = result["trailers"].get("grpc-status", result["headers"].get("grpc-status"))
    result["grpc_message"] = result["trailers"].get("grpc-message", result["headers"].get("grpc-message"))
    return result


OPERATIONS = {"call": call, "many": many, "watch": watch, "watch_next": watch_next, "raw": raw, "hold": hold,
              "release": release, "request": request}


def run(op):
    try:
        result = OPERATIONS[op["op"]](op)
    except Exception as error:  # the spec shows it
        result = {"broken": "%s: %s" % (type(error).__name__, error)}
    result["id"] = op["id"]
    answer(result)


def main():
    global schema
    schema = protos.read(sys.argv[1], PROTOS)
    pool = concurrent.futures.ThreadPoolExecutor(max_workers=64)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        pool.submit(run, json.loads(line))
    os._exit(0)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Sockets that misbehave, for the specs. Standard library only; prints JSON lines.

raw.py ADDRESS COMMAND [JSON]

  hold {count}              holds connections; then reads lines {"open": n}, {"close": [1, 3]}, {"greet": true}
  fuzz {seed, seconds, max} random garbage and mutated HTTP/2 conversations
  flood {kind, count}       one kind of frame, as fast as it goes, until the server ends the connection
  pile {connections, gets, group, key}  asks for values with open windows and reads none until a line comes
"""
import json
import os
import random
import selectors
import socket
import struct
import sys
import time

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
ACK, END_STREAM, END_HEADERS, PADDED, WITH_PRIORITY = 1, 1, 4, 8, 32
HUGE = 0x7fffffff


def say(value):
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def connect(address, receive_buffer=None):
    host, port = address.rsplit(":", 1)
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.settimeout(10)
    sock.connect((host.strip("[]"), int(port)))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def text(data):
    """A short HPACK string, not Huffman coded."""
    assert len(data) < 127
    return bytes([len(data)]) + data


def field(name, value):
    """Literal, never indexed, new name."""
    return b"\x10" + text(name) + text(value)


def head(path=b"/lcache.v1.Cache/Get"):
    return (b"\x83\x86" + field(b":path", path) + field(b":authority", b"raw") +
            field(b"content-type", b"application/grpc") + field(b"te", b"trailers"))


def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def member(number, data):
    return bytes([number << 3 | 2]) + varint(len(data)) + data


def grpc(message):
    return b"\0" + struct.pack(">I", len(message)) + message


def get(stream, group, key, path=b"/lcache.v1.Cache/Get"):
    return (frame(HEADERS, END_HEADERS, stream, head(path)) +
            frame(DATA, END_STREAM, stream, grpc(member(1, group) + member(2, key))))


def settings(**values):
    names = {"header_table_size": 1, "max_streams": 3, "window": 4, "frame_size": 5}
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", names[name], value) for name, value in values.items()))


# ---- held connections ----

def hold(address, options):
    socks = {}

    def open_some(count):
        failed = 0
        for _ in range(count):
            try:
                socks[max(socks, default=0) + 1] = connect(address)
            except OSError:
                failed += 1
        say({"open": len(socks), "failed": failed})

    def close_some(numbers):
        for number in numbers:
            socks.pop(number).close()
        say({"open": len(socks), "failed": 0})

    def greet():
        for sock in socks.values():
            sock.sendall(PREFACE + settings())
        answered = 0
        for sock in socks.values():
            try:
                answered += sock.recv(9) != b""
            except OSError:
                pass
        say({"answered": answered})

    open_some(options["count"])
    for line in sys.stdin:
        order = json.loads(line)
        if "open" in order:
            open_some(order["open"])
        elif "close" in order:
            close_some(order["close"])
        else:
            greet()


# ---- random input ----

def conversation(rand):
    """Frames of a client that behaves, more or less."""
    frames = [settings(window=rand.choice([0, 1, 65535, HUGE]))]
    stream = 1
    for _ in range(rand.randint(1, 4)):
        group = rand.choice([b"echo", b"echo", b"big", b"none", b""])
        path = rand.choice([b"/lcache.v1.Cache/Get", b"/lcache.v1.Cache/Set", b"/lcache.v1.Cache/BatchGet",
                            b"/lcache.v1.Cache/Delete", b"/pb.LCache/Get", b"/lcache.v1.Admin/Stats",
                            b"/grpc.health.v1.Health/Watch",
                            b"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"])
        message = member(1, group) + member(2, rand.choice([b"k", b"1000", b"\0\xff" * 20]))
        body = grpc(message) * rand.choice([1, 1, 1, 2])
        cut = rand.randint(0, len(body))
        frames.append(frame(HEADERS, END_HEADERS, stream, head(path)))
        frames.append(frame(DATA, 0, stream, body[:cut]))
        frames.append(frame(DATA, END_STREAM, stream, body[cut:]))
        extra = [frame(PING, 0, 0, b"12345678"), frame(WINDOW, 0, 0, struct.pack(">I", 1000)),
                 frame(WINDOW, 0, stream, struct.pack(">I", 1000)), frame(RST, 0, stream, struct.pack(">I", 8)),
                 frame(PRIORITY, 0, stream, b"\0\0\0\0\x10"), frame(SETTINGS, ACK, 0), frame(66, 255, stream, b"what"),
                 settings(header_table_size=0), frame(HEADERS, END_HEADERS | END_STREAM, stream, field(b"x", b"y"))]
        frames.extend(rand.sample(extra, rand.randint(0, 3)))
        stream += 2
    return frames


def mutate(rand, frames):
    """One to four small accidents: on whole frames, then on bytes."""
    frames = list(frames)
    for _ in range(rand.randint(0, 2)):
        at = rand.randrange(len(frames))
        kind = rand.randrange(4)
        if kind == 0:
            frames.insert(at, frames[rand.randrange(len(frames))])
        elif kind == 1:
            del frames[at]
        elif kind == 2:
            other = rand.randrange(len(frames))
            frames[at], frames[other] = frames[other], frames[at]
        else:
            frames[at] = frame(rand.randrange(11), rand.randrange(256), rand.choice([0, 1, 2, 3, HUGE]),
                               rand.randbytes(rand.choice([0, 1, 4, 5, 6, 8, 100])))
        if not frames:
            frames = [settings()]
    data = bytearray(b"".join(frames))
    for _ in range(rand.randint(1, 3)):
        if not data:
            break
        at = rand.randrange(len(data))
        kind = rand.randrange(5)
        if kind == 0:
            data[at] ^= 1 << rand.randrange(8)
        elif kind == 1:
            data[at] = rand.randrange(256)
        elif kind == 2:
            del data[at:at + rand.randint(1, 20)]
        elif kind == 3:
            data[at:at] = rand.randbytes(rand.randint(1, 20))
        else:
            del data[at:]
    return PREFACE + bytes(data)


def drain_socket(sock, seconds):
    """What came before the connection's end or the time was up: how many bytes, and whether it ended."""
    deadline, count = time.monotonic() + seconds, 0
    while True:
        sock.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            got = sock.recv(65536)
        except socket.timeout:
            return count, False
        except OSError:
            return count, True
        if not got:
            return count, True
        count += len(got)
        if time.monotonic() > deadline:
            return count, False


def one_fuzz(address, rand):
    kind = rand.randrange(8)
    if kind == 0:
        data = rand.randbytes(rand.randint(1, 3000))
    elif kind == 1:
        data = PREFACE + rand.randbytes(rand.randint(1, 3000))
    else:
        data = mutate(rand, conversation(rand))
    sock = connect(address)
    try:
        at = 0
        while at < len(data):  # in pieces of any size, so that the server meets every boundary
            piece = rand.choice([1, 7, 100, 5000])
            sock.sendall(data[at:at + piece] if rand.randrange(4) else data[at:])
            at = at + piece if rand.randrange(4) else len(data)
        if rand.randrange(4) == 0:
            sock.shutdown(socket.SHUT_WR)
        _, ended = drain_socket(sock, rand.choice([0.0, 0.0, 0.0, 0.002]))
    except OSError:
        ended = True
    sock.close()
    return ended


def fuzz(address, options):
    rand = random.Random(options["seed"])
    deadline = time.monotonic() + options["seconds"]
    count = ended = 0
    while count < options["max"] and time.monotonic() < deadline:
        ended += one_fuzz(address, random.Random(rand.getrandbits(64)))
        count += 1
    say({"connections": count, "ended": ended})


# ---- floods ----

def flood_frames(kind, number):
    """The next piece of a flood."""
    stream = 2 * number + 3
    reset = frame(RST, 0, stream, struct.pack(">I", 8))
    return {
        "ping": lambda: frame(PING, 0, 0, b"12345678"),
        "settings": lambda: settings(window=65535),
        "empty data": lambda: frame(DATA, 0, 1, b""),
        "window": lambda: frame(WINDOW, 0, 0, struct.pack(">I", 1)),
        "priority": lambda: frame(PRIORITY, 0, stream, b"\0\0\0\0\x10"),
        "unknown": lambda: frame(66, 0, 0, b""),
        "rapid reset": lambda: frame(HEADERS, END_HEADERS, stream, head()) + reset,
        "rapid reset of gets": lambda: get(stream, b"echo", b"k") + reset,
        "continuation": lambda: frame(CONTINUATION, 0, 1, field(b"x", b"y" * 100) * 100),
        "empty continuation": lambda: frame(CONTINUATION, 0, 1, b""),
        "header bombs": lambda: frame(HEADERS, END_HEADERS | END_STREAM, stream, head() + b"\xbe" * 16000),
    }[kind]()


def flood_start(kind):
    if kind == "empty data":
        return frame(HEADERS, END_HEADERS, 1, head())
    if kind.endswith("continuation"):
        return frame(HEADERS, 0, 1, head())
    if kind == "header bombs":  # a field of 4,000 bytes, to be named by one byte each time
        stored = b"\x40" + text(b"bomb") + b"\x7f" + varint(3900 - 127) + b"b" * 3900
        return frame(HEADERS, END_HEADERS | END_STREAM, 1, head() + stored)
    return b""


def read_end(sock, data):
    """Reads until the server ends the connection: the last GOAWAY's error, whether it ended."""
    sock.settimeout(10)
    ended = True
    try:
        while True:
            got = sock.recv(1 << 20)
            if not got:
                break
            data += got
    except socket.timeout:
        ended = False
    except OSError:
        pass
    return goaway_of(data), ended


def goaway_of(data):
    at, error = 0, None
    while at + 9 <= len(data):
        length = int.from_bytes(data[at:at + 3], "big")
        if data[at + 3] == GOAWAY and at + 17 <= len(data):
            error = struct.unpack(">I", data[at + 13:at + 17])[0]
        at += 9 + length
    return error


def flood(address, options):
    """Sends, and reads as little as needed to go on. The server must end the connection by itself."""
    sock, data, sent = connect(address), b"", 0
    began = time.monotonic()
    sock.sendall(PREFACE + settings() + flood_start(options["kind"]))
    sock.setblocking(False)
    pending, alive = b"", True
    watch = selectors.DefaultSelector()
    watch.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE)
    while alive and (sent < options["count"] or pending):
        if not pending:
            batch = min(500, options["count"] - sent)
            pending = b"".join(flood_frames(options["kind"], sent + i) for i in range(batch))
            sent += batch
        events = watch.select(5)
        if not events:
            break
        try:
            for _, mask in events:
                if mask & selectors.EVENT_READ:
                    got = sock.recv(1 << 20)
                    alive = got != b""
                    data += got
                if alive and mask & selectors.EVENT_WRITE:
                    pending = pending[sock.send(pending):]
        except BlockingIOError:
            pass
        except OSError:
            alive = False
    goaway, ended = (goaway_of(data), not alive)
    if alive and options.get("ends", True):
        goaway, ended = read_end(sock, data)
    sock.close()
    say({"sent": sent, "goaway": goaway, "ended": ended, "seconds": time.monotonic() - began})


# ---- slow readers ----

def pile(address, options):
    """Asks for values and reads nothing until a line comes on standard input; then reads all there is."""
    socks = []
    for _ in range(options["connections"]):
        sock = connect(address, receive_buffer=32768)
        sock.sendall(PREFACE + settings(window=HUGE) + frame(WINDOW, 0, 0, struct.pack(">I", HUGE - 65535)))
        socks.append(sock)
    asked = 0
    for sock in socks:
        sock.settimeout(2)
        try:
            for number in range(options["gets"]):
                key = "%s-%d" % (options["key"], asked)  # all different
                sock.sendall(get(2 * number + 1, options["group"].encode(), key.encode()))
                asked += 1
        except OSError:
            pass
    say({"asked": asked})
    sys.stdin.readline()
    got = 0
    for sock in socks:
        more = 1
        while more:  # until it has been silent for a while
            more, _ = drain_socket(sock, 0.2)
            got += more
    say({"got": got})


def main():
    address, command = sys.argv[1], sys.argv[2]
    options = json.loads(sys.argv[3]) if len(sys.argv) > 3 else {}
    {"hold": hold, "fuzz": fuzz, "flood": flood, "pile": pile}[command](address, options)
    sys.stdout.flush()
    os._exit(0)


main()

#!/usr/bin/env python3
"""The quickstart's source: a plain HTTP API over players.json, as slow as you ask it to be.

  GET /scores/{id}   200 and the player as JSON, or 404

Python's standard library only. Prints `source listening on 127.0.0.1:PORT` and one line for each request, so that you
see which reads reached it and which ones the cache answered.
"""
import argparse
import http.server
import json
import pathlib
import sys
import time
import urllib.parse


def load_players():
    rows = json.loads(pathlib.Path(__file__).with_name("players.json").read_text(encoding="utf-8"))
    return {str(row["id"]): json.dumps(row, ensure_ascii=False).encode() for row in rows}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections open
    disable_nagle_algorithm = True
    timeout = 60

    def do_GET(self):
        time.sleep(self.server.delay_seconds)
        prefix, _, key = self.path.partition("/scores/")
        body = self.server.players.get(urllib.parse.unquote(key)) if prefix == "" else None
        if body is None:
            self.answer(404, b'{"error":"no such player"}')
        else:
            self.answer(200, body)

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        print("source: " + format % args, file=sys.stderr, flush=True)


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128

    def handle_error(self, request, client_address):
        # A client that hangs up is no news; anything else is.
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


def arguments():
    parser = argparse.ArgumentParser(description="a small HTTP API over players.json")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9000, help="0 takes any free port (default: 9000)")
    parser.add_argument("--delay", type=int, default=0, metavar="MS", help="wait before each answer")
    return parser.parse_args()


def main():
    options = arguments()
    try:
        server = Server((options.host, options.port), Handler)
    except OSError as failure:
        sys.exit("source: cannot listen on %s:%d: %s" % (options.host, options.port, failure.strerror))
    server.players = load_players()
    server.delay_seconds = options.delay / 1000
    print("source listening on %s:%d" % server.server_address[:2], flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()

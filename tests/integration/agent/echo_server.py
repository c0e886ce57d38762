# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Tells who it is; ready after READY_AFTER seconds; goes on for DRAIN seconds once told to stop."""

import http.server
import json
import os
import signal
import socket
import threading
import time

BEGUN = time.monotonic()
READY_AFTER = float(os.environ.get("READY_AFTER", "0"))
DRAIN = float(os.environ["DRAIN"])


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        length = int(self.headers.get("Content-Length", 0))
        self.rfile.read(length)
        ready = time.monotonic() - BEGUN >= READY_AFTER
        status = 200 if ready or self.path == "/live" else 503
        answer = {
            "server": socket.gethostname(),
            "path": self.path,
            "received": length,
            "version": os.environ.get("VERSION"),
        }
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_PUT = do_GET

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


server = Server(("", 9000), Handler)
signal.signal(signal.SIGTERM, lambda *_: threading.Timer(DRAIN, os._exit, [0]).start())
server.serve_forever()

# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A server of one page: page_server.py PORT [SECONDS until the page is there]. /live answers at once."""

from __future__ import annotations

import http.server
import sys
import time

BEGIN = time.monotonic()
LATE = float(sys.argv[2]) if len(sys.argv) > 2 else 0.0


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        there = self.path == "/live" or time.monotonic() - BEGIN > LATE
        self.send_response(200 if there else 503)
        self.end_headers()
        self.wfile.write(b"hello\n")

    def log_message(self, *args: object) -> None:
        pass


print("serving", flush=True)
http.server.ThreadingHTTPServer(("", int(sys.argv[1])), Page).serve_forever()

#!/usr/bin/env python3
"""Serves the files of a folder, and takes files into it.

    file_server.py ADDRESS PORT FOLDER
"""

import http.server
import os
import sys


class Files(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_PUT(self):
        """Writes what comes to the file that the path names."""
        left = int(self.headers["Content-Length"])
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        with open(os.path.basename(self.path), "wb") as file:
            while left > 0:
                octets = self.rfile.read(min(left, 65536))
                if not octets:
                    return
                file.write(octets)
                left -= len(octets)
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()


class Server(http.server.ThreadingHTTPServer):
    # Many clients come at once; those that do not fit would try again a second later.
    request_queue_size = 256


if __name__ == "__main__":
    os.chdir(sys.argv[3])
    Server((sys.argv[1], int(sys.argv[2])), Files).serve_forever()

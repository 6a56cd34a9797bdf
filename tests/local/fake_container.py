"""A container of SageMaker's contract for the tests: what it does is asked for in the custom attributes."""

import json
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(200, b"")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        wish = json.loads(self.headers.get("x-amzn-sagemaker-custom-attributes") or "{}")
        time.sleep(wish.get("sleep", 0))
        if wish.get("drop"):
            self.close_connection = True
            return
        told = {
            "weights": (MODEL / "weights.txt").read_text(),
            "bytes": len(body),
            "content_type": self.headers["content-type"],
            "accept": self.headers["accept"],
        }
        self.answer(wish.get("status", 200), json.dumps(told).encode())

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Amzn-SageMaker-Custom-Attributes", "seen")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def go_over(*_):
    """As `python -m serving` on SIGHUP: say whether the artifact that is there now is served."""
    broken = (MODEL / "broken").exists()
    said = {"event": "swap-refused", "reason": "this model cannot be loaded"} if broken else {"event": "swapped"}
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    MODEL = Path(sys.argv[1])
    signal.signal(signal.SIGHUP, go_over)
    if (MODEL / "broken").exists():
        sys.exit("this model cannot be loaded")
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Handler).serve_forever()

"""A Kaggle of our own on this machine, which cuts connections and refuses as it is told."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import re
import threading
import zipfile
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

import numpy as np
from PIL import Image

from fauxto.vocabulary import Label


@dataclass
class Kaggle:
    """What the server will do, and what it was asked."""

    blob: bytes
    cuts: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    page: bytes | None = None
    says_md5: bool = True
    md5: str = ""
    ranges: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    silence_s: float = 0
    over: threading.Event = field(default_factory=threading.Event)


class Handler(BaseHTTPRequestHandler):
    kaggle: Kaggle

    def log_message(self, *_):
        pass

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.kaggle.paths.append(self.path)
        self.kaggle.over.wait(self.kaggle.silence_s)
        if self.kaggle.statuses:
            self.answer(self.kaggle.statuses.pop(0), b"{}", {"Content-Type": "application/json"})
        elif self.path.endswith("/GetDataset"):
            page = self.kaggle.page or json.dumps({"currentVersionNumber": 3}).encode()
            self.answer(200, page, {"Content-Type": "application/json"})
        else:
            self.answer(302, b"", {"Location": "/storage/archive.zip"})

    def do_GET(self):
        asked = self.headers.get("Range", "")
        self.kaggle.ranges.append(asked)
        start = int(re.findall(r"\d+", asked)[0]) if asked else 0
        md5 = self.kaggle.md5 or base64.b64encode(hashlib.md5(self.kaggle.blob).digest()).decode()
        headers = {"Accept-Ranges": "bytes"} | ({"x-goog-hash": f"crc32c=AAAA,md5={md5}"} if self.kaggle.says_md5 else {})
        self.answer(206 if asked else 200, self.kaggle.blob[start:], headers)

    def answer(self, status: int, body: bytes, headers: dict[str, str]):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        # A cut: promise everything, send a part, hang up. An answer that is only read up to its headers costs no cut.
        is_cut = self.command == "GET" and self.kaggle.cuts
        with contextlib.suppress(OSError):
            self.wfile.write(body[: self.kaggle.cuts.pop(0)] if is_cut else body)


def archive(parts: dict[tuple[str, Label], int], *, padding: int = 0) -> bytes:
    rng = np.random.default_rng(0)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as whole:
        for (split, label), n in parts.items():
            for number in range(n):
                image = io.BytesIO()
                Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(image, "JPEG")
                whole.writestr(f"{split}/{label.name}/{number}.jpg", image.getvalue())
        whole.writestr("padding.bin", rng.bytes(padding))
    return packed.getvalue()

"""A log that asks a witness for cosignatures, honestly and not: witness_log.py CORDON SCRATCH ROUNDS.

Starts `cordon audit witness` in the folder SCRATCH, posts checkpoints to it by https://c2sp.org/tlog-witness, and kills it (SIGKILL) in each round
while it is asked by two logs at once that have one key and one origin, and other leaves. Everything is made and checked by hand here; Ed25519 is of the
package `cryptography`. Ends with code 0 and one line when every answer was right and all that was ever cosigned is one tree.
"""

import base64
import hashlib
import http.client
import json
import os
import random
import subprocess
import sys
import threading

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

cordon, scratch, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
NAME, ORIGIN = "cordon/acme", "cordon/acme/default/standard"
# The leaves that both logs share.
SHARED = 5


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def text64(raw):
    return base64.b64encode(raw).decode()


class Log:
    def __init__(self, seed, kind):
        self.key = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
        self.kind = kind
        public = b"\1" + self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.id = sha256(NAME.encode(), b"\n", public)[:4]
        self.vkey = f"{NAME}+{self.id.hex()}+{text64(public)}"

    def root(self, start, end):
        if end == start:
            return sha256()
        if end == start + 1:
            return sha256(b"\0", f"{self.kind if start >= SHARED else ''} {start}".encode())
        middle = start + split(end - start)
        return sha256(b"\1", self.root(start, middle), self.root(middle, end))

    def consistency(self, old, start, end, whole):
        """SUBPROOF of RFC 6962, section 2.1.2."""
        if start + old == end:
            return [] if whole else [self.root(start, end)]
        half = split(end - start)
        if old <= half:
            return [*self.consistency(old, start, start + half, whole), self.root(start + half, end)]
        return [*self.consistency(old - half, start + half, end, False), self.root(start, start + half)]

    def text(self, size, origin=ORIGIN):
        return f"{origin}\n{size}\n{text64(self.root(0, size))}\n"

    def request(self, old, size, origin=ORIGIN):
        path = self.consistency(old, 0, size, True) if 0 < old <= size else []
        text = self.text(size, origin)
        signature = text64(self.id + self.key.sign(text.encode()))
        lines = "".join(f"{text64(each)}\n" for each in path)
        return f"old {old}\n{lines}\n{text}\n\u2014 {NAME} {signature}\n"


def split(leaves):
    half = 1
    while half * 2 < leaves:
        half *= 2
    return half


class Witness:
    def __init__(self, log):
        command = [cordon, "audit", "witness", "--listen", "127.0.0.1:0", "--dir", scratch, "--log", log.vkey, "--json"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        ready = json.loads(self.process.stdout.readline())
        self.address = ready["witness"].removeprefix("http://")
        self.name, self.id, key = ready["key"].split("+", 2)
        self.key = Ed25519PublicKey.from_public_bytes(base64.b64decode(key)[1:])

    def post(self, body, path="/add-checkpoint", method="POST"):
        connection = http.client.HTTPConnection(self.address, timeout=20)
        connection.request(method, path, body.encode())
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text, answer.headers.get("content-type")

    def ask(self, log, old, size):
        """Status, and the size that a conflict names."""
        status, text, kind = self.post(log.request(old, size))
        if status == 200:
            dash, name, line = text.removesuffix("\n").split(" ")
            raw = base64.b64decode(line)
            assert (dash, name, raw[:4].hex()) == ("\u2014", self.name, self.id), text
            when = int.from_bytes(raw[4:12], "big")
            self.key.verify(raw[12:], f"cosignature/v1\ntime {when}\n{log.text(size)}".encode())
            return 200, None
        if status == 409:
            assert kind == "text/x.tlog.size", kind
            return 409, int(text)
        return status, None

    def kill(self):
        self.process.kill()
        self.process.wait()


def answers(witness, log, fork, stranger):
    assert witness.ask(log, 0, 3) == (200, None)
    assert witness.ask(log, 3, 8) == (200, None)
    assert witness.ask(log, 8, 8) == (200, None)
    assert witness.ask(log, 0, 9) == (409, 8)
    assert witness.ask(log, 3, 8) == (409, 8)
    assert witness.ask(fork, 8, 8) == (409, 8)
    assert witness.ask(fork, 8, 12) == (422, None)
    assert witness.ask(log, 9, 8) == (400, None)
    assert witness.ask(stranger, 8, 9) == (403, None)
    assert witness.post(log.request(0, 3, "cordon/other/default/standard"))[0] == 404
    assert witness.post("old 1")[0] == 400
    assert witness.post("x" * 200_000)[0] == 413
    assert witness.post("", path="/")[0] == 404
    assert witness.post("", method="PUT")[0] == 405
    again = Witness.__new__(Witness)
    again.process = subprocess.run(
        [cordon, "audit", "witness", "--listen", "127.0.0.1:0", "--dir", scratch, "--log", log.vkey],
        capture_output=True,
        check=False,
    )
    assert again.process.returncode == 2 and b"in use" in again.process.stderr, again.process


def race(witness, log, cosigned, known, stop):
    """Asks for larger and larger trees, by what the witness itself says it knows."""
    old = known
    while not stop.is_set():
        size = old + 1 + random.randrange(3)
        try:
            status, told = witness.ask(log, old, size)
        except (OSError, http.client.HTTPException):
            return
        if status == 200:
            cosigned.append((log.kind, size))
            old = size
        elif status == 409:
            old = told
        else:
            assert status == 422, status
            old = max(0, old - 1)


log, fork = Log(1, "a"), Log(1, "b")
witness = Witness(log)
key = witness.id
answers(witness, log, fork, Log(2, "a"))
cosigned = [("a", 8)]
for number in range(rounds):
    known, stop = cosigned[-1][1], threading.Event()
    threads = [threading.Thread(target=race, args=(witness, each, cosigned, known, stop)) for each in (log, fork)]
    for thread in threads:
        thread.start()
    threads[0].join(random.random() * 0.15)
    witness.kill()
    stop.set()
    for thread in threads:
        thread.join()
    witness = Witness(log)
    assert witness.id == key
    # What it has answered it has not forgotten.
    status, told = witness.ask(fork, 0, 9)
    assert status == 409 and told >= max(size for _, size in cosigned), (status, told, cosigned[-3:])
witness.process.terminate()
assert witness.process.wait() == 0
assert {kind for kind, size in cosigned if size > SHARED} == {"a"}, cosigned
print(f"{len(cosigned)} checkpoints cosigned over {rounds} kills, all of one tree")

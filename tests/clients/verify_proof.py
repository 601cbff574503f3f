"""Checks a proof of Cordon's audit: verify_proof.py PROOF LOG_KEY [WITNESS_KEY...] [--needed N].

PROOF is a file of `cordon audit proof`; keys are `name+id+base64`, or files that hold that. It shares no code with Cordon:
RFC 6962 by its definition, https://c2sp.org/signed-note, /tlog-checkpoint and /tlog-cosignature by hand, and Ed25519 by the
package `cryptography`. Prints what is proven and ends with code 0, or says what does not hold and ends with code 1.
"""

import argparse
import base64
import binascii
import hashlib
import json
import os
import sys
import unicodedata

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class Refused(Exception):
    pass


def need(holds, otherwise):
    if not holds:
        raise Refused(otherwise)


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def unbase64(text):
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, ValueError):
        raise Refused("base64 does not read") from None
    need(base64.b64encode(raw).decode() == text, "base64 has another spelling")
    return raw


def unhash(text):
    raw = unbase64(text)
    need(len(raw) == 32, "a hash has not 32 bytes")
    return raw


# Trees. These are the recursive definitions of RFC 6962, section 2.1, read backwards: what a path says the root is.


def split(leaves):
    half = 1
    while half * 2 < leaves:
        half *= 2
    return half


def root_of_inclusion(leaf, index, size, path):
    if size == 1:
        need(not path, "a path is too long")
        return leaf
    need(path, "a path is too short")
    half, sibling = split(size), path[-1]
    if index < half:
        return sha256(b"\1", root_of_inclusion(leaf, index, half, path[:-1]), sibling)
    return sha256(b"\1", sibling, root_of_inclusion(leaf, index - half, size - half, path[:-1]))


def roots_of_consistency(old, size, path, old_root):
    """The older and the newer root that a path leads to; `old_root` where the older tree is a whole part of the newer."""
    if old == size:
        if old_root is not None:
            need(not path, "a path is too long")
            return old_root, old_root
        need(len(path) == 1, "a path has the wrong length")
        return path[0], path[0]
    need(path, "a path is too short")
    half, sibling = split(size), path[-1]
    if old <= half:
        older, newer = roots_of_consistency(old, half, path[:-1], old_root)
        return older, sha256(b"\1", newer, sibling)
    older, newer = roots_of_consistency(old - half, size - half, path[:-1], None)
    return sha256(b"\1", sibling, older), sha256(b"\1", sibling, newer)


def check_consistency(old, old_root, size, root, path):
    need(old <= size, "the older tree is larger")
    if old == 0:
        need(not path and old_root == sha256(), "the older tree is not empty")
        return
    older, newer = roots_of_consistency(old, size, path, old_root)
    need(older == old_root and newer == root, "the tree does not continue the older one")


# Notes.


class Key:
    def __init__(self, text):
        parts = text.strip().split("+", 2)
        need(len(parts) == 3, "not a key")
        self.name, self.id, encoded = parts
        raw = unbase64(encoded)
        need(len(raw) == 33 and raw[0] in (1, 4), "not an Ed25519 key")
        self.cosigns = raw[0] == 4
        self.bytes = raw[1:]
        need(sha256(self.name.encode(), b"\n", raw)[:4].hex() == self.id, "the key's id does not belong to it")

    def check(self, text, lines):
        """When a note was cosigned, 0 for a log's signature, None where there is none of this key."""
        found = None
        for name, key_id, signature in lines:
            if (name, key_id.hex()) != (self.name, self.id):
                continue
            message, when = text.encode(), 0
            if self.cosigns:
                need(len(signature) == 72, "a cosignature has the wrong length")
                when, signature = int.from_bytes(signature[:8], "big"), signature[8:]
                need(when < 1 << 63, "a cosignature's time is out of range")
                message = f"cosignature/v1\ntime {when}\n{text}".encode()
            try:
                Ed25519PublicKey.from_public_bytes(self.bytes).verify(signature, message)
            except InvalidSignature:
                raise Refused(f"a signature by {self.name} does not verify") from None
            found = max(found or 0, when)
        return found


def open_note(note):
    need("\n\n" in note and note.endswith("\n"), "not a signed note")
    need(not any(unicodedata.category(c) == "Cc" and c < " " and c != "\n" for c in note), "not a signed note")
    text, signatures = note.rsplit("\n\n", 1)
    lines = []
    for line in signatures[:-1].split("\n"):
        parts = line.split(" ")
        need(len(parts) == 3 and parts[0] == "\u2014" and parts[1] and "+" not in parts[1], "not a signature line")
        raw = unbase64(parts[2])
        need(len(raw) > 4, "not a signature line")
        lines.append((parts[1], raw[:4], raw[4:]))
    return text + "\n", lines


def open_checkpoint(note, log, witnesses, needed):
    text, lines = open_note(note)
    fields = text.split("\n")
    need(len(fields) >= 4 and fields[-1] == "" and all(fields[:-1]), "not a checkpoint")
    origin, size, root = fields[:3]
    need(size.isascii() and size.isdecimal() and str(int(size)) == size, "a checkpoint's size does not read")
    need(int(size) < 1 << 53, "a checkpoint's size is out of range")
    need(origin.startswith(log.name + "/"), f"{origin} is not a tree of {log.name}")
    need(log.check(text, lines) is not None, f"the checkpoint of {origin} is not signed by {log.name}")
    cosigned = {witness.name: when for witness in witnesses if (when := witness.check(text, lines)) is not None}
    need(len(cosigned) >= needed, f"the checkpoint of {origin} has {len(cosigned)} cosignatures of {needed} needed")
    return origin, int(size), unhash(root), cosigned


# The file.


def once(pairs):
    members = dict(pairs)
    need(len(members) == len(pairs), "a member is there twice")
    return members


def no_float(text):
    raise Refused("numbers are integers")


def load(text):
    try:
        return json.loads(text, object_pairs_hook=once, parse_float=no_float, parse_constant=no_float)
    except (ValueError, RecursionError):
        raise Refused("not JSON") from None


def members(value, *names, optional=()):
    need(isinstance(value, dict), "an object is missing")
    need(set(names) <= set(value) <= set(names) | set(optional), "members are missing or unknown")
    return value


def typed(value, kind):
    need(type(value) is kind, "a value has the wrong type")
    return value


def path_of(value):
    return [unhash(typed(text, str)) for text in typed(value, list)]


def check_record(given, exchange, log, checkpoints):
    given = members(given, "record", "origin", "index", "path")
    text, origin, index = typed(given["record"], str), typed(given["origin"], str), typed(given["index"], int)
    entry = typed(load(text), dict)
    # Keys are ASCII and numbers are integers, so this is the form of RFC 8785.
    canonical = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    need(canonical == text, "a record is not in its canonical form")
    body = typed(entry.get("body"), dict)
    need(body.get("exchange") == exchange, "a record is of another exchange")
    tree = f"{log.name}/{entry.get('tenant', 'default')}/{entry.get('class', 'standard')}"
    need(origin == tree, "a record is in a tree that is not its own")
    need(origin in checkpoints, "a record's tree has no checkpoint")
    size, root = checkpoints[origin]
    need(0 <= index < size, "a record's index is not in the tree")
    leaf = sha256(b"\0", text.encode())
    need(root_of_inclusion(leaf, index, size, path_of(given["path"])) == root, "a record is not in the tree")
    return (origin, index), (entry.get("writer"), entry.get("sequence")), body.get("kind")


def check(raw, log, witnesses, needed):
    try:
        proof = load(raw.decode())
    except UnicodeDecodeError:
        raise Refused("not UTF-8") from None
    members(proof, "format", "exchange", "records", "checkpoints")
    need(proof["format"] == "cordon-audit-proof/v1", "the format is not known")
    exchange = typed(proof["exchange"], str)
    checkpoints, told = {}, []
    for given in typed(proof["checkpoints"], list):
        given = members(given, "note", optional=("older",))
        origin, size, root, cosigned = open_checkpoint(typed(given["note"], str), log, witnesses, needed)
        need(origin not in checkpoints, "a tree has two checkpoints")
        checkpoints[origin] = size, root
        told.append(f"checkpoint {origin} {size} {root.hex()} cosigned by {sorted(cosigned)}")
        if "older" in given:
            older = members(given["older"], "note", "path")
            old_origin, old, old_root, _ = open_checkpoint(typed(older["note"], str), log, witnesses, 0)
            need(old_origin == origin, "the older checkpoint is of another tree")
            check_consistency(old, old_root, size, root, path_of(older["path"]))
    records = [check_record(given, exchange, log, checkpoints) for given in typed(proof["records"], list)]
    need(records, "there are no records")
    for part in (0, 1):
        need(len({record[part] for record in records}) == len(records), "a record is there twice")
    kinds = ", ".join(str(record[2]) for record in records)
    return [f"ok {len(records)} records of exchange {exchange}: {kinds}", *told]


def key(text):
    if os.path.isfile(text):
        with open(text, encoding="utf-8") as file:
            text = file.read()
    return Key(text)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    arguments.add_argument("proof")
    arguments.add_argument("log")
    arguments.add_argument("witnesses", nargs="*")
    arguments.add_argument("--needed", type=int)
    given = arguments.parse_args()
    try:
        log, witnesses = key(given.log), [key(text) for text in given.witnesses]
        need(not log.cosigns and all(witness.cosigns for witness in witnesses), "a key is of the wrong kind")
        need(len({each.bytes for each in [log, *witnesses]}) == 1 + len(witnesses), "a key is given twice")
        needed = len(witnesses) if given.needed is None else given.needed
        with open(given.proof, "rb") as file:
            told = check(file.read(), log, witnesses, needed)
    except Refused as reason:
        print(reason)
        sys.exit(1)
    print("\n".join(told))


main()

"""syslog_receiver.py CERTIFICATE KEY FILE PORT [CLIENT_CA]: a receiver of syslog over TLS (RFC 5425), on OpenSSL.

Appends every frame that it has read whole to FILE, as it came. Without CERTIFICATE (`-`) it listens without TLS. With CLIENT_CA
it takes connections only from those who show a certificate of that authority. Prints its port when it listens.
"""

import os
import socket
import ssl
import sys
import threading


def whole(buffer: bytes) -> int:
    """The length of the frames in a buffer that are there whole."""
    end = 0
    while True:
        blank = buffer.find(b" ", end, end + 12)
        if blank < 0:
            return end
        following = blank + 1 + int(buffer[end:blank])
        if following > len(buffer):
            return end
        end = following


def take(line: socket.socket, tls: ssl.SSLContext | None, file: int) -> None:
    try:
        if tls:
            line = tls.wrap_socket(line, server_side=True)
        buffer = b""
        while piece := line.recv(1 << 16):
            buffer += piece
            end = whole(buffer)
            if end:
                os.write(file, buffer[:end])
                buffer = buffer[end:]
        if tls:
            # The other side has said that nothing more comes; RFC 5425 has a receiver say so, too.
            line = line.unwrap()
    except OSError as error:
        print(error, file=sys.stderr)
    finally:
        line.close()


def main() -> None:
    certificate, key, path, port, *client_ca = sys.argv[1:]
    tls = None
    if certificate != "-":
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate, key)
        if client_ca:
            tls.verify_mode = ssl.CERT_REQUIRED
            tls.load_verify_locations(client_ca[0])
    file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
    with socket.create_server(("127.0.0.1", int(port))) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            line, _ = listener.accept()
            threading.Thread(target=take, args=(line, tls, file), daemon=True).start()


main()

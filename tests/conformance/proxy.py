"""A way to a server for a client that cannot send a token: passes every request on with one, and
changes nothing else.

A connection carries one request, so that only its head has to be read; everything after it is
passed on as it comes.
"""

import socket
import threading

LONGEST_HEAD = 64 * 1024


class Proxy:
    """Listens on a free port of the loopback address. `token` is asked for anew for each
    request."""

    def __init__(self, port, token):
        self.target = ("127.0.0.1", port)
        self.token = token
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return  # closed
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        with client:
            head, rest = read_head(client)
            if head is None:
                return
            with socket.create_connection(self.target) as server:
                for side in (client, server):
                    side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                server.sendall(self.signed(head) + rest)
                threading.Thread(target=pump, args=(client, server), daemon=True).start()
                pump(server, client)

    def signed(self, head):
        request, *headers = head.split(b"\r\n")
        kept = [
            line
            for line in headers
            if not line.lower().startswith((b"connection:", b"authorization:"))
        ]
        ours = [b"Authorization: Bearer " + self.token().encode(), b"Connection: close"]
        return b"\r\n".join([request, *kept, *ours]) + b"\r\n\r\n"

    def close(self):
        self.listener.close()


def read_head(client):
    read = b""
    while b"\r\n\r\n" not in read:
        try:
            part = client.recv(4096)
        except OSError:
            return None, b""
        if not part or len(read) > LONGEST_HEAD:
            return None, b""
        read += part
    head, _, rest = read.partition(b"\r\n\r\n")
    return head, rest


def pump(source, sink):
    """Until one of the two is gone, of which the other is then told."""
    try:
        while part := source.recv(65536):
            sink.sendall(part)
    except OSError:
        pass
    for side in (source, sink):
        try:
            side.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

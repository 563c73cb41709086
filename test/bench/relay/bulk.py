# Bytes as fast as they go. usage: bulk.py sink PORT | bulk.py source PORT STREAMS SECONDS  (prints Gbit/s)
import socket
import sys
import threading
import time

SIZE = 256 * 1024


def sink(port):
    server = socket.create_server(("127.0.0.1", port), backlog=256)
    while True:
        connection, _ = server.accept()
        threading.Thread(target=swallow, args=(connection,), daemon=True).start()


def swallow(connection):
    buffer = bytearray(SIZE)
    with connection:
        while connection.recv_into(buffer):
            pass


def source(port, streams, seconds):
    sent = [0] * streams
    until = time.monotonic() + seconds

    def send(index):
        data = bytes(SIZE)
        with socket.create_connection(("127.0.0.1", port)) as connection:
            while time.monotonic() < until:
                sent[index] += connection.send(data)

    began = time.monotonic()
    threads = [threading.Thread(target=send, args=(i,)) for i in range(streams)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(sum(sent) * 8 / 1e9 / (time.monotonic() - began))


if sys.argv[1] == "sink":
    sink(int(sys.argv[2]))
else:
    source(int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))

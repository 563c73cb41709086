"""Serves and asks over SCTP in a network namespace, for Node has no such sockets. It obeys the requests of
src/cli/demo/actor-program.ts (a JSON object a line on standard input) that concern connections: serve, ask, open,
again, drop. One-to-one sockets with one address each: an association that knew all addresses of its machine would go
round the rules under test."""

import errno
import json
import socket
import struct
import sys
import threading

IP_RECVERR, IPV6_RECVERR, SCTP_RTOINFO = 11, 25, 0
held = {}
speaking = threading.Lock()


def answer(request, result):
    with speaking:
        print(json.dumps({"id": request["id"], "result": result}), flush=True)


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def bare(address):
    return socket.socket(family(address), socket.SOCK_STREAM, socket.IPPROTO_SCTP)


def serve(request):
    server = bare(request["address"])
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((request["address"], request["port"]))
    server.listen(128)
    answer(request, "serving")
    while True:
        connection, peer = server.accept()
        word = f"{request['name']} {peer[0]}\n".encode()
        threading.Thread(target=echo, args=(connection, word), daemon=True).start()


def echo(connection, word):
    try:
        while connection.recv(1024):
            connection.send(word)
    except OSError:
        pass
    connection.close()


def own_address(to):
    """The address the kernel would take to ask from."""
    with socket.socket(family(to), socket.SOCK_DGRAM) as probe:
        probe.connect((to, 9))
        return probe.getsockname()[0]


def connect(request):
    to = request["to"]
    connection = bare(to)
    # Without it a refusal by ICMP is not told to the program, which then waits for all retries.
    if ":" in to:
        connection.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
    else:
        connection.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
    # The kernel forgets a refusal that comes back while it still sends, as it does from a neighbour on the same machine:
    # what counts is the answer to the first retry. It comes after 3 s unless an association says (id 0: this one) how
    # many milliseconds are its first, longest and shortest pause.
    pauses = struct.pack("iIII", 0, 200, 1000, 100)
    connection.setsockopt(socket.IPPROTO_SCTP, SCTP_RTOINFO, pauses)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    connection.bind((request.get("from") or own_address(to), request.get("fromPort") or 0))
    connection.settimeout(request["timeoutMs"] / 1000)
    connection.connect((to, request["port"]))
    return connection


def exchange(connection, timeout_ms):
    connection.settimeout(timeout_ms / 1000)
    connection.send(b"?\n")
    answered = connection.recv(1024).decode().split()
    return {"answeredBy": answered[0], "sourceSeen": answered[1]} if answered else "closed"


def failure(error):
    if isinstance(error, TimeoutError) or error.errno == errno.ETIMEDOUT:
        return "timeout"
    if error.errno == errno.ECONNREFUSED:
        return "refused"
    return errno.errorcode.get(error.errno, str(error))


def ask(request):
    connection = None
    try:
        connection = connect(request)
        result = exchange(connection, request["timeoutMs"])
    except OSError as error:
        result = failure(error)
    if request["do"] == "open" and connection is not None:
        held[request["id"]] = connection
    elif connection is not None:
        connection.close()
    answer(request, result)


def again(request):
    connection = held.get(request["handle"])
    try:
        result = exchange(connection, request["timeoutMs"]) if connection else "closed"
    except OSError as error:
        result = failure(error)
    answer(request, result)


def drop(request):
    connection = held.pop(request["handle"], None)
    if connection:
        connection.close()
    answer(request, "dropped")


def obey(request):
    work = {"serve": serve, "ask": ask, "open": ask, "again": again, "drop": drop}[request["do"]]
    try:
        work(request)
    except OSError as error:
        answer(request, {"error": str(error)})


for line in sys.stdin:
    threading.Thread(target=obey, args=(json.loads(line),), daemon=True).start()

"""Asks each ADDRESS:PORT every EVERY ms on a connection of its own, TIMEOUT ms at most. Prints a JSON line for
each answer: the address, what it said (or `timeout`, or the error), and when (monotonic, ns) it was asked and
answered. Ends when stdin does: by then every request has its line.
FIRST is 0, or the first of the source ports to use, up to 29999: below those that the kernel chooses for others.
usage: poll.py EVERY TIMEOUT FIRST ADDRESS:PORT…"""
import errno, json, os, selectors, socket, struct, sys, time

every, timeout = int(sys.argv[1]) * 10**6, int(sys.argv[2]) * 10**6
first_port, last_port = int(sys.argv[3]), 29_999
targets = [(each.rsplit(":", 1)[0], int(each.rsplit(":", 1)[1])) for each in sys.argv[4:]]
# A reset instead of TIME_WAIT: the client's ports would be used up.
reset = struct.pack("ii", 1, 0)
selector = selectors.DefaultSelector()
source_port = first_port
pending = {}  # socket → (address, asked), oldest first


def ask(target):
    s = socket.socket()
    s.setblocking(False)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
    if source_port:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("0.0.0.0", source_port))
    pending[s] = (target[0], time.monotonic_ns())
    error = s.connect_ex(target)
    if error not in (0, errno.EINPROGRESS):
        answer(s, errno.errorcode.get(error, str(error)))
        return
    selector.register(s, selectors.EVENT_READ)


def answer(s, word):
    address, asked = pending.pop(s)
    if s in selector.get_map():
        selector.unregister(s)
    s.close()
    line = {"address": address, "said": word, "askedNs": asked, "answeredNs": time.monotonic_ns()}
    print(json.dumps(line), flush=True)


def read(s):
    try:
        answer(s, s.recv(64).decode() or "closed")
    except OSError as error:
        answer(s, errno.errorcode.get(error.errno, str(error.errno)))


def expire(now):
    for s in list(pending):
        if now - pending[s][1] < timeout:
            return
        answer(s, "timeout")


selector.register(sys.stdin, selectors.EVENT_READ)
following = time.monotonic_ns()
is_over = False
while pending or not is_over:
    now = time.monotonic_ns()
    expire(now)
    if now >= following and not is_over:
        if source_port:
            source_port = first_port if source_port >= last_port else source_port + 1
        for target in targets:
            ask(target)
        following = max(following + every, now)
    for key, _ in selector.select(max(0, following - time.monotonic_ns()) / 1e9 if not is_over else 0.01):
        if key.fileobj is not sys.stdin:
            read(key.fileobj)
        elif not os.read(0, 4096):
            is_over = True
            selector.unregister(sys.stdin)

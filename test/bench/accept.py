"""Accepts TCP connections on the given ports and closes them: the pod of the benchmark.
usage: accept.py [--say=WORD] PORT…   WORD is sent before the close; `address`: the address that was asked"""
import select, socket, sys

word = None
listeners = []
for argument in sys.argv[1:]:
    if argument.startswith("--say="):
        word = argument.removeprefix("--say=")
        continue
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("0.0.0.0", int(argument)))
    s.listen(1024)
    listeners.append(s)
while True:
    for s in select.select(listeners, [], [])[0]:
        with s.accept()[0] as connection:
            try:
                if word is not None:
                    said = connection.getsockname()[0] if word == "address" else word
                    connection.send(said.encode())
            except OSError:
                pass  # the client has gone already

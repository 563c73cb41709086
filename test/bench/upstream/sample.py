"""Connects to ADDRESS PORT, COUNT times in turn; prints how often each word was said as JSON."""
import collections, json, socket, struct, sys

# A reset instead of TIME_WAIT: tens of thousands of connects would use up the client's ports.
reset = struct.pack("ii", 1, 0)
address, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
said = collections.Counter()
for _ in range(count):
    with socket.socket() as s:
        s.settimeout(5)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        s.connect((address, port))
        said[s.recv(64).decode()] += 1
print(json.dumps(said))

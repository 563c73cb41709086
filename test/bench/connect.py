"""Times TCP connects to ADDRESS PORT COUNT; prints percentiles in microseconds as JSON."""
import json, socket, struct, sys, time

# A reset instead of TIME_WAIT: tens of thousands of connects would use up the client's ports.
reset = struct.pack("ii", 1, 0)
address, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
times = []
for _ in range(count):
    s = socket.socket()
    s.settimeout(5)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
    start = time.perf_counter_ns()
    s.connect((address, port))
    times.append((time.perf_counter_ns() - start) / 1000)
    s.close()
times.sort()
print(json.dumps({"p50": times[count // 2], "p99": times[int(count * 0.99)]}))

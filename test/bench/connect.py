"""Times TCP connects to ADDRESS PORT COUNT; prints percentiles in microseconds as JSON."""
import json, socket, sys, time

address, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
times = []
for _ in range(count):
    s = socket.socket()
    s.settimeout(5)
    start = time.perf_counter_ns()
    s.connect((address, port))
    times.append((time.perf_counter_ns() - start) / 1000)
    s.close()
times.sort()
print(json.dumps({"p50": times[count // 2], "p99": times[int(count * 0.99)]}))

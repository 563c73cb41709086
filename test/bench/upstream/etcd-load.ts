// Writes the objects of a scale straight into etcd, through its HTTP gateway: the API server reads JSON as well as
// its own encoding, and tens of thousands of objects take seconds (through the API server: minutes). To be run in
// etcd's network namespace before the API server starts; prints how many objects it wrote.
// usage: node etcd-load.ts URL SERVICES ENDPOINTS
import process from 'node:process';
import { setTimeout as delay } from 'node:timers/promises';
import { storedObjects } from './objects.ts';

const [url = '', services, endpoints] = process.argv.slice(2);
/** Limits of etcd: operations a transaction, and (of 1.5 MiB) bytes a request. */
const limits = { operations: 128, bytes: 2 ** 20 };
const requestsAtATime = 4;
const startMs = 30_000;

let written = 0;
await started();
const batches = inBatches();
await Promise.all(
  Array.from({ length: requestsAtATime }, async () => {
    for (const puts of batches) {
      await post('/v3/kv/txn', { success: puts.map((requestPut) => ({ requestPut })) });
      written += puts.length;
    }
  }),
);
process.stdout.write(`${written}\n`);

interface Put {
  readonly key: string;
  readonly value: string;
}

function* inBatches(): Generator<readonly Put[]> {
  let batch: Put[] = [];
  let bytes = 0;
  const scale = { services: Number(services), endpoints: Number(endpoints) };
  for (const { key, value } of storedObjects(scale)) {
    const put = { key: base64(key), value: base64(JSON.stringify(value)) };
    bytes += put.value.length;
    if (batch.length === limits.operations || bytes > limits.bytes) {
      yield batch;
      batch = [];
      bytes = put.value.length;
    }
    batch.push(put);
  }
  if (batch.length > 0) yield batch;
}

async function started(): Promise<void> {
  const deadline = Date.now() + startMs;
  for (;;) {
    try {
      return await post('/v3/kv/range', { key: base64('a') });
    } catch (error) {
      if (Date.now() > deadline) throw error;
    }
    await delay(50);
  }
}

async function post(path: string, body: object): Promise<void> {
  const response = await fetch(url + path, { method: 'POST', body: JSON.stringify(body) });
  const text = await response.text();
  if (!response.ok) throw new Error(`etcd: ${path}: ${response.status} ${text.slice(0, 400)}`);
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}

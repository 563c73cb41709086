// Runs inside the control plane's namespace: reads requests as JSON lines on stdin, sends them to the API
// server, answers as JSON lines on stdout. usage: node api-relay.mjs URL TOKEN
import { Agent, request } from 'node:https';
import { createInterface } from 'node:readline';

const [url, token] = process.argv.slice(2);
// The server's certificate is made by itself a moment before; both ends live in one private namespace.
const agent = new Agent({ keepAlive: true, rejectUnauthorized: false });

createInterface({ input: process.stdin }).on('line', (line) => {
  const { id, method, path, body } = JSON.parse(line);
  const answer = (status, text) =>
    process.stdout.write(`${JSON.stringify({ id, status, text })}\n`);
  const headers = {
    authorization: `Bearer ${token}`,
    'content-type': body?.type ?? 'application/json',
  };
  const call = request(url + path, { method, agent, headers, timeout: 10_000 }, (response) => {
    const chunks = [];
    response.on('data', (chunk) => chunks.push(chunk));
    response.on('end', () => answer(response.statusCode, Buffer.concat(chunks).toString()));
  });
  call.on('timeout', () => call.destroy(new Error('no answer for 10 s')));
  call.on('error', (error) => answer(0, error.message));
  call.end(body === undefined ? undefined : JSON.stringify(body.value));
});

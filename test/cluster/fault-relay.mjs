// Runs inside the control plane's namespace, between an agent and the API server: ends TLS with the API
// server's own certificate, passes requests on, and does to them what it is told by JSON lines on stdin.
// usage: node fault-relay.mjs UPSTREAM ADDRESS PORT CERTIFICATE KEY
import { readFileSync } from 'node:fs';
import { Agent, createServer, request as ask } from 'node:https';
import { createInterface } from 'node:readline';

const [upstream, address, port, cert, key] = process.argv.slice(2);
// The certificate was made by the API server itself a moment before; both live in one private namespace.
const agent = new Agent({ rejectUnauthorized: false });
const say = (id, result) => process.stdout.write(`${JSON.stringify({ id, result })}\n`);

/** Every request since the last look. */
let seen = [];
let faults = [];
let asked = 0;
const sockets = new Set();
const streams = new Set();

function handle(request, response) {
  const url = new URL(request.url, upstream);
  const entry = { ...kindOf(url), atMs: performance.now(), status: 0 };
  seen.push(entry);
  const fault = faults.find((each) => fits(each, entry, request.headers.authorization));
  if (fault?.do === 'hang') return;
  if (fault?.do === 'status') {
    entry.status = fault.status;
    response.writeHead(fault.status, fault.headers);
    response.end(fault.body ?? JSON.stringify({ kind: 'Status', message: 'injected' }));
    return;
  }
  const forward = () => pass(url, request.headers, response, entry, fault);
  if (fault?.do === 'delay') setTimeout(forward, fault.ms);
  else forward();
}

function kindOf({ pathname, searchParams }) {
  const resource = pathname.split('/').at(-1);
  if (searchParams.get('watch') === 'true') return { verb: 'watch', resource };
  return { verb: searchParams.has('continue') ? 'page' : 'list', resource };
}

function fits({ on, token, every = 1 }, { verb }, authorization) {
  if (on !== undefined && (on === 'watch') !== (verb === 'watch')) return false;
  if (token !== undefined && authorization !== `Bearer ${token}`) return false;
  return asked++ % every === 0;
}

function pass(url, headers, response, entry, fault) {
  const up = ask(url, { agent, headers: { ...headers, connection: 'close' } }, (answer) => {
    entry.status = answer.statusCode;
    response.writeHead(answer.statusCode, { 'content-type': answer.headers['content-type'] });
    response.flushHeaders();
    const stream = { muted: false };
    streams.add(stream);
    response.on('close', () => streams.delete(stream));
    void copy(answer, response, entry, fault, stream);
  });
  up.on('error', () => response.destroy());
  response.on('close', () => up.destroy());
  up.end();
}

async function copy(answer, response, entry, fault, stream) {
  // A muted stream takes everything and says nothing, for ever.
  const speak = (what) => stream.muted || what();
  let room = fault?.do === 'cut' ? fault.bytes : Infinity;
  try {
    for await (const part of parts(answer, fault)) {
      if (entry.verb === 'watch' && part.includes('"code":410')) entry.status = 410;
      if (part.length > room) {
        await new Promise((resolve) => response.write(part.subarray(0, room), resolve));
        throw new Error('cut');
      }
      room -= part.length;
      speak(() => response.write(part));
    }
    speak(() => response.end());
  } catch {
    speak(() => response.destroy());
  }
}

async function* parts(answer, fault) {
  for await (const chunk of answer) {
    if (fault?.do !== 'trickle') {
      yield chunk;
      continue;
    }
    for (let at = 0; at < chunk.length; at += fault.bytes) {
      await new Promise((resolve) => setTimeout(resolve, fault.ms));
      yield chunk.subarray(at, at + fault.bytes);
    }
  }
}

const server = createServer({ cert: readFileSync(cert), key: readFileSync(key) }, handle);
server.on('connection', (socket) => {
  sockets.add(socket);
  socket.on('close', () => sockets.delete(socket));
});
server.listen(Number(port), address, () => say(0, 'listening'));

const commands = {
  faults: (command) => {
    faults = command.faults;
  },
  cut: (command) => {
    if (command.forget) seen = [];
    faults = command.faults;
    for (const socket of sockets) socket.destroy();
  },
  mute: () => {
    for (const stream of streams) stream.muted = true;
  },
  seen: () => seen,
  forget: () => {
    seen = [];
  },
};

createInterface({ input: process.stdin })
  .on('line', (line) => {
    const command = JSON.parse(line);
    say(command.id, commands[command.do](command));
  })
  .on('close', () => process.exit(0));

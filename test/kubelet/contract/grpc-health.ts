/**
 * A health service for gRPC probes, a program of its own: `node grpc-health.ts ADDRESS FOLDER` writes its port to FOLDER/port and ends with the
 * folder. The service `good` serves; every other one does not.
 */
import { existsSync, renameSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import process from 'node:process';

const [address = '', folder = ''] = process.argv.slice(2);
const server = createServer();

server.on('stream', (stream) => {
  const parts: Buffer[] = [];
  stream.on('error', () => {});
  stream.on('data', (part: Buffer) => parts.push(part));
  stream.on('end', () => {
    // one field: the name of the service
    const name = Buffer.concat(parts).subarray(7).toString();
    const headers = { ':status': 200, 'content-type': 'application/grpc' };
    stream.respond(headers, { waitForTrailers: true });
    stream.on('wantTrailers', () => {
      stream.sendTrailers({ 'grpc-status': '0' });
    });
    stream.end(Buffer.from([0, 0, 0, 0, 2, 8, name === 'good' ? 1 : 2]));
  });
});

server.listen(0, address, () => {
  const { port } = server.address() as AddressInfo;
  // whole at once
  writeFileSync(join(folder, 'new'), String(port));
  renameSync(join(folder, 'new'), join(folder, 'port'));
});

setInterval(() => {
  if (!existsSync(folder)) process.exit();
}, 100);

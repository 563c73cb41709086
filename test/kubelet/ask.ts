import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { request as requestTls } from 'node:https';
import type { CertificatePair } from './certificates.ts';

/** One request on a connection of its own: what was answered, or why nothing was. */
export async function ask(host: string, port: number, path = '/'): Promise<string> {
  return new Promise((resolve) => {
    const asked = request({ host, port, path, agent: false, timeout: 3000 }, (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => (text += chunk.toString()));
      response.once('end', () => {
        resolve(text.trim());
      });
      response.once('error', (error) => {
        resolve(`failed: ${error.message}`);
      });
    });
    asked.once('timeout', () => asked.destroy(new Error('no answer')));
    asked.once('error', (error) => {
      resolve(`failed: ${error.message}`);
    });
    asked.end();
  });
}

export interface NodeAnswer {
  readonly status: number;
  readonly text: string;
}

/** One request at a node's port 10250, with a client's certificate or none; whoever serves there is believed. */
export async function askNode(
  host: string,
  path: string,
  client?: CertificatePair,
): Promise<NodeAnswer> {
  const credentials = client && {
    cert: readFileSync(client.certificate),
    key: readFileSync(client.key),
  };
  const options = { host, port: 10250, path, agent: false, rejectUnauthorized: false };
  const asked = requestTls({ ...options, ...credentials });
  asked.end();
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  const text = (await response.toArray()).join('').trim();
  return { status: response.statusCode ?? 0, text };
}

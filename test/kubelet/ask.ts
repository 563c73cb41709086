import { request } from 'node:http';

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

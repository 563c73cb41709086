// `/logs/`: the node's folder of logs, and nothing outside of it, whatever is made in there.
import { execFile } from 'node:child_process';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ask, byCertificate, byToken, ServerLab } from '../server-lab.ts';

let lab: ServerLab;
let port = 0;

beforeEach(async () => {
  lab = await ServerLab.open();
  await mkdir(join(lab.folder, 'log/pods/a'), { recursive: true });
  await writeFile(join(lab.folder, 'log/syslog'), 'one\ntwo\n');
  await writeFile(join(lab.folder, 'log/pods/a/0.log'), 'hello\n');
  await writeFile(join(lab.folder, 'secret'), 'not for you\n');
  ({ port } = await lab.served());
});

afterEach(async () => {
  await lab.close();
});

test('files are sent, folders are listed, a folder’s address ends with a stroke', async () => {
  expect(await ask(port, '/logs/syslog')).toEqual({
    status: 200,
    body: 'one\ntwo\n',
    type: 'text/plain; charset=utf-8',
  });
  await writeFile(join(lab.folder, 'log/a:<b>'), '');
  const { body, type } = await ask(port, '/logs/');
  expect(type).toBe('text/html; charset=utf-8');
  expect(body.split('\n').filter((line) => line.startsWith('<a'))).toEqual([
    '<a href="./a%3A%3Cb%3E">a:&lt;b&gt;</a>',
    '<a href="pods/">pods/</a>',
    '<a href="syslog">syslog</a>',
  ]);
  expect(await ask(port, '/logs/pods')).toMatchObject({ status: 301 });
  expect(await ask(port, '/logs/pods/a/0.log')).toMatchObject({ status: 200, body: 'hello\n' });
  expect(await ask(port, '/logs/a:%3Cb%3E')).toMatchObject({ status: 200, body: '' });
});

describe('nothing else is shown', () => {
  test.each([
    '/logs/none',
    '/logs/../secret',
    '/logs/..%2fsecret',
    '/logs/%2e%2e/secret',
    '/logs/pods/..%2f..%2f..%2fsecret',
    '/logs/pods%2f..%2f..%2fsecret',
    '/logs/syslog%00',
    '/logs/%zz',
    '/logs/syslog/',
    '/logs/syslog/more',
    `/logs/${'a'.repeat(300)}`,
    `/logs/${'a/'.repeat(100)}`,
  ])('by %s', async (path) => {
    expect(await ask(port, path)).toMatchObject({ status: 404 });
  });

  test('through links, absolute or relative, to files or folders, in the middle or at the end', async () => {
    await symlink(join(lab.folder, 'secret'), join(lab.folder, 'log/absolute'));
    await symlink('../secret', join(lab.folder, 'log/relative'));
    await symlink('../..', join(lab.folder, 'log/pods/up'));
    await symlink('syslog', join(lab.folder, 'log/inside'));
    for (const path of ['absolute', 'relative', 'pods/up/secret', 'pods/up/', 'inside']) {
      expect([path, (await ask(port, `/logs/${path}`)).status]).toEqual([path, 404]);
    }
  });

  test('and a pipe that nobody writes to holds nobody up', async () => {
    await promisify(execFile)('mkfifo', [join(lab.folder, 'log/pipe')]);
    expect(await ask(port, '/logs/pipe')).toMatchObject({ status: 404 });
  });
});

test('they are not shown to who may not, nor where that is turned off, nor by other methods', async () => {
  expect(await ask(port, '/logs/syslog', byToken('good'))).toMatchObject({
    status: 403,
    body: 'Forbidden (user=ann, verb=get, resource=nodes, subresource(s)=[log])',
  });
  const off = await lab.served({ systemLogs: false });
  expect(await ask(off.port, '/logs/syslog')).toMatchObject({ status: 405 });
  const without = await lab.served({ debuggingHandlers: false });
  expect(await ask(without.port, '/logs/syslog')).toMatchObject({ status: 405 });
  expect(await ask(port, '/logs/syslog', { ...byCertificate, method: 'DELETE' })).toMatchObject({
    status: 405,
  });
  expect(await ask(port, '/logs/?query=kubelet')).toMatchObject({ status: 403 });
  expect(await ask(port, '/debug/pprof/profile')).toMatchObject({ status: 405 });
});

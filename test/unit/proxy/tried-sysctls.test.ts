// What an agent sets before it is known whether it will come to work.
import { expect, it } from 'vitest';
import type { Sysctls } from '../../../src/host/sysctl.ts';
import { TriedSysctls } from '../../../src/proxy/tried-sysctls.ts';

function node(values: Record<string, string>): Sysctls {
  return {
    read: async (key) => values[key],
    write: async (key, value) => {
      const differs = values[key] !== value;
      values[key] = value;
      return differs;
    },
  };
}

it('goes back to what it was, but for what was as it should be and what somebody has changed since', async () => {
  const values: Record<string, string> = { twice: '0', same: '1', theirs: '0' };
  const tried = new TriedSysctls(node(values));
  const set = ['twice=1', 'twice=2', 'same=1', 'theirs=1'].map((each) => each.split('='));
  const written: boolean[] = [];
  for (const [key = '', value = ''] of set) written.push(await tried.write(key, value));
  expect(written).toEqual([true, true, false, true]);
  expect(await tried.read('twice')).toBe('2');
  values['theirs'] = '7';
  await tried.putBack();
  expect(values).toEqual({ twice: '0', same: '1', theirs: '7' });
});

it('stays where the agent came to work, with all that it sets from then on', async () => {
  const values: Record<string, string> = { before: '0', after: '0' };
  const tried = new TriedSysctls(node(values));
  await tried.write('before', '1');
  tried.keep();
  await tried.write('after', '1');
  await tried.putBack();
  expect(values).toEqual({ before: '1', after: '1' });
});

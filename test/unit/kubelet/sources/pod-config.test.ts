import { expect, test } from 'vitest';
import { PodConfig } from '../../../../src/kubelet/sources/pod-config.ts';
import { silentLog } from '../../../../src/telemetry/log.ts';
import { VirtualClock } from '../../proxy/virtual-clock.ts';
import { pod } from '../support/pods.ts';

/** The sets of all sources together. */

test('the second of two pods of one name is told of, and dropped', () => {
  const told: string[] = [];
  const changes: string[] = [];
  const config = new PodConfig({
    sources: ['api', 'file'],
    clock: new VirtualClock(),
    log: silentLog,
    events: {
      tell: ({ metadata }, { type, reason, message }) =>
        void told.push(`${metadata.uid} ${type} ${reason}: ${message}`),
    },
    onChange: ({ op, pods }) => {
      for (const { metadata } of pods) changes.push(`${op} ${metadata.uid}`);
    },
  });
  const twice = [pod({}, { uid: 'a' }), pod({}, { uid: 'b' })];
  config.set('api', twice);
  config.set('api', twice);
  expect(changes).toEqual(['ADD a']);
  expect(told).toEqual([
    'b Warning FailedValidation: Error validating pod shop/web (b) from api due to duplicate pod name "web_shop", ignoring',
  ]);
  expect(config.allReady).toBe(false);
  config.set('file', []);
  expect(config.allReady).toBe(true);
});

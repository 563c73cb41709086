// What /configz shows: the configuration that is used, as a file that would mean the same.
import { expect, test } from 'vitest';
import { kubeletConfigObject } from '../../../src/config/kubelet-config-object.ts';
import { readKubeletFiles } from '../../../src/config/kubelet-file.ts';
import { kubeletFlags } from '../../../src/config/kubelet-flags.ts';
import type { KubeletConfig } from '../../../src/config/kubelet-config.ts';
import { parseFlags } from '../../../src/config/parse-flags.ts';
import { kubeletConfig } from '../../../src/config/read-kubelet-config.ts';

interface Shown {
  readonly config: KubeletConfig;
  readonly shown: Readonly<Record<string, unknown>>;
}

function show(argv: readonly string[], file: object): Shown {
  const { flags } = parseFlags(kubeletFlags, ['--kubeconfig=k', ...argv]);
  const kind = { apiVersion: 'kubelet.config.k8s.io/v1beta1', kind: 'KubeletConfiguration' };
  const text = JSON.stringify({ ...kind, ...file });
  const settings = readKubeletFiles([{ path: '/etc/k/k.yaml', text }], kubeletFlags, flags);
  const config = kubeletConfig(settings.flags);
  return { config, shown: kubeletConfigObject(kubeletFlags, settings.flags, config) };
}

test('defaults, what a file says, and flags over it, each in the form of the file', () => {
  const { shown } = show(['--max-pods=7'], {
    maxPods: 5,
    syncFrequency: '90s',
    clusterDNS: ['10.96.0.10'],
    systemReserved: { cpu: '100m' },
    registerWithTaints: [{ key: 'a', effect: 'NoSchedule' }],
    authentication: { x509: { clientCAFile: '/ca.crt' } },
  });
  expect(shown).toMatchObject({
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    maxPods: 7,
    syncFrequency: '1m30s',
    nodeStatusReportFrequency: '5m0s',
    clusterDNS: ['10.96.0.10'],
    systemReserved: { cpu: '100m' },
    registerWithTaints: [{ key: 'a', effect: 'NoSchedule' }],
    authentication: { x509: { clientCAFile: '/ca.crt' }, webhook: { enabled: true } },
    evictionHard: { 'memory.available': '100Mi', 'imagefs.available': '15%' },
    enableSystemLogHandler: true,
    cgroupRoot: '/',
  });
  expect(JSON.stringify(shown)).not.toContain('kubeconfig');
});

test('read again it means the same', () => {
  const { config, shown } = show([], {
    readOnlyPort: 10_255,
    evictionHard: { 'memory.available': '5%' },
    tlsCertFile: '/a.crt',
    tlsPrivateKeyFile: '/a.key',
    kubeReserved: { memory: '1Gi' },
    allowedUnsafeSysctls: ['net.*'],
    volumeStatsAggPeriod: '-1s',
  });
  expect(show([], shown).config).toEqual(config);
});

test('headers, which may be credentials, are not shown, and no password or query of a URL', () => {
  const { shown } = show([], {
    staticPodURL: 'http://me:s3cret@pods.example/n1?token=s3cret',
    staticPodURLHeader: { Authorization: ['Bearer s3cret'] },
  });
  expect(shown['staticPodURL']).toBe('http://…@pods.example/n1?…');
  expect(shown['staticPodURLHeader']).toEqual({ Authorization: ['<hidden>'] });
  expect(JSON.stringify(shown)).not.toContain('s3cret');
});

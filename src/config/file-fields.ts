import type { FlagSpec, FlagTable } from './flag-table.ts';

type FieldSpec = Pick<FlagSpec, 'type' | 'default' | 'zeroIsUnset'>;

const ofNftables = 'In nftables mode, which is not built yet.';

/** A field of KubeProxyConfiguration that no flag sets; its path is its name. */
function field(path: string, spec: FieldSpec, help: string): FlagSpec {
  return { ...spec, name: path, configPath: path, fileOnly: true, help };
}

function idle(path: string, spec: FieldSpec, noEffect: string): FlagSpec {
  return { ...field(path, spec, noEffect), noEffect };
}

const bool = { type: 'bool', default: false } as const;
const text = { type: 'string', default: '' } as const;
const windows = 'Switchyard runs on Linux';

/** The section of the nftables mode; other modes leave it alone. */
export const nftablesFields: FlagTable = [
  field('nftables.masqueradeAll', bool, ofNftables),
  field('nftables.masqueradeBit', { type: 'int', default: 14 }, ofNftables),
  field(
    'nftables.minSyncPeriod',
    { type: 'duration', default: 1000, zeroIsUnset: true },
    ofNftables,
  ),
  field(
    'nftables.syncPeriod',
    { type: 'duration', default: 30_000, zeroIsUnset: true },
    ofNftables,
  ),
];

/** Fields that change nothing here: each says so where it is set. */
export const fileFields: FlagTable = [
  idle(
    'clientConnection.acceptContentTypes',
    text,
    'lists are asked for in Protocol Buffers, watches in JSON',
  ),
  idle('winkernel.enableDSR', bool, windows),
  idle('winkernel.forwardHealthCheckVip', bool, windows),
  idle('winkernel.networkName', text, windows),
  idle('winkernel.rootHnsEndpointName', text, windows),
  idle('winkernel.sourceVip', text, windows),
  idle('windowsRunAsService', bool, windows),
];

// What /proc/net/ip_vs says, as Linux 6.1 prints it.
import { describe, expect, it } from 'vitest';
import {
  parseKernelTable,
  parseServerList,
  readServers,
} from '../../../../src/backends/ipvs/kernel-table.ts';
import type { VirtualServerKey } from '../../../../src/backends/ipvs/state.ts';

const table = `IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
SCTP  0A000005:0063 rr  
UDP  0A000004:0035 rr  persistent 2700000 FFFFFFFF
TCP  [fd00:0000:0000:0000:0000:0000:0000:0001]:0050 mh persistent 25000 80000000
  -> [fd00:0000:0000:0000:0000:0000:0000:0005]:1F90      Masq    3      0          0         
TCP  0A000001:0050 rr  
  -> 0A010002:0050      Masq    0      2          5         
  -> 0A010001:0050      Route   1      0          0         
FWM  00000007 rr 
  -> 0A010009:0000      Route   1      0          0`;

describe('the kernel’s table of ipvs', () => {
  it('is read a family at a time, without services by firewall mark', () => {
    expect([...parseKernelTable(table, 'ipv4').keys()]).toEqual([
      'SCTP/10.0.0.5:99',
      'UDP/10.0.0.4:53',
      'TCP/10.0.0.1:80',
    ]);
    expect([...parseKernelTable(table, 'ipv6').keys()]).toEqual(['TCP/[fd00::1]:80']);
  });

  it('tells scheduler and persistence, and of real servers weight, connections and how they are reached', () => {
    const servers = [...parseKernelTable(table, 'ipv4').values()];
    expect(servers.map(({ scheduler, persistentTicks }) => [scheduler, persistentTicks])).toEqual([
      ['rr', undefined],
      ['rr', 2_700_000],
      ['rr', undefined],
    ]);
    expect([...(servers[2]?.realServers ?? [])]).toEqual([
      [
        '10.1.0.2:80',
        { address: '10.1.0.2', port: 80, weight: 0, isMasqueraded: true, connections: 7 },
      ],
      [
        '10.1.0.1:80',
        { address: '10.1.0.1', port: 80, weight: 1, isMasqueraded: false, connections: 0 },
      ],
    ]);
    const v6 = parseKernelTable(table, 'ipv6').get('TCP/[fd00::1]:80' as never);
    expect([...(v6?.realServers.keys() ?? [])]).toEqual(['[fd00::5]:8080']);
  });

  it('is read for some servers alone where only these matter', () => {
    const only = new Set(['TCP/10.0.0.1:80', 'TCP/10.0.0.9:80'] as VirtualServerKey[]);
    const servers = parseKernelTable(table, 'ipv4', only);
    expect([...servers]).toEqual(
      [...parseKernelTable(table, 'ipv4')].filter(([key]) => key === 'TCP/10.0.0.1:80'),
    );
    const other = parseKernelTable(table, 'ipv4', new Set(['UDP/10.0.0.4:53' as VirtualServerKey]));
    expect([...other.values()].map(({ realServers }) => realServers.size)).toEqual([0]);
  });

  it('is read from ipvsadm likewise, whose places are no hex', () => {
    const list = `IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  10.100.1.2:80 rr persistent 10800
  -> 10.244.0.5:8080              Masq    1      2          14        
TCP  [fd00:10:96::8:10b]:80 rr
  -> [fd00:10:244::5]:8080        Masq    0      0          9         `;
    const v4 = [...parseServerList(list, 'ipv4').values()];
    expect(v4.map(({ key, persistentTicks }) => [key, persistentTicks])).toEqual([
      ['TCP/10.100.1.2:80', 10_800],
    ]);
    expect([...(v4[0]?.realServers.values() ?? [])]).toEqual([
      { address: '10.244.0.5', port: 8080, weight: 1, isMasqueraded: true, connections: 16 },
    ]);
    const [v6] = parseServerList(list, 'ipv6').values();
    expect([v6?.key, ...(v6?.realServers.keys() ?? [])]).toEqual([
      'TCP/[fd00:10:96::8:10b]:80',
      '[fd00:10:244::5]:8080',
    ]);
  });

  it('is empty where ip_vs is not loaded', async () => {
    expect(await readServers('ipv4', async () => undefined)).toEqual(new Map());
  });

  it('is not taken for empty where it is something else', () => {
    expect(() => parseKernelTable('', 'ipv4')).toThrow(/expected the table of ipvs/);
  });
});

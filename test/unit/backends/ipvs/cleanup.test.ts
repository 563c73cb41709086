// What the clean-up of the ipvs mode takes away, and what it leaves: rules and sets are the other clean-up's.
import { beforeEach, describe, expect, it } from 'vitest';
import { IpvsCleanup } from '../../../../src/backends/ipvs/cleanup.ts';
import type { CleanupScope } from '../../../../src/backends/cleanup.ts';
import type { Cidr } from '../../../../src/ip/cidr.ts';
import { FakeIpvsNode } from '../../../support/fake-ipvs-node.ts';
import { cidr } from '../../../support/service-ports.ts';

const { signal } = new AbortController();
let node: FakeIpvsNode;

beforeEach(() => {
  node = new FakeIpvsNode();
});

function cleanup(scope: CleanupScope = 'all', excludeCidrs: readonly Cidr[] = []): IpvsCleanup {
  return new IpvsCleanup({ tools: node.tools, scope, excludeCidrs, readTable: node.readTable });
}

function serve(...places: readonly string[]): void {
  for (const place of places)
    node.servers.set(place, { scheduler: 'rr', persistent: undefined, realServers: new Map() });
}

function nameIn(set: string, ...members: readonly string[]): void {
  node.sets.set(set, { create: 'hash:ip,port family inet', members: new Set(members) });
}

describe('the clean-up of the ipvs mode', () => {
  it('finds nothing on a node without ip_vs, and loads nothing to look', async () => {
    expect(await cleanup().look(signal)).toEqual({ mode: 'ipvs', removes: [], keeps: [] });
    expect(node.takeRuns()).toEqual(['ip address show dev kube-ipvs0']);
    expect(await cleanup().remove(signal)).toEqual([]);
    expect(node.isLoaded).toBe(false);
  });

  it('removes kube-ipvs0 and our virtual servers of both families, and leaves those of others', async () => {
    node.device = new Set(['10.96.0.1', 'fd00::1']);
    serve('-t 10.96.0.1:80', '-t 192.0.2.1:30080', '-t [fd00::1]:80', '-t 10.9.9.9:80');
    nameIn('KUBE-IPVS-SERVED-1', '10.96.0.1,tcp:80', '192.0.2.1,tcp:30080');
    expect(await cleanup().look(signal)).toEqual({
      mode: 'ipvs',
      removes: [
        'kube-ipvs0 with 2 addresses',
        'ipvs (IPv4): 2 virtual servers',
        'ipvs (IPv6): 1 virtual server',
      ],
      keeps: [
        {
          what: 'virtual servers TCP/10.9.9.9:80',
          why: expect.stringMatching(/somebody else’s/) as string,
          isObstacle: false,
        },
      ],
    });
    const looked = node.takeRuns();
    expect(looked.some((run) => /delete|restore/.test(run))).toBe(false);
    expect(looked.filter((run) => run.startsWith('ipset'))).toEqual(['ipset save']);
    expect(await cleanup().remove(signal)).toEqual([]);
    expect([...node.servers.keys()]).toEqual(['-t 10.9.9.9:80']);
    expect(node.device).toBeUndefined();
    expect(node.takeRuns().filter((run) => /delete|restore/.test(run))).toEqual([
      'ip link delete kube-ipvs0',
      'ipvsadm --restore',
    ]);
  });

  it('leaves what is excluded, and the link where that is on it', async () => {
    const some = ['-t 10.96.0.1:80', '-t 203.0.113.9:80'];
    node.device = new Set(['10.96.0.1', '203.0.113.9']);
    serve(...some);
    const ours = cleanup('all', [cidr('203.0.113.0/24')]);
    expect(await ours.look(signal)).toMatchObject({
      removes: ['1 address of kube-ipvs0', 'ipvs (IPv4): 1 virtual server'],
      keeps: [
        { what: expect.stringContaining('--ipvs-exclude-cidrs') as string, isObstacle: false },
      ],
    });
    expect(await ours.remove(signal)).toEqual([]);
    expect([...node.servers.keys()]).toEqual(some.slice(1));
    expect([...(node.device ?? [])]).toEqual(['203.0.113.9']);
    expect((await ours.look(signal)).removes).toEqual([]);
  });

  it('removes those of kube-proxy’s ipvs mode, of both families', async () => {
    serve('-t 10.96.0.1:80', '-t [fd00::1]:80');
    nameIn('KUBE-CLUSTER-IP', '10.96.0.1,tcp:80');
    nameIn('KUBE-6-CLUSTER-IP', 'fd00::1,tcp:80');
    expect(await cleanup().remove(signal)).toEqual([]);
    expect(node.servers.size).toBe(0);
  });

  it('leaves them where kube-proxy’s ipvs mode has taken over', async () => {
    node.device = new Set(['10.96.0.1']);
    serve('-t 10.96.0.1:80');
    nameIn('KUBE-CLUSTER-IP', '10.96.0.1,tcp:80');
    nameIn('KUBE-IPVS-SERVED-1', '10.96.0.1,tcp:80');
    const { removes, keeps } = await cleanup('leftovers').look(signal);
    expect(removes).toEqual([]);
    expect(keeps).toMatchObject([{ isObstacle: false }]);
    node.sets.delete('KUBE-CLUSTER-IP');
    expect(await cleanup('leftovers').remove(signal)).toEqual([]);
    expect(node.servers.size).toBe(0);
  });

  it('says what is still there, with the tool’s words', async () => {
    serve('-t 10.96.0.1:80');
    nameIn('KUBE-IPVS-SERVED-1', '10.96.0.1,tcp:80');
    node.refuses = (line) => (line.startsWith('-D') ? 'Device or resource busy' : undefined);
    expect(await cleanup().remove(signal)).toEqual([
      'ipvsadm --restore: Device or resource busy',
      'still there: ipvs (IPv4): 1 virtual server',
    ]);
  });

  it('removes what the kernel’s table leaves out, as beside other network namespaces', async () => {
    serve('-t 10.96.0.1:80', '-t 10.96.0.2:80', '-t [fd00::1]:80');
    node.device = new Set(['10.96.0.1', '10.96.0.2', 'fd00::1']);
    node.leftOut.add('-t 10.96.0.2:80').add('-t [fd00::1]:80');
    expect(await cleanup().remove(signal)).toEqual([]);
    expect(node.servers.size).toBe(0);
  });

  it('names the tool that it lacks', async () => {
    serve('-t 10.96.0.1:80');
    node.device = new Set(['10.96.0.1']);
    node.fails = ({ tool }) => (tool === 'ipvsadm' ? 'missing' : undefined);
    expect((await cleanup().look(signal)).removes).toContain('ipvs (IPv4): 1 virtual server');
    await expect(cleanup().remove(signal)).rejects.toMatchObject({ code: 'missing' });
  });

  it('says that it cannot tell whose they are without ipset', async () => {
    serve('-t 10.96.0.1:80');
    node.fails = ({ tool }) => (tool === 'ipset' ? 'missing' : undefined);
    const { removes, keeps } = await cleanup().look(signal);
    expect(removes).toEqual([]);
    expect(keeps.map(({ isObstacle }) => isObstacle)).toEqual([true, false]);
  });
});

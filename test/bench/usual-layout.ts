import { createHash } from 'node:crypto';
import type { Workload } from './workload.ts';

const baseChains = [
  ':KUBE-SERVICES - [0:0]',
  ':KUBE-MARK-MASQ - [0:0]',
  ':KUBE-POSTROUTING - [0:0]',
];
const baseRules = [
  '-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000',
  '-A KUBE-POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE',
];
const hooks = [
  '-A PREROUTING -j KUBE-SERVICES',
  '-A OUTPUT -j KUBE-SERVICES',
  '-A POSTROUTING -j KUBE-POSTROUTING',
];

/**
 * The baseline: the layout most service proxies write. One linear list of all services, a chain a service and a
 * chain an endpoint, with a hairpin mark and a DNAT each. Gives the first load, and the update of the service
 * `changed`: its chains, and the list, which such proxies write whole each time.
 */
export function usualLayout(
  { services, slices }: Workload,
  changed: number,
): readonly [full: string, update: string] {
  const dispatch: string[] = [];
  const parts = services.map((service, i) => {
    const name = `default/${service.meta.name}:http`;
    const chain = `KUBE-SVC-${hash(name)}`;
    const match = `-d ${service.clusterIP}/32 -p tcp -m comment --comment "${name} cluster IP" -m tcp --dport 80`;
    dispatch.push(`-A KUBE-SERVICES ${match} -j ${chain}`);
    const chains = [`:${chain} - [0:0]`];
    const rules = [`-A ${chain} ! -s 10.244.0.0/16 ${match} -j KUBE-MARK-MASQ`];
    const endpoints = slices[i]?.endpoints.map((endpoint) => endpoint.addresses[0] ?? '') ?? [];
    endpoints.forEach((address, e) => {
      const own = `KUBE-SEP-${hash(`${name}/${e}/${address}`)}`;
      const left = endpoints.length - e;
      const share =
        left === 1 ? '' : ` -m statistic --mode random --probability ${(1 / left).toFixed(10)}`;
      chains.push(`:${own} - [0:0]`);
      rules.push(
        `-A ${chain} -m comment --comment "${name} -> ${address}:8080"${share} -j ${own}`,
        `-A ${own} -s ${address}/32 -m comment --comment "${name}" -j KUBE-MARK-MASQ`,
        `-A ${own} -p tcp -m comment --comment "${name}" -m tcp -j DNAT --to-destination ${address}:8080`,
      );
    });
    return { chains, rules };
  });
  const table = (own: typeof parts, first: readonly string[]): string => {
    const chains = own.flatMap((part) => part.chains);
    const rules = own.flatMap((part) => part.rules);
    const lines = [...baseChains, ...chains, ...baseRules, ...dispatch, ...rules, ...first];
    return `*nat\n${lines.join('\n')}\nCOMMIT\n`;
  };
  return [table(parts, hooks), table(parts.slice(changed, changed + 1), [])];
}

function hash(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 16).toUpperCase();
}

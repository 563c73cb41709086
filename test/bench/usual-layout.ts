import { createHash } from 'node:crypto';
import type { Workload } from './workload.ts';

/**
 * The baseline: the layout most service proxies write. One linear list of all services, a chain a service and a
 * chain an endpoint, with a hairpin mark and a DNAT each.
 */
export function usualLayout({ services, slices }: Workload): string {
  const chains = [':KUBE-SERVICES - [0:0]', ':KUBE-MARK-MASQ - [0:0]', ':KUBE-POSTROUTING - [0:0]'];
  const rules = [
    '-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000',
    '-A KUBE-POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE',
  ];
  services.forEach((service, i) => {
    const name = `default/${service.meta.name}:http`;
    const chain = `KUBE-SVC-${hash(name)}`;
    chains.push(`:${chain} - [0:0]`);
    const match = `-d ${service.clusterIP}/32 -p tcp -m comment --comment "${name} cluster IP" -m tcp --dport 80`;
    rules.push(
      `-A KUBE-SERVICES ${match} -j ${chain}`,
      `-A ${chain} ! -s 10.244.0.0/16 ${match} -j KUBE-MARK-MASQ`,
    );
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
  });
  const hooks = [
    '-A PREROUTING -j KUBE-SERVICES',
    '-A OUTPUT -j KUBE-SERVICES',
    '-A POSTROUTING -j KUBE-POSTROUTING',
  ];
  return `*nat\n${[...chains, ...rules, ...hooks].join('\n')}\nCOMMIT\n`;
}

function hash(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 16).toUpperCase();
}

/** Where this mode means something else than `interpret` says, on purpose. */
export type DeviationId =
  | 'one pool'
  | 'unused port'
  | 'masqueraded node'
  | 'affinity by frontend'
  | 'node ports of loopback'
  | 'refused address'
  | 'scheduler';

/**
 * Each deviation, as docs/adr/0008-ipvs-layout.md lists them. The simulator of the rendered text must agree with
 * `interpret` but for these, and each must be shown to occur.
 */
export const deviations: Readonly<Record<DeviationId, string>> = {
  'one pool':
    'With `externalTrafficPolicy: Local`, pods and the node use the endpoints of this node where there are some (iptables mode: any endpoint), since a virtual server has one pool. Where the external IP of one Service is an address of the node and the number of a node port of another, the first alone counts there as soon as it leads anybody to an endpoint (iptables mode: whom it leads nowhere, the node port serves).',
  'unused port':
    'An unused port of a bound address is refused (iptables mode: passes), but for health check node ports. ICMP passes: the node answers whether the address is there.',
  'masqueraded node':
    "The node's own connections are masqueraded where no detector of pods is configured, too.",
  'affinity by frontend':
    'ClientIP affinity holds for each frontend by itself (iptables mode: for all frontends of a service port), and beyond its time-out for as long as the kernel remembers a connection of the client: two to three minutes after the last one over TCP.',
  'node ports of loopback': 'Node ports do not answer on 127.0.0.1, nor on link-local addresses.',
  'refused address':
    'An external or load balancer IP that is an address of another Node or of the API server, or a loopback, link-local, multicast, broadcast or unspecified address (sets take no `0.0.0.0`), is not served; this is reported.',
  scheduler:
    'Shares are those of the scheduler: weights count with `wrr`, `wlc`, `lblc`, `lblcr`, `sed`, `nq`, `sh` and `mh`, not with `rr`, `lc` and `dh`; with `ovf` they are limits. Where a Service gives weights and names no scheduler, `wrr` stands in for `rr` and `wlc` for `lc`.',
};

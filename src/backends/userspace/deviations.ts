/** Where this mode means something else than `interpret` says, on purpose. */
export type DeviationId =
  | 'source'
  | 'turns'
  | 'affinity by list'
  | 'SCTP'
  | 'no listener'
  | 'closed ports'
  | 'accepted'
  | 'own places'
  | 'reset'
  | 'places'
  | 'pods by interface';

/**
 * Each deviation, as docs/adr/0010-userspace-layout.md lists them. The simulator of the rendered text must agree with
 * `interpret` but for these, and each must be shown to occur.
 */
export const deviations: Readonly<Record<DeviationId, string>> = {
  source:
    "Endpoints see an address of the node instead of the client's, whatever the traffic policy says; the client's stands in the PROXY protocol header where a Service asks for one.",
  turns:
    'Endpoints take turns by weight (iptables mode: at random), for each listener by itself; a connection whose endpoint does not answer goes to the next.',
  'affinity by list':
    'ClientIP affinity holds for all frontends of a service port, but for the lists of all endpoints and of those of this node apart; it ends early where the endpoint does not answer. Without portals it holds for each place by itself.',
  SCTP: 'Service ports of SCTP are refused; this is reported.',
  'no listener':
    'A service port whose listener cannot be opened is refused, and all are where the node has no address of the family; this is reported. Source ranges do not count then, unless another listener serves a part of the same frontend: what has none is dropped there.',
  'closed ports':
    "What is sent to a listener's own port past the portals is dropped (where ipset is missing: to any port of the range).",
  accepted:
    'Connections to Services are for the node itself: no policy of FORWARD stops them, and INPUT accepts them whatever comes after.',
  'own places':
    'An endpoint at which this proxy itself is reached (a frontend of a Service, or a listener) gets no connections, which would come back without end; this is reported. A list of nothing else is refused.',
  reset:
    'Without portals, what iptables mode drops is reset (TCP) or ignored (UDP): a socket cannot tell before it has accepted.',
  places:
    'Without portals, a Service is reached at its loopback address instead of its cluster IP, in one family; its node ports are at 127.0.0.1 or at the `--nodeport-addresses`, and of its external and load balancer IPs those are served that are addresses of this machine. The others are listed with the reason. A place has one listener: who wants that of another Service is not served there.',
  'pods by interface':
    'Without portals, pods are told by their addresses alone: a detector by interface detects none.',
};

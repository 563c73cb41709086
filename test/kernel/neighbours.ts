import type { Answer, Question } from '../../src/cli/demo/actor.ts';
import { lab4 } from '../support/node-lab.ts';
import type { Actor, NodeLab } from '../support/node-lab.ts';

/** A request to the neighbour, and how it ends: who answers, as whom the client was seen. */
export interface Expectation {
  readonly actor: Actor;
  readonly question: Question;
  readonly answer: Partial<Exclude<Answer, string>> | Extract<Answer, string>;
}

/** Another program that writes rules on the node. */
export interface Neighbour {
  readonly name: string;
  /** How it sets the node up; run again by itself, it makes the same. */
  readonly script: string;
  /** What it does to rules while it runs, without harm to ours. */
  readonly reload?: string;
  readonly serve?: (lab: NodeLab) => Promise<void>;
  /** What works by its rules, with us and without. */
  readonly own: readonly Expectation[];
}

const { client, node } = lab4;
const pods = { a: lab4['pod-a'], b: lab4['pod-b'], c: lab4['pod-c'] };
const quick = { timeoutMs: 400 } as const;

/** The chains of the CNI plugin portmap for a hostPort, as its version 1 writes them. */
const portmap: Neighbour = {
  name: 'CNI portmap',
  script: `
iptables -w -t nat -N CNI-HOSTPORT-SETMARK
iptables -w -t nat -A CNI-HOSTPORT-SETMARK -m comment --comment "CNI portfwd masquerade mark" -j MARK --set-xmark 0x2000/0x2000
iptables -w -t nat -N CNI-HOSTPORT-MASQ
iptables -w -t nat -A CNI-HOSTPORT-MASQ -m mark --mark 0x2000/0x2000 -j MASQUERADE
iptables -w -t nat -A POSTROUTING -m comment --comment "CNI portfwd requiring masquerade" -j CNI-HOSTPORT-MASQ
iptables -w -t nat -N CNI-DN-4f1d2a
iptables -w -t nat -A CNI-DN-4f1d2a -s 10.244.0.0/24 -p tcp -m tcp --dport 8099 -j CNI-HOSTPORT-SETMARK
iptables -w -t nat -A CNI-DN-4f1d2a -p tcp -m tcp --dport 8099 -j DNAT --to-destination ${pods.a}:8080
iptables -w -t nat -N CNI-HOSTPORT-DNAT
iptables -w -t nat -A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \\"cbr0\\" id: \\"4f1d2a\\"" -m multiport --dports 8099 -j CNI-DN-4f1d2a
iptables -w -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
iptables -w -t nat -A OUTPUT -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
`,
  own: [
    {
      actor: 'client',
      question: { to: node, port: 8099 },
      answer: { answeredBy: 'pod-a', sourceSeen: client },
    },
    {
      actor: 'pod-b',
      question: { to: node, port: 8099 },
      answer: { answeredBy: 'pod-a', sourceSeen: lab4.podGateway },
    },
    { actor: 'node', question: { to: node, port: 8099 }, answer: { answeredBy: 'pod-a' } },
  ],
};

/** flannel beside a FORWARD policy of DROP: its own accepts, and its masquerading of what leaves the pods. */
const flannel: Neighbour = {
  name: 'flannel',
  script: `
iptables -w -P FORWARD DROP
iptables -w -N FLANNEL-FWD
iptables -w -A FLANNEL-FWD -s 10.244.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
iptables -w -A FLANNEL-FWD -d 10.244.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
iptables -w -A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD
iptables -w -t nat -N FLANNEL-POSTRTG
iptables -w -t nat -A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment "flanneld masq" -j RETURN
iptables -w -t nat -A FLANNEL-POSTRTG -s 10.244.0.0/24 -d 10.244.0.0/16 -m comment --comment "flanneld masq" -j RETURN
iptables -w -t nat -A FLANNEL-POSTRTG -s 10.244.0.0/16 -d 10.244.0.0/24 -m comment --comment "flanneld masq" -j RETURN
iptables -w -t nat -A FLANNEL-POSTRTG ! -s 10.244.0.0/16 -d 10.244.0.0/24 -m comment --comment "flanneld masq" -j RETURN
iptables -w -t nat -A FLANNEL-POSTRTG -s 10.244.0.0/16 ! -d 224.0.0.0/4 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
iptables -w -t nat -A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
`,
  serve: async (lab) =>
    lab.serve('client', { proto: 'tcp', address: client, port: 9090, name: 'outside' }),
  own: [
    {
      actor: 'pod-a',
      question: { to: client, port: 9090 },
      answer: { answeredBy: 'outside', sourceSeen: node },
    },
    {
      actor: 'pod-a',
      question: { to: pods.b, port: 8080 },
      answer: { answeredBy: 'pod-b', sourceSeen: pods.a },
    },
    {
      actor: 'client',
      question: { to: pods.a, port: 8080 },
      answer: { answeredBy: 'pod-a', sourceSeen: client },
    },
  ],
};

/** Calico inserts its chains first, marks what its policies accept, and puts itself first again when it is not. */
const calico: Neighbour = {
  name: 'Calico',
  script: `
iptables -w -N cali-to-wl
iptables -w -A cali-to-wl -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
iptables -w -A cali-to-wl -m comment --comment "Policy: pod-c serves 8080 alone" -d ${pods.c}/32 -p tcp -m tcp --dport 8081 -j DROP
iptables -w -A cali-to-wl -j MARK --set-xmark 0x10000/0x10000
iptables -w -N cali-FORWARD
iptables -w -A cali-FORWARD -m comment --comment "cali:vjrMJCRpqwy5oRoX" -j MARK --set-xmark 0x0/0xe0000
iptables -w -A cali-FORWARD -o pod-+ -m comment --comment "cali:A_sPAO0mcxbT9mOV" -j cali-to-wl
iptables -w -I FORWARD -m comment --comment "cali:wUHhoiAYhphO9Mso" -j cali-FORWARD
iptables -w -A FORWARD -m comment --comment "cali:S93hcgKJrXEqnTfs" -m mark --mark 0x10000/0x10000 -j ACCEPT
iptables -w -P FORWARD DROP
iptables -w -t nat -N cali-nat-outgoing
iptables -w -t nat -N cali-POSTROUTING
iptables -w -t nat -A cali-POSTROUTING -m comment --comment "cali:Z-c7XtVd2Bq7s_hA" -j cali-nat-outgoing
iptables -w -t nat -A cali-nat-outgoing -s 10.244.0.0/16 ! -d 10.244.0.0/16 -m comment --comment "cali:flqWnvo8yq4ULQLa" -j MASQUERADE --random-fully
iptables -w -t nat -I POSTROUTING -m comment --comment "cali:O3lYWMrLQYEMJtB5" -j cali-POSTROUTING
iptables -w -A FORWARD -i pod-+ -m comment --comment "cali:from-workloads" -j ACCEPT
iptables -w -t raw -N cali-PREROUTING
iptables -w -t raw -A cali-PREROUTING -m comment --comment "cali:XFX5xbM8B9qR10JG" -j MARK --set-xmark 0x0/0xf0000
iptables -w -t raw -I PREROUTING -m comment --comment "cali:6gwbT8clXdHdC1b1" -j cali-PREROUTING
`,
  reload: `
iptables -w -I FORWARD -m comment --comment "cali:wUHhoiAYhphO9Mso" -j cali-FORWARD
iptables -w -D FORWARD -m comment --comment "cali:wUHhoiAYhphO9Mso" -j cali-FORWARD
`,
  serve: async (lab) =>
    lab.serve('client', { proto: 'tcp', address: client, port: 9090, name: 'outside' }),
  own: [
    { actor: 'client', question: { to: pods.c, port: 8080 }, answer: { answeredBy: 'pod-c' } },
    { actor: 'client', question: { to: pods.c, port: 8081, ...quick }, answer: 'timeout' },
    {
      actor: 'pod-a',
      question: { to: client, port: 9090 },
      answer: { answeredBy: 'outside', sourceSeen: node },
    },
  ],
};

/** Docker sets the FORWARD policy to DROP and publishes ports by chains of its own. */
const docker: Neighbour = {
  name: 'Docker',
  script: `
iptables -w -P FORWARD DROP
iptables -w -N DOCKER
iptables -w -A DOCKER -d ${pods.b}/32 ! -i pod-b -o pod-b -p tcp -m tcp --dport 8081 -j ACCEPT
iptables -w -N DOCKER-USER
iptables -w -A DOCKER-USER -j RETURN
iptables -w -A FORWARD -s 10.244.0.0/16 -m comment --comment "of the CNI plugin" -j ACCEPT
iptables -w -N DOCKER-CT
iptables -w -A DOCKER-CT -o pod-b -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
iptables -w -N DOCKER-FORWARD
iptables -w -A DOCKER-FORWARD -j DOCKER-CT
iptables -w -A DOCKER-FORWARD -o pod-b -j DOCKER
iptables -w -I FORWARD -j DOCKER-FORWARD
iptables -w -I FORWARD -j DOCKER-USER
iptables -w -t nat -N DOCKER
iptables -w -t nat -A DOCKER ! -i pod-b -p tcp -m tcp --dport 8098 -j DNAT --to-destination ${pods.b}:8081
iptables -w -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
iptables -w -t nat -A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
`,
  reload: `
iptables -w -D FORWARD -j DOCKER-USER
iptables -w -I FORWARD -j DOCKER-USER
`,
  own: [
    {
      actor: 'client',
      question: { to: node, port: 8098 },
      answer: { answeredBy: 'pod-b', sourceSeen: client },
    },
    { actor: 'client', question: { to: pods.a, port: 8080, ...quick }, answer: 'timeout' },
  ],
};

/** A firewall of the administrator that flushes and rebuilds what is its own. */
const firewall: Neighbour = {
  name: 'a firewall that reloads',
  script: `
iptables -w -N SITE-IN
iptables -w -A SITE-IN -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
iptables -w -A SITE-IN -p tcp -m tcp --dport 9091 -j ACCEPT
iptables -w -A SITE-IN -p tcp -m tcp --dport 9092 -j REJECT --reject-with tcp-reset
iptables -w -A INPUT -j SITE-IN
`,
  reload: `
iptables -w -D INPUT -j SITE-IN
iptables -w -F SITE-IN
iptables -w -X SITE-IN
iptables -w -N SITE-IN
iptables -w -A SITE-IN -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
iptables -w -A SITE-IN -p tcp -m tcp --dport 9091 -j ACCEPT
iptables -w -A SITE-IN -p tcp -m tcp --dport 9092 -j REJECT --reject-with tcp-reset
iptables -w -A INPUT -j SITE-IN
`,
  serve: async (lab) => {
    for (const port of [9091, 9092]) {
      await lab.serve('node', { proto: 'tcp', address: node, port, name: 'node' });
    }
  },
  own: [
    { actor: 'client', question: { to: node, port: 9091 }, answer: { answeredBy: 'node' } },
    { actor: 'client', question: { to: node, port: 9092 }, answer: 'refused' },
  ],
};

/**
 * NodeLocal DNSCache listens on the node under the DNS service's own address too, and keeps that untracked.
 * (On lo here: its dummy device is nothing to the rules, and not every kernel has one.)
 */
const nodeLocalDns: Neighbour = {
  name: 'NodeLocal DNSCache',
  script: `
ip addr replace 169.254.20.10/32 dev lo
ip addr replace 10.96.0.53/32 dev lo
for address in 169.254.20.10 10.96.0.53; do
  for proto in udp tcp; do
    iptables -w -t raw -A PREROUTING -d $address/32 -p $proto -m $proto --dport 53 -m comment --comment "NodeLocal DNS Cache: skip conntrack" -j NOTRACK
    iptables -w -t raw -A OUTPUT -s $address/32 -p $proto -m $proto --sport 53 -m comment --comment "NodeLocal DNS Cache: skip conntrack" -j NOTRACK
    iptables -w -t raw -A OUTPUT -d $address/32 -p $proto -m $proto --dport 53 -m comment --comment "NodeLocal DNS Cache: skip conntrack" -j NOTRACK
    iptables -w -A INPUT -d $address/32 -p $proto -m $proto --dport 53 -m comment --comment "NodeLocal DNS Cache: allow DNS traffic" -j ACCEPT
    iptables -w -A OUTPUT -s $address/32 -p $proto -m $proto --sport 53 -m comment --comment "NodeLocal DNS Cache: allow DNS traffic" -j ACCEPT
  done
done
`,
  serve: async (lab) => {
    for (const address of ['169.254.20.10', '10.96.0.53']) {
      for (const proto of ['tcp', 'udp'] as const) {
        await lab.serve('node', { proto, address, port: 53, name: 'cache' });
      }
    }
  },
  own: (['tcp', 'udp'] as const).flatMap((proto) =>
    (['pod-a', 'node'] as const).flatMap((actor) =>
      ['169.254.20.10', '10.96.0.53'].map((to) => ({
        actor,
        question: { to, port: 53, proto },
        answer: { answeredBy: 'cache' },
      })),
    ),
  ),
};

/** All of them; each is alone on its node. */
export const neighbours: readonly Neighbour[] = [
  portmap,
  flannel,
  calico,
  docker,
  firewall,
  nodeLocalDns,
];

import type { FlagTable, FlagValues } from '../config/flag-table.ts';
import { parseFlags } from '../config/parse-flags.ts';
import type { Command, CommandIo } from './command.ts';
import { command as kubelet } from './kubelet.ts';
import { command as proxy } from './proxy.ts';

const half = 'Halves';

/** What both halves share, and how each is told the rest. */
const nodeFlags: FlagTable = [
  {
    name: 'kubeconfig',
    type: 'string',
    placeholder: 'FILE',
    help: 'Kubeconfig with the API server and the credentials of the node, which need the rights of a proxy (system:node-proxier) too.',
  },
  {
    name: 'hostname-override',
    type: 'string',
    placeholder: 'NAME',
    help: "Name of this node; default: the machine's host name in lower case.",
  },
  {
    name: 'kubelet-config',
    type: 'string',
    placeholder: 'FILE',
    help: 'A KubeletConfiguration file.',
    group: half,
  },
  {
    name: 'proxy-config',
    type: 'string',
    placeholder: 'FILE',
    help: 'A KubeProxyConfiguration file; the proxy has its kubeconfig from it then.',
    group: half,
  },
  {
    name: 'kubelet-flag',
    type: 'list',
    whole: true,
    placeholder: 'FLAG',
    help: 'A flag of switchyard kubelet, such as --kubelet-flag=--node-ip=192.0.2.7. May be repeated.',
    group: half,
  },
  {
    name: 'proxy-flag',
    type: 'list',
    whole: true,
    placeholder: 'FLAG',
    help: 'A flag of switchyard proxy, such as --proxy-flag=--mode=userspace. May be repeated.',
    group: half,
  },
];

/** `switchyard node`: both agents of a node in one process. Ends with 0 on SIGTERM; containers run on, and rules stay. */
export const command: Command = {
  name: 'node',
  summary: 'Runs both agents of a node, that of its pods and that of its Services, in one process.',
  flags: nodeFlags,
  details: [
    'example:',
    '  switchyard node --kubeconfig=/etc/kubernetes/node.conf --kubelet-config=/etc/kubernetes/kubelet.yaml --proxy-flag=--mode=iptables',
  ].join('\n'),
  async run({ flags }, io) {
    const shared = sharedFlags(flags);
    const kubeconfig = given(flags, 'kubeconfig', '--kubeconfig');
    const kubeletArgs = [
      ...given(flags, 'kubeletConfig', '--config'),
      ...kubeconfig,
      ...shared,
      ...flags.list('kubeletFlag'),
    ];
    const config = given(flags, 'proxyConfig', '--config');
    const proxyArgs = [
      ...config,
      ...(config.length > 0 ? [] : kubeconfig),
      ...shared,
      ...flags.list('proxyFlag'),
    ];
    const halves = [
      [kubelet, kubeletArgs],
      [proxy, proxyArgs],
    ] as const;
    const parsed = halves.map(([of, argv]) => [of, parseFlags(of.flags, argv)] as const);
    return together(
      parsed.map(([of, { flags: own, warnings }]) => async (ownIo: CommandIo) => {
        for (const warning of warnings) io.stderr(`warning: ${of.name}: ${warning}\n`);
        return of.run({ flags: own, positionals: [] }, ownIo);
      }),
      io,
    );
  },
};

function sharedFlags(flags: FlagValues): readonly string[] {
  return given(flags, 'hostnameOverride', '--hostname-override');
}

function given(flags: FlagValues, field: string, name: string): readonly string[] {
  const text = flags.text(field);
  return text === '' ? [] : [`${name}=${text}`];
}

/** Until all have ended; where one fails, or ends by itself, the other is ended too. */
async function together(
  runs: readonly ((io: CommandIo) => Promise<number>)[],
  io: CommandIo,
): Promise<number> {
  const stop = new AbortController();
  const signal = AbortSignal.any([io.signal, stop.signal]);
  const results = await Promise.allSettled(
    runs.map(async (run) => run({ ...io, signal }).finally(() => stop.abort())),
  );
  for (const each of results) if (each.status === 'rejected') throw each.reason;
  return Math.max(...results.map((each) => (each.status === 'fulfilled' ? each.value : 1)));
}

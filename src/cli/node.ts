import { systemClock } from '../clock.ts';
import type { FlagTable, FlagValues } from '../config/flag-table.ts';
import { kubeletFlags } from '../config/kubelet-flags.ts';
import { proxyFlags } from '../config/proxy-flags.ts';
import { SharedApi } from '../informer/shared-api.ts';
import { aloneIn } from './agent-process.ts';
import type { AgentProcess } from './agent-process.ts';
import { onceThere } from './awaited-kubeconfig.ts';
import type { Command } from './command.ts';
import { together } from './halves.ts';
import { runKubeletCommand } from './kubelet.ts';
import { runProxyCommand } from './proxy.ts';

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
    const kubeconfig = given(flags, 'kubeconfig', '--kubeconfig');
    const shared = given(flags, 'hostnameOverride', '--hostname-override');
    const ownConfig = given(flags, 'proxyConfig', '--config');
    const { connect } = aloneIn(io);
    const server = { kubeconfig: flags.text('kubeconfig') };
    const around = {
      connect: server.kubeconfig === '' ? connect : new SharedApi(server, connect).connect,
    };
    return together(
      [
        {
          name: 'kubelet',
          flags: kubeletFlags,
          run: runKubeletCommand,
          argv: [
            ...given(flags, 'kubeletConfig', '--config'),
            ...kubeconfig,
            ...shared,
            ...flags.list('kubeletFlag'),
          ],
        },
        {
          name: 'proxy',
          flags: proxyFlags,
          run: async (values, own, shares) =>
            runProxyCommand(values, own, awaiting(flags, shares, own.signal)),
          argv: [
            ...ownConfig,
            ...(ownConfig.length > 0 ? [] : kubeconfig),
            ...shared,
            ...flags.list('proxyFlag'),
          ],
        },
      ],
      around,
      io,
    );
  },
};

/** A kubelet that has to ask for its certificate first writes the kubeconfig of both. */
function awaiting(flags: FlagValues, around: AgentProcess, signal: AbortSignal): AgentProcess {
  const kubeconfig = flags.text('kubeconfig');
  const asks = flags.list('kubeletFlag').some((each) => /^--?bootstrap-kubeconfig\b/.test(each));
  if (kubeconfig === '' || !asks) return around;
  return { ...around, connect: onceThere(around.connect, kubeconfig, systemClock, signal) };
}

function given(flags: FlagValues, field: string, name: string): readonly string[] {
  const text = flags.text(field);
  return text === '' ? [] : [`${name}=${text}`];
}

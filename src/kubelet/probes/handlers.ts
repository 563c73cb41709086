import { errorText } from '../../error.ts';
import { hostOf, portOf } from './addressing.ts';
import { probeCommand } from './exec-probe.ts';
import type { ExecSync } from './exec-probe.ts';
import { probeGrpc } from './grpc-probe.ts';
import { httpUrl, probeHttp } from './http-probe.ts';
import type { ProbeSurroundings } from './probe-worker.ts';
import { probeTcp } from './tcp-probe.ts';

export interface HandlersOptions {
  readonly execSync: ExecSync;
  /** `kube-probe/1.37`. */
  readonly userAgent: string;
}

/** Executes a probe by the handler it names (Kubernetes: Pod Lifecycle, Container probes). */
export function probeHandlers({
  execSync,
  userAgent,
}: HandlersOptions): ProbeSurroundings['execute'] {
  return async (probe, { status, container, containerId }, signal) => {
    const timeoutMs = probe.timeoutSeconds * 1000;
    if (probe.exec !== undefined) {
      const { command } = probe.exec;
      return probeCommand(execSync, { container, containerId, command, timeoutMs, signal });
    }
    const address = status.podIP;
    const common = { userAgent, timeoutMs, signal };
    try {
      if (probe.httpGet !== undefined) {
        const url = httpUrl(probe.httpGet, address, container);
        return await probeHttp(url, probe.httpGet.httpHeaders ?? [], common);
      }
      if (probe.tcpSocket !== undefined) {
        const host = hostOf(probe.tcpSocket.host, address);
        return await probeTcp(host, portOf(probe.tcpSocket.port, container), common);
      }
      if (probe.grpc !== undefined) {
        const { port, service = '' } = probe.grpc;
        return await probeGrpc(hostOf(undefined, address), port, service, common);
      }
    } catch (error) {
      return { kind: 'error', output: errorText(error) };
    }
    return { kind: 'error', output: 'missing probe handler' };
  };
}

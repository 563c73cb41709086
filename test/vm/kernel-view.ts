import type { LabConnection, NodeLab } from '../support/node-lab.ts';

/** What the kernel of the node knows of a connection that does not go on, and whether it does later: for a failure's message. */
export async function kernelView(lab: NodeLab, connection: LabConnection): Promise<string> {
  const { fromPort } = connection;
  const views = [
    ['ipvs', ['ipvsadm', '-Lcn'], new RegExp(`:${fromPort}\\b`)],
    ['conntrack, IPv4', ['conntrack', '-L', '-f', 'ipv4'], new RegExp(`port=${fromPort}\\b`)],
    ['conntrack, IPv6', ['conntrack', '-L', '-f', 'ipv6'], new RegExp(`port=${fromPort}\\b`)],
    ['servers', ['ipvsadm', '--save', '-n'], /./],
  ] as const;
  const texts = [`source port ${fromPort}`];
  for (const [name, command, which] of views) {
    const { stdout, stderr, status } = await lab.tryOnNode(...command);
    const lines = stdout.split('\n').filter((line) => which.test(line));
    texts.push(`${name}:`, ...lines, ...(status === 0 ? [] : [stderr]));
  }
  texts.push(`asked again: ${JSON.stringify(await connection.again(60_000))}`);
  return texts.join('\n');
}

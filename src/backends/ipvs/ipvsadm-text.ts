import { hostPort } from '../../ip/address.ts';
import type { Protocol } from '../../services/service-port.ts';
import type { RealServer, VirtualServer } from './state.ts';

const protocolFlags: Readonly<Record<Protocol, string>> = {
  TCP: '-t',
  UDP: '-u',
  SCTP: '--sctp-service',
};

/** How `ipvsadm` names a virtual server: `-t 10.96.0.10:53`, `-u [fd00::1]:53`. */
export function serverName(server: Pick<VirtualServer, 'address' | 'protocol' | 'port'>): string {
  return `${protocolFlags[server.protocol]} ${hostPort(server.address, server.port)}`;
}

/** A virtual server as it follows `-A` or `-E`: `-t 10.96.0.10:53 -s mh -p 10800 -b mh-port`. */
export function serverArgs(server: VirtualServer): string {
  const { scheduler, schedulerFlags, persistentSeconds } = server;
  const persistence = persistentSeconds === undefined ? '' : ` -p ${persistentSeconds}`;
  const flags = schedulerFlags.length === 0 ? '' : ` -b ${schedulerFlags.join(',')}`;
  return `${serverName(server)} -s ${scheduler}${persistence}${flags}`;
}

/** A real server as it follows `-a` or `-e`: `-t 10.96.0.10:53 -r 10.244.1.5:53 -m -w 1`. */
export function realServerArgs(
  server: Pick<VirtualServer, 'address' | 'protocol' | 'port'>,
  { address, port, weight }: RealServer,
): string {
  return `${serverName(server)} -r ${hostPort(address, port)} -m -w ${weight}`;
}

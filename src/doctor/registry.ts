import { api } from './api.ts';
import type { AnyCheck } from './check.ts';
import { clock } from './clock.ts';
import { conntrack } from './conntrack.ts';
import { credentials } from './credentials.ts';
import { features } from './features.ts';
import { forwarding } from './forwarding.ts';
import { kernelParts } from './kernel.ts';
import { lock } from './lock.ts';
import { node } from './node.ts';
import { ports } from './ports.ts';
import { privileges } from './privileges.ts';
import { resources } from './resources.ts';
import { sysctls } from './sysctls.ts';
import { tools } from './tools.ts';
import { variant } from './variant.ts';
import { writers } from './writers.ts';

/** Every check, in the order in which findings are told. A new topic is a file beside this one, and a line here. */
export const checks: readonly AnyCheck[] = [
  privileges,
  kernelParts,
  tools,
  features,
  variant,
  lock,
  sysctls,
  conntrack,
  forwarding,
  writers,
  ports,
  credentials,
  api,
  clock,
  node,
  resources,
];

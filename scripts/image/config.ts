import { execFileSync } from 'node:child_process';
import packageJson from '../../package.json' with { type: 'json' };
import { root } from './contents.ts';
import type { ImageConfig } from './oci.ts';

/** What an image is made from and when, beside its contents. */
export interface Provenance {
  readonly version: string;
  /** The commit; '' where it is not known. */
  readonly revision: string;
  /** In seconds since 1970. */
  readonly time: number;
}

/**
 * The commit of the checkout and its time; the environment's REVISION and SOURCE_DATE_EPOCH come first. Where there is neither:
 * no commit, and the time of the locked packages.
 */
export function provenance(lockTime: number, env: NodeJS.ProcessEnv): Provenance {
  const [commit, time] = git(['log', '-1', '--format=%H %ct']).trim().split(' ');
  return {
    version: packageJson.version,
    revision: env['REVISION'] || commit || '',
    time: Number(env['SOURCE_DATE_EPOCH'] || time || lockTime),
  };
}

/** How a container is started. The Dockerfile says the same: a test compares the two. */
export function imageConfig({ version, revision, time }: Provenance): ImageConfig {
  const created = new Date(time * 1000).toISOString().replace('.000Z', 'Z');
  const label = 'org.opencontainers.image';
  return {
    User: '0:0',
    Env: [
      'PATH=/usr/local/bin:/usr/sbin:/usr/bin',
      // Beside the certificates that Node has, those of the usual place, so that an organisation's own may be mounted there. Read
      // when first needed; NODE_USE_SYSTEM_CA reads them at the start, for 3 MiB.
      'NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt',
    ],
    Entrypoint: ['/usr/local/bin/switchyard'],
    WorkingDir: '/',
    StopSignal: 'SIGTERM',
    Labels: {
      [`${label}.title`]: 'Switchyard',
      [`${label}.description`]: packageJson.description,
      [`${label}.licenses`]: packageJson.license,
      [`${label}.version`]: version,
      [`${label}.created`]: created,
      ...(revision === '' ? {} : { [`${label}.revision`]: revision }),
    },
  };
}

function git(args: readonly string[]): string {
  try {
    return execFileSync('git', args, {
      cwd: root,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
  } catch {
    return ''; // an archive of the sources, or no git
  }
}

import { existsSync } from 'node:fs';
import { execa } from 'execa';
import { chart, withValues } from '../support/helm.ts';
import type { ControlPlane } from './control-plane.ts';
import { tokens } from './control-plane.ts';

const space = ['--namespace', 'kube-system'];

/** helm and kubectl as an operator has them: with all rights, beside the cluster. */
export class HelmCluster {
  readonly #plane: ControlPlane;
  readonly #tools: { readonly helm: string; readonly kubectl: string };

  constructor(plane: ControlPlane, tools: { readonly helm: string; readonly kubectl: string }) {
    this.#plane = plane;
    this.#tools = tools;
  }

  /** Installs the chart, or upgrades it; answers what helm says, the notes among it. */
  async install(values: object): Promise<string> {
    return withValues(values, async (file) =>
      this.#run(this.#tools.helm, [
        'upgrade',
        '--install',
        'switchyard',
        chart,
        ...space,
        '--values',
        file,
      ]),
    );
  }

  /** Removes the release. */
  async uninstall(): Promise<void> {
    await this.#run(this.#tools.helm, ['uninstall', 'switchyard', ...space]);
  }

  /** One line of a page or of notes, as a shell runs it. */
  async kubectl(line: string): Promise<string> {
    const command = line.trim().replace(/^kubectl/, `'${this.#tools.kubectl}'`);
    return this.#run('sh', ['-c', command]);
  }

  async #run(file: string, args: readonly string[]): Promise<string> {
    const { namespace, folder } = this.#plane;
    if (!existsSync(folder)) throw new Error('the control plane has ended');
    const KUBECONFIG = this.#plane.kubeconfig({ token: tokens.admin, name: 'operator' });
    const { stdout } = await execa('ip', ['netns', 'exec', namespace, file, ...args], {
      env: { KUBECONFIG, HOME: folder },
      timeout: 60_000,
    });
    return stdout;
  }
}

import { Claims, compareTitles, conflictOf } from './claims.ts';
import type { Title } from './claims.ts';
import { frontendId } from './frontends.ts';
import type { CompiledServicePort } from './frontends.ts';
import type { Conflict, Frontend, FrontendId } from './rule-graph.ts';

/**
 * Who gets which frontend. The API server hands out a cluster IP once, so it comes before addresses
 * that anybody may write into a Service. An address on which node ports answer is also contested by
 * the node port of its number: else a newcomer that lists the node's own address as an external IP
 * would take the node port of an older Service.
 */
export class FrontendClaims {
  readonly #claims = new Claims<FrontendId, CompiledServicePort>(rankOf);
  /** By node port: the addresses that contest it, with how many claims each has. */
  readonly #rivals = new Map<FrontendId, Map<FrontendId, number>>();

  add(compiled: CompiledServicePort): void {
    for (const { id } of compiled.frontends) this.#claims.add(id, compiled);
    for (const [address, nodePort] of compiled.nodePortRivals) {
      const rivals = this.#rivals.get(nodePort) ?? new Map<FrontendId, number>();
      this.#rivals.set(nodePort, rivals);
      rivals.set(address, (rivals.get(address) ?? 0) + 1);
    }
  }

  remove(compiled: CompiledServicePort): void {
    for (const { id } of compiled.frontends) this.#claims.remove(id, compiled);
    for (const [address, nodePort] of compiled.nodePortRivals) {
      const rivals = this.#rivals.get(nodePort);
      const left = (rivals?.get(address) ?? 0) - 1;
      if (left > 0) rivals?.set(address, left);
      else rivals?.delete(address);
      if (rivals?.size === 0) this.#rivals.delete(nodePort);
    }
  }

  /** The frontend the graph has under this id. */
  winning(
    id: FrontendId,
  ): { readonly frontend: Frontend; readonly of: CompiledServicePort } | undefined {
    const title = this.#claims.title(id);
    const frontend = title && frontendOf(title.claimant, id);
    if (!title || !frontend) return undefined;
    const holder = this.#rivalOf(title, frontend);
    return holder && compareTitles(holder, title) < 0
      ? undefined
      : { frontend, of: title.claimant };
  }

  /** Frontends that may change hands when claims to `id` change, beside itself. */
  contesting(id: FrontendId): Iterable<FrontendId> {
    return this.#rivals.get(id)?.keys() ?? [];
  }

  /** Every claim that was lost, in no order. */
  *conflicts(): Generator<Conflict> {
    for (const [id, [winner, ...losers]] of this.#claims.contested()) {
      if (winner) yield* losers.map((loser) => conflictOf(id, winner, loser));
    }
    for (const rivals of this.#rivals.values()) {
      for (const id of rivals.keys()) {
        const title = this.#claims.title(id);
        const frontend = title && frontendOf(title.claimant, id);
        const holder = frontend && this.#rivalOf(title, frontend);
        if (!title || !holder) continue;
        const [winner, loser] =
          compareTitles(holder, title) < 0 ? [holder, title] : [title, holder];
        yield conflictOf(id, winner, loser);
      }
    }
  }

  /** Another Service's title to the node port that an address's frontend contests. */
  #rivalOf({ claimant }: Title, { id, protocol, port }: Frontend): Title | undefined {
    if (this.#rivals.size === 0) return undefined;
    const nodePort = frontendId(undefined, protocol, port);
    if (!this.#rivals.get(nodePort)?.has(id)) return undefined;
    const holder = this.#claims.title(nodePort);
    return holder?.claimant.origin.service === claimant.origin.service ? undefined : holder;
  }
}

function frontendOf({ frontends }: CompiledServicePort, id: FrontendId): Frontend | undefined {
  return frontends.find((frontend) => frontend.id === id);
}

function rankOf(id: FrontendId, compiled: CompiledServicePort): number {
  return frontendOf(compiled, id)?.kind === 'clusterIP' ? 0 : 1;
}

import { KeyedTable } from '../keyed-table.ts';
import type { IpsetSpec, MemberTable, SetName } from './state.ts';

/** A set whose members we own, as it goes from one state to the next. */
export class SetVersions {
  #members: MemberTable = new KeyedTable();
  #changes = new Map<string, true | undefined>();
  #spec: IpsetSpec;

  /** `create`: what follows the name where the set is made. */
  constructor(name: SetName, create: string) {
    this.#spec = { name, create, members: this.#members };
  }

  put(member: string): void {
    this.#changes.set(member, true);
  }

  remove(member: string): void {
    this.#changes.set(member, undefined);
  }

  /** Makes these the only members. */
  replace(members: ReadonlySet<string>): void {
    for (const member of this.#members.keys()) if (!members.has(member)) this.remove(member);
    for (const member of members) this.put(member);
  }

  /** The set as it is now; the one given before where it has the same members. */
  publish(): IpsetSpec {
    const members = this.#members.with(this.#changes);
    this.#changes = new Map();
    if (members === this.#members) return this.#spec;
    this.#members = members;
    this.#spec = { ...this.#spec, members };
    return this.#spec;
  }
}

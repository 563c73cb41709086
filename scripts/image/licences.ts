/** Names of licences in Debian's copyright files, and what SPDX calls them. */
const spdxNames: Readonly<Record<string, string>> = {
  'apache-2.0': 'Apache-2.0',
  'artistic-1': 'Artistic-1.0-Perl',
  'bsd-2': 'BSD-2-Clause',
  'bsd-2-clause': 'BSD-2-Clause',
  'bsd-3': 'BSD-3-Clause',
  'bsd-3-clause': 'BSD-3-Clause',
  'bsd-4-clause': 'BSD-4-Clause',
  'cc0-1.0': 'CC0-1.0',
  expat: 'MIT',
  isc: 'ISC',
  'lgpl-2': 'LGPL-2.0-only',
  'lgpl-2+': 'LGPL-2.0-or-later',
  'mpl-2.0': 'MPL-2.0',
  zlib: 'Zlib',
};

/** What a Debian copyright file says of a package's licences. */
export interface Licences {
  /** An SPDX expression, where every name it has is known to SPDX. */
  readonly expression: string | undefined;
  /** The names as Debian has them. */
  readonly names: readonly string[];
}

/** Reads a machine-readable copyright file (DEP 5); of others, which are prose, nothing. */
export function licencesOf(copyright: string): Licences {
  if (!/^Format: /m.test(copyright)) return { expression: undefined, names: [] };
  const found = [...copyright.matchAll(/^License: *(?<name>\S.*)$/gm)];
  const names = [...new Set(found.map((match) => match.groups?.['name']?.trim() ?? ''))].toSorted();
  const known = names.map((name) => expressionOf(name));
  const isKnown = names.length > 0 && known.every((each) => each !== undefined);
  const parts = [...new Set(known)];
  const bracketed = parts.map((each) => (/ (OR|AND) /.test(`${each}`) ? `(${each})` : each));
  const expression = parts.length === 1 ? parts[0] : bracketed.join(' AND ');
  return { expression: isKnown ? expression : undefined, names };
}

/** `GPL-2+ or Expat`: `GPL-2.0-or-later OR MIT`. */
function expressionOf(name: string): string | undefined {
  const parts = name.split(/ (and|or) /i).map((word, index) => {
    return index % 2 === 1 ? word.toUpperCase() : spdxName(word.trim());
  });
  return parts.includes(undefined) ? undefined : parts.join(' ');
}

function spdxName(name: string): string | undefined {
  const gnu = /^(?<family>A?GPL|LGPL|GFDL)-(?<major>\d)(?<minor>\.\d)?(?<later>\+)?$/i.exec(name);
  const { family, major, minor = '.0', later } = gnu?.groups ?? {};
  const usual = spdxNames[name.toLowerCase()];
  if (usual !== undefined || family === undefined) return usual;
  return `${family.toUpperCase()}-${major}${minor}-${later === undefined ? 'only' : 'or-later'}`;
}

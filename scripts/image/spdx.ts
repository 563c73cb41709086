import { createHash } from 'node:crypto';
import { field } from './apt.ts';
import type { UnpackedPackage } from './apt.ts';
import type { Licences } from './licences.ts';
import type { NpmPackage } from './npm-packages.ts';

/** What the bill of materials is made of. */
export interface Materials {
  readonly version: string;
  readonly architecture: string;
  /** When the image counts as made, in seconds since 1970. */
  readonly time: number;
  readonly debian: readonly (UnpackedPackage & { readonly licences: Licences })[];
  readonly node: NpmPackage;
  /** What is in the bundle besides Switchyard's own code. */
  readonly npm: readonly NpmPackage[];
}

interface SpdxPackage {
  readonly SPDXID: string;
  readonly name: string;
  readonly versionInfo: string;
  readonly [name: string]: unknown;
}

const unsaid = 'NOASSERTION';

/** The bill of materials as SPDX 2.3 in JSON: the same materials give the same bytes. */
export function spdx(materials: Materials): string {
  const { version, architecture, time, debian, node, npm } = materials;
  const own: SpdxPackage = {
    ...described('Package-switchyard', 'switchyard', version, 'Apache-2.0'),
    primaryPackagePurpose: 'APPLICATION',
  };
  const image: SpdxPackage = {
    ...described('Package-image', 'switchyard-image', version, unsaid),
    primaryPackagePurpose: 'CONTAINER',
    comment: `the container image for linux/${architecture}`,
  };
  const parts = [own, nodeEntry(node), ...debian.map(debianEntry), ...npm.map(npmEntry)];
  const relationships = [
    related('DOCUMENT', 'DESCRIBES', image.SPDXID.slice('SPDXRef-'.length)),
    ...[own, nodeEntry(node), ...debian.map(debianEntry)].map(({ SPDXID }) =>
      related('Package-image', 'CONTAINS', SPDXID.slice('SPDXRef-'.length)),
    ),
    ...npm.map((each) =>
      related('Package-switchyard', 'CONTAINS', npmEntry(each).SPDXID.slice('SPDXRef-'.length)),
    ),
  ];
  const packages = [image, ...parts];
  const digest = createHash('sha256').update(JSON.stringify(packages)).digest('hex');
  const name = `switchyard-${version}-${architecture}`;
  const document = {
    spdxVersion: 'SPDX-2.3',
    dataLicense: 'CC0-1.0',
    SPDXID: 'SPDXRef-DOCUMENT',
    name,
    documentNamespace: `https://spdx.org/spdxdocs/${name}-${digest}`,
    creationInfo: {
      created: new Date(time * 1000).toISOString().replace('.000Z', 'Z'),
      creators: [`Tool: switchyard-image-${version}`],
    },
    packages,
    relationships,
  };
  return `${JSON.stringify(document, undefined, 1)}\n`;
}

function debianEntry(each: Materials['debian'][number]): SpdxPackage {
  const { name, version, sha256, control, licences } = each;
  const [architecture, homepage] = [field(control, 'Architecture'), field(control, 'Homepage')];
  const purl = `pkg:deb/debian/${escape(name)}@${escape(version)}?arch=${architecture}&distro=debian-12`;
  const said = licences.names.join(', ');
  return {
    ...described(`Package-deb-${name}`, name, version, licences.expression ?? unsaid),
    ...(said === '' ? {} : { licenseComments: `as its copyright file names them: ${said}` }),
    ...(homepage === '' ? {} : { homepage }),
    supplier: `Organization: Debian`,
    sourceInfo: `built from ${field(control, 'Source') || name}`,
    checksums: [{ algorithm: 'SHA256', checksumValue: sha256 }],
    externalRefs: [packageUrl(purl)],
  };
}

function npmEntry({ name, version, license, integrity }: NpmPackage): SpdxPackage {
  const id = name.replaceAll(/[^A-Za-z0-9.-]/g, '-');
  return {
    ...described(`Package-npm-${id}-${version}`, name, version, license),
    checksums: [sha512(integrity)],
    externalRefs: [packageUrl(`pkg:npm/${name.replace('@', '%40')}@${version}`)],
  };
}

function nodeEntry(node: NpmPackage): SpdxPackage {
  const cpe = `cpe:2.3:a:nodejs:node.js:${node.version}:*:*:*:*:*:*:*`;
  return {
    ...described('Package-node', 'node', node.version, node.license),
    comment: `bin/node of the npm package ${node.name}, without symbols and debugging sections`,
    checksums: [sha512(node.integrity)],
    externalRefs: [
      packageUrl(`pkg:npm/${node.name}@${node.version}`),
      { referenceCategory: 'SECURITY', referenceType: 'cpe23Type', referenceLocator: cpe },
    ],
  };
}

function described(id: string, name: string, version: string, licence: string): SpdxPackage {
  return {
    SPDXID: `SPDXRef-${id.replaceAll(/[^A-Za-z0-9.-]/g, '-')}`,
    name,
    versionInfo: version,
    downloadLocation: unsaid,
    filesAnalyzed: false,
    licenseConcluded: unsaid,
    licenseDeclared: licence,
    copyrightText: unsaid,
  };
}

function related(from: string, relationshipType: string, to: string): object {
  return {
    spdxElementId: `SPDXRef-${from}`,
    relationshipType,
    relatedSpdxElement: `SPDXRef-${to}`,
  };
}

function packageUrl(locator: string): object {
  return {
    referenceCategory: 'PACKAGE-MANAGER',
    referenceType: 'purl',
    referenceLocator: locator,
  };
}

/** `sha512-BASE64` as SPDX has it: hexadecimal. */
function sha512(integrity: string): object {
  const checksumValue = Buffer.from(integrity.replace('sha512-', ''), 'base64').toString('hex');
  return { algorithm: 'SHA512', checksumValue };
}

/** What a package URL may not have as it is: `1:1.4.7-1+b2`. */
function escape(text: string): string {
  return encodeURIComponent(text).replaceAll('%3A', ':');
}

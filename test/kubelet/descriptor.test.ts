// The protocol files say what the installed containerd says: each message, field, number and type that both have.
import { gunzipSync, inflateRawSync } from 'node:zlib';
import { readFileSync } from 'node:fs';
import { fromBinary } from '@bufbuild/protobuf';
import type { DescFile } from '@bufbuild/protobuf';
import { FieldDescriptorProto_Label, FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import type { DescriptorProto, FileDescriptorProto } from '@bufbuild/protobuf/wkt';
import { beforeAll, describe, expect, it } from 'vitest';
import { file_api } from '../../src/kubelet/cri/gen/api_pb.ts';
import { file_containerd_events } from '../../src/kubelet/cri/gen/containerd-events_pb.ts';

const containerd = '/usr/bin/containerd';

let found: readonly FileDescriptorProto[];

beforeAll(() => {
  found = descriptorsIn(readFileSync(containerd));
});

/** What came after containerd 1.6, which the kubelet therefore never relies on. */
const later = [
  'Mount.recursive_read_only',
  'ImageSpec.user_specified_image',
  'ImageSpec.runtime_handler',
  'ContainerStatus.user',
  'ContainerConfig.stop_signal',
  'ContainerStatus.stop_signal',
  'StatusResponse.runtime_handlers',
  'StatusResponse.features',
  'RuntimeService/RuntimeConfig',
];

describe('CRI', () => {
  it('has each field as containerd has it, and what 1.6 lacks is listed', () => {
    const [theirs, ours] = [interfaceOf(fileOf('runtime.v1')), interfaceOf(protoOf(file_api))];
    const lacking = [...ours.keys()].filter((name) => !theirs.has(name));
    const known = lacking.filter((name) => !later.some((each) => isOf(name, each)));
    expect(known).toEqual([]);
    const both = [...ours].filter(([name]) => theirs.has(name));
    expect(both.length).toBeGreaterThan(250);
    expect(both).toEqual(both.map(([name]) => [name, theirs.get(name)]));
  });
});

describe('containerd’s events', () => {
  it('have the fields that are read', () => {
    const ours = [...interfaceOf(protoOf(file_containerd_events))];
    const service = interfaceOf(fileOf('containerd.services.events.v1'));
    const tasks = interfaceOf(fileOf('containerd.events', 'TaskExit'));
    const read = ours.filter(([name]) => !name.startsWith('TaskEvent'));
    expect(read.length).toBeGreaterThan(8);
    expect(read).toEqual(read.map(([name]) => [name, service.get(name) ?? tasks.get(name)]));
  });
});

/** A part of what came later, or a message that only that uses. */
function isOf(name: string, each: string): boolean {
  return (
    name === each ||
    /^(?:Signal\b|RuntimeHandler|ContainerUser|LinuxContainerUser|RuntimeFeatures|CgroupDriver|LinuxRuntimeConf|RuntimeConfigRe)/.test(
      name,
    )
  );
}

function fileOf(name: string, message?: string): FileDescriptorProto {
  const file = found.find(
    (each) =>
      each.package === name &&
      (message === undefined || each.messageType.some((type) => type.name === message)),
  );
  if (!file) throw new Error(`no descriptor of ${name} in ${containerd}`);
  return file;
}

function protoOf(file: DescFile): FileDescriptorProto {
  return file.proto;
}

/** By the name of a field, value or call: its number, kind and type. */
function interfaceOf(file: FileDescriptorProto): ReadonlyMap<string, string> {
  const entries: [string, string][] = [];
  const enums = (types: FileDescriptorProto['enumType'], prefix: string): void => {
    for (const type of types) {
      for (const { name, number } of type.value)
        entries.push([`${prefix}${type.name}.${name}`, `${number}`]);
    }
  };
  const messages = (types: readonly DescriptorProto[], prefix: string): void => {
    for (const type of types) {
      for (const field of type.field) {
        const repeated = field.label === FieldDescriptorProto_Label.REPEATED ? 'repeated ' : '';
        const text = `${field.number} ${repeated}${field.type} ${field.typeName}`;
        entries.push([`${prefix}${type.name}.${field.name}`, text]);
      }
      enums(type.enumType, `${prefix}${type.name}.`);
      messages(type.nestedType, `${prefix}${type.name}.`);
    }
  };
  enums(file.enumType, '');
  messages(file.messageType, '');
  for (const service of file.service) {
    for (const call of service.method) {
      const stream = call.serverStreaming ? 'stream ' : '';
      entries.push([
        `${service.name}/${call.name}`,
        `${call.inputType} ${stream}${call.outputType}`,
      ]);
    }
  }
  return new Map(entries);
}

/** Go programs carry the descriptors of their protocol files, compressed. */
function descriptorsIn(binary: Buffer): readonly FileDescriptorProto[] {
  const files: FileDescriptorProto[] = [];
  const magic = Buffer.from([0x1f, 0x8b, 0x08]);
  for (let at = binary.indexOf(magic); at !== -1; at = binary.indexOf(magic, at + 1)) {
    const text = inflated(binary.subarray(at, at + 2 ** 18));
    if (text?.[0] !== 0x0a) continue;
    try {
      files.push(fromBinary(FileDescriptorProtoSchema, text));
    } catch {
      // something else that is compressed
    }
  }
  return files;
}

function inflated(bytes: Buffer): Buffer | undefined {
  try {
    return gunzipSync(bytes);
  } catch {
    // What follows it in the program is no part of it.
  }
  try {
    return inflateRawSync(bytes.subarray(10));
  } catch {
    return undefined;
  }
}

type Fields = Readonly<Record<string, unknown>>;

/** Lists that the real API merges by a key of their elements; all others are replaced as a whole. */
const mergeKeys: Readonly<Record<string, string>> = {
  conditions: 'type',
  addresses: 'type',
  podIPs: 'ip',
  hostIPs: 'ip',
  ownerReferences: 'uid',
};

/** The object with a patch merged into it: as RFC 7386 says, or with the merge keys of Kubernetes. */
export function merged(before: unknown, patch: unknown, isStrategic: boolean, field = ''): unknown {
  const key = mergeKeys[field];
  if (isStrategic && key !== undefined && Array.isArray(patch)) {
    return mergedList(before, patch as readonly Fields[], key);
  }
  if (!isFields(patch)) return patch;
  const base = isFields(before) ? before : {};
  const result: Record<string, unknown> = { ...base };
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete result[name];
    else result[name] = merged(base[name], value, isStrategic, name);
  }
  return result;
}

function mergedList(before: unknown, patch: readonly Fields[], key: string): readonly Fields[] {
  const elements = patch.filter((element) => element['$patch'] === undefined);
  const replaces = patch.some((element) => element['$patch'] === 'replace');
  const kept = replaces || !Array.isArray(before) ? [] : [...(before as readonly Fields[])];
  for (const element of elements) {
    const at = kept.findIndex((each) => each[key] === element[key]);
    if (at < 0 || replaces) kept.push(element);
    else kept[at] = merged(kept[at], element, true) as Fields;
  }
  return kept;
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

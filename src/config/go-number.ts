const most = 2 ** 31;

/** Go's ParseInt of base 0 and 32 bits: `14`, `-999`, `0x10`, `0b1`, `010` (octal); undefined where it is none. */
export function parseInt32(text: string): number | undefined {
  const [, sign = '', body = ''] = /^([+-]?)(.+)$/s.exec(text) ?? [];
  const magnitude = parseMagnitude(body);
  if (magnitude === undefined) return undefined;
  const value = sign === '-' ? 0 - magnitude : magnitude;
  return isInt32(value) ? value : undefined;
}

/** Whether Go's int32 holds it. */
export function isInt32(value: number): boolean {
  return Number.isInteger(value) && value >= -most && value < most;
}

/** A decimal number, with or without an exponent; undefined where it is none. */
export function parseFloat32(text: string): number | undefined {
  return /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/.test(text) ? Number(text) : undefined;
}

/** Whether it is a Kubernetes quantity of bytes: `512`, `1K`, `2Ki`. */
export function isQuantity(text: string): boolean {
  return /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[KMGTPE]i|[numkKMGTPE]|[eE][+-]?\d+)?$/.test(text);
}

function parseMagnitude(body: string): number | undefined {
  if (/^0(?:x[\da-f]+|b[01]+|o[0-7]+)$/i.test(body)) return Number(body.toLowerCase());
  if (/^0[0-7]+$/.test(body)) return Number.parseInt(body, 8);
  return /^(?:0|[1-9]\d{0,14})$/.test(body) ? Number(body) : undefined;
}

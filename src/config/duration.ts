const unitMs: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** A duration of Go is a 64-bit number of nanoseconds. */
const longestMs = 2 ** 63 / 1e6;

/** Reads a Go duration (`1m30s`, `500ms`, `-1s`, `0`) into milliseconds; undefined where it is none. */
export function parseDuration(text: string): number | undefined {
  const sign = text.startsWith('-') ? -1 : 1;
  const body = text.replace(/^[+-]/, '');
  if (body === '0') return 0;
  if (!/^(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|\u00b5s|ms|s|m|h))+$/.test(body)) return undefined;
  let total = 0;
  for (const [, number = '', unit = ''] of body.matchAll(/([\d.]+)([^\d.]+)/g)) {
    total += Number(number) * (unitMs[unit] ?? 0);
  }
  return durationWithin(sign * total);
}

/** Milliseconds, where Go has a duration that long. */
export function durationWithin(ms: number): number | undefined {
  return Math.abs(ms) < longestMs ? ms : undefined;
}

/** Milliseconds as a Go duration without empty parts: `1h30m`, `500ms`, `0s`. */
export function formatDuration(ms: number): string {
  if (ms === 0) return '0s';
  if (ms < 0) return `-${formatDuration(-ms)}`;
  if (ms < 1000) return `${ms}ms`;
  const hours = Math.floor(ms / 3_600_000);
  const minutes = Math.floor((ms % 3_600_000) / 60_000);
  const seconds = (ms % 60_000) / 1000;
  const parts = [hours && `${hours}h`, minutes && `${minutes}m`, seconds && `${seconds}s`];
  return parts.filter((part) => part !== 0).join('');
}

/** Milliseconds as Go prints a duration: every part below the first one, `1h0m0s`, `15m0s`, `1.5s`, `250ms`. */
export function goDuration(ms: number): string {
  if (ms < 0) return `-${goDuration(-ms)}`;
  if (ms === 0) return '0s';
  if (ms < 1e-3) return `${Math.round(ms * 1e6)}ns`;
  if (ms < 1) return `${Number((ms * 1e3).toFixed(3))}\u00b5s`;
  if (ms < 1000) return `${Number(ms.toFixed(6))}ms`;
  const minutes = Math.floor(ms / 60_000);
  const seconds = `${Number(((ms - minutes * 60_000) / 1000).toFixed(9))}s`;
  if (minutes === 0) return seconds;
  const hours = Math.floor(minutes / 60);
  return `${hours === 0 ? '' : `${hours}h`}${minutes % 60}m${seconds}`;
}

import { Buffer } from 'node:buffer';
import { createHash } from 'node:crypto';
import type { ObjectEvent, WireEvent, WireSeries } from './events.ts';

/** Who reports, as every Event says it. */
export interface EventReporter {
  /** A qualified name: `switchyard.io/proxy`. */
  readonly controller: string;
  /** The node's name. */
  readonly instance: string;
}

/** What the API server takes, in bytes. */
const longestNote = 1024;
const longestInstance = 128;
/** Where Events on objects without a namespace go. */
const clusterNamespace = 'default';

/**
 * The object to create. What is told once for the whole cluster has the same name wherever it is made, so that the API
 * server takes the first and refuses the others.
 */
export function wireEvent(
  event: ObjectEvent,
  reporter: EventReporter,
  nowMs: number,
  series: WireSeries | undefined,
): WireEvent {
  const { regarding, reason, action, type = 'Warning' } = event;
  const { namespace, ...unbound } = regarding;
  const { name } = regarding;
  const note = cut(event.note, longestNote);
  const instance = cut(reporter.instance, longestInstance);
  const own = event.scope === 'node' ? [instance, nowMs] : [];
  const said = JSON.stringify([reporter.controller, regarding, reason, note, ...own]);
  const hash = createHash('sha256').update(said).digest('hex').slice(0, 16);
  return {
    apiVersion: 'events.k8s.io/v1',
    kind: 'Event',
    metadata: { namespace: namespace || clusterNamespace, name: `${name}.${hash}` },
    eventTime: microTime(nowMs),
    ...(series && { series }),
    reportingController: reporter.controller,
    reportingInstance: instance,
    action,
    reason,
    regarding: namespace === '' ? unbound : regarding,
    note,
    type,
  };
}

/** As the API's MicroTime wants it. */
export function microTime(ms: number): string {
  return new Date(ms).toISOString().replace('Z', '000Z');
}

/** The text in at most so many bytes of UTF-8; what is cut off shows as `…`. */
function cut(text: string, longest: number): string {
  if (Buffer.byteLength(text) <= longest) return text;
  const rest = '…';
  let bytes = Buffer.byteLength(rest);
  let kept = '';
  for (const character of text) {
    bytes += Buffer.byteLength(character);
    if (bytes > longest) break;
    kept += character;
  }
  return kept + rest;
}

import { apiTime } from '../api/api-time.ts';

/** The object an Event is about. */
export interface EventObject {
  readonly kind: 'Pod' | 'Node';
  readonly apiVersion: 'v1';
  /** '' of a Node. */
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  /** `spec.containers{web}` */
  readonly fieldPath?: string;
}

/** An Event before it is counted or put together with others. */
export interface NewEvent {
  readonly object: EventObject;
  readonly type: 'Normal' | 'Warning';
  readonly reason: string;
  readonly message: string;
}

/** What of an Event changes when it happens again. */
export interface EventCount {
  readonly count: number;
  readonly lastTimestamp: string;
  /** Of several that are alike the last one. */
  readonly message: string;
}

/** An Event as core/v1 has it, and `kubectl describe` shows it. */
export interface CoreEvent extends EventCount {
  readonly apiVersion: 'v1';
  readonly kind: 'Event';
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly involvedObject: object;
  readonly reason: string;
  readonly type: 'Normal' | 'Warning';
  readonly source: { readonly component: string; readonly host: string };
  readonly reportingComponent: string;
  readonly reportingInstance: string;
  readonly firstTimestamp: string;
}

const component = 'kubelet';
/** What the API server takes. */
const longestMessage = 1024;
/** Events about objects without a namespace are in this one. */
const clusterNamespace = 'default';

/** The object to create; `unique` tells it from others about the same object. */
export function coreEvent(
  event: NewEvent,
  { count, message }: Pick<EventCount, 'count' | 'message'>,
  node: string,
  unique: string,
  nowMs: number,
): CoreEvent {
  const { object, type, reason } = event;
  const { namespace, ...rest } = object;
  const own = namespace === '' ? {} : { namespace };
  const now = apiTime(nowMs);
  return {
    apiVersion: 'v1',
    kind: 'Event',
    metadata: { name: `${object.name}.${unique}`, namespace: namespace || clusterNamespace },
    involvedObject: { ...rest, ...own },
    reason,
    message: message.slice(0, longestMessage),
    type,
    source: { component, host: node },
    reportingComponent: component,
    reportingInstance: node,
    count,
    firstTimestamp: now,
    lastTimestamp: now,
  };
}

/** What changes of it when it has happened so often. */
export function eventCount(
  { count, message }: Pick<EventCount, 'count' | 'message'>,
  nowMs: number,
): EventCount {
  return { count, lastTimestamp: apiTime(nowMs), message: message.slice(0, longestMessage) };
}

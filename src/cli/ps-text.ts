import type { PodEntry, PodsDocument, SourceEntry } from '../kubelet/admin/pods-document.ts';
import { ageText } from './ages.ts';
import { textTable } from './text-table.ts';

/** These need no word on why. */
const fine: ReadonlySet<string> = new Set(['Running', 'Completed', 'Succeeded', 'Terminating']);

/** The pods of a node for a terminal, and what of its sources is not run; `isWide`: with all that fits into a line. */
export function psText(document: PodsDocument, isWide: boolean): string {
  const { pods, sources, waitsFor } = document;
  const notes = pods.filter(({ status, message }) => !fine.has(status) && message !== '');
  const paragraphs = [
    waitsFor === null ? [] : [`no pods are run yet: ${waitsFor}`],
    pods.length === 0 ? emptyLines(document) : tableOf(document, isWide),
    isWide ? [] : notes.map((pod) => `${nameOf(pod)}: ${lineOf(pod.message)}`),
    sources.flatMap(sourceLines),
  ].filter((lines) => lines.length > 0);
  return `${paragraphs.map((lines) => lines.join('\n')).join('\n\n')}\n`;
}

function tableOf({ pods, now }: PodsDocument, isWide: boolean): readonly string[] {
  const head = ['NAME', 'READY', 'STATUS', 'RESTARTS', 'AGE', 'IP'];
  const rows = pods.map((pod) => [
    nameOf(pod),
    `${pod.ready}/${pod.total}`,
    pod.status,
    restartsText(pod, now),
    pod.created === null ? '-' : age(pod.created, now),
    pod.ips.length === 0 ? '-' : isWide ? pod.ips.join(',') : (pod.ips[0] ?? '-'),
    ...(isWide ? [pod.source ?? '-', imagesOf(pod), lineOf(pod.message) || '-'] : []),
  ]);
  return textTable([isWide ? [...head, 'SOURCE', 'IMAGES', 'MESSAGE'] : head, ...rows]);
}

function emptyLines({ waitsFor, node }: PodsDocument): readonly string[] {
  return waitsFor === null ? [`there are no pods on ${node}`] : [];
}

function nameOf({ namespace, name }: PodEntry): string {
  return `${namespace}/${name}`;
}

function restartsText({ restarts, lastRestart }: PodEntry, now: string): string {
  return lastRestart === null ? String(restarts) : `${restarts} (${age(lastRestart, now)} ago)`;
}

function age(then: string, now: string): string {
  return ageText((Date.parse(now) - Date.parse(then)) / 1000).replaceAll(' ', '');
}

function imagesOf({ containers }: PodEntry): string {
  return containers.map(({ image }) => image).join(',') || '-';
}

function lineOf(message: string): string {
  return message.replaceAll(/\s*\n\s*/g, '; ');
}

function sourceLines({ place, complete, refused }: SourceEntry): readonly string[] {
  const own = refused.find(({ what }) => what === place);
  const others = refused.filter((each) => each !== own);
  const silent =
    complete || own !== undefined ? [] : [`${place} has not said yet which pods there are`];
  return [
    ...(own === undefined ? silent : [`${place} ${lineOf(own.reason)}`]),
    ...others.map(({ what, reason }) => {
      const where = what.startsWith('/') ? what : `${place}: ${what}`;
      return `${where} ${lineOf(reason)}`;
    }),
  ];
}

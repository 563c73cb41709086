import type { KubeletStatus } from '../kubelet/admin/kubelet-status.ts';
import type { SourceEntry } from '../kubelet/admin/pods-document.ts';
import { ageText } from './ages.ts';
import { textTable } from './text-table.ts';

/** How the kubelet is, for a terminal. */
export function kubeletStatusText(status: KubeletStatus): string {
  const { state, reasons, version, pid, started, now, node, runtime } = status;
  const up = ageText((Date.parse(now) - Date.parse(started)) / 1000);
  const addresses = node.addresses.length === 0 ? 'no address known' : node.addresses.join(', ');
  const rows = [
    ['  state', reasons.length === 0 ? state : `${state}: ${reasons.join('; ')}`],
    ['  agent', `Switchyard ${version}, process ${pid}, up ${up}`],
    ['  node', `${node.name} (${addresses})`],
    ['  runtime', `${runtime.version ?? 'not known yet'} (${runtime.endpoint})`],
    ['  pods', podsText(status)],
    ...status.sources.map((source, index) => [index === 0 ? '  from' : '', sourceText(source)]),
  ];
  return `${['kubelet', ...textTable(rows)].join('\n')}\n`;
}

/** `3 of 4 ready, 1 CrashLoopBackOff` */
function podsText({ pods: { total, ready, byStatus } }: KubeletStatus): string {
  const others = Object.entries(byStatus).filter(([word]) => word !== 'Running');
  return [`${ready} of ${total} ready`, ...others.map(([word, each]) => `${each} ${word}`)].join(
    ', ',
  );
}

function sourceText({ name, place, complete, refused }: SourceEntry): string {
  const kind = name === 'api' ? 'API server' : name === 'http' ? 'URL' : 'files';
  const left = refused.filter(({ what }) => what !== place).length;
  const notes = [
    ...(complete ? [] : ['has not said yet which pods there are']),
    ...(left === 0 ? [] : [`${left} not run: switchyard ps says why`]),
  ];
  return [`${place} (${kind})`, ...notes].join(', ');
}

import type { FamilyStatus, ListStatus, StatusDocument } from '../proxy/admin/status-document.ts';
import { ageText, agoText } from './ages.ts';

/** Nobody reads a thousand lines of one kind on a terminal; JSON has all of them. */
const mostRows = 20;

/** The status for a terminal. */
export function statusText(status: StatusDocument): string {
  const { now, source } = status;
  const lines = [
    ...table([
      ['state', stateText(status)],
      ['agent', `Switchyard ${status.version}, process ${status.pid}, up ${upText(status)}`],
      ['mode', status.mode],
      ...configurationRows(status),
      ['node', nodeText(status)],
      ...sourceRows(source, now),
      ...(status.relay === null
        ? []
        : [
            [
              'relay',
              `${count(status.relay.listeners, 'listener')}, ${count(status.relay.connections, 'open connection')}`,
            ] as const,
          ]),
    ]),
    ...status.families.flatMap((family) => ['', ...familyLines(family, now)]),
  ];
  return `${lines.join('\n')}\n`;
}

type Row = readonly [name: string, text: string];

function table(rows: readonly Row[]): readonly string[] {
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, text]) => `${name.padEnd(width)}  ${text}`);
}

function stateText({ state, reasons }: StatusDocument): string {
  return reasons.length === 0 ? state : `${state}: ${reasons.join('; ')}`;
}

/** Where there is no file nothing can change. */
function configurationRows({ configuration, now }: StatusDocument): readonly Row[] {
  if (configuration === null || configuration.sha256 === '') return [];
  const { sha256, since, newest } = configuration;
  const text = `${sha256.slice(0, 12)}…, since ${agoText(since, now)}`;
  return [['config', newest ? text : `${text}; a newer one is not in force: the log says why`]];
}

function upText({ started, now }: StatusDocument): string {
  return ageText((Date.parse(now) - Date.parse(started)) / 1000);
}

function nodeText({ node: { name, addresses, eligible } }: StatusDocument): string {
  const known = addresses.length === 0 ? 'no address known' : addresses.join(', ');
  return `${name} (${known})${eligible ? '' : ', about to be removed: /healthz says 503'}`;
}

/** What is well in one line, and each trouble in one of its own. */
function sourceRows({ kind, where, lists }: StatusDocument['source'], now: string): readonly Row[] {
  const counts = lists
    .filter(({ complete }) => complete)
    .map((list) => `${list.objects} ${list.name}`);
  const troubles = lists.flatMap((list) => troubleText(list, now) ?? []);
  return [
    ['objects', [`from ${where} (${kind})`, ...counts].join(', ')],
    ...troubles.map((text): Row => ['', text]),
  ];
}

function troubleText({ name, complete, trouble }: ListStatus, now: string): string | undefined {
  if (trouble !== null) {
    const age = agoText(trouble.since, now).replace(/ ago$/, '');
    return `nothing new of ${name} for ${age}: ${trouble.reason}`;
  }
  return complete ? undefined : `the first list of ${name} has not come yet`;
}

function familyLines(family: FamilyStatus, now: string): readonly string[] {
  const rules = Object.entries(family.rules).filter(([, each]) => each > 0);
  const programmed = [
    `${family.programmed} of ${count(family.services, 'service')}`,
    count(family.servicePorts, 'port'),
    count(family.endpoints, 'endpoint'),
    ...rules.map(([name, each]) => `${each} rules in ${name}`),
  ];
  return [
    family.family,
    ...table([
      ['  last sync', lastText(family, now)],
      ['  programmed', programmed.join(', ')],
      ...pendingRows(family, now),
      ...drainRows(family),
    ]),
    ...unfinishedLines(family, now),
    ...section('contested', family.conflicts),
    ...section('services without rules here', reasonCounts(family.withoutRules)),
  ];
}

const stateTitles = {
  failed: 'not programmed',
  pending: 'waiting to be programmed',
  partial: 'programmed in part',
} as const;

function unfinishedLines({ unfinished }: FamilyStatus, now: string): readonly string[] {
  const byState = Map.groupBy(unfinished, ({ state }) => state);
  return [...byState].flatMap(([state, list]) =>
    section(
      stateTitles[state],
      list.map(
        ({ service, reason, since }) => `${service} (since ${agoText(since, now)}): ${reason}`,
      ),
    ),
  );
}

function lastText({ lastSync, lastFullSync }: FamilyStatus, now: string): string {
  if (lastSync === null) return 'none yet';
  const { at, seconds, full } = lastSync;
  const took = `${agoText(at, now)}, took ${Math.round(seconds * 1000)} ms`;
  if (full || lastFullSync === null) return `${took}, full`;
  return `${took}; last full one ${agoText(lastFullSync, now)}`;
}

function pendingRows({ pendingSince, failure }: FamilyStatus, now: string): readonly Row[] {
  const rows: Row[] = [];
  if (pendingSince !== null)
    rows.push(['  pending', `a change, since ${agoText(pendingSince, now)}`]);
  if (failure === null) return rows;
  rows.push(['  failing', `since ${agoText(failure.since, now)}: ${failure.reason}`]);
  if (failure.hint !== null) rows.push(['', failure.hint]);
  return rows;
}

function drainRows({ draining }: FamilyStatus): readonly Row[] {
  if (draining === null || draining.servers === 0) return [];
  const { servers, oldestSeconds } = draining;
  return [
    ['  draining', `${count(servers, 'real server')}, the oldest for ${ageText(oldestSeconds)}`],
  ];
}

function section(title: string, rows: readonly string[]): readonly string[] {
  if (rows.length === 0) return [];
  const more = rows.length - mostRows;
  return [
    `  ${title}`,
    ...rows.slice(0, mostRows).map((row) => `    ${row}`),
    ...(more > 0 ? [`    and ${more} more (--output=json has all)`] : []),
  ];
}

/** Most of them are headless: a line a reason, with names where they are few. */
function reasonCounts(without: FamilyStatus['withoutRules']): readonly string[] {
  const byReason = Map.groupBy(without, ({ reason }) => reason);
  return Array.from(byReason, ([reason, list]) => {
    const names = list.slice(0, 3).map(({ service }) => service);
    const more = list.length - names.length;
    return `${names.join(', ')}${more > 0 ? ` and ${more} more` : ''}: ${reason}`;
  });
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`;
}

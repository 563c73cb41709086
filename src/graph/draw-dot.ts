import { familyLabel, hostPort } from '../ip/address.ts';
import { arrange } from './drawing.ts';
import type { Drawing, DrawnService, Gate, Switch } from './drawing.ts';
import { askedText, isWeighted } from './pool.ts';
import { rational, toFraction } from './rational.ts';
import type { Branch, BranchSource, Frontend, Pool, RuleGraph, Verdict } from './rule-graph.ts';

/**
 * The graph in Graphviz's language, left to right: where traffic arrives, grouped by service; who is
 * told apart from whom; the endpoints and their shares. Equal graphs give equal bytes.
 */
export function toDot(graph: RuleGraph): string {
  const { nodeName, family } = graph.node;
  const label = `<B>${escape(nodeName)}</B>${small(`   ${familyLabel(family)}, ${sizeText(graph)}`)}`;
  return drawingToDot(arrange(graph), `labelloc=t; labeljust=l; label=<${label}>;`);
}

/** A drawing, or a part of one, in Graphviz's language; `heading` is put among the graph's attributes. */
export function drawingToDot({ services, pools }: Drawing, heading = ''): string {
  const lines = [
    'digraph switchyard {',
    ...preamble(heading),
    ...services.flatMap(serviceLines),
    ...services.flatMap((service) =>
      verdictsOf(service).map((verdict) => verdictNode(service.name, verdict)),
    ),
    ...pools.map((pool) => `  ${quote(`pool ${pool.id}`)} [${poolAttributes(pool)}];`),
    ...services.flatMap(edgeLines),
    ...columns(services, pools),
    '}',
  ];
  return `${lines.join('\n')}\n`;
}

/** `1 frontend, 2 pools`. */
export function sizeText({ frontends, pools }: RuleGraph): string {
  return `${count(frontends.size, 'frontend')}, ${count(pools.size, 'pool')}`;
}

/** Pools show at most this many endpoints. */
const shownEndpoints = 12;
/** Lists of source ranges and the like are cut here. */
const shownRanges = 6;

/** A wide face: where the reader's machine has a narrower one, every text still fits its box. */
export const font = 'Verdana';
export const ink = '#1f2933';
export const faint = '#66727f';
const colours = {
  clusterIP: { fill: '#dbeafe', line: '#2563eb' },
  loadBalancerIP: { fill: '#ede9fe', line: '#7c3aed' },
  externalIP: { fill: '#cffafe', line: '#0e7490' },
  nodePort: { fill: '#fef3c7', line: '#b45309' },
  guard: { fill: '#fce7f3', line: '#be185d' },
  pool: { fill: '#dcfce7', line: '#15803d' },
  branch: { fill: '#eef1f4', line: '#8896a5' },
  reject: { fill: '#fee2e2', line: '#b91c1c' },
  drop: { fill: '#e5e7eb', line: '#374151' },
  pass: { fill: '#ffffff', line: '#374151' },
} as const;

const kindText = {
  clusterIP: 'cluster IP',
  loadBalancerIP: 'load balancer IP',
  externalIP: 'external IP',
  nodePort: 'node port',
} as const;

function preamble(heading: string): readonly string[] {
  return [
    `  rankdir=LR; newrank=true; ranksep=0.6; nodesep=0.14; bgcolor="#ffffff"; pad=0.1;`,
    `  fontname="${font}"; fontsize=13; fontcolor="${ink}"; ${heading}`,
    `  node [fontname="${font}" fontsize=10 fontcolor="${ink}" shape=box style="rounded,filled" penwidth=1.2 margin="0.16,0.07" height=0.3];`,
    `  edge [fontname="${font}" fontsize=8 fontcolor="${faint}" color="#8896a5" penwidth=1.1 arrowsize=0.6];`,
  ];
}

function serviceLines(service: DrawnService): readonly string[] {
  const { name, frontends, gates, switches, lost, healthCheckPorts } = service;
  return [
    `  subgraph ${quote(`cluster ${name}`)} {`,
    `    label=<<B>${escape(name)}</B>>; fontsize=10; margin=12; style="rounded,filled"; fillcolor="#f8fafc"; color="#cbd5e1"; labeljust=l;`,
    ...frontends.map((frontend) => `    ${frontendNode(frontend)}`),
    ...gates.map((gate) => `    ${gateNode(gate)}`),
    ...switches.map((each) => `    ${switchNode(each)}`),
    ...lost.map(
      ({ claimed, winner, loser }) =>
        `    ${quote(`lost ${claimed} ${loser.servicePort}`)} [style="rounded,dashed" color="${faint}" fontcolor="${faint}" label=<${small(`wanted by ${loser.name}, held by ${winner.name}`)}<BR/>${escape(claimed)}>];`,
    ),
    ...healthCheckPorts.map(
      (port) =>
        `    ${quote(`health check ${port}`)} [style=rounded color="${colours.pool.line}" label=<${small('health check node port')}<BR/><B>:${port}</B>>];`,
    ),
    '  }',
  ];
}

function frontendNode(frontend: Frontend): string {
  const { id, kind, address, protocol, port, origin } = frontend;
  const where = address === undefined ? `:${port}` : hostPort(address, port);
  const label = `${small(kindText[kind])}<BR/><B>${escape(where)}</B>${small(` ${protocol}`)}`;
  return `${quote(`frontend ${id}`)} [${fill(kind)} tooltip=${quote(origin.name)} label=<${label}>];`;
}

function gateNode({ key, guard }: Gate): string {
  const ranges = cut([...guard.allowed, ...guard.allowedOwn], shownRanges).map(escape);
  const label = `${small('source ranges')}<BR/>${ranges.join('<BR/>')}`;
  return `${quote(`gate ${key}`)} [${fill('guard')} label=<${label}>];`;
}

/** One row a branch, each the start of its own arrow. */
function switchNode({ key, branches }: Switch): string {
  const rows = branches.map(({ from }, row) => {
    const text = sourceText(from, branches.length > 1);
    return `<TR><TD PORT="b${row}" ALIGN="LEFT" BGCOLOR="${colours.branch.fill}">${text}</TD></TR>`;
  });
  const table = `<TABLE BORDER="0" CELLBORDER="1" CELLSPACING="0" CELLPADDING="5" COLOR="${colours.branch.line}">${rows.join('')}</TABLE>`;
  return `${quote(`switch ${key}`)} [shape=plain style="" label=<${table}>];`;
}

const sourceTexts = { pod: 'pods of this node', node: 'the node itself' } as const;

function sourceText(from: BranchSource, hasOthers: boolean): string {
  if (from !== 'anywhere') return sourceTexts[from];
  return hasOthers ? 'anyone else' : 'anyone';
}

function verdictsOf({ gates, switches }: DrawnService): readonly Verdict[] {
  const verdicts = new Map<string, Verdict>();
  for (const { guard } of gates) verdicts.set(verdictKey(guard.others), guard.others);
  for (const { to } of switches.flatMap(({ branches }) => branches)) {
    if (to.kind !== 'pool') verdicts.set(verdictKey(to), to);
  }
  return [...verdicts.values()];
}

function verdictKey({ kind, reason }: Verdict): string {
  return `${kind} ${reason}`;
}

function verdictNode(service: string, verdict: Verdict): string {
  const { kind, reason } = verdict;
  const label = `<B>${kind}</B><BR/>${small(reason)}`;
  return `  ${quote(`verdict ${service} ${verdictKey(verdict)}`)} [${fill(kind)} shape=octagon style=filled margin="0.02,0" label=<${label}>];`;
}

function poolAttributes(pool: Pool): string {
  const { id, endpoints, affinity } = pool;
  const { fill: background, line } = colours.pool;
  const total = endpoints.reduce((sum, { weight }) => sum + weight, 0);
  const sticky = affinity ? `, each client keeps its own for ${affinity.timeoutSeconds} s` : '';
  const asked = askedText(pool);
  const scheduled = asked === '' ? '' : `, ${asked}`;
  const weighted = isWeighted(pool);
  const rows = endpoints.slice(0, shownEndpoints).map(({ address, port, weight }) => {
    const share = weight === total ? 'all' : toFraction(rational(weight, total));
    const why = weighted ? small(`   weight ${weight}`) : '';
    return `<TR><TD ALIGN="LEFT" BGCOLOR="#ffffff">${escape(hostPort(address, port))}${why}</TD><TD ALIGN="RIGHT" BGCOLOR="#ffffff"><FONT COLOR="${line}">${share}</FONT></TD></TR>`;
  });
  const hidden = endpoints.length - rows.length;
  if (hidden > 0)
    rows.push(`<TR><TD COLSPAN="2" BGCOLOR="#ffffff">${small(`and ${hidden} more`)}</TD></TR>`);
  const header = `<TR><TD COLSPAN="2" ALIGN="LEFT" BGCOLOR="${background}">${small(count(endpoints.length, 'endpoint') + scheduled + sticky)}</TD></TR>`;
  const table = `<TABLE BORDER="1" CELLBORDER="0" CELLSPACING="0" CELLPADDING="5" COLOR="${line}">${header}${rows.join('')}</TABLE>`;
  return `shape=plain style="" tooltip=${quote(`pool ${id}`)} label=<${table}>`;
}

function edgeLines({ name, gates, switches }: DrawnService): readonly string[] {
  const gated = gates.flatMap(({ key, guard, frontends }) => {
    const gate = quote(`gate ${key}`);
    const others = quote(`verdict ${name} ${verdictKey(guard.others)}`);
    return [
      ...frontends.map(({ id }) => `  ${quote(`frontend ${id}`)} -> ${gate};`),
      `  ${gate} -> ${others} [label="others" style=dashed color="${colours.drop.line}"];`,
    ];
  });
  const switched = switches.flatMap(({ key, frontends, branches }) => {
    const to = quote(`switch ${key}`);
    const sources = frontends.map(({ id, guard }) => {
      const gate = gates.find(
        ({ frontends: behind }) => guard && behind.some((each) => each.id === id),
      );
      return gate
        ? `  ${quote(`gate ${gate.key}`)} -> ${to} [label="allowed"];`
        : `  ${quote(`frontend ${id}`)} -> ${to};`;
    });
    return [
      ...new Set(sources),
      ...branches.map((branch, row) => `  ${to}:b${row}:e -> ${branchEdge(name, branch)};`),
    ];
  });
  return [...gated, ...switched];
}

/** Nodes of a kind stand in a column. */
function columns(services: readonly DrawnService[], pools: readonly Pool[]): readonly string[] {
  const entries = services.flatMap(({ frontends, lost, healthCheckPorts }) => [
    ...frontends.map(({ id }) => quote(`frontend ${id}`)),
    ...lost.map(({ claimed, loser }) => quote(`lost ${claimed} ${loser.servicePort}`)),
    ...healthCheckPorts.map((port) => quote(`health check ${port}`)),
  ]);
  const gates = services.flatMap((service) => service.gates.map(({ key }) => quote(`gate ${key}`)));
  const switches = services.flatMap((service) =>
    service.switches.map(({ key }) => quote(`switch ${key}`)),
  );
  const ends = [
    ...services.flatMap((service) =>
      verdictsOf(service).map((verdict) => quote(`verdict ${service.name} ${verdictKey(verdict)}`)),
    ),
    ...pools.map(({ id }) => quote(`pool ${id}`)),
  ];
  return [entries, gates, switches, ends]
    .filter(({ length }) => length > 0)
    .map((column) => `  { rank=same; ${column.join('; ')}; }`);
}

function branchEdge(service: string, { to, reason }: Branch): string {
  if (to.kind !== 'pool') {
    const attributes = `style=dashed color="${colours[to.kind].line}"`;
    return `${quote(`verdict ${service} ${verdictKey(to)}`)} [${attributes} tooltip=${quote(reason)}]`;
  }
  const attributes = to.masquerade
    ? 'label="masquerade" color="#c2410c" fontcolor="#c2410c"'
    : `label="source kept" color="${colours.pool.line}" fontcolor="${colours.pool.line}"`;
  return `${quote(`pool ${to.pool}`)} [${attributes} tooltip=${quote(reason)}]`;
}

function fill(name: keyof typeof colours): string {
  const { fill: background, line } = colours[name];
  return `fillcolor="${background}" color="${line}"`;
}

function small(text: string): string {
  return `<FONT POINT-SIZE="8" COLOR="${faint}">${escape(text)}</FONT>`;
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}

function cut(list: readonly string[], limit: number): readonly string[] {
  return list.length <= limit ? list : [...list.slice(0, limit), `and ${list.length - limit} more`];
}

function quote(text: string): string {
  return `"${text.replace(/["\\]/g, String.raw`\$&`)}"`;
}

/** Text inside a label or an XML element. */
export function escape(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}

// `npm run pictures`: the pictures of the README, drawn from the code. The pipeline is the imports between the rooms of
// src/ turned round (data flows against them); the shop is what `switchyard render --output=svg` makes of examples/.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { instance } from '@viz-js/viz';

const root = join(import.meta.dirname, '..');
const folder = join(root, 'docs', 'images');
/** Rooms everybody may import: no part of the pipeline. */
const leaves = new Set(['ip', 'telemetry']);

const purpose: Readonly<Record<string, string>> = {
  informer: 'list + watch:\\nAPI server, files, URL',
  services: 'Service + EndpointSlice + Node\\n→ chosen endpoints',
  graph: 'the rule graph:\\ncompile, explain, draw',
  backends: 'lower, diff, apply, read:\\niptables',
  host: 'tools, sysctls,\\nlinks, conntrack',
  proxy: 'the agent: sync loop,\\nhealth, metrics',
  config: 'flags and files\\n→ typed settings',
  doctor: 'what a node lacks,\\nand the cure',
  cli: 'proxy, render,\\nexplain, demo',
};

mkdirSync(folder, { recursive: true });
const viz = await instance();
writeFileSync(join(folder, 'pipeline.svg'), viz.renderString(pipelineDot(), { format: 'svg' }));
writeFileSync(join(folder, 'shop.svg'), shop());

function pipelineDot(): string {
  const rooms = readdirSync(join(root, 'src'), { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !leaves.has(entry.name))
    .map((entry) => entry.name)
    .toSorted();
  const feeds = new Map(rooms.map((room) => [room, importersOf(room, rooms)]));
  const nodes = rooms.map(
    (room) =>
      `  "${room}" [label=<<b>${room}</b><br/><font point-size="10">${html(room)}</font>>];`,
  );
  const edges = rooms.flatMap((from) =>
    direct(from, feeds)
      .toSorted()
      .map((to) => `  "${from}" -> "${to}";`),
  );
  return [
    'digraph pipeline {',
    '  rankdir=LR; bgcolor="white"; nodesep=0.3; ranksep=0.5;',
    '  node [shape=box, style="rounded,filled", fillcolor="#eef4ff", color="#2f5fc4", fontname="Helvetica", fontsize=14, margin="0.32,0.12"];',
    '  edge [color="#7a869a"];',
    ...nodes,
    ...edges,
    '}',
  ].join('\n');
}

/** Rooms that import `room`: where its data goes. */
function importersOf(room: string, rooms: readonly string[]): ReadonlySet<string> {
  return new Set(
    rooms.filter(
      (other) => other !== room && sources(other).some((text) => text.includes(`/${room}/`)),
    ),
  );
}

function sources(room: string): readonly string[] {
  return readdirSync(join(root, 'src', room), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) =>
      readFileSync(join(root, 'src', room, name), 'utf8').replaceAll(
        /^(?!import|} from|export .* from).*$/gm,
        '',
      ),
    );
}

/** The arrows that are not implied by longer ways. */
function direct(from: string, feeds: ReadonlyMap<string, ReadonlySet<string>>): readonly string[] {
  const next = [...(feeds.get(from) ?? [])];
  return next.filter((to) => !next.some((via) => via !== to && reaches(via, to, feeds)));
}

function reaches(
  from: string,
  to: string,
  feeds: ReadonlyMap<string, ReadonlySet<string>>,
): boolean {
  return [...(feeds.get(from) ?? [])].some((next) => next === to || reaches(next, to, feeds));
}

function html(room: string): string {
  return (purpose[room] ?? '').replaceAll('\\n', '<br/>');
}

function shop(): string {
  const args = [
    'render',
    '-f',
    'examples',
    '--cluster-cidr=10.244.0.0/16',
    '--ip-family=ipv4',
    '--output=svg',
  ];
  return execFileSync(process.execPath, [join(root, 'src/cli/main.ts'), ...args], {
    cwd: root,
    encoding: 'utf8',
  });
}

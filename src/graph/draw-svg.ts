import { familyLabel } from '../ip/address.ts';
import { drawingToDot, escape, faint, font, ink, sizeText } from './draw-dot.ts';
import { arrange, parts } from './drawing.ts';
import type { RuleGraph } from './rule-graph.ts';

/**
 * The graph as an SVG document. Services that share no pool are laid out one by one and stacked in
 * columns by name: Graphviz takes 10 s for 600 services at once, and 2 ms for each alone. It runs in
 * this process (WebAssembly), loaded at the first drawing: the agent never pays for it. Equal
 * graphs give equal bytes.
 */
export async function toSvg(graph: RuleGraph): Promise<string> {
  const { instance } = await import('@viz-js/viz');
  const viz = await instance();
  const tiles = parts(arrange(graph)).map((part, index) =>
    tileOf(viz.renderString(drawingToDot(part), { format: 'svg', engine: 'dot' }), index),
  );
  const title = `<tspan font-size="16" font-weight="bold" fill="${ink}">${escape(graph.node.nodeName)}</tspan><tspan dx="12" font-size="11" fill="${faint}">${familyLabel(graph.family)}, ${sizeText(graph)}</tspan>`;
  return compose(title, inColumns(tiles));
}

/** What stands in for the face the layout was measured in, none of them wider. */
const fonts = `${font},DejaVu Sans,sans-serif`;
const paddingPt = 16;
const titlePt = 40;
/** A drawing is made no taller than this many times its width, if more columns can help. */
const tallestRatio = 1.5;

interface Tile {
  readonly widthPt: number;
  readonly heightPt: number;
  readonly content: string;
}

interface PlacedTile extends Tile {
  readonly x: number;
  readonly y: number;
}

/** Cuts a document of Graphviz to its size and content; ids are made unique within the whole. */
function tileOf(svg: string, index: number): Tile {
  const size = /<svg width="([\d.]+)pt" height="([\d.]+)pt"/.exec(svg);
  const content = svg.slice(svg.indexOf('<g id='), svg.lastIndexOf('</svg>'));
  return {
    widthPt: Math.ceil(Number(size?.[1] ?? 0)),
    heightPt: Math.ceil(Number(size?.[2] ?? 0)),
    content: content
      .replace(/ id="/g, ` id="part${index + 1}-`)
      .replaceAll(`font-family="${font}"`, `font-family="${fonts}"`),
  };
}

/** Stacks tiles in columns of about equal height, in reading order. */
function inColumns(tiles: readonly Tile[]): readonly PlacedTile[] {
  const total = tiles.reduce((sum, { heightPt }) => sum + heightPt, 0);
  const widest = Math.max(1, ...tiles.map(({ widthPt }) => widthPt));
  const columns = Math.max(1, Math.ceil(Math.sqrt(total / (widest * tallestRatio))));
  const placed: PlacedTile[] = [];
  let [x, y, columnWidth] = [0, 0, 0];
  for (const tile of tiles) {
    if (y > 0 && y + tile.heightPt / 2 > total / columns) {
      x += columnWidth + paddingPt;
      [y, columnWidth] = [0, 0];
    }
    placed.push({ ...tile, x, y });
    y += tile.heightPt;
    columnWidth = Math.max(columnWidth, tile.widthPt);
  }
  return placed;
}

function compose(title: string, tiles: readonly PlacedTile[]): string {
  const width = Math.max(360, ...tiles.map(({ x, widthPt }) => x + widthPt)) + 2 * paddingPt;
  const height = tiles.reduce((most, { y, heightPt }) => Math.max(most, y + heightPt), 0);
  const total = height + titlePt + paddingPt;
  const lines = [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="${width}pt" height="${total}pt" viewBox="0 0 ${width} ${total}">`,
    `<rect width="${width}" height="${total}" fill="#ffffff"/>`,
    `<text x="${paddingPt + 8}" y="28" font-family="${fonts}">${title}</text>`,
    ...tiles.map(
      ({ x, y, content }) =>
        `<g transform="translate(${x + paddingPt} ${y + titlePt})">\n${content.trimEnd()}\n</g>`,
    ),
    '</svg>',
  ];
  return `${lines.join('\n')}\n`;
}

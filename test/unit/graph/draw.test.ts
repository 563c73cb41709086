import { describe, expect, it } from 'vitest';
import { compileAll, GraphCompiler } from '../../../src/graph/compile.ts';
import { toDot } from '../../../src/graph/draw-dot.ts';
import { toJson } from '../../../src/graph/draw-json.ts';
import { toSvg } from '../../../src/graph/draw-svg.ts';
import type { ServiceName, ServicePort } from '../../../src/services/service-port.ts';
import { byKey, endpoint, nodeContext, servicePort } from '../../support/service-ports.ts';

const node = nodeContext();
const endpoints = ['10.244.1.5:8080', '10.244.2.6:8080', '10.244.3.7:8080'].map((text, index) =>
  endpoint(text, { local: index === 0 }),
);

function named(name: string, overrides: Parameters<typeof servicePort>[0] = {}): ServicePort {
  return servicePort({ service: `default/${name}` as ServiceName, endpoints, ...overrides });
}

const shop = named('shop', {
  clusterIP: '10.96.0.20',
  externalPolicy: 'Local',
  nodePort: 30080,
  loadBalancerIPs: ['203.0.113.10', '203.0.113.11'],
  sourceRanges: ['198.51.100.0/24'],
  healthCheckNodePort: 32000,
});
const ports = [
  named('web'),
  shop,
  named('empty', { clusterIP: '10.96.0.21', endpoints: [] }),
  named('late', {
    clusterIP: '10.96.0.22',
    externalIPs: ['203.0.113.10'],
    createdAtMs: 1_800_000_000_000,
  }),
];
const graph = compileAll(byKey(ports), node);

/** Many services, each with a pool of its own. */
function many(count: number): readonly ServicePort[] {
  return Array.from({ length: count }, (_, i) =>
    named(`s${String(i).padStart(4, '0')}`, {
      clusterIP: `10.97.${i >> 8}.${i & 255}`,
      endpoints: [endpoint(`10.245.${i >> 8}.${i & 255}:80`)],
    }),
  );
}

describe('equal graphs', () => {
  it('give equal drawings, whatever their history', async () => {
    const compiler = new GraphCompiler();
    compiler.compile(
      byKey([...ports, named('gone', { clusterIP: '10.96.0.99' })]),
      new Set(),
      node,
    );
    const gone = named('gone').key;
    const { graph: other } = compiler.compile(
      byKey(ports.toReversed()),
      new Set([gone, shop.key]),
      node,
    );
    expect(toDot(other)).toBe(toDot(graph));
    expect(toJson(other)).toBe(toJson(graph));
    expect(await toSvg(other)).toBe(await toSvg(graph));
  });
});

describe('the JSON', () => {
  it('holds everything, sorted, with exact shares', () => {
    const document = JSON.parse(toJson(graph));
    expect(document.frontends.map(({ id }: { id: string }) => id)).toEqual([
      '10.96.0.21/TCP/80',
      '10.96.0.22/TCP/80',
      '10.96.0.20/TCP/80',
      '203.0.113.10/TCP/80',
      '203.0.113.11/TCP/80',
      'nodePort/TCP/30080',
      '10.96.0.10/TCP/80',
    ]);
    expect(document.conflicts).toMatchObject([
      { claimed: '203.0.113.10/TCP/80', loser: { service: 'default/late' } },
    ]);
    expect(document.healthCheckPorts).toMatchObject([
      { port: 32000, origin: { service: 'default/shop' } },
    ]);
    const shares = document.pools.map(({ endpoints: list }: { endpoints: { share: string }[] }) =>
      list.map(({ share }) => share),
    );
    expect(shares).toContainEqual(['1/3', '1/3', '1/3']);
  });
});

describe('the dot text', () => {
  const dot = toDot(graph);

  it('groups frontends by service and draws equal guards, branches and pools once', () => {
    expect(dot.match(/subgraph "cluster [^"]+"/g)).toEqual([
      'subgraph "cluster default/empty"',
      'subgraph "cluster default/late"',
      'subgraph "cluster default/shop"',
      'subgraph "cluster default/web"',
    ]);
    expect(dot.match(/^ +"gate [^"]+" \[/gm)).toHaveLength(1);
    expect(dot.match(/^ +"pool [^"]+" \[/gm)).toHaveLength(2);
    expect(dot.match(/-> "gate /g)).toHaveLength(2);
  });

  it('shows weights and scheduler where a Service asks for them, and nowhere else', () => {
    const balancing = {
      weights: new Map([['10.244.1.5', 3]]),
      scheduling: { scheduler: 'mh' as const, flags: ['mh-port' as const] },
    };
    const asked = toDot(compileAll(byKey([named('web', { balancing })]), node));
    expect(asked).toContain('3 endpoints, in ipvs mode scheduler mh (mh-port)<');
    expect(asked.match(/weight \d+/g)).toEqual(['weight 3', 'weight 1', 'weight 1']);
    expect(asked).toContain('>3/5<');
    expect(dot).not.toMatch(/scheduler|weight/);
  });

  it('labels the way of each source', () => {
    for (const text of [
      'pods of this node',
      'the node itself',
      'anyone else',
      'label="masquerade"',
      'label="source kept"',
      'label="others"',
    ]) {
      expect(dot).toContain(text);
    }
  });

  it('shows verdicts, lost addresses and health check ports', () => {
    for (const text of [
      '<B>reject</B>',
      '<B>drop</B>',
      'wanted by default/late, held by default/shop',
      ':32000',
    ]) {
      expect(dot).toContain(text);
    }
  });

  it('cuts long lists of endpoints and says by how many', () => {
    const big = named('big', {
      endpoints: Array.from({ length: 100 }, (_, i) => endpoint(`10.244.2.${i + 1}:80`)),
    });
    const text = toDot(compileAll(byKey([big]), node));
    expect(text.match(/1\/100</g)).toHaveLength(12);
    expect(text).toContain('and 88 more');
  });

  it('stays well-formed with hostile names', () => {
    const hostile = named('a"]; <b>&\\', {});
    expect(toDot(compileAll(byKey([hostile]), node))).toContain(
      '<B>default/a&quot;]; &lt;b&gt;&amp;\\</B>',
    );
  });
});

describe('the SVG', () => {
  it('shows services by name, each address and endpoint as text, with ids used once', async () => {
    const svg = await toSvg(graph);
    const at = ['default/empty', 'default/late', 'default/shop', 'default/web'].map((name) =>
      svg.indexOf(`>${name}</text>`),
    );
    expect(at.every((index) => index > 0)).toBe(true);
    expect(svg).toContain('>10.96.0.10:80</text>');
    expect(svg).toContain('>10.244.3.7:8080</text>');
    const ids = svg.match(/ id="[^"]+"/g) ?? [];
    expect(new Set(ids).size).toBe(ids.length);
  });

  it('survives hostile names', async () => {
    const svg = await toSvg(compileAll(byKey([named('a"]; <b>&\\')]), node));
    expect(svg).toContain('&lt;b&gt;&amp;');
    expect(svg).not.toContain('<b>');
  });

  it('of hundreds of services stands in several columns, none lost', async () => {
    const svg = await toSvg(compileAll(byKey(many(250)), node));
    expect(svg.match(/>default\/s\d{4}<\/text>/g)).toHaveLength(250);
    const columns = new Set(
      Array.from(svg.matchAll(/<g transform="translate\((\d+) \d+\)">/g), ([, x]) => x),
    );
    expect(columns.size).toBeGreaterThan(3);
  });

  it('of many services with one pool shows the pool beside each', async () => {
    const shared = many(100).map((port) => ({ ...port, endpoints: named('web').endpoints }));
    const svg = await toSvg(compileAll(byKey(shared), node));
    expect(svg.match(/>default\/s\d{4}<\/text>/g)).toHaveLength(100);
    expect(svg.match(/>10\.244\.3\.7:8080<\/text>/g)).toHaveLength(100);
  });

  it('of an empty graph is an empty sheet with a title', async () => {
    expect(await toSvg(compileAll(new Map(), node))).toContain('0 frontends, 0 pools');
  });
});

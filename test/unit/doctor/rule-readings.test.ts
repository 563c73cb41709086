/** What doctor makes of dumps of rules and of nft's chains. */
import { describe, expect, it } from 'vitest';
import { ruleFacts } from '../../../src/doctor/rule-facts.ts';
import { parseNftChains } from '../../../src/doctor/rule-readings.ts';

describe('a dump of rules', () => {
  const save = [
    '*nat',
    ':PREROUTING ACCEPT [1:2]',
    ':KUBE-SERVICES - [0:0]',
    ':DOCKER - [0:0]',
    '-A PREROUTING -j DOCKER',
    '-A DOCKER -i docker0 -j RETURN',
    '-A KUBE-SERVICES -d 10.96.0.1/32 -j KUBE-SVC-X',
    'COMMIT',
    '*filter',
    ':FORWARD DROP [0:0]',
    '-A FORWARD -j ACCEPT',
    'COMMIT',
    '',
  ].join('\n');

  it('tells policies, chains, foreign rules, and who wrote KUBE-SERVICES', () => {
    const facts = ruleFacts('nft', 'ipv4', save);
    expect(facts.policies.get('filter FORWARD')).toBe('DROP');
    expect([...facts.chains]).toEqual(['nat KUBE-SERVICES', 'nat DOCKER']);
    expect(facts.foreign.get('nat DOCKER')).toEqual(['-i docker0 -j RETURN']);
    expect(facts.foreign.get('filter FORWARD')).toEqual(['-j ACCEPT']);
    expect([facts.proxyRules, facts.servicesBy]).toEqual([1, 'another']);
  });

  it('tells ours by the generation', () => {
    const own =
      '*nat\n-A KUBE-SERVICES -m comment --comment "switchyard generation 9f 3"\n-A KUBE-SERVICES -j X\nCOMMIT\n';
    expect(ruleFacts('nft', 'ipv4', own).servicesBy).toBe('Switchyard');
    expect(ruleFacts('nft', 'ipv4', '').servicesBy).toBe('nobody');
  });
});

describe('chains of nft', () => {
  it('tell tables, and which of them drop what is forwarded', () => {
    const text = [
      'table ip filter {',
      '\tchain FORWARD {',
      '\t\ttype filter hook forward priority filter; policy drop;',
      '\t}',
      '}',
      'table inet fw {',
      '\tchain input {',
      '\t\ttype filter hook input priority filter; policy drop;',
      '\t}',
      '\tchain fwd {',
      '\t\ttype filter hook forward priority filter; policy drop;',
      '\t}',
      '}',
      'table ip kube-proxy {',
      '\tchain services {',
      '\t}',
      '}',
      '',
    ].join('\n');
    expect(parseNftChains(text)).toEqual({
      tables: ['ip filter', 'inet fw', 'ip kube-proxy'],
      droppingForward: ['inet fw fwd'],
    });
  });
});

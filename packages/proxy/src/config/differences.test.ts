import { expect, test } from 'vitest';
import { differences } from './differences.ts';
import { loadText } from './load.ts';

const text = (compat: string) => `services:
- name: front
  addr: ":1"
  handler: { type: http, chain: out }
  listener: { type: ws }
  recorders: [{ name: file, record: recorder.service.handler }]
chains:
- name: out
  hops:
  - name: first
    nodes:
    - addr: a:1
      dialer: { type: tls, tls: { serverName: a } }
  - name: second
    plugin: { addr: b:1 }
recorders:
- name: file
  file: { path: /tmp/record }
${compat}`;

const of = (compat: string) => {
  const { config } = loadText('file', text(compat));
  return differences(config!);
};

test('each difference that applies is one line with its place and the switch that ends it', () => {
  expect(of('')).toEqual([
    'unlike GOST: who answers over TLS must show a certificate that we trust, as `secure` is not written (file:13:33); `compat: { unverifiedTls: true }` is as GOST',
    'unlike GOST: where a hop has no node, or could not be asked, the connection is refused (file:14:5); `compat: { directWithoutNode: true }` is as GOST',
    'unlike GOST: X-Forwarded-For and its kin do not say who connected, as `trustedProxies` is not written (file:5:13); `compat: { headerAddresses: true }` is as GOST',
    'unlike GOST: records hold no credentials of requests (file:2:3); `compat: { recordCredentials: true }` is as GOST',
    'unlike GOST: `Gost-Record` of a request does not say what is recorded (file:2:3); `compat: { gostRecord: true }` is as GOST',
  ]);
});

test('what is switched on is said too', () => {
  expect(of('compat: { headerAddresses: true, unverifiedTls: true }').slice(0, 3)).toEqual([
    'as GOST (`compat.unverifiedTls`): who answers over TLS is not verified where `secure` is not written (file:13:33)',
    expect.stringMatching(/^unlike GOST: where a hop/),
    'as GOST (`compat.headerAddresses`): X-Forwarded-For and its kin say who connected, whoever sends them (file:5:13)',
  ]);
});

test('headers of a request that only old clients send are spoken of where they count', () => {
  expect(of('compat: { gostTarget: true, gostRecord: true }').slice(-2)).toEqual([
    'as GOST (`compat.gostRecord`): a request that says `Gost-Record: off` is not recorded (file:2:3)',
    'as GOST (`compat.gostTarget`): a request goes where its `Gost-Target` says, whatever its first line says (file:2:3)',
  ]);
});

test('a file that means the same here has none', () => {
  const { config } = loadText('file', 'services: [{ addr: ":1", handler: { type: http } }]');
  expect(differences(config!)).toEqual([]);
});

import type { CallEvent } from '@sallyport/plugin';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test, vi } from 'vitest';
import { ProxyError } from '../core/errors.ts';
import type { Served, SessionEvent } from '../core/events.ts';
import { createRecords } from './records.ts';
import type { RecordName, RecordsOptions } from './records.ts';
import { at, closedOf, decidedOf, fakeSession, memorySink } from './records.fixture.ts';

const names: readonly RecordName[] = [
  'recorder.service.client.address',
  'recorder.service.router.dial.address',
  'recorder.service.router.dial.address.error',
  'recorder.service.handler',
];

/** All records of a service, each with its name as metadata. */
function scene(more: Partial<RecordsOptions> = {}) {
  const { sink, records } = memorySink();
  const notes: string[] = [];
  const read = createRecords({
    service: 'front',
    uses: names.map((record) => ({ record, sink, metadata: { record } })),
    note: (text) => notes.push(text),
    ...more,
  });
  const of = (name: string) =>
    records
      .filter(({ metadata }) => metadata?.['record'] === `recorder.service.${name}`)
      .map(({ text }) => text);
  const handled = () => of('handler').map((text) => JSON.parse(text) as Record<string, unknown>);
  return { read, records, of, handled, notes };
}

const served = (more: Partial<Served> = {}): Served => ({
  ...{ kind: 'served', what: 'GET a:80', target: at('a.test', 80), user: '', status: 200, ms: 3 },
  error: undefined,
  ...more,
});
const dialed = (more: object = {}): SessionEvent =>
  ({
    ...{ kind: 'dialed', network: 'tcp', target: at('a.test', 80), path: [], ms: 1, error: undefined },
    ...{ local: at('192.0.2.1', 999), remote: at('198.51.100.4', 80) },
    ...more,
  }) as SessionEvent;
const dialing = (host: string): SessionEvent => ({ kind: 'dialing', network: 'tcp', target: at(host, 80) });
const refused = new ProxyError('dialFailed', 'upstream', 'refused', { retryable: true });

test('a client’s address when it has connected, once, without its port', () => {
  const { read, records } = scene();
  read(fakeSession({ client: at('2001:db8::1', 7) }), { kind: 'opened' });
  read(fakeSession({ client: at('', 0) }), { kind: 'opened' });
  expect(records).toEqual([{ text: '2001:db8::1', metadata: { record: 'recorder.service.client.address' } }]);
});

test('a host before it is dialled; again when the last attempt has failed, and only then', () => {
  const { read, of } = scene();
  const session = fakeSession();
  read(session, dialing('a.test'));
  expect(of('router.dial.address')).toEqual(['a.test']);
  read(session, dialed({ error: refused }));
  read(session, dialed({ error: refused }));
  expect(of('router.dial.address.error')).toEqual([]);
  read(session, dialed());
  read(session, served());
  expect(of('router.dial.address.error')).toEqual([]);
  read(session, dialing('b.test'));
  read(session, dialed({ target: at('b.test', 80), error: refused }));
  read(session, dialed({ target: at('b.test', 80), error: refused }));
  read(session, served({ error: refused }));
  expect(of('router.dial.address')).toEqual(['a.test', 'b.test']);
  expect(of('router.dial.address.error')).toEqual(['b.test']);
  read(session, dialing('c.test'));
  read(session, dialed({ target: at('c.test', 80), error: refused }));
  read(session, closedOf(session));
  expect(of('router.dial.address.error')).toEqual(['b.test', 'c.test']);
});

test('of a forwarder it is the node that is dialled, and named', () => {
  const { read, of, handled } = scene({ forwards: true });
  const session = fakeSession();
  const path = ['n1@203.0.113.1:1080', 't'];
  const target = at('2001:db8::5', 22);
  read(session, { kind: 'dialing', network: 'tcp', target });
  read(session, dialed({ target, path }));
  read(session, served({ target: at('wanted.test', 80), details: { http: {} } }));
  read(session, served({ target: undefined }));
  read(session, closedOf(session, { path, target } as Partial<SessionEvent>));
  expect(of('router.dial.address')).toEqual(['2001:db8::5']);
  const reached = { node: 't', route: 'n1@203.0.113.1:1080 > [2001:db8::5]:22' };
  expect(handled()).toMatchObject([
    { ...reached, host: 'wanted.test:80' },
    { ...reached, host: '[2001:db8::5]:22' },
  ]);
});

test('one record for each request that is told, and for the rest one at the end; their bytes add up', () => {
  const { read, handled } = scene();
  const session = fakeSession();
  read(session, { kind: 'opened' });
  read(session, decidedOf({ module: 'admission' }));
  read(session, dialed());
  Object.assign(session.traffic, { received: 10, sent: 20 });
  read(session, served({ details: { http: { host: 'a.test' } } }));
  Object.assign(session.traffic, { received: 15, sent: 27 });
  read(session, decidedOf({ module: 'bypass' }));
  read(session, served({ details: { http: { host: 'a.test' } } }));
  Object.assign(session.traffic, { received: 16, sent: 27 });
  read(session, closedOf(session));
  expect(handled()).toMatchObject([
    { inputBytes: 10, outputBytes: 20, dst: '198.51.100.4:80', decisions: [{ module: 'admission' }] },
    { inputBytes: 5, outputBytes: 7, dst: '198.51.100.4:80', decisions: [{ module: 'bypass' }] },
  ]);

  // What nobody told the details of is told at the end.
  const other = fakeSession();
  read(other, served({ details: { http: {} } }));
  read(other, served());
  Object.assign(other.traffic, { received: 3 });
  read(other, closedOf(other, { error: new ProxyError('malformedRequest', 'client', 'what?') } as object));
  expect(handled().slice(2)).toMatchObject([{ inputBytes: 0 }, { inputBytes: 3, err: 'what?' }]);
});

test('who decided what, where and why; a long connection keeps the last hundred', () => {
  const { read, handled } = scene();
  const session = fakeSession();
  const call = (more: Partial<CallEvent>) =>
    ({ name: 'a', endpoint: 'grpc://h:1', source: 'live', outcome: 'ok', ms: 1, ...more }) as CallEvent;
  for (let i = 0; i < 150; i++) read(session, decidedOf({ about: String(i) }));
  const failed = call({ name: 'b', outcome: 'timeout', error: 'no answer from http://u:p@h/' });
  read(session, decidedOf({ module: 'bypass', outcome: 'couldNotAsk', calls: [failed, call({})] }));
  read(session, decidedOf({ calls: [call({ reason: 'known' })], ms: 2.04 }));
  read(session, closedOf(session));
  const decisions = handled()[0]!['decisions'] as object[];
  expect(decisions).toHaveLength(100);
  expect(decisions[0]).toEqual({ module: 'auth', outcome: 'yes', about: '52', ms: 1.3 });
  expect(decisions.slice(-2)).toEqual([
    {
      ...{ module: 'bypass', outcome: 'couldNotAsk', about: 'gost', by: 'b', endpoint: 'grpc://h:1' },
      ...{ source: 'live', ms: 1.3, reason: 'no answer from http://***@h/' },
    },
    {
      ...{ module: 'auth', outcome: 'yes', about: 'gost', by: 'a', endpoint: 'grpc://h:1' },
      ...{ source: 'live', ms: 2, reason: 'known' },
    },
  ]);
});

test('credentials are recorded only where it is wanted', () => {
  const details = () => ({
    http: {
      uri: 'http://u:p@a.test/x?y=u@v',
      request: {
        header: {
          Authorization: ['Bearer t'],
          'Proxy-Authorization': ['Basic x', 'Basic y'],
          Referer: ['https://q@b/'],
        },
      },
    },
  });
  const event = served({ error: new ProxyError('internal', 'self', 'at ftp://u:p@c'), details: details() });
  const open = scene({ recordCredentials: true });
  open.read(fakeSession(), event);
  expect(open.handled()).toMatchObject([{ ...details(), err: 'at ftp://u:p@c' }]);
  const { read, handled } = scene();
  read(fakeSession(), event);
  expect(event.details).toEqual(details());
  expect(handled()).toMatchObject([
    {
      http: {
        uri: 'http://***@a.test/x?y=u@v',
        request: {
          header: {
            Authorization: ['***'],
            'Proxy-Authorization': ['***', '***'],
            Referer: ['https://***@b/'],
          },
        },
      },
      err: 'at ftp://***@c',
    },
  ]);
});

test('the first recorder of each record is the only one; without any nothing is kept', () => {
  const [first, second] = [memorySink(), memorySink()];
  const record = names[0]!;
  const uses = [first, second].map(({ sink }) => ({ record, sink, metadata: null }));
  const { read } = scene({ uses });
  const session = fakeSession();
  const events: SessionEvent[] = [{ kind: 'opened' }, decidedOf(), dialing('a'), dialed(), served()];
  for (const event of [...events, closedOf(session)]) read(session, event);
  expect(first.records).toEqual([{ text: '192.0.2.7', metadata: null }]);
  expect(second.records).toEqual([]);
});

test('what cannot be written as JSON is our fault and hurts nobody', () => {
  const { read, records, notes } = scene();
  read(fakeSession(), served({ details: { http: { statusCode: NaN } } }));
  expect(records).toEqual([]);
  expect(notes).toEqual([expect.stringMatching(/^a record of session s1 could not be made: .*NaN/)]);
});

test('GOST’s keys in GOST’s order, byte for byte', () => {
  vi.useFakeTimers({ now: Date.parse('2026-01-02T03:04:05.678Z') });
  try {
    const { read, of } = scene({ labels: { zone: 'b', '10': 'x', '9': 'y', site: '<lab>' } });
    const session = fakeSession({ user: 'id-of-gost' });
    const target = at('a.test', 443);
    read(session, dialed({ target, path: ['n@203.0.113.1:1080'] }));
    Object.assign(session.traffic, { received: 517, sent: 4096 });
    read(session, closedOf(session, { target, ms: 678.25 } as object));
    expect(of('handler')).toEqual([
      '{"service":"front","labels":{"10":"x","9":"y","site":"\\u003clab\\u003e","zone":"b"},"network":"tcp",' +
        '"remote":"192.0.2.7:4711","local":"192.0.2.1:8080","client":"192.0.2.7:4711","src":"192.0.2.1:999",' +
        '"dst":"198.51.100.4:80","host":"a.test:443","clientIP":"","clientID":"id-of-gost",' +
        '"route":"n@203.0.113.1:1080 \\u003e a.test:443","inputBytes":517,"outputBytes":4096,"sid":"s1",' +
        '"duration":678250000,"time":"2026-01-02T03:04:05.000Z"}',
    ]);
  } finally {
    vi.useRealTimers();
  }
});

const golden = fileURLToPath(
  new URL('../../../../../shared/reference/golden/recorder.json', import.meta.url),
);

test.skipIf(!existsSync(golden))('as GOST was seen to record', () => {
  interface Shown {
    readonly callSite: string;
    readonly fields: { readonly data: { readonly decoded: unknown } };
  }
  const shown = (JSON.parse(readFileSync(golden, 'utf8')) as { grpc: Shown[] }).grpc;
  const text = (value: unknown) =>
    JSON.stringify(value)
      .replaceAll('<port>', '1')
      .replaceAll(/<(base64|sid|time)>/g, '$1')
      .replaceAll(/"<n>"|"<ns>"/g, '7');
  let compared = 0;
  for (const { callSite, fields } of shown) {
    const { decoded } = fields.data;
    if (typeof decoded !== 'object') continue;
    const wanted = JSON.parse(text(decoded)) as Record<string, never> & Record<string, string>;
    const { labels, http, dns, node } = wanted;
    const { read, of } = scene({
      service: wanted['service']!,
      recordCredentials: true,
      forwards: node !== undefined,
      ...(labels !== undefined && { labels: labels as unknown as Record<string, string> }),
    });
    const session = fakeSession({
      ...{ id: wanted['sid']!, service: wanted['service']!, network: wanted['network'] as unknown as 'tcp' },
      ...{ client: at('127.0.0.1', 1), local: at('127.0.0.1', 1), user: wanted['clientID'] ?? '' },
    });
    const target = at('127.0.0.1', 1);
    if (dns === undefined) {
      const path = node === undefined ? [] : [node];
      read(session, dialed({ target, path, local: target, remote: target }));
    }
    Object.assign(session.traffic, { received: 7, sent: 7 });
    const details = { ...(http !== undefined && { http }), ...(dns !== undefined && { dns }) };
    if (Object.keys(details).length > 0) read(session, served({ target, details }));
    read(session, closedOf(session, { target } as object));
    // The clock is the one thing that is not the recording's.
    const made = of('handler').map((one) =>
      one.replace(/"duration":\d+,"time":"[^"]+"/, '"duration":7,"time":"time"'),
    );
    expect(made, callSite).toEqual([JSON.stringify(wanted)]);
    compared++;
  }
  expect(compared).toBeGreaterThanOrEqual(5);
});

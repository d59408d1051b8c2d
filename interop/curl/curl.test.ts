// curl against the HTTP side of servePlugins: every module's path and verb with the very text that GOST would send and read,
// over HTTP/1.1 and HTTP/2, plain, TLS, mTLS and a unix socket; then everything that is no answer.
import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { contractByKind, contracts, implement, servePlugins } from '@sallyport/plugin';
import type { Contract, ModuleKind } from '@sallyport/plugin';
import { createLinkFiles, type LinkFiles } from '../common/links.ts';

interface HttpCase {
  readonly kind: ModuleKind;
  readonly name: string;
  readonly verb: string;
  /** `/path?query` */
  readonly target: string;
  readonly body?: string;
  readonly ask: object;
  readonly answer: unknown;
  readonly reply: string;
}

const client = '192.0.2.1:4000';
const service = { id: 'i', name: 'n', node: 'o', network: 'tcp', address: 'a:1' };
const serviceText = '{"id":"i","name":"n","node":"o","network":"tcp","address":"a:1"}';
const change = (name: string, verb: string): HttpCase => ({
  ...{ kind: 'sd', name, verb, target: '/sd', body: serviceText, ask: service },
  ...{ answer: undefined, reply: '{"ok":true}' },
});

const cases: readonly HttpCase[] = [
  {
    ...{ kind: 'admission', name: 'admit', verb: 'POST', target: '/admission' },
    body: `{"service":"s","network":"tcp","addr":"${client}"}`,
    ask: { client, service: 's', network: 'tcp' },
    ...{ answer: true, reply: '{"ok":true}' },
  },
  {
    ...{ kind: 'auth', name: 'authenticate', verb: 'POST', target: '/auth' },
    body: `{"service":"s","username":"\u00fc\\u003c","password":"p","client":"${client}","clientSan":["a"]}`,
    ask: {
      ...{ username: 'ü<', password: 'p', client, service: 's' },
      certificate: { commonName: '', names: ['a'], fingerprint: '' },
    },
    ...{ answer: { ok: true, user: 'ü<' }, reply: '{"ok":true,"id":"ü\\u003c"}' },
  },
  {
    ...{ kind: 'bypass', name: 'bypass', verb: 'POST', target: '/bypass' },
    body: '{"service":"s","network":"tcp","addr":"a:1","client":"u","host":"h","path":"/p"}',
    ask: { target: 'a:1', user: 'u', network: 'tcp', host: 'h', path: '/p', service: 's' },
    ...{ answer: false, reply: '{"ok":false}' },
  },
  {
    ...{ kind: 'hop', name: 'select', verb: 'POST', target: '/hop' },
    body: `{"network":"tcp","addr":"a:1","host":"h","path":"/p","client":"u","src":"${client}"}`,
    ask: { network: 'tcp', target: 'a:1', host: 'h', path: '/p', user: 'u', client },
    ...{ answer: { addr: 'n:1', metadata: { n: 1 } }, reply: '{"addr":"n:1","metadata":{"n":1}}' },
  },
  {
    ...{ kind: 'hosts', name: 'lookup', verb: 'POST', target: '/hosts' },
    body: '{"network":"ip","host":"h","client":"u"}',
    ask: { network: 'ip', host: 'h', user: 'u' },
    ...{ answer: ['192.0.2.9'], reply: '{"ips":["192.0.2.9"],"ok":true}' },
  },
  {
    ...{ kind: 'ingress', name: 'getRule', verb: 'GET', target: '/ingress?host=h%3A1&service=s+t' },
    ask: { host: 'h:1', service: 's t' },
    ...{ answer: 'uuid', reply: '{"endpoint":"uuid"}' },
  },
  {
    ...{ kind: 'ingress', name: 'setRule', verb: 'PUT', target: '/ingress' },
    body: '{"service":"s","host":"h","endpoint":"e"}',
    ask: { host: 'h', endpoint: 'e', service: 's' },
    ...{ answer: true, reply: '{"ok":true}' },
  },
  {
    ...{ kind: 'limiter', name: 'limit', verb: 'POST', target: '/limiter' },
    body: `{"service":"s","scope":"client","network":"tcp","addr":"a:1","client":"u","src":"${client}"}`,
    ask: { scope: 'client', service: 's', network: 'tcp', target: 'a:1', user: 'u', client },
    answer: [{ in: 9_223_372_036_854_775_807n, out: 0, share: 'u' }],
    reply: '{"in":9223372036854775807,"out":0}',
  },
  {
    ...{ kind: 'observer', name: 'observe', verb: 'POST', target: '/observer' },
    body:
      '{"events":[{"kind":"service","service":"s","type":"stats","stats":{"totalConns":18446744073709551615,' +
      '"currentConns":0,"inputBytes":1,"outputBytes":2,"totalErrs":3}}]}',
    ask: {
      events: [
        {
          ...{ type: 'stats', kind: 'service', service: 's', user: '' },
          stats: {
            ...{ totalConns: 18_446_744_073_709_551_615n, currentConns: 0, inputBytes: 1 },
            ...{ outputBytes: 2, totalErrs: 3 },
          },
        },
      ],
    },
    ...{ answer: true, reply: '{"ok":true}' },
  },
  {
    ...{ kind: 'recorder', name: 'record', verb: 'POST', target: '/recorder' },
    body: '{"data":"AP8=","metadata":"eyJhIjoxfQ=="}',
    ask: { data: Buffer.from([0, 255]), metadata: { a: 1 } },
    ...{ answer: true, reply: '{"ok":true}' },
  },
  {
    ...{ kind: 'resolver', name: 'resolve', verb: 'POST', target: '/resolver' },
    body: '{"network":"ip4","host":"h","client":""}',
    ask: { network: 'ip4', host: 'h', user: '' },
    ...{ answer: [], reply: '{"ips":[],"ok":false}' },
  },
  {
    ...{ kind: 'rewriter', name: 'rewrite', verb: 'POST', target: '/rewriter' },
    body: '{"data":"AP8=","metadata":"bnVsbA=="}',
    ask: { data: Buffer.from([0, 255]), metadata: null },
    ...{ answer: Buffer.alloc(0), reply: '{"ok":true,"data":""}' },
  },
  {
    ...{ kind: 'router', name: 'getRoute', verb: 'GET', target: '/router?dst=192.0.2.1&id=r' },
    ask: { destination: '192.0.2.1', router: 'r' },
    answer: { network: '192.0.2.0/24', gateway: 'g' },
    reply: '{"dst":"192.0.2.0/24","gateway":"g"}',
  },
  change('register', 'POST'),
  change('renew', 'PUT'),
  change('deregister', 'DELETE'),
  {
    ...{ kind: 'sd', name: 'get', verb: 'GET', target: '/sd?name=n' },
    ask: { name: 'n' },
    ...{ answer: [service], reply: `{"services":[${serviceText}]}` },
  },
];

const run = promisify(execFile);
const token = 'gost';
const authorized = ['-H', `Authorization: Bearer ${token}`];
const missing = spawnSync('curl', ['--version']).status === 0 ? false : 'curl is not installed';

interface CurlReply {
  readonly status: number;
  readonly version: string;
  readonly headers: Readonly<Record<string, string[]>>;
  readonly body: string;
}

async function curl(files: LinkFiles, url: string, flags: readonly string[]): Promise<CurlReply> {
  const body = files.at('body');
  const format = '{"status":%{http_code},"version":"%{http_version}","headers":%{header_json}}';
  const { stdout } = await run('curl', ['-sS', '-m', '20', '-o', body, '-w', format, ...flags, url]);
  return { ...(JSON.parse(stdout) as CurlReply), body: readFileSync(body, 'utf8') };
}

function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return `bytes ${Buffer.from(value).toString('base64')}`;
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, plain(one)]));
}

/** A server of every module that checks its questions; what went wrong is in `errors`. */
async function serve(where: object, errors: unknown[]) {
  const modules = contracts.map((contract: Contract) => {
    const methods = cases
      .filter(({ kind }) => kind === contract.kind)
      .map(({ name, ask, answer }) => [
        name,
        (asked: object, call: { meta: { reason?: string } }) => {
          assert.deepEqual(plain(asked), plain(ask));
          call.meta.reason = 'because';
          return answer;
        },
      ]);
    return implement(contract, Object.fromEntries(methods));
  });
  return await servePlugins(modules, { token, ...where, onError: (error: unknown) => errors.push(error) });
}

const portOf = (server: { address: unknown }) => (server.address as { port: number }).port;

describe('curl', { skip: missing }, () => {
  let files: LinkFiles;
  before(() => {
    files = createLinkFiles();
  });
  after(() => files.remove());

  const trust = () => ['--cacert', files.at('ca.pem')];
  const proof = () => ['--cert', files.at('client.pem'), '--key', files.at('client.key')];
  const socket = () => ['--unix-socket', files.at('http.sock')];
  const links = [
    { name: 'HTTP/1.1', version: '1.1', flags: () => ['--http1.1'] },
    { name: 'HTTP/2, prior knowledge', version: '2', flags: () => ['--http2-prior-knowledge'] },
    { name: 'a unix socket', version: '1.1', unix: true, flags: socket },
    { name: 'TLS, HTTP/1.1', version: '1.1', tls: true, flags: () => [...trust(), '--http1.1'] },
    { name: 'TLS, HTTP/2', version: '2', tls: true, flags: () => [...trust(), '--http2'] },
    { name: 'mTLS', version: '2', tls: true, mtls: true, flags: () => [...trust(), ...proof()] },
  ];

  for (const { name: link, version, flags, unix, tls, mtls } of links) {
    describe(link, () => {
      const errors: unknown[] = [];
      let server: Awaited<ReturnType<typeof serve>>;
      let base: string;

      before(async () => {
        const where = unix ? { path: files.at('http.sock') } : { port: 0 };
        server = await serve(
          { ...where, tls: tls ? { ...files.server, ca: mtls ? files.ca : undefined } : undefined },
          errors,
        );
        base = unix ? 'http://localhost' : `${tls ? 'https' : 'http'}://127.0.0.1:${String(portOf(server))}`;
      });
      after(() => server.close());

      for (const { kind, name, verb, target, body, reply } of cases) {
        test(`${kind}.${name}`, async () => {
          const data = body === undefined ? [] : ['--data-binary', body];
          const type = ['-H', 'Content-Type: application/json'];
          const got = await curl(files, base + target, [
            ...flags(),
            ...authorized,
            ...type,
            ...['-X', verb],
            ...data,
          ]);
          assert.deepEqual(errors.splice(0), []);
          assert.equal(got.body.trimEnd(), reply);
          assert.equal(got.status, 200);
          assert.equal(got.version, version);
          assert.match(got.headers['content-type']![0]!, /^application\/json/);
          assert.deepEqual(got.headers['sallyport-reason'], ['because']);
        });
      }
      if (mtls) {
        test('without a certificate there is no answer', async () => {
          await assert.rejects(curl(files, `${base}/auth`, [...trust(), ...authorized]));
        });
      }
    });
  }

  describe('what is no answer', () => {
    const errors: unknown[] = [];
    let server: Awaited<ReturnType<typeof serve>>;
    let base: string;
    before(async () => {
      server = await serve({ port: 0 }, errors);
      base = `http://127.0.0.1:${String(portOf(server))}`;
    });
    after(() => server.close());

    const admission = ['--data-binary', cases[0]!.body!];
    for (const version of ['--http1.1', '--http2-prior-knowledge']) {
      describe(version, () => {
        const ask = (path: string, ...flags: string[]) => curl(files, base + path, [version, ...flags]);

        test('no token and a wrong token are 401', async () => {
          assert.equal((await ask('/admission', ...admission)).status, 401);
          const wrong = ['-H', 'Authorization: Bearer wrong'];
          assert.equal((await ask('/admission', ...wrong, ...admission)).status, 401);
        });
        test('a wrong path is 404, and the body says what is served', async () => {
          const { status, body } = await ask('/nothing', ...authorized, ...admission);
          assert.equal(status, 404);
          assert.match(body, /\/admission/);
        });
        test('a wrong verb is 405, and the head says which is right', async () => {
          const { status, headers } = await ask('/admission', ...authorized);
          assert.equal(status, 405);
          assert.deepEqual(headers['allow'], ['POST']);
        });
        test('a body that is no question is 400', async () => {
          for (const body of ['', '{', '[]', '{"addr":1}', '{}{}']) {
            assert.equal((await ask('/admission', ...authorized, '--data-binary', body)).status, 400, body);
          }
        });
        test('a body beyond any question is 413', async () => {
          const huge = files.at('huge.json');
          // One byte beyond 4 MiB over HTTP/2, because curl 7.88 takes an answer in the midst of its question for an error.
          const bytes = version === '--http1.1' ? 20_000_000 : 4 * 1024 * 1024 + 1;
          writeFileSync(huge, `{"service":"${'x'.repeat(bytes - 14)}"}`);
          assert.equal((await ask('/admission', ...authorized, '--data-binary', `@${huge}`)).status, 413);
        });
        test('a policy that throws is 500, without its text', async () => {
          const other = '{"service":"the password of the database"}';
          const { status, body } = await ask('/admission', ...authorized, '--data-binary', other);
          assert.equal(status, 500);
          assert.doesNotMatch(body, /password/);
          assert.equal(errors.splice(0).length, 1);
        });
        test('a chunked body and one that is announced are questions too', async () => {
          const chunked = version === '--http1.1' ? ['-H', 'Transfer-Encoding: chunked'] : [];
          const expect = ['-H', 'Expect: 100-continue'];
          assert.equal((await ask('/admission', ...authorized, ...chunked, ...admission)).status, 200);
          assert.equal((await ask('/admission', ...authorized, ...expect, ...admission)).status, 200);
        });
        test('GET / says what is served and how to use it', async () => {
          const { status, body } = await ask('/');
          assert.equal(status, 200);
          const text = JSON.stringify(JSON.parse(body));
          for (const { kind } of contracts) assert.ok(text.includes(`/${kind}`), kind);
        });
      });
    }

    test('one module alone is also served on /', async () => {
      const modules = [implement(contractByKind.admission, { admit: () => true })];
      const alone = await servePlugins(modules, { port: 0, token });
      try {
        const url = `http://127.0.0.1:${String(portOf(alone))}/`;
        const { status, body } = await curl(files, url, [...authorized, ...admission]);
        assert.equal(status, 200);
        assert.equal(body.trimEnd(), '{"ok":true}');
      } finally {
        await alone.close();
      }
    });
  });
});

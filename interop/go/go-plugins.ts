// The plugin server that is written in Go, and a proxy's configuration that asks it at every place where an ordinary proxy asks.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import http from 'node:http';
import type { PluginTransport } from '@sallyport/plugin';
import { startProgram } from '../../packages/proxy/test/program.ts';
import type { LinkFiles } from '../common/links.ts';
import type { ProxyConfig } from '../gost/programs.ts';

const binary = `${import.meta.dirname}/bin/plugins`;
/** Why there is no Go program to run, or false. */
export const missing = existsSync(binary)
  ? false
  : 'the Go programs are not built: interop/install.sh says why';

const token = 'token-of-the-plugins';
/** Who is let in. */
export const credentials = 'gost:secret/ü';
/** The id under which the plugin knows them. */
export const user = 'id-of-gost';
/** Rates in bytes a second, of which one second's worth may go at once. */
export const rate = { in: 400_000, out: 300_000 };

/** One question, in the words of the wire's JSON; bytes are base64. */
export interface Question {
  readonly module: string;
  readonly transport: PluginTransport;
  readonly request: Readonly<Record<string, unknown>>;
}

/** The Go program. Whoever started it calls `stop`. */
export interface GoPlugins {
  /** The `plugin:` block of a configuration for one of the modules. */
  block(transport: PluginTransport, module: string, more?: object): object;
  /** What was asked since it was last taken, without `except`. */
  take(except?: readonly string[]): Promise<Question[]>;
  /** As `take`, for what comes by itself: waits, at most 15 seconds, until a module was asked what satisfies. */
  takeUntil(module: string, enough: (asked: readonly Question[]) => boolean): Promise<Question[]>;
  stop(): Promise<void>;
}

/** Starts the Go program with these rules; with files, it speaks TLS. */
export async function startGoPlugins(rules: object, files?: LinkFiles): Promise<GoPlugins> {
  const proof = files ? ['-cert', files.at('server.pem'), '-key', files.at('server.key')] : [];
  const program = startProgram(binary, ['-token', token, ...proof], { input: JSON.stringify(rules) });
  const addresses = JSON.parse(await program.line(/^\{"grpc"/)) as Record<PluginTransport, string>;
  let taken = 0;
  let marks = 0;

  /** The question with this number, printed or still to come. */
  const question = async (number: number) =>
    JSON.parse(await program.line(new RegExp(`"n":${String(number)},`))) as Question;

  return {
    block: (transport, module, more) => ({
      type: transport,
      addr: transport === 'grpc' ? addresses.grpc : `http${files ? 's' : ''}://${addresses.http}/${module}`,
      token,
      ...more,
    }),
    async take(except = []) {
      const mark = `mark-${String(++marks)}`;
      await new Promise<void>((resolve, reject) => {
        http
          .get(`http://${addresses.http}/mark/${mark}`, (response) => response.resume().on('end', resolve))
          .on('error', reject);
      });
      const questions: Question[] = [];
      for (;;) {
        const one = await question(++taken);
        if (one.module === 'mark' && (one.request as unknown) === mark) return questions;
        if (!except.includes(one.module)) questions.push(one);
      }
    },
    async takeUntil(module, enough) {
      const questions: Question[] = [];
      while (!enough(questions)) {
        const one = await question(++taken);
        if (one.module === module) questions.push(one);
      }
      return questions;
    },
    async stop() {
      // Go ends with the signal itself, which is no exit code.
      assert.equal(await program.stop(), null, program.lines.join('\n'));
    },
  };
}

/** A service for each module and handler, named `MODULE-HANDLER`. */
export function configOf(
  plugin: (module: string, more?: object) => object,
  originPort: number,
  files: LinkFiles,
): ProxyConfig {
  const service = (name: string, type: string, more: object = {}, handler: object = {}) => ({
    name: `${name}-${type}`,
    addr: '127.0.0.1:0',
    handler: { type, auther: 'auther', ...handler },
    ...more,
  });
  const tls = {
    certFile: files.at('server.pem'),
    keyFile: files.at('server.key'),
    caFile: files.at('ca.pem'),
  };
  const record = (name: string, kind: string) => ({
    name: 'recorder',
    record: `recorder.service.${name}`,
    metadata: { kind, 'some.key': 7 },
  });
  const rewrite = [{ type: '*', match: '.*', rewriter: 'rewriter' }];
  return {
    services: [
      service('admitted', 'http', { admission: 'admission' }),
      service('refused', 'http', { admission: 'admission' }),
      service('auth', 'http'),
      service('auth', 'socks5'),
      service('mtls', 'http', { listener: { type: 'tls', tls } }),
      service('mtls', 'socks5', { listener: { type: 'tls', tls } }),
      service('token', 'http', {}, { auther: 'wrong-token' }),
      service('bypass', 'http', { bypass: 'bypass' }),
      service('bypass', 'socks5', { bypass: 'bypass' }),
      service('hop', 'http', {}, { chain: 'chain' }),
      service('hop', 'socks5', {}, { chain: 'chain' }),
      service('hosts', 'http', { hosts: 'hosts' }),
      service('resolver', 'http', { resolver: 'resolver' }),
      service('limiter', 'http', { limiter: 'limiter' }, { limiter: 'limiter' }),
      service('recorder', 'http', {
        recorders: [
          record('client.address', 'client'),
          record('router.dial.address', 'dial'),
          record('router.dial.address.error', 'error'),
          record('handler', 'handler'),
        ],
      }),
      service(
        'observer',
        'http',
        { observer: 'observer', metadata: { enableStats: true, 'observer.period': '1s' } },
        { observer: 'observer', metadata: { 'observer.period': '1s' } },
      ),
      {
        ...{
          name: 'rewriter-tcp',
          addr: '127.0.0.1:0',
          handler: { type: 'tcp', metadata: { sniffing: true } },
        },
        forwarder: {
          nodes: [
            {
              ...{ name: 'origin', addr: `127.0.0.1:${String(originPort)}` },
              http: { rewriteRequestBody: rewrite, rewriteResponseBody: rewrite },
            },
          ],
        },
      },
    ],
    authers: [
      { name: 'auther', plugin: plugin('auther') },
      { name: 'wrong-token', plugin: plugin('auther', { token: 'wrong' }) },
    ],
    admissions: [{ name: 'admission', plugin: plugin('admission') }],
    bypasses: [{ name: 'bypass', plugin: plugin('bypass') }],
    chains: [{ name: 'chain', hops: [{ name: 'hop', plugin: plugin('hop') }] }],
    hosts: [{ name: 'hosts', plugin: plugin('hosts') }],
    resolvers: [{ name: 'resolver', plugin: plugin('resolver') }],
    limiters: [{ name: 'limiter', plugin: plugin('limiter') }],
    recorders: [{ name: 'recorder', plugin: plugin('recorder') }],
    observers: [{ name: 'observer', plugin: plugin('observer') }],
    rewriters: [{ name: 'rewriter', plugin: plugin('rewriter') }],
  };
}

/** What the Go program answers by. */
export const rulesFor = (node: string) => ({
  refused: ['refused-http'],
  users: { [credentials]: user },
  forbidden: 'forbidden.test',
  nodes: {
    'origin.test': { name: 'named', addr: node, connector: { type: 'http' }, dialer: { type: 'tcp' } },
  },
  hosts: { 'hosts.test': ['127.0.0.2'] },
  names: { 'resolver.test': ['127.0.0.3'] },
  limits: { 'limiter-http': rate },
  replace: { fox: 'hen', secret: 'word' },
});

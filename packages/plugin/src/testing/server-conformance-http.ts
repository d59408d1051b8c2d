import assert from 'node:assert/strict';
import { createMethodCodec } from '../codec.ts';
import { parseEndpoints } from '../engine/addresses.ts';
import { PluginError } from '../errors.ts';
import { createHttpClient } from '../wire/http-client.ts';
import type { HttpReply, HttpRequest } from '../wire/http.ts';
import type { ConformanceCase } from './conformance-case.ts';
import { typicalSample } from './samples.ts';
import type { ServerUnderTest } from './server-conformance.ts';

/** What an HTTP server must do besides answering good questions. */
export function httpServerCases(server: ServerUnderTest): readonly ConformanceCase[] {
  const { contract, addr, tls, token, timeoutMs } = server;
  const methods = Object.keys(contract.methods);
  const headers = ['content-type', 'application/json'];
  if (token !== undefined && token !== '') headers.push('authorization', `Bearer ${token}`);

  const withClient = async (
    use: (call: (request: Request) => Promise<HttpReply>, path: string) => Promise<void>,
  ): Promise<void> => {
    const endpoint = parseEndpoints(contract.kind, 'http', addr, tls).endpoints[0]!;
    const client = createHttpClient({ endpoint, maxConnections: 1 });
    const path = endpoint.path ?? '/';
    try {
      await use((request) => client.request({ path, headers, timeoutMs, ...request }), path);
    } finally {
      await client.close(0);
    }
  };
  const good = (name: string, path: string): Request & { readonly path: string } => {
    const { http } = createMethodCodec(contract, name);
    const { query, body } = http.encodeAsk(typicalSample(contract, name).ask as never);
    const joined = query === '' ? path : `${path}${path.includes('?') ? '&' : '?'}${query}`;
    return { verb: http.verb, path: joined, body };
  };
  const withBody = methods.filter((name) => contract.methods[name]!.http.verb !== 'GET');
  const verbs = new Set(methods.map((name) => contract.methods[name]!.http.verb));
  const otherVerbs = ['PATCH', ...(['PUT', 'DELETE'] as const).filter((verb) => !verbs.has(verb))];

  return [
    {
      name: 'another path is 404',
      run: () =>
        withClient(async (call, path) => {
          const [before = '', query] = path.split('?');
          const other = `${before.replace(/\/$/, '')}/no-such-module${query === undefined ? '' : `?${query}`}`;
          const request = good(methods[0]!, other);
          assert.equal(await statusOf(call(request)), 404);
          await call(good(methods[0]!, path));
        }),
    },
    ...otherVerbs.map((verb): ConformanceCase => ({
      name: `the verb ${verb}, which the module has not, is refused`,
      run: () =>
        withClient(async (call, path) => {
          const status = await statusOf(call({ verb, body: '{}' }));
          assert.ok([404, 405, 501].includes(status), `expected 405, and it is ${status}`);
          await call(good(methods[0]!, path));
        }),
    })),
    ...withBody.map((name): ConformanceCase => ({
      name: `${name}: a body that is no question is refused`,
      run: () =>
        withClient(async (call, path) => {
          const request = good(name, path);
          for (const body of ['', '{', `${request.body ?? ''}}`, '[]', 'not JSON', '\0']) {
            const status = await statusOf(call({ ...request, body }));
            assert.ok(
              status >= 400 && status < 600,
              `expected 400 for ${JSON.stringify(body)}, and it is ${status}`,
            );
            await call(request);
          }
        }),
    })),
    ...withBody.map((name): ConformanceCase => ({
      name: `${name}: keys that it does not know are skipped, white space is none of its business`,
      run: () =>
        withClient(async (call, path) => {
          const request = good(name, path);
          const body = ` \r\n\t${request.body!.replace(/^\{/, '{ "sallyport-unknown" : [ 1, {"a": null} ] ,\n')}\n `;
          await call({ ...request, body });
        }),
    })),
    ...methods.map((name): ConformanceCase => ({
      name: `${name}: questions one after the other`,
      run: () =>
        withClient(async (call, path) => {
          for (let i = 0; i < 20; i++) {
            const { body } = await call(good(name, path));
            if (contract.methods[name]!.http.statusOnly !== true) JSON.parse(body.toString());
          }
        }),
    })),
  ];
}

interface Request extends Pick<HttpRequest, 'verb' | 'body'> {
  readonly path?: string;
}

async function statusOf(call: Promise<HttpReply>): Promise<number> {
  try {
    return (await call).status;
  } catch (error) {
    if (!(error instanceof PluginError) || error.httpStatus === undefined) throw error;
    return error.httpStatus;
  }
}

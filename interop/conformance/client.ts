// The client under test of the public gRPC conformance runner: makes the calls that come in on standard input with
// createGrpcClient, up to 32 at a time, and reports what became of each.
import { setTimeout as wait } from 'node:timers/promises';
import { PluginError } from '@sallyport/plugin';
import {
  createGrpcClient,
  decodeMessage,
  encodeMessage,
  type Endpoint,
  type GrpcRequest,
} from '@sallyport/plugin/wire';
import { readFrames, writeFrame } from './frames.ts';
import {
  ClientCompatRequest,
  ClientCompatResponse,
  fromHeaders,
  PassedResponse,
  Status,
  toHeaders,
  type ClientResponseResult,
} from './messages.ts';

const gzip = 2;
const service = 'connectrpc.conformance.v1.ConformanceService';

// What stands before the server's own message in our error's text.
const ourWords = /^the plugin answered [A-Z_]+(: )?/;

const text = (pem: Uint8Array) => Buffer.from(pem).toString();

function endpointOf({ host, port, serverTlsCert, clientTlsCreds }: ClientCompatRequest): Endpoint {
  const authority = `${host}:${String(port)}`;
  const connect = { host, port };
  if (serverTlsCert.length === 0) return { url: `grpc://${authority}`, connect, authority };
  const pair = clientTlsCreds && { cert: text(clientTlsCreds.cert), key: text(clientTlsCreds.key) };
  return { url: `grpcs://${authority}`, connect, authority, tls: { ca: [text(serverTlsCert)], ...pair } };
}

async function call(asked: ClientCompatRequest): Promise<ClientResponseResult> {
  const limit = asked.messageReceiveLimit;
  const client = createGrpcClient({
    endpoint: endpointOf(asked),
    maxReplyBytes: limit > 0 ? limit : undefined,
  });
  const leaving = new AbortController();
  const over = new AbortController();
  if (asked.cancel) {
    void wait(asked.cancel.afterCloseSendMs, undefined, { signal: over.signal }).then(
      () => leaving.abort(),
      () => undefined, // The call was over before.
    );
  }
  const request: GrpcRequest = {
    path: `/${asked.service}/${asked.method}`,
    message: asked.requestMessages[0]!.value,
    metadata: fromHeaders(asked.requestHeaders),
    timeoutMs: asked.timeoutMs > 0 ? asked.timeoutMs : undefined,
    signal: leaving.signal,
    gzip: asked.compression === gzip,
  };
  try {
    const reply = await client.call(request);
    return {
      responseHeaders: toHeaders(reply.headers),
      payloads: [decodeMessage(PassedResponse, reply.message).payload],
      error: undefined,
      responseTrailers: toHeaders(reply.trailers),
    };
  } catch (error) {
    if (!(error instanceof PluginError)) throw error;
    const details = error.details === undefined ? [] : decodeMessage(Status, error.details).details;
    return {
      responseHeaders: toHeaders(error.headers ?? []),
      payloads: [],
      error: { code: error.grpcStatus ?? 2, message: error.message.replace(ourWords, ''), details },
      responseTrailers: toHeaders(error.trailers ?? []),
    };
  } finally {
    over.abort();
    await client.close();
  }
}

async function answer(frame: Buffer): Promise<void> {
  const asked = decodeMessage(ClientCompatRequest, frame);
  const { testName } = asked;
  let message: string | undefined;
  let response: ClientResponseResult | undefined;
  try {
    if (asked.service !== service) throw new Error(`there is no service ${asked.service} here`);
    response = await call(asked);
  } catch (error) {
    message = String(error);
  }
  const failure = message === undefined ? undefined : { message };
  writeFrame(encodeMessage(ClientCompatResponse, { testName, response, error: failure }));
}

const running = new Set<Promise<void>>();
for await (const frame of readFrames()) {
  const one = answer(frame).finally(() => running.delete(one));
  running.add(one);
  if (running.size >= 32) await Promise.race(running);
}
await Promise.all(running);

// The server under test of the public gRPC conformance runner: listens as it is told on standard input, answers
// ConformanceService's unary methods, and ends with its standard input or by a signal.
import net from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import tls from 'node:tls';
import {
  decodeMessage,
  encodeMessage,
  GrpcStatus,
  serveH2,
  type GrpcServedCall,
  type GrpcServedReply,
} from '@sallyport/plugin/wire';
import { readFrames, writeFrame } from './frames.ts';
import {
  fromHeaders,
  RequestInfo,
  ServerCompatRequest,
  ServerCompatResponse,
  Status,
  toHeaders,
  UnaryRequest,
  UnaryResponse,
} from './messages.ts';

const prefix = 'connectrpc.conformance.v1.';
const types = 'type.googleapis.com/';

async function handle(call: GrpcServedCall): Promise<GrpcServedReply> {
  const method = call.path.replace(`/${prefix}ConformanceService/`, '');
  if (method !== 'Unary' && method !== 'IdempotentUnary')
    throw new GrpcStatus(12, `${call.path} is not served`);
  const { responseDefinition: wanted } = decodeMessage(UnaryRequest, call.message);
  const requestInfo: RequestInfo = {
    requestHeaders: toHeaders(call.metadata),
    // A grpc-timeout may be given in nanoseconds.
    timeoutMs: Math.round(call.timeoutMs ?? 0),
    requests: [{ typeUrl: `${types}${prefix}${method}Request`, value: call.message }],
  };
  if (wanted !== undefined && wanted.responseDelayMs > 0) {
    await wait(wanted.responseDelayMs, undefined, { signal: call.signal });
  }
  const headers = fromHeaders(wanted?.responseHeaders ?? []);
  const trailers = fromHeaders(wanted?.responseTrailers ?? []);
  if (wanted?.error !== undefined) {
    const { code, message, details } = wanted.error;
    const info = {
      typeUrl: `${types}${prefix}ConformancePayload.RequestInfo`,
      value: encodeMessage(RequestInfo, requestInfo),
    };
    const status = encodeMessage(Status, { code, message, details: [...details, info] });
    throw new GrpcStatus(code, message, { details: status, headers, trailers });
  }
  const payload = { data: wanted?.responseData ?? Buffer.alloc(0), requestInfo };
  return { message: encodeMessage(UnaryResponse, { payload }), headers, trailers };
}

const text = (pem: Uint8Array) => Buffer.from(pem).toString();

for await (const frame of readFrames()) {
  const asked = decodeMessage(ServerCompatRequest, frame);
  const { serverCreds: pair, clientTlsCert, messageReceiveLimit } = asked;
  const limits = messageReceiveLimit > 0 ? { maxRequestBytes: messageReceiveLimit } : {};
  const accept = (socket: net.Socket) => {
    // What is not gRPC has no other use here (gRPC's document "gRPC over HTTP2", requests).
    serveH2(socket, { grpc: handle, http: () => ({ status: 415, body: '' }), limits });
  };
  const secure = asked.useTls && pair ? { cert: text(pair.cert), key: text(pair.key) } : undefined;
  const ca = clientTlsCert.length > 0 ? text(clientTlsCert) : undefined;
  const server = secure
    ? tls.createServer({ ...secure, ca, requestCert: ca !== undefined, ALPNProtocols: ['h2'] }, accept)
    : net.createServer(accept);
  server.listen(0, '127.0.0.1', () => {
    const { port } = server.address() as net.AddressInfo;
    const pemCert = secure ? Buffer.from(secure.cert) : Buffer.alloc(0);
    writeFrame(encodeMessage(ServerCompatResponse, { host: '127.0.0.1', port, pemCert }));
  });
}

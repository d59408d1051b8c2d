/**
 * The layers below the contracts: endpoints and how they are dialled, gRPC and HTTP clients for any method. They are
 * exported for whoever speaks another service than ours over the same wire.
 */
export type { Endpoint, TlsSettings } from './endpoint.ts';
export { dial } from './dial.ts';
export type { DialOptions } from './dial.ts';
export { readDefaultRoots } from './trust.ts';
export { explainTlsFailure, notTlsMessage } from './socket-error.ts';
export * from './grpc.ts';
export * from './http.ts';
export * from './http1/index.ts';
export { decodeMessage, encodeMessage } from './proto.ts';
export { parseJson, writeJson } from './go-json.ts';
export type { Field, MessageType, Scalar } from './proto.ts';
export { createHttpClient } from './http-client.ts';
export type { HttpClientOptions } from './http-client.ts';
export { createGrpcClient } from './grpc-client.ts';
export type { GrpcClientOptions } from './grpc-client.ts';
export { serveH2 } from './grpc-server.ts';
export type { H2Served, H2ServeOptions } from './grpc-server.ts';
export type { H2Limits } from './h2/limits.ts';
export { decodeGrpcMessage } from './grpc-codes.ts';
export { createHttp1Server } from './http-server.ts';
export type { Http1Server, Http1ServerOptions } from './http-server.ts';

import assert from 'node:assert/strict';
import { createMethodCodec } from '../codec.ts';
import { PluginError } from '../errors.ts';
import { parseEndpoints } from '../engine/addresses.ts';
import { createGrpcClient } from '../wire/grpc-client.ts';
import { grpcStatus } from '../wire/grpc.ts';
import type { GrpcClient, GrpcReply, GrpcRequest } from '../wire/grpc.ts';
import type { ConformanceCase } from './conformance-case.ts';
import { typicalSample } from './samples.ts';
import type { ServerUnderTest } from './server-conformance.ts';

/** What a gRPC server must do besides answering good questions. */
export function grpcServerCases(server: ServerUnderTest): readonly ConformanceCase[] {
  const { contract, addr, tls, token, timeoutMs } = server;
  const methods = Object.keys(contract.methods);
  const metadata = token === undefined || token === '' ? undefined : ['token', token];

  const withClient = async (
    use: (client: GrpcClient, call: (more: Partial<GrpcRequest>) => Promise<GrpcReply>) => Promise<void>,
  ): Promise<void> => {
    const { endpoints } = parseEndpoints(contract.kind, 'grpc', addr, tls);
    const client = createGrpcClient({ endpoint: endpoints[0]! });
    const good = goodRequest(server, methods[0]!);
    try {
      await use(client, (more) => client.call({ ...good, metadata, timeoutMs, ...more }));
    } finally {
      await client.close(0);
    }
  };

  return [
    {
      name: 'a method that the service has not is UNIMPLEMENTED',
      run: () =>
        withClient(async (_client, call) => {
          const path = `/${contract.service}/NoSuchMethod`;
          assert.equal(await statusOf(call({ path })), grpcStatus.unimplemented);
          await call({});
        }),
    },
    {
      name: 'a service that is not there is UNIMPLEMENTED',
      run: () =>
        withClient(async (_client, call) => {
          assert.equal(await statusOf(call({ path: '/proto.NoSuchService/Ask' })), grpcStatus.unimplemented);
          await call({});
        }),
    },
    ...methods.map((name): ConformanceCase => ({
      name: `${name}: bytes that are no message are refused, on a connection that lives on`,
      run: () =>
        withClient(async (_client, call) => {
          const good = goodRequest(server, name);
          for (const message of malformed) {
            const status = await statusOf(call({ ...good, message }));
            const { internal, invalidArgument, unknown } = grpcStatus;
            assert.ok(
              status === internal || status === invalidArgument || status === unknown,
              `expected INVALID_ARGUMENT or INTERNAL, and it is status ${status}`,
            );
            await call(good);
          }
        }),
    })),
    ...methods.map((name): ConformanceCase => ({
      name: `${name}: fields that it does not know are skipped`,
      run: () =>
        withClient(async (_client, call) => {
          const good = goodRequest(server, name);
          // Field 1000 as a varint, as bytes, as 64 and as 32 bits.
          const unknown = Buffer.concat([
            Buffer.from([0xc0, 0x3e, 0x05]),
            Buffer.from([0xc2, 0x3e, 0x02, 0x61, 0x62]),
            Buffer.from([0xc1, 0x3e, 1, 2, 3, 4, 5, 6, 7, 8]),
            Buffer.from([0xc5, 0x3e, 1, 2, 3, 4]),
          ]);
          await call({ ...good, message: Buffer.concat([unknown, good.message, unknown]) });
        }),
    })),
    {
      name: 'a compressed question is answered, or refused as UNIMPLEMENTED',
      run: () =>
        withClient(async (_client, call) => {
          const status = await statusOf(call({ gzip: true }));
          assert.ok(status === grpcStatus.ok || status === grpcStatus.unimplemented, `status ${status}`);
          await call({});
        }),
    },
    {
      name: 'questions one after the other use one connection, and a new connection is taken too',
      run: () =>
        withClient(async (_client, call) => {
          for (let i = 0; i < 20; i++) await call({});
          await withClient(async (_other, again) => void (await again({})));
          await call({});
        }),
    },
  ];
}

/** A tag cut short, a field longer than the message, a group that nothing closes, and field number 0. */
const malformed = [
  Buffer.from([0xff]),
  Buffer.from([0x0a, 0x7f, 0x61]),
  Buffer.from([0x0b]),
  Buffer.from([0x02, 0x00]),
];

function goodRequest({ contract }: ServerUnderTest, name: string): GrpcRequest {
  const { grpc } = createMethodCodec(contract, name);
  const { ask } = typicalSample(contract, name);
  return { path: grpc.path, message: grpc.encodeAsk(ask as never) };
}

async function statusOf(call: Promise<unknown>): Promise<number> {
  try {
    await call;
    return grpcStatus.ok;
  } catch (error) {
    if (!(error instanceof PluginError) || error.grpcStatus === undefined) throw error;
    // What this side made up is no answer of the server.
    if (error.code === 'unreachable' || error.code === 'timeout') throw error;
    return error.grpcStatus;
  }
}

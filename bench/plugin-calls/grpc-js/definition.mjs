// The authenticator's service as grpc-js users have it: loaded from the .proto.
import grpc from '@grpc/grpc-js';
import loader from '@grpc/proto-loader';
import { fileURLToPath } from 'node:url';

const file = fileURLToPath(new URL('../../../packages/plugin/proto/auth.proto', import.meta.url));
export const { Authenticator } = grpc.loadPackageDefinition(loader.loadSync(file, { defaults: true })).proto;
export { grpc };

import { decodeMessage, encodeMessage } from '../wire/proto.ts';
import type { MessageType } from '../wire/proto.ts';
import { GrpcStatus, grpcStatus } from '../wire/grpc.ts';
import type { GrpcServedCall, GrpcServedReply } from '../wire/grpc.ts';

const request: MessageType<{ service: string }> = {
  typeName: 'grpc.health.v1.HealthCheckRequest',
  fields: [{ number: 1, name: 'service', type: 'string', repeated: false }],
};

// An enum travels as an int32.
const response: MessageType<{ status: number }> = {
  typeName: 'grpc.health.v1.HealthCheckResponse',
  fields: [{ number: 1, name: 'status', type: 'int32', repeated: false }],
};

const servingStatus = { serving: 1, notServing: 2 } as const;

/** The one method of the standard health service that is served. */
export const healthCheckPath = '/grpc.health.v1.Health/Check';

/**
 * Answers a health check for the whole server (an empty name) or one of its services. `Watch`, the other method, is a
 * stream, which this server does not speak; its UNIMPLEMENTED is what the service's own documentation has clients expect.
 */
export function createHealthCheck(
  services: ReadonlySet<string>,
  isStopping: () => boolean,
): (call: GrpcServedCall) => GrpcServedReply {
  return ({ message }) => {
    let service: string;
    try {
      ({ service } = decodeMessage(request, message));
    } catch (cause) {
      throw new GrpcStatus(grpcStatus.invalidArgument, 'this is no HealthCheckRequest', { cause });
    }
    if (service !== '' && !services.has(service)) {
      throw new GrpcStatus(grpcStatus.notFound, `served here: ${[...services].join(', ')}`);
    }
    const status = isStopping() ? servingStatus.notServing : servingStatus.serving;
    return { message: encodeMessage(response, { status }) };
  };
}

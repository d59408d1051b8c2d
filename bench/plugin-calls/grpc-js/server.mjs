// An authenticator by @grpc/grpc-js. Ends with its standard input.
import { Authenticator, grpc } from './definition.mjs';

const server = new grpc.Server();
server.addService(Authenticator.service, {
  Authenticate({ request, metadata }, answer) {
    if (metadata.get('token')[0] !== 'gost') answer({ code: grpc.status.UNAUTHENTICATED });
    else answer(null, { ok: request.password === 'gost', id: request.username });
  },
});
server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error !== null) throw error;
  console.log(JSON.stringify({ grpc: port }));
});
process.stdin.resume().once('end', () => server.forceShutdown());

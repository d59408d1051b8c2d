// The same calls through @grpc/grpc-js, with the deadline that Sallyport sets.
import { load, options } from '../node/load.mjs';
import { Authenticator, grpc } from './definition.mjs';

const flags = options();
const client = new Authenticator(`127.0.0.1:${flags.port}`, grpc.credentials.createInsecure());
const metadata = new grpc.Metadata();
metadata.set('token', 'gost');
const ask = { service: 'service-0', username: 'gost', password: 'gost', client: '127.0.0.1:40000' };
await load(
  () =>
    new Promise((resolve, reject) => {
      client.Authenticate(ask, metadata, { deadline: Date.now() + 2000 }, (error, reply) => {
        if (error !== null || !reply.ok) reject(error ?? new Error('wrong answer'));
        else resolve();
      });
    }),
  flags,
);
client.close();

// Node's grpc-js as a peer: a server and a client for every module, driven by a script (see ../README.md).
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { setImmediate } from 'node:timers';
import { parseArgs } from 'node:util';
import grpc from '@grpc/grpc-js';
import protoLoader from '@grpc/proto-loader';

const protos = path.resolve(import.meta.dirname, '../../packages/plugin/proto');
const [role, ...rest] = process.argv.slice(2);
const { values: options } = parseArgs({
  // The other peers have Go's flags, with one dash.
  args: rest.map((one) => one.replace(/^-(?=[a-z])/, '--')),
  options: {
    ...Object.fromEntries(
      ['script', 'listen', 'target', 'cert', 'key', 'ca', 'client-ca', 'token'].map((name) => [
        name,
        { type: 'string' },
      ]),
    ),
    gzip: { type: 'boolean' },
  },
});

const say = (value) => console.log(JSON.stringify(value));
const read = (file) => (file ? readFileSync(file) : null);
const script = JSON.parse(readFileSync(options.script, 'utf8'));

// Every module's services. Each file is loaded alone, because all of them declare the package `proto`; bytes are base64.
const services = readdirSync(protos)
  .filter((file) => file.endsWith('.proto'))
  .flatMap((file) =>
    Object.values(
      protoLoader.loadSync(path.join(protos, file), { longs: String, bytes: String, defaults: true }),
    ).filter((one) => !('format' in one)),
  );

function serve() {
  const server = new grpc.Server();
  for (const service of services) {
    const handlers = {};
    for (const [name, method] of Object.entries(service)) {
      handlers[name] = (call, done) => {
        if (call.metadata.get('token')[0] !== options.token) {
          done({ code: grpc.status.UNAUTHENTICATED, details: 'wrong token' });
          return;
        }
        say({ method: method.path, request: call.request });
        const step = script[method.path].shift();
        if (step.hang) {
          call.on('cancelled', () => say({ method: method.path, gone: true }));
          return;
        }
        const trailers = new grpc.Metadata();
        for (const [key, value] of Object.entries(step.trailers ?? {})) trailers.set(key, value);
        if (step.code) done({ code: step.code, details: step.message, metadata: trailers });
        else done(null, step.reply, trailers);
      };
    }
    server.addService(service, handlers);
  }
  const credentials = options.cert
    ? grpc.ServerCredentials.createSsl(
        read(options['client-ca']),
        [{ cert_chain: read(options.cert), private_key: read(options.key) }],
        options['client-ca'] !== undefined,
      )
    : grpc.ServerCredentials.createInsecure();
  const listen = options.listen ?? '127.0.0.1:0';
  server.bindAsync(listen, credentials, (error, port) => {
    if (error) throw error;
    say({ listening: listen.startsWith('unix:') ? listen : `127.0.0.1:${port}` });
  });
  // Ends with whoever started it and holds its standard input.
  process.stdin.on('end', () => process.exit(0)).resume();
}

async function ask() {
  const credentials = options.ca
    ? grpc.credentials.createSsl(read(options.ca), read(options.key), read(options.cert))
    : grpc.credentials.createInsecure();
  const settings = options.gzip ? { 'grpc.default_compression_algorithm': 2 } : {};
  const client = new grpc.Client(options.target, credentials, settings);
  const methods = new Map(
    services.flatMap((one) => Object.values(one).map((method) => [method.path, method])),
  );
  for (const { method, request, token, timeoutMs = 10_000 } of script) {
    const { path, requestSerialize, responseDeserialize } = methods.get(method);
    const metadata = new grpc.Metadata();
    if (token) metadata.set('token', token);
    const result = await new Promise((resolve) => {
      let outcome;
      const call = client.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        request,
        metadata,
        { deadline: Date.now() + timeoutMs },
        (error, reply) => {
          outcome = error ? { code: error.code, message: error.details } : { reply };
        },
      );
      call.on('status', (status) => {
        const trailers = {};
        for (const key of Object.keys(status.metadata.getMap())) trailers[key] = status.metadata.get(key);
        setImmediate(() => resolve({ method, trailers, ...outcome }));
      });
    });
    say(result);
  }
  client.close();
}

if (role === 'server') serve();
else await ask();

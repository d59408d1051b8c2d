// servePlugins as a plugin's author uses it. Ends with its standard input.
import { contractByKind, implement, servePlugins } from '@sallyport/plugin';

const server = await servePlugins(
  [
    implement(contractByKind.auth, {
      authenticate: ({ username, password }) => ({ ok: password === 'gost', user: username }),
    }),
  ],
  { port: 0, token: 'gost' },
);
const { port } = server.address;
console.log(JSON.stringify({ grpc: port, http: port }));
process.stdin.resume().once('end', () => server.close());

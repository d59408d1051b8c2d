// An authenticator: who may use the proxy? `npm start` runs it. By hand: node examples/plugins/javascript/auth.mjs --port 8000
import { parseArgs } from 'node:util';
import { contractByKind, implement, servePlugins } from '@sallyport/plugin';

const { values } = parseArgs({
  options: { port: { type: 'string', default: '8000' }, token: { type: 'string', default: 'gost' } },
});
const passwords = new Map([['gost', 'gost']]);

const server = await servePlugins(
  [
    implement(contractByKind.auth, {
      authenticate({ username, password }, call) {
        if (username === '') call.meta.reason = 'no credentials were offered';
        else if (!passwords.has(username)) call.meta.reason = `there is no user ${username}`;
        else if (passwords.get(username) !== password) call.meta.reason = 'the password is wrong';
        return { ok: call.meta.reason === undefined, user: username };
      },
    }),
  ],
  { port: Number(values.port), token: values.token },
);
console.log(`auth plugin listening on ${server.addr}`);
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => server.close());

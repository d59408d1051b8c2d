// A pool of upstream proxies: which node does this user go through? Users stay with their node, and a node that is taken
// out of the list is left at once. By hand: node examples/plugins/javascript/pool.mjs --port 8000 --node 192.0.2.1:1080 --node …
import { createHash } from 'node:crypto';
import { parseArgs } from 'node:util';
import { contractByKind, implement, servePlugins } from '@sallyport/plugin';

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '8000' },
    token: { type: 'string', default: 'gost' },
    node: { type: 'string', multiple: true, default: [] },
  },
});

/** The node whose own hash with the user's is greatest: when one goes, only its users move (rendezvous hashing). */
function nodeOf(user, nodes) {
  const weight = (addr) => createHash('sha256').update(`${user} ${addr}`).digest('hex');
  return [...nodes].sort((a, b) => (weight(a) < weight(b) ? 1 : -1))[0];
}

const server = await servePlugins(
  [
    implement(contractByKind.hop, {
      select({ user, client }, call) {
        const addr = nodeOf(user || client.replace(/:\d+$/, ''), values.node);
        if (addr === undefined) call.meta.reason = 'the pool is empty';
        return addr && { name: addr, addr, connector: { type: 'socks5' }, dialer: { type: 'tcp' } };
      },
    }),
  ],
  { port: Number(values.port), token: values.token },
);
console.log(`hop plugin listening on ${server.addr}`);
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => server.close());

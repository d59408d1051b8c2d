// connectPlugin as the proxy uses it: deadline, breaker, cap and token, no cache.
import { connectPlugin, contractByKind } from '@sallyport/plugin';
import { load, options } from './load.mjs';

const flags = options();
const plugin = connectPlugin(contractByKind.auth, {
  transport: flags.transport,
  addr: `127.0.0.1:${flags.port}`,
  token: 'gost',
  maxConcurrent: 1024,
});
const ask = {
  service: 'service-0',
  username: 'gost',
  password: 'gost',
  client: '127.0.0.1:40000',
  certificate: undefined,
};
await load(async () => {
  const { ok } = await plugin.authenticate(ask, { meta: {} });
  if (!ok) throw new Error('wrong answer');
}, flags);
await plugin.close();

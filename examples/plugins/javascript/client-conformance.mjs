// Does a client of plugins do what a plugin server, and a world full of broken ones, needs of it? Every case opens its own
// server. The client here is ours; another one is any object with the contract's methods, which reject with PluginError.
//   node examples/plugins/javascript/client-conformance.mjs --module auth --transport grpc
import test from 'node:test';
import { parseArgs } from 'node:util';
import { connectPlugin, contractByKind } from '@sallyport/plugin';
import { clientConformance } from '@sallyport/plugin/testing';

const { values } = parseArgs({
  options: {
    module: { type: 'string', default: 'auth' },
    transport: { type: 'string', default: 'grpc' },
  },
});

const cases = clientConformance({
  contract: contractByKind[values.module],
  transport: values.transport,
  connect: (contract, { transport, addr, token, tls, timeoutMs }) =>
    connectPlugin(contract, { transport, addr, token, tls, timeoutMs }),
});
for (const { name, run } of cases) test(name, run);

// Does my plugin server, in whatever language, do what a proxy needs of it? Start it with made-up data, then:
//   node examples/plugins/javascript/conformance.mjs --module auth --addr 127.0.0.1:8000 --token gost
// Every case is a test of node:test; the program ends with 1 where one of them failed.
import test from 'node:test';
import { parseArgs } from 'node:util';
import { contractByKind } from '@sallyport/plugin';
import { serverConformance } from '@sallyport/plugin/testing';

const { values } = parseArgs({
  options: {
    module: { type: 'string', default: 'auth' },
    transport: { type: 'string', default: 'grpc,http' },
    addr: { type: 'string', default: '127.0.0.1:8000' },
    token: { type: 'string', default: 'gost' },
  },
});
const { addr, token } = values;
const contract = contractByKind[values.module];
if (contract === undefined) throw new Error(`there is no module ${values.module}`);

for (const transport of values.transport.split(',')) {
  for (const { name, run } of serverConformance({ contract, transport, addr, token })) {
    test(`${transport}: ${name}`, run);
  }
}

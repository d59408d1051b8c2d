// What Node itself costs: each connection is piped to the target of the configuration's forwarder, and that is all. Nothing is
// asked, counted, limited or logged. The least that a proxy on Node's sockets could cost, for comparison only.
import { readFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';

const [service] = JSON.parse(readFileSync(process.argv[3], 'utf8')).services;
const port = (address) => Number(address.split(':')[1]);
const to = port(service.forwarder.nodes[0].addr);
createServer({ allowHalfOpen: true }, (client) => {
  const upstream = connect({ host: '127.0.0.1', port: to, allowHalfOpen: true });
  client.on('error', () => upstream.destroy());
  upstream.on('error', () => client.destroy());
  client.pipe(upstream);
  upstream.pipe(client);
}).listen(port(service.addr), '127.0.0.1');

// What a laptop has to publish: `node origin.mjs NAME CERTIFICATE KEY` serves, at 127.0.0.1, HTTP (8080), the same over TLS (8443),
// an echo for connections that begins with its name (7000), and one for datagrams (5353). "NAME ready" is printed when all listen.
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';

const [, , name, certificate, key] = process.argv;
const address = '127.0.0.1';

function answer(request, response) {
  response.end(`${name} has ${request.headers.host}${request.url}`);
}

/** Whoever asks for another protocol gets an echo. */
function upgrade(_request, socket) {
  socket.on('error', () => socket.destroy());
  socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n');
  socket.pipe(socket);
}

function echo(socket) {
  socket.on('error', () => socket.destroy());
  socket.write(`${name}\n`);
  socket.pipe(socket);
}

const web = http.createServer(answer).on('upgrade', upgrade).listen(8080, address);
const secure = https.createServer({ cert: readFileSync(certificate), key: readFileSync(key) }, answer);
secure.listen(8443, address);
const streams = net.createServer({ allowHalfOpen: true }, echo).listen(7000, address);
const datagrams = createSocket({ type: 'udp4', recvBufferSize: 1 << 20, sendBufferSize: 1 << 20 });
datagrams.on('message', (data, { port, address: from }) => datagrams.send(data, port, from));
datagrams.bind(5353, address);

await Promise.all([web, secure, streams, datagrams].map((one) => once(one, 'listening')));
console.log(`${name} ready`);

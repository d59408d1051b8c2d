// What visitors do, for as long as a test wants: each line that is printed is one JSON value.
//
//   load URL EVERY-MS ADDRESS…     asks the addresses in turn for a page, by a connection of its own each time:
//                                  {"n", "at", "to", "ms", "status", "body"}, or "error" in place of the last two; until SIGTERM
//   hold HOST ADDRESS              has a connection that echoes (an HTTP upgrade; without one where HOST is "-"), and says
//                                  something every 50 ms: {"echoes"}, and at the end {"lost"}
//   echo ADDRESS BYTES             sends so many bytes to an echo, ends, and compares what comes back: {"greeting", "same", "bytes"}
//   ask ADDRESS                    sends a datagram every 50 ms from one socket: {"echoes"} for each that comes back
//   datagrams PEERS ADDRESS SIZE…  so many sockets send datagrams of each size, and wait for each to come back: {"sent", "same", "peers"}
import { createHash, randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

const [, , command, ...args] = process.argv;
const commands = { load, hold, ask, echo, datagrams };
await commands[command](...args);

function say(value) {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

/** `192.0.2.1:80` in two parts. */
function parse(address) {
  const at = address.lastIndexOf(':');
  return { host: address.slice(0, at), port: Number(address.slice(at + 1)) };
}

async function load(url, everyMs, ...addresses) {
  let n = 0;
  let isOver = false;
  process.once('SIGTERM', () => (isOver = true));
  const open = new Set();
  while (!isOver) {
    const one = visit(n, new URL(url), addresses[n % addresses.length]).finally(() => open.delete(one));
    open.add(one);
    n++;
    await delay(Number(everyMs));
  }
  await Promise.all(open);
}

/** Nobody waits for a page for more than ten seconds. */
async function visit(n, url, to) {
  const at = Date.now();
  const facts = () => ({ n, at, to, ms: Date.now() - at });
  try {
    const { status, body } = await get(parse(to), url);
    say({ ...facts(), status, body });
  } catch (error) {
    say({ ...facts(), error: error.code ?? error.message });
  }
}

function get(to, { protocol, host }) {
  const { get } = protocol === 'https:' ? https : http;
  // The certificate is a test's own.
  const how = { agent: false, timeout: 10_000, servername: host, rejectUnauthorized: false };
  return new Promise((resolve, reject) => {
    const request = get({ ...to, ...how, headers: { host } }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text) => (body += text));
      response.on('end', () => resolve({ status: response.statusCode, body: body.trim() }));
      response.on('error', reject);
    });
    request.on('error', reject);
    request.on('timeout', () => request.destroy(new Error('silent')));
  });
}

async function hold(host, to) {
  const socket = net.connect(parse(to));
  let text = '';
  let echoes = 0;
  let isOpen = host === '-';
  socket.setEncoding('utf8').on('data', (part) => {
    text += part;
    const said = text.split('\n');
    text = said.pop();
    for (const line of said) {
      isOpen ||= line.startsWith('HTTP/1.1 101 ');
      if (line === `here ${String(echoes)}`) say({ echoes: ++echoes });
    }
  });
  let lost;
  socket.on('error', (error) => (lost = error.code));
  socket.on('close', () => {
    say({ lost: lost ?? 'ended' });
    process.exit();
  });
  if (!isOpen)
    socket.write(`GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n`);
  while (!isOpen) await delay(10);
  for (;;) {
    const awaited = echoes + 1;
    socket.write(`here ${String(echoes)}\n`);
    while (echoes < awaited) await delay(10);
    await delay(50);
  }
}

async function ask(to) {
  const { host, port } = parse(to);
  const socket = createSocket('udp4');
  let echoes = 0;
  socket.on('message', () => say({ echoes: ++echoes }));
  for (;;) {
    socket.send('here', port, host);
    await delay(50);
  }
}

async function echo(to, bytes) {
  const socket = net.connect({ ...parse(to), allowHalfOpen: true });
  const sent = createHash('sha256');
  const got = createHash('sha256');
  const size = Number(bytes);
  let greeting;
  let came = 0;
  socket.on('data', (data) => {
    if (greeting === undefined) {
      const end = data.indexOf('\n');
      greeting = data.toString('utf8', 0, end);
      data = data.subarray(end + 1);
    }
    came += data.length;
    got.update(data);
  });
  const ended = once(socket, 'end');
  ended.catch(() => {});
  for (let left = size; left > 0;) {
    const data = randomBytes(Math.min(left, 65_536));
    sent.update(data);
    left -= data.length;
    if (!socket.write(data)) await once(socket, 'drain');
  }
  socket.end();
  await ended;
  say({ greeting, same: sent.digest('hex') === got.digest('hex'), bytes: came });
}

async function datagrams(peers, to, ...sizes) {
  const { host, port } = parse(to);
  let sent = 0;
  let same = 0;
  const one = async () => {
    const socket = createSocket({ type: 'udp4', recvBufferSize: 1 << 20, sendBufferSize: 1 << 20 });
    for (const size of sizes) {
      const data = randomBytes(Number(size));
      const answer = once(socket, 'message');
      socket.send(data, port, host);
      sent++;
      const [came] = await Promise.race([answer, delay(5000, [undefined], { ref: false })]);
      if (came !== undefined && data.equals(came)) same++;
    }
    socket.close();
  };
  await Promise.all(Array.from({ length: Number(peers) }, one));
  say({ sent, same, peers: Number(peers) });
}

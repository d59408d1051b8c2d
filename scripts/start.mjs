// `npm start`: a proxy on :8080 (PORT=… for another port) whose authenticator is a plugin started beside it, and a small
// origin to fetch from. Everything ends with Ctrl-C. With --self-test it types the printed commands itself, on a free port,
// says what came of them, and ends.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const selfTest = process.argv.includes('--self-test');
const port = Number(process.env.PORT ?? (selfTest ? 0 : 8080));
/** Programs start in about a second; what has not come after this long never will. */
const selfTestMs = 60_000;

/** Prints why it cannot go on, and ends with everything that was started. */
function fail(message) {
  console.error(`start: ${message}`);
  stop(1);
}

const children = new Set();
let stopping = false;
function stop(code) {
  if (stopping) return;
  stopping = true;
  process.exitCode = code;
  origin.close();
  origin.closeAllConnections();
  for (const child of children) child.kill('SIGTERM');
}

/** Starts one of our programs. Should it end by itself, everything ends. */
function start(name, args, input) {
  const child = spawn(process.execPath, args, { cwd: root, stdio: ['pipe', 'pipe', 'inherit'] });
  children.add(child);
  // The program may have ended before it read its input; its exit code tells.
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  child.on('error', (error) => fail(`${name} could not be started: ${error.message}`));
  child.on('exit', (code, signal) => {
    children.delete(child);
    if (!stopping) fail(`${name} ended (${signal ?? `exit code ${code}`})`);
  });
  return child;
}

const listening = (server, at) =>
  new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(at, () => {
      server.off('error', reject);
      resolve(server.address().port);
    });
  });

const origin = http.createServer((request, response) => {
  response.setHeader('content-type', 'text/plain');
  response.end(`Hello from the origin. You asked for ${request.url} through the proxy.\n`);
});

// Ctrl-C reaches the children by itself; a SIGTERM does not.
process.on('SIGINT', () => stop(0));
process.on('SIGTERM', () => stop(0));

async function run() {
  if (!Number.isInteger(port) || port < 0 || port > 65535) {
    return fail(`PORT=${process.env.PORT} is no port; it is a number up to 65535`);
  }
  for (const built of ['packages/plugin/dist/index.js', 'packages/proxy/dist/cli.js']) {
    if (!existsSync(path.join(root, built)))
      return fail(`${built} is not there; run "npm ci" first, which builds it`);
  }
  // Asked here first, so that the message is about the port and not about a program that ended.
  const probe = net.createServer();
  try {
    await listening(probe, port);
  } catch (error) {
    const reason = error.code === 'EADDRINUSE' ? 'something else is listening there' : error.message;
    return fail(`port ${port} cannot be had: ${reason}. For another one: PORT=8081 npm start`);
  }
  const { port: proxyPort } = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  const originPort = await listening(origin, { port: 0, host: '127.0.0.1' });

  const plugin = start('the plugin', ['examples/plugins/javascript/auth.mjs', '--port', '0']);
  const pluginPort = await new Promise((resolve) => {
    createInterface(plugin.stdout).on('line', (line) => {
      console.log(line);
      const found = /:(\d+)\b/.exec(line)?.[1];
      if (found) resolve(Number(found));
    });
  });

  const config = {
    services: [
      {
        name: 'front',
        addr: `:${proxyPort}`,
        handler: { type: 'http', auther: 'users' },
        listener: { type: 'tcp' },
      },
    ],
    authers: [{ name: 'users', plugin: { type: 'grpc', addr: `127.0.0.1:${pluginPort}`, token: 'gost' } }],
    log: { format: 'text' },
  };
  const proxy = start('the proxy', ['node_modules/.bin/sallyport', '-C', '-'], JSON.stringify(config));
  proxy.stdout.pipe(process.stdout);
  // It is ready when it takes a connection.
  for (;;) {
    if (stopping) return;
    const socket = net.connect(proxyPort, '127.0.0.1');
    const open = await new Promise((resolve) => {
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    });
    socket.destroy();
    if (open) break;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  if (selfTest) return stop((await trySelf(proxyPort, originPort)) ? 0 : 1);
  const proxyUrl = (credentials) => `http://${credentials}@127.0.0.1:${proxyPort}`;
  console.log(`
The proxy listens on :${proxyPort} and asks examples/plugins/javascript/auth.mjs on 127.0.0.1:${pluginPort} who may use it.
In another terminal:

  curl -x ${proxyUrl('gost:gost')} http://127.0.0.1:${originPort}/hello     an origin started beside it; works offline
  curl -x ${proxyUrl('gost:gost')} http://example.org/
  curl -x ${proxyUrl('gost:gost')} -p http://127.0.0.1:${originPort}/hello  the same through a tunnel (CONNECT)
  curl -i -x ${proxyUrl('gost:wrong')} http://127.0.0.1:${originPort}/      407: the plugin says no

Each decision is a line below. Change the plugin and start again to change the rules. Ctrl-C stops everything.
`);
}

/** One request through the proxy, in a tunnel or not. Resolves with the status and the body. */
function ask(proxyPort, target, credentials, tunnel) {
  return new Promise((resolve, reject) => {
    const authorization = `Basic ${Buffer.from(credentials).toString('base64')}`;
    const request = http.request({
      host: '127.0.0.1',
      port: proxyPort,
      method: tunnel ? 'CONNECT' : 'GET',
      path: tunnel ? target : `http://${target}/hello`,
      headers: { host: target, ...(credentials && { 'proxy-authorization': authorization }) },
      agent: false,
      timeout: 10_000,
    });
    const read = (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text) => (body += text));
      response.on('end', () => resolve({ status: response.statusCode, body }));
    };
    request.on('connect', (response, socket) => {
      if (response.statusCode !== 200) {
        socket.destroy();
        resolve({ status: response.statusCode, body: '' });
      } else http.get({ path: '/hello', createConnection: () => socket }, read).on('error', reject);
    });
    request.on('response', read).on('error', reject);
    request.on('timeout', () => request.destroy(new Error('no answer within 10 s')));
    request.end();
  });
}

/** Does what the printed commands do, prints a line for each, and answers whether all went as printed. */
async function trySelf(proxyPort, originPort) {
  let passed = 0;
  let failed = 0;
  for (const [what, credentials, tunnel, expected] of [
    ['the right password', 'gost:gost', false, 200],
    ['the right password, through a tunnel', 'gost:gost', true, 200],
    ['a wrong password', 'gost:wrong', false, 407],
    ['a wrong password, through a tunnel', 'gost:wrong', true, 407],
    ['no password', '', false, 407],
  ]) {
    let found;
    try {
      const { status, body } = await ask(proxyPort, `127.0.0.1:${originPort}`, credentials, tunnel);
      found = status === 200 && !body.startsWith('Hello from the origin') ? `200 with ${body}` : `${status}`;
    } catch (error) {
      found = error.message;
    }
    const good = found === `${expected}`;
    if (good) passed++;
    else failed++;
    console.log(
      good ? `OK      ${what}: ${expected}` : `FAILED  ${what}: ${expected} expected, ${found} found`,
    );
  }
  console.log(`${passed} passed, ${failed} failed`);
  return failed === 0;
}

if (selfTest) setTimeout(() => fail(`not done after ${selfTestMs / 1000} s`), selfTestMs).unref();
run().catch((error) => fail(error.message));

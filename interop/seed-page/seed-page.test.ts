// GOST's plugin page, the document this product was asked for: its YAML and its two Go programs, taken out of the page as
// they stand, built, and run with the real binary. Skipped, in so many words, where the page or Go is not there.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import tls from 'node:tls';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { createAuthority } from '../../packages/plugin/src/testing/certificates.ts';
import { startProgram, startSallyport } from '../../packages/proxy/test/program.ts';
import type { Program } from '../../packages/proxy/test/program.ts';

const here = path.dirname(fileURLToPath(import.meta.url));
const seed = path.resolve(here, '../../../shared/seed');
const missing = !existsSync(seed)
  ? 'the page is not there'
  : spawnSync('go', ['version']).status !== 0
    ? 'Go is not installed'
    : false;

describe("GOST's plugin page", { skip: missing }, () => {
  let folder: string;
  let yaml: string;
  let origin: http.Server;
  const programs: Program[] = [];
  const servers: net.Server[] = [];

  before(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'sallyport-page-'));
    const page = readdirSync(seed)
      .map((name) => readFileSync(path.join(seed, name), 'utf8'))
      .join('\n');
    const blocks = [...page.matchAll(/```(\w+)\n(.*?)```/gs)];
    yaml = blocks.find(([, kind]) => kind === 'yaml')![2]!;
    const sources = blocks.filter(([, kind]) => kind === 'go').map(([, , text]) => text!);
    assert.equal(sources.length, 2);
    for (const [index, name] of ['grpc', 'http'].entries()) {
      mkdirSync(path.join(folder, name));
      writeFileSync(path.join(folder, name, 'main.go'), sources[index]!);
    }
    for (const file of ['go.mod', 'go.sum']) copyFileSync(path.join(here, file), path.join(folder, file));
    execFileSync('go', ['build', '-mod=mod', '-o', 'bin/', './grpc', './http'], {
      cwd: folder,
      stdio: 'inherit',
    });
    origin = http.createServer((request, response) =>
      response.end(`origin saw ${request.method} ${request.url}`),
    );
    origin.listen(0, '127.0.0.1');
    servers.push(origin);
  });

  after(async () => {
    for (const program of programs) await program.stop('SIGKILL');
    for (const server of servers) server.close();
    rmSync(folder, { recursive: true });
  });

  const started = <P extends Program>(program: P): P => {
    programs.push(program);
    return program;
  };

  /** One of the page's two programs on a port of its choice, or on a given one. */
  const plugin = async (kind: 'grpc' | 'http', port = 0) => {
    const program = started(startProgram(path.join(folder, 'bin', kind), ['-port', String(port)]));
    const line = await program.line(/server listening at/);
    return { program, port: Number(/:(\d+)$/.exec(line)![1]) };
  };

  /**
   * A port that is free and that the system gives to nobody who asks for any, so that it is still free when the plugin comes
   * back to it.
   */
  const lastingPort = async (): Promise<number> => {
    for (let attempt = 0; attempt < 50; attempt++) {
      const candidate = 20_000 + Math.floor(Math.random() * 12_000);
      const probe = net.createServer();
      const free = await new Promise<boolean>((resolve) => {
        probe.once('error', () => resolve(false)).listen(candidate, () => resolve(true));
      });
      if (!free) continue;
      await new Promise((resolve) => probe.close(resolve));
      return candidate;
    }
    throw new Error('no port from 20000 to 31999 is free');
  };

  /** The page's configuration as printed but for its two ports. */
  const config = (pluginPort: number) => {
    const text = yaml
      .replace('":8080"', '"127.0.0.1:0"')
      .replace('127.0.0.1:8000', `127.0.0.1:${String(pluginPort)}`);
    assert.match(text, /^\ttoken: gost$/m);
    return text;
  };
  const withoutTls = (text: string) => text.replace(/^ *tls: \{\}\n/m, '');

  const target = () => `127.0.0.1:${String((origin.address() as net.AddressInfo).port)}`;

  /** Sends one request through the proxy; answers the status, and for CONNECT also what came through the tunnel. */
  const ask = (
    port: number,
    method: 'GET' | 'CONNECT',
    credentials?: string,
  ): Promise<{ status: number; body: string }> =>
    new Promise((resolve, reject) => {
      const authorization = credentials && {
        'proxy-authorization': `Basic ${Buffer.from(credentials).toString('base64')}`,
      };
      const request = http.request({
        port,
        host: '127.0.0.1',
        method,
        path: method === 'CONNECT' ? target() : `http://${target()}/page`,
        headers: { ...authorization, ...(method === 'GET' && { host: target() }) },
        agent: false,
        timeout: 10_000,
      });
      const read = (response: http.IncomingMessage) => {
        let body = '';
        response.setEncoding('utf8').on('data', (text: string) => (body += text));
        response.on('end', () => {
          resolve({ status: response.statusCode!, body });
        });
      };
      request.on('connect', (response, socket) => {
        if (response.statusCode !== 200) {
          socket.destroy();
          resolve({ status: response.statusCode!, body: '' });
          return;
        }
        http
          .get({ host: '127.0.0.1', path: '/page', createConnection: () => socket as net.Socket }, read)
          .on('error', reject);
      });
      request.on('response', read).on('error', reject);
      request.on('timeout', () => request.destroy(new Error('no answer in 10 s')));
      request.end();
    });

  const bothWays = async (port: number, credentials: string | undefined, status: number) => {
    for (const method of ['GET', 'CONNECT'] as const) {
      const answer = await ask(port, method, credentials);
      assert.equal(answer.status, status, `${method} as ${String(credentials)}`);
      if (status === 200) assert.equal(answer.body, 'origin saw GET /page');
    }
  };

  for (const kind of ['grpc', 'http'] as const) {
    test(`without tls, over ${kind}: the right password is let in, a wrong one and none get 407`, async () => {
      const { port } = await plugin(kind);
      let text = withoutTls(config(port));
      if (kind === 'http') text = text.replace('type: grpc', 'type: http');
      const proxy = started(await startSallyport(text));
      const warning = await proxy.line(/tab/);
      const tabbed = text
        .split('\n')
        .flatMap((each, index) => (/^ *\t/.test(each) ? [String(index + 1)] : []));
      assert.ok(tabbed.length > 0 && warning.includes(`lines ${tabbed.join(', ')} `), warning);
      assert.equal(proxy.lines.filter((line) => /\btabs?\b/.test(line)).length, 1, 'one warning about tabs');
      await bothWays(proxy.port, 'gost:gost', 200);
      await bothWays(proxy.port, 'gost:wrong', 407);
      await bothWays(proxy.port, undefined, 407);
      const line = await proxy.line(/auther-0.*\bno\b/);
      assert.match(line, /\d/);
    });
  }

  test('with `tls: {}` as printed nobody gets in, nothing is asked in the clear, and the log says what to change', async () => {
    const { port } = await plugin('grpc');
    const proxy = started(await startSallyport(config(port)));
    const atStart = await proxy.line(new RegExp(`127\\.0\\.0\\.1:${String(port)} does not speak TLS`));
    assert.match(atStart, /tls|certificate/);
    await bothWays(proxy.port, 'gost:gost', 407);
    const lines = proxy.lines.filter((line) => line.includes('does not speak TLS'));
    assert.ok(lines.length >= 2, "the 407's log line says so too");
  });

  test('behind a TLS port with caFile it works', async () => {
    const { port } = await plugin('grpc');
    const authority = createAuthority();
    const { cert, key } = authority.issue({ names: ['127.0.0.1'] });
    const front = tls.createServer({ cert, key, ALPNProtocols: ['h2'] }, (socket) => {
      const back = net.connect(port, '127.0.0.1');
      socket.pipe(back).pipe(socket);
      socket.on('error', () => back.destroy());
      back.on('error', () => socket.destroy());
      socket.on('close', () => back.destroy());
      back.on('close', () => socket.destroy());
    });
    servers.push(front);
    await new Promise<void>((resolve) => front.listen(0, '127.0.0.1', resolve));
    const caFile = path.join(folder, 'ca.pem');
    writeFileSync(caFile, authority.cert);
    const text = config((front.address() as net.AddressInfo).port).replace(
      'tls: {}',
      `tls: { caFile: "${caFile}" }`,
    );
    const proxy = started(await startSallyport(text));
    await bothWays(proxy.port, 'gost:gost', 200);
    await bothWays(proxy.port, 'gost:wrong', 407);
    const untrusted = started(await startSallyport(config((front.address() as net.AddressInfo).port)));
    await bothWays(untrusted.port, 'gost:gost', 407);
  });

  for (const [absence, ms] of [
    ['a moment', 500],
    ["a minute's absence", 60_000],
  ] as const) {
    test(
      `a plugin killed and back after ${absence} is used again within one second`,
      { timeout: 120_000 },
      async () => {
        const first = await plugin('grpc', await lastingPort());
        const proxy = started(await startSallyport(withoutTls(config(first.port))));
        await bothWays(proxy.port, 'gost:gost', 200);
        await first.program.stop('SIGKILL');
        await bothWays(proxy.port, 'gost:gost', 407);
        assert.match(await proxy.line(/could not ask/), /refused|unreachable|closed/);
        // Users keep knocking while it is away, which is what drives back-off and breaker to their limits.
        const until = Date.now() + ms;
        while (Date.now() < until) {
          assert.equal((await ask(proxy.port, 'GET', 'gost:gost')).status, 407);
          await wait(Math.min(500, ms / 5));
        }
        await plugin('grpc', first.port);
        const back = Date.now();
        while ((await ask(proxy.port, 'GET', 'gost:gost')).status !== 200) {
          assert.ok(Date.now() - back < 1000, 'used again within one second');
          await wait(20);
        }
      },
    );
  }
});

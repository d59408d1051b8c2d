import * as http from 'node:http';
import * as net from 'node:net';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { PluginError } from '../errors.ts';
import { createHttp1Server } from './http-server.ts';
import type { Http1Server, Http1ServerOptions } from './http-server.ts';
import type { HttpHandler, HttpServedReply, HttpServedRequest } from './http.ts';
import { smugglingAttempts } from './http1/http1-smuggling.fixture.ts';

const opened: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const close of opened.splice(0).reverse()) await close();
});

interface Running {
  readonly server: Http1Server;
  readonly port: number;
  /** Settles with each error that a handler's failure gave. */
  readonly errors: unknown[];
  readonly accepted: net.Socket[];
}

async function start(handler: HttpHandler, options: Partial<Http1ServerOptions> = {}): Promise<Running> {
  const errors: unknown[] = [];
  const server = createHttp1Server({ handler, onError: (error) => errors.push(error), ...options });
  const accepted: net.Socket[] = [];
  const listener = net.createServer((socket) => {
    accepted.push(socket);
    server.handleSocket(socket);
  });
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  opened.push(async () => {
    await server.close(0);
    await new Promise((resolve) => listener.close(resolve));
  });
  return { server, port: (listener.address() as net.AddressInfo).port, errors, accepted };
}

/** A client that says exactly what it is told to. */
class RawClient {
  readonly socket: net.Socket;
  #text = '';
  #isClosed = false;
  #onChange: (() => void) | undefined;

  constructor(port: number) {
    this.socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    this.socket.setEncoding('latin1');
    this.socket.on('data', (text: string) => {
      this.#text += text;
      this.#onChange?.();
    });
    this.socket.on('error', () => {});
    for (const event of ['end', 'close']) {
      this.socket.on(event, () => {
        this.#isClosed = true;
        this.#onChange?.();
      });
    }
    opened.push(async () => {
      this.socket.destroy();
      return Promise.resolve();
    });
  }

  send(text: string): this {
    this.socket.write(text, 'latin1');
    return this;
  }

  /** Waits until what has come (or the end) satisfies, and returns what has come. */
  async until(isEnough: (text: string) => boolean): Promise<string> {
    while (!isEnough(this.#text) && !this.#isClosed) {
      await new Promise<void>((resolve) => (this.#onChange = resolve));
    }
    return this.#text;
  }

  async untilClosed(): Promise<string> {
    return this.until(() => false);
  }
}

const echo: HttpHandler = (request) => ({
  status: 200,
  headers: ['Content-Type', 'application/json'],
  body: JSON.stringify({ ...pick(request), body: request.body.toString() }),
});

function pick({ verb, path, query, headers }: HttpServedRequest): object {
  return { verb, path, query, headers };
}

function bodies(text: string): string[] {
  return text.split(/HTTP\/1\.1 \d+ [^]*?\r\n\r\n/).slice(1);
}

describe('createHttp1Server', () => {
  it('answers requests on one connection, in order, whether the handler is quick or slow', async () => {
    const { port } = await start(async (request) => {
      if (request.path === '/slow') await new Promise((resolve) => setImmediate(resolve));
      return echo(request);
    });
    const client = new RawClient(port).send(
      'POST /slow?a=b HTTP/1.1\r\nHost: h\r\nX-A: B\r\nContent-Length: 5\r\n\r\nhello' +
        'PUT http://h/2 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n' +
        'GET /3?c HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n',
    );
    const text = await client.untilClosed();
    expect(bodies(text).map((body) => JSON.parse(body) as unknown)).toEqual([
      {
        verb: 'POST',
        path: '/slow',
        query: 'a=b',
        headers: ['host', 'h', 'x-a', 'B', 'content-length', '5'],
        body: 'hello',
      },
      {
        verb: 'PUT',
        path: '/2',
        query: '',
        headers: ['host', 'h', 'transfer-encoding', 'chunked'],
        body: 'hi',
      },
      { verb: 'GET', path: '/3', query: 'c', headers: ['host', 'h', 'connection', 'close'], body: '' },
    ]);
    expect(text.match(/^Date: .* GMT\r$/gm)).toHaveLength(3);
    expect(text.match(/^Connection: close\r$/gm)).toHaveLength(1);
  });

  it('is understood by another HTTP client', async () => {
    const { port } = await start(echo);
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    const ports = new Set<number | undefined>();
    for (let i = 0; i < 3; i++) {
      const body = await new Promise<string>((resolve, reject) => {
        const request = http.request({
          port,
          host: '127.0.0.1',
          path: '/é'.replace('é', '%C3%A9'),
          method: 'POST',
          agent,
        });
        request.on('error', reject).on('response', (response) => {
          ports.add(response.socket.localPort);
          let text = '';
          response.setEncoding('utf8').on('data', (part: string) => (text += part));
          response.on('end', () => resolve(text));
        });
        request.end('žluťoučký');
      });
      expect(JSON.parse(body)).toMatchObject({ path: '/%C3%A9', body: 'žluťoučký' });
    }
    expect(ports.size).toBe(1);
    agent.destroy();
  });

  it('serves bytes that were read already', async () => {
    const server = createHttp1Server({ handler: echo });
    const listener = net.createServer((socket) => {
      socket.once('readable', () => {
        server.handleSocket(socket, socket.read() as Buffer);
      });
    });
    await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
    opened.push(async () => {
      await server.close(0);
      await new Promise((resolve) => listener.close(resolve));
    });
    const client = new RawClient((listener.address() as net.AddressInfo).port);
    const text = await client.send('GET /sniffed HTTP/1.0\r\n\r\n').untilClosed();
    expect(text).toContain('"/sniffed"');
  });

  it('says where the caller is', async () => {
    const { port } = await start((request) => ({ status: 200, body: request.remote }));
    const client = new RawClient(port).send('GET / HTTP/1.0\r\n\r\n');
    const { localPort } = client.socket;
    expect(bodies(await client.untilClosed())).toEqual([`127.0.0.1:${localPort ?? client.socket.localPort}`]);
  });

  it('answers HEAD without the body, and 204 without a length', async () => {
    const { port } = await start((request) => ({
      status: request.path === '/none' ? 204 : 200,
      body: 'body',
    }));
    const text = await new RawClient(port)
      .send('HEAD / HTTP/1.1\r\nHost: h\r\n\r\nHEAD /none HTTP/1.0\r\n\r\n')
      .untilClosed();
    expect(text).not.toContain('body');
    expect(text.match(/Content-Length: \d+/g)).toEqual(['Content-Length: 4']);
  });

  it('keeps an HTTP/1.0 connection that asks for it', async () => {
    const { port } = await start(() => ({ status: 200, body: 'x' }));
    const request = 'GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n';
    const client = new RawClient(port).send(request);
    const first = await client.until((text) => text.endsWith('x'));
    expect(first).toContain('Connection: keep-alive');
    expect(bodies(await client.send('GET / HTTP/1.0\r\n\r\n').untilClosed())).toEqual(['x', 'x']);
  });

  it('sends 100 Continue to who waits for it', async () => {
    const { port } = await start(echo);
    const client = new RawClient(port).send(
      'POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n',
    );
    expect(await client.until((text) => text.endsWith('\r\n\r\n'))).toBe('HTTP/1.1 100 Continue\r\n\r\n');
    expect(await client.send('ok').untilClosed()).toContain('"body":"ok"');
    const other = new RawClient(port).send(
      'POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: wonders\r\n\r\n',
    );
    expect(await other.untilClosed()).toMatch(/^HTTP\/1\.1 417 /);
  });

  it('answers a client that has half-closed', async () => {
    const { port } = await start(async () => {
      await new Promise((resolve) => setImmediate(resolve));
      return { status: 200, body: 'still' };
    });
    const client = new RawClient(port);
    client.socket.end('GET / HTTP/1.1\r\nHost: h\r\n\r\n');
    expect(await client.untilClosed()).toMatch(/still$/);
  });

  it('wants a Host in HTTP/1.1', async () => {
    const { port } = await start(echo);
    expect(await new RawClient(port).send('GET / HTTP/1.1\r\n\r\n').untilClosed()).toMatch(
      /^HTTP\/1\.1 400 /,
    );
  });

  it('limits the body, said or sent', async () => {
    const { port } = await start(echo, { maxBodyBytes: 4 });
    const head = 'POST / HTTP/1.1\r\nHost: h\r\n';
    const said = new RawClient(port).send(`${head}Content-Length: 5\r\n\r\n`);
    expect(await said.untilClosed()).toMatch(/^HTTP\/1\.1 413 /);
    const sent = new RawClient(port).send(`${head}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n`);
    expect(await sent.untilClosed()).toMatch(/^HTTP\/1\.1 413 /);
    const whole = new RawClient(port).send(`${head}Connection: close\r\nContent-Length: 4\r\n\r\nabcd`);
    expect(await whole.untilClosed()).toMatch(/^HTTP\/1\.1 200 /);
  });

  it('tells a failing handler’s client nothing but that', async () => {
    const { port, errors } = await start((request) => {
      if (request.path === '/sync') throw new Error('secret');
      if (request.path === '/header') return { status: 200, headers: ['X', 'a\r\nb'], body: '' };
      return Promise.reject(new Error('secret'));
    });
    for (const path of ['/sync', '/async', '/header']) {
      const text = await new RawClient(port).send(`GET ${path} HTTP/1.0\r\n\r\n`).untilClosed();
      expect(text).toMatch(/^HTTP\/1\.1 500 /);
      expect(text).not.toContain('secret');
    }
    expect(errors).toHaveLength(3);
  });

  it('fires the signal when the caller goes, and only then', async () => {
    let asked: ((request: HttpServedRequest) => void) | undefined;
    const { port } = await start((request) => {
      asked?.(request);
      return request.path === '/quick'
        ? { status: 200, body: '' }
        : new Promise<HttpServedReply>((resolve) => {
            request.signal.addEventListener('abort', () => resolve({ status: 200, body: '' }));
          });
    });
    const next = (): Promise<HttpServedRequest> => new Promise((resolve) => (asked = resolve));

    const quick = next();
    const client = new RawClient(port).send('GET /quick HTTP/1.1\r\nHost: h\r\n\r\n');
    const { signal } = await quick;
    await client.until((text) => text.includes('\r\n\r\n'));
    const slow = next();
    client.send('GET /slow HTTP/1.1\r\nHost: h\r\n\r\n');
    const request = await slow;
    expect(request.signal.aborted).toBe(false);
    const aborted = new Promise((resolve) => request.signal.addEventListener('abort', resolve));
    client.socket.destroy();
    await aborted;
    expect(request.signal.reason).toBeInstanceOf(PluginError);
    expect(signal.aborted).toBe(false);
  });

  it('has a deadline for a head and for a body, and closes what is idle', async () => {
    const { port } = await start(echo, { headTimeoutMs: 40, bodyTimeoutMs: 40, idleMs: 40 });
    expect(await new RawClient(port).untilClosed()).toBe('');
    expect(await new RawClient(port).send('GET / HT').untilClosed()).toMatch(/^HTTP\/1\.1 408 /);
    const body = new RawClient(port).send('POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nabc');
    expect(await body.untilClosed()).toMatch(/^HTTP\/1\.1 408 /);
    const idle = new RawClient(port).send('GET / HTTP/1.1\r\nHost: h\r\n\r\n');
    expect(bodies(await idle.untilClosed())).toHaveLength(1);
  });

  it('cuts off a trickling client at the deadline', async () => {
    const { port } = await start(echo, { headTimeoutMs: 60 });
    const client = new RawClient(port);
    const timer = setInterval(() => client.send('a'), 5);
    try {
      expect(await client.untilClosed()).toMatch(/^HTTP\/1\.1 408 /);
    } finally {
      clearInterval(timer);
    }
  });

  it('reads no further request while answers are not read', async () => {
    let served = 0;
    const { port, accepted } = await start(
      () => {
        served++;
        return { status: 200, body: 'x'.repeat(1024 * 1024) };
      },
      { writeTimeoutMs: 100 },
    );
    const client = net.connect({ port, host: '127.0.0.1' });
    opened.push(() => Promise.resolve(void client.destroy()));
    client.on('error', () => {});
    client.pause();
    client.write('GET / HTTP/1.1\r\nHost: h\r\n\r\n'.repeat(1000));
    // The client never reads: the server gives up.
    while (accepted.length === 0) await new Promise((resolve) => setImmediate(resolve));
    await new Promise((resolve) => accepted[0]!.once('close', resolve));
    expect(served).toBeGreaterThan(0);
    expect(served).toBeLessThan(50);
  });

  it('closes: the idle at once, the busy after their answer', async () => {
    let answer: (() => void) | undefined;
    const { port, server } = await start(
      (request) =>
        new Promise<HttpServedReply>((resolve) => {
          answer = () => resolve({ status: 200, body: request.path });
          if (request.path === '/idle') answer();
        }),
    );
    const idle = new RawClient(port).send('GET /idle HTTP/1.1\r\nHost: h\r\n\r\n');
    await idle.until((text) => text.endsWith('/idle'));
    const asked = new RawClient(port).send('GET /busy HTTP/1.1\r\nHost: h\r\n\r\n');
    answer = undefined;
    while (answer === undefined) await new Promise((resolve) => setImmediate(resolve));
    const closed = server.close();
    await idle.untilClosed();
    (answer as () => void)();
    expect(await asked.untilClosed()).toMatch(/Connection: close[^]*\/busy$/);
    asked.socket.end();
    await closed;
  });

  it('cuts off what does not end in time when it closes', async () => {
    const { port, server } = await start(() => new Promise<HttpServedReply>(() => {}));
    const client = new RawClient(port).send('GET / HTTP/1.1\r\nHost: h\r\n\r\n');
    await new Promise((resolve) => client.socket.once('connect', resolve));
    await server.close(20);
    expect(await client.untilClosed()).toBe('');
  });
});

describe('bad input', () => {
  it('refuses every smuggling attempt and serves nothing that came with it', async () => {
    const paths: string[] = [];
    const { port } = await start((request) => {
      paths.push(request.path);
      return { status: 200, body: '' };
    });
    await Promise.all(
      smugglingAttempts.map(async (attempt) => {
        const text = await new RawClient(port).send(attempt.bytes).untilClosed();
        expect(text, attempt.name).toMatch(new RegExp(`^HTTP/1\\.1 ${attempt.status} `));
        expect(text.match(/HTTP\/1\.1 \d/g), attempt.name).toHaveLength(1);
      }),
    );
    expect(paths).toEqual([]);
  });

  it('answers garbage with an error or a close, and goes on serving', async () => {
    const { port } = await start(echo, { headTimeoutMs: 200, bodyTimeoutMs: 200 });
    const piece = fc.constantFrom(
      'GET / HTTP/1.1\r\n',
      'Host: h\r\n',
      '\r\n',
      'Transfer-Encoding: chunked\r\n',
      'Content-Length: 3\r\n',
      '3\r\nabc\r\n',
      '0\r\n\r\n',
      '\n',
      '\0',
      'abc',
    );
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 12 }), async (pieces) => {
        const client = new RawClient(port);
        for (const text of pieces) client.send(text);
        client.socket.end();
        const text = await client.untilClosed();
        client.socket.destroy();
        expect(text === '' || /^HTTP\/1\.1 (200|4\d\d|505) /.test(text)).toBe(true);
      }),
      { numRuns: 100 },
    );
    expect(await new RawClient(port).send('GET /after HTTP/1.0\r\n\r\n').untilClosed()).toContain('/after');
  });
});

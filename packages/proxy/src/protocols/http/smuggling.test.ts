import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { smugglingAttempts } from '../../../../plugin/src/wire/http1/http1-smuggling.fixture.ts';
import { Cleanup, connectPeer, startOrigin, startProxy } from './proxy.fixture.ts';
import type { TestOrigin, TestProxy } from './proxy.fixture.ts';

const cleanup = new Cleanup();
let origin: TestOrigin;
let proxy: TestProxy;
beforeAll(async () => {
  origin = await startOrigin(cleanup);
  proxy = await startProxy(cleanup);
});
afterAll(() => cleanup.run());

describe('a request that two readers could understand differently is refused, and nothing after it is read', () => {
  for (const { name, bytes, status, where } of smugglingAttempts) {
    test(name, async () => {
      const at = `127.0.0.1:${String(origin.port)}`;
      // Aimed at an origin that is there, so that what is refused is refused for its form alone.
      const aimed = bytes
        .replaceAll('http://origin.test', `http://${at}`)
        .replace(/^((?:\r\n)*GET[ \t]+)\//, `$1http://${at}/`)
        .replace('CONNECT origin.test:443', `CONNECT ${at}`);
      const before = origin.peers.length;
      const client = await connectPeer(cleanup, proxy.port);
      client.say(aimed);
      const text = await client.all();
      expect(text).toMatch(new RegExp(`^HTTP/1\\.1 ${String(status)} `));
      expect(text).toMatch(/^Connection: close\r$/m);
      expect(text.match(/^HTTP\/1\.1 /gm)).toHaveLength(1);
      expect(client.error).toBeUndefined();
      client.socket.destroy();
      const seen = origin.peers.slice(before);
      // A bad body is seen only after its head has gone on; the origin must then see that it was cut short, and never its end.
      expect(seen).toHaveLength(where === 'body' ? 1 : 0);
      for (const peer of seen) {
        await peer.all();
        expect(peer.text).not.toMatch(/\/hidden|\r\n0\r\n/);
      }
    });
  }
});

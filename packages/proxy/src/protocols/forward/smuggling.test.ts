import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { smugglingAttempts } from '../../../../plugin/src/wire/http1/http1-smuggling.fixture.ts';
import { Cleanup, connectPeer, startForward, startOrigin } from './forward.fixture.ts';
import type { TestOrigin, TestProxy } from './forward.fixture.ts';

const cleanup = new Cleanup();
let origin: TestOrigin;
let proxy: TestProxy;
beforeAll(async () => {
  origin = await startOrigin(cleanup);
  proxy = await startForward(cleanup, [{ port: origin.port }], { sniffing: true });
});
afterAll(() => cleanup.run());

describe('what two readers could understand differently does not get through a forwarder either', () => {
  for (const { name, bytes, status, where } of smugglingAttempts) {
    // To a forwarder these are other protocols.
    if (name === 'a TLS handshake' || name === 'a SOCKS5 greeting') continue;
    test(name, async () => {
      const before = origin.peers.length;
      const client = await connectPeer(cleanup, proxy.port);
      client.say(bytes);
      const text = await client.all();
      expect(text).toMatch(new RegExp(`^HTTP/1\\.1 ${String(status)} `));
      expect(text.match(/^HTTP\/1\.1 /gm)).toHaveLength(1);
      client.socket.destroy();
      const seen = origin.peers.slice(before);
      expect(seen).toHaveLength(where === 'body' ? 1 : 0);
      for (const peer of seen) {
        await peer.all();
        expect(peer.text).not.toMatch(/\/hidden|\r\n0\r\n/);
      }
    });
  }
});

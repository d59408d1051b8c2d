// grpc-go with the modules' published stubs, as GOST itself uses them, and its own client of the standard health service.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { describe, test } from 'node:test';
import { contractByKind, implement, servePlugins } from '@sallyport/plugin';
import { createLinkFiles } from '../common/links.ts';
import { peerSuite } from '../common/peer-suite.ts';
import { runPeer } from '../common/program.ts';

const bin = `${import.meta.dirname}/bin`;
const missing = existsSync(`${bin}/client`)
  ? false
  : 'the Go programs are not built: interop/install.sh says why';

peerSuite({
  name: 'Go, grpc-go and go-gost/plugin',
  server: [`${bin}/server`],
  client: [`${bin}/client`],
  missing,
});

describe("Go, grpc-go's health client", { skip: missing }, () => {
  test('what is served is SERVING, what is not is NOT_FOUND', async () => {
    const files = createLinkFiles();
    const modules = [implement(contractByKind.admission, { admit: () => true })];
    const server = await servePlugins(modules, { port: 0 });
    try {
      const services = ['', 'proto.Admission', 'proto.SD'];
      const calls = services.map((service) => ({
        method: '/grpc.health.v1.Health/Check',
        request: { service },
      }));
      const flags = ['-script', files.script(calls), '-target', server.addr];
      const [all, one, none] = await runPeer([`${bin}/client`, ...flags], calls.length);
      assert.deepEqual(all?.['reply'], { status: 'SERVING' });
      assert.deepEqual(one?.['reply'], { status: 'SERVING' });
      assert.equal(none?.['code'], 5);
    } finally {
      await server.close();
      files.remove();
    }
  });
});

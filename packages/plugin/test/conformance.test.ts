import { afterAll, describe, test } from 'vitest';
import { contracts, servePlugins } from '@sallyport/plugin';
import { echoPlugin, serverConformance } from '@sallyport/plugin/testing';

const token = 'the-token';
const echoes = contracts.map((contract) => ({ contract, echo: echoPlugin(contract) }));
const server = await servePlugins(
  echoes.map(({ echo }) => echo.module),
  { port: 0, token },
);
afterAll(() => server.close(0));

for (const { contract, echo } of echoes) {
  for (const transport of ['grpc', 'http'] as const) {
    describe(`${contract.kind} over ${transport}`, () => {
      const cases = serverConformance({ contract, transport, addr: server.addr, token, echo });
      for (const { name, run } of cases) test(name, run);
    });
  }
}

/** Ten million calls over one client and one server: neither may grow after the first million. */
import type { BenchOptions } from '../run.ts';
import { preparePrograms, residentKib, startServer } from './programs.ts';
import { connectPlugin, contractByKind } from '@sallyport/plugin';

const millions = 10;
const inFlight = 128;

/** The measure `plugin-growth`. It is one long run; rounds mean nothing to it. */
export async function measurePluginGrowth(_options: BenchOptions): Promise<object> {
  const programs = preparePrograms();
  const server = await startServer(programs.servers['sallyport']!);
  const plugin = connectPlugin(contractByKind.auth, {
    addr: `127.0.0.1:${String(server.ports['grpc'])}`,
    token: 'gost',
    maxConcurrent: inFlight,
  });
  const rows: object[] = [];
  try {
    for (let million = 1; million <= millions; million++) {
      const started = performance.now();
      let left = 1_000_000;
      await Promise.all(
        Array.from({ length: inFlight }, async () => {
          while (left-- > 0) {
            const ask = {
              service: 's',
              username: `user-${String(left % 1000)}`,
              password: 'gost',
              client: '127.0.0.1:1',
              certificate: undefined,
            };
            if (!(await plugin.authenticate(ask, { meta: {} })).ok) throw new Error('wrong answer');
          }
        }),
      );
      const row = {
        million,
        callsPerSecond: Math.round(1e9 / (performance.now() - started)),
        clientMib: Number((residentKib(process.pid) / 1024).toFixed(1)),
        serverMib: Number((residentKib(server.pid) / 1024).toFixed(1)),
      };
      rows.push(row);
      console.log(JSON.stringify(row));
    }
  } finally {
    await plugin.close();
    await server.stop();
    programs.close();
  }
  return { versions: programs.versions, rows };
}

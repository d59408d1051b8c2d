/** What 1,000 connected clients, each of which has asked once, cost a server. */
import type { BenchOptions } from '../run.ts';
import { median, preparePrograms, residentKib, startServer } from './programs.ts';
import { connectPlugin, contractByKind } from '@sallyport/plugin';

const clients = 1000;

/** The measure `plugin-memory`. */
export async function measurePluginMemory({ rounds }: BenchOptions): Promise<object> {
  const programs = preparePrograms();
  const samples: Record<string, { beforeKib: number; connectedKib: number }[]> = {};
  try {
    for (let round = 0; round < rounds; round++) {
      for (const [name, command] of Object.entries(programs.servers)) {
        const server = await startServer(command);
        const connect = () =>
          connectPlugin(contractByKind.auth, {
            addr: `127.0.0.1:${String(server.ports['grpc'])}`,
            token: 'gost',
          });
        const ask = {
          service: 's',
          username: 'gost',
          password: 'gost',
          client: '127.0.0.1:1',
          certificate: undefined,
        };
        // The first calls load code; what they cost is not the clients'.
        const first = connect();
        for (let call = 0; call < 100; call++) await first.authenticate(ask, { meta: {} });
        const beforeKib = residentKib(server.pid);
        const all = Array.from({ length: clients }, connect);
        // Fifty at a time, as listen backlogs are finite.
        for (let at = 0; at < clients; at += 50)
          await Promise.all(all.slice(at, at + 50).map((plugin) => plugin.authenticate(ask, { meta: {} })));
        (samples[name] ??= []).push({ beforeKib, connectedKib: residentKib(server.pid) });
        await Promise.all([first, ...all].map((plugin) => plugin.close()));
        await server.stop();
      }
    }
  } finally {
    programs.close();
  }
  const rows = Object.entries(samples).map(([server, found]) => ({
    server,
    clients,
    beforeMib: Number((median(found.map(({ beforeKib }) => beforeKib)) / 1024).toFixed(1)),
    kibPerClient: Number(
      median(found.map(({ beforeKib, connectedKib }) => (connectedKib - beforeKib) / clients)).toFixed(1),
    ),
  }));
  console.table(rows);
  return { versions: programs.versions, rounds, rows };
}

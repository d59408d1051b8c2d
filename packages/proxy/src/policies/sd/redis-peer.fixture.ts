import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';

/** What a peer says to a command: bytes as they are, nothing at all, or the end of the connection. */
type Said = string | 'silence' | 'hang up';

/** Something that listens as a Redis does, and says what a test wants. */
export interface RedisPeer {
  readonly address: { readonly host: string; readonly port: number };
  /** Every command that came, in words. */
  readonly commands: readonly (readonly string[])[];
  /** How many connections came. */
  readonly connections: number;
  /** Ends all connections, and goes on listening. */
  drop(): void;
  close(): Promise<void>;
}

/**
 * Starts one on a free port. Commands are told apart as RESP says (an array of bulk strings); `SELECT` and `AUTH` are answered
 * with OK where `answer` says nothing of them.
 */
export async function redisPeer(
  answer: (words: readonly string[], connection: number) => Said | undefined,
): Promise<RedisPeer> {
  const commands: (readonly string[])[] = [];
  const sockets = new Set<Socket>();
  let connections = 0;
  const server = createServer((socket) => {
    const number = ++connections;
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => undefined); // A client that goes is seen in its close.
    let rest = '';
    socket.setEncoding('latin1').on('data', (text: string) => {
      rest += text;
      for (;;) {
        const command = takeCommand(rest);
        if (command === undefined) return;
        rest = command.rest;
        commands.push(command.words);
        const verb = command.words[0]!.toUpperCase();
        const said =
          answer(command.words, number) ?? (['SELECT', 'AUTH'].includes(verb) ? '+OK\r\n' : 'silence');
        if (said === 'hang up') socket.destroy();
        else if (said !== 'silence') socket.write(said);
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const drop = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    address: { host: '127.0.0.1', port: (server.address() as AddressInfo).port },
    commands,
    get connections() {
      return connections;
    },
    drop,
    async close() {
      drop();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function takeCommand(text: string): { readonly words: string[]; readonly rest: string } | undefined {
  const head = /^\*(\d+)\r\n/.exec(text);
  if (head === null) return undefined;
  let at = head[0].length;
  const words: string[] = [];
  for (let i = 0; i < Number(head[1]); i++) {
    const size = /^\$(\d+)\r\n/.exec(text.slice(at));
    if (size === null) return undefined;
    at += size[0].length;
    const end = at + Number(size[1]);
    if (text.length < end + 2) return undefined;
    words.push(text.slice(at, end));
    at = end + 2;
  }
  return { words, rest: text.slice(at) };
}

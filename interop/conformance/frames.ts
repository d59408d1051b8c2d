// The runner and the programs under test exchange messages over standard input and output, each after its length in four
// bytes, highest first.

/** Every message that comes in on standard input, until it ends. */
export async function* readFrames(): AsyncGenerator<Buffer> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of process.stdin) {
    rest = Buffer.concat([rest, chunk as Buffer]);
    while (rest.length >= 4 && rest.length >= 4 + rest.readUInt32BE(0)) {
      const end = 4 + rest.readUInt32BE(0);
      yield rest.subarray(4, end);
      rest = rest.subarray(end);
    }
  }
}

/** Writes one message to standard output. */
export function writeFrame(message: Uint8Array): void {
  const head = Buffer.alloc(4);
  head.writeUInt32BE(message.length);
  process.stdout.write(Buffer.concat([head, message]));
}

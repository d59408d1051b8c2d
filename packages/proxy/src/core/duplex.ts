import { Duplex } from 'node:stream';
import type { Conn } from './conn.ts';

/**
 * A Conn as Node's Duplex, for libraries that want one. Whoever takes it uses nothing else of the Conn from then on.
 * Destroying it resets the connection; ending it half-closes.
 */
export function duplexOf(conn: Pick<Conn, 'read' | 'write' | 'end' | 'reset'>): Duplex {
  const duplex: Duplex = new Duplex({
    allowHalfOpen: true,
    read() {
      conn.read().then(
        (bytes) => duplex.push(bytes),
        (error: unknown) => duplex.destroy(error as Error),
      );
    },
    write(bytes: Buffer, _encoding, done) {
      conn.write(bytes).then(() => {
        done();
      }, done);
    },
    final(done) {
      void conn.end().then(() => done());
    },
    destroy(error, done) {
      // After both directions have ended there is nothing left to reset.
      if (error !== null || !duplex.readableEnded || !duplex.writableFinished) conn.reset();
      done(error);
    },
  });
  return duplex;
}

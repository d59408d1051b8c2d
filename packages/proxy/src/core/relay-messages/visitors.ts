import { acceptBoundStreams, maxHeadBytes } from '../bind/bound-streams.ts';
import type { BoundStreamsOptions, VisitorHead } from '../bind/bound-streams.ts';
import type { Conn, RemoteListening } from '../conn.ts';
import { describedConn, describedDatagrams } from '../described-conn.ts';
import { malformed } from '../../wire/fault.ts';
import { parseRelayResponse, relayStatus } from '../../wire/relay.ts';
import type { Parse } from '../../wire/wire-reader.ts';
import { createRelayDatagrams } from './datagrams.ts';

/** How a node's visitors are received. */
export interface VisitorsOptions extends Omit<BoundStreamsOptions, 'parse' | 'endOf'> {
  /** With `udp` a visitor's stream holds its datagrams, each behind its length. */
  readonly network: 'tcp' | 'udp';
}

/**
 * As {@link acceptBoundStreams}, of GOST's BIND over relay and tunnel: a stream begins with an answer of the relay protocol that
 * holds the visitor's address and, in tunnels, what it wants.
 */
export function receiveVisitors(node: Conn, { network, ...options }: VisitorsOptions): RemoteListening {
  return acceptBoundStreams(node, {
    ...options,
    parse: parseHead,
    endOf: (stream, ends) =>
      network === 'tcp'
        ? describedConn(stream, ends)
        : describedDatagrams(createRelayDatagrams(stream, ends.remote), ends),
  });
}

/** The head of a stream: who visits, and what is wanted. */
const parseHead: Parse<VisitorHead> = (bytes) => {
  if (bytes.length >= 4 && bytes[0] === 1 && bytes.readUInt16BE(2) > maxHeadBytes)
    throw malformed('upstream', `its head has more than ${String(maxHeadBytes)} bytes`);
  const parsed = parseRelayResponse(bytes);
  if (parsed === undefined) return undefined;
  const { status, features } = parsed.message;
  if (status !== relayStatus.ok) throw malformed('upstream', `its head says ${String(status)} instead of 0`);
  const [source, wanted] = features.flatMap((one) => (one.type === 'addr' ? [one.address] : []));
  return {
    message: { source, ...(wanted !== undefined && wanted.port !== 0 && { wanted }) },
    length: parsed.length,
  };
};

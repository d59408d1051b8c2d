import type { Connector, Handler, Protocol } from '../../core/protocol.ts';
import { handleForward } from './handle.ts';
import { handleRemote } from './handle-remote.ts';
import { handlerFields } from './options.ts';

/** As in GOST one handler has three names; whether it carries connections or datagrams is for the listener to say. */
const handler: Handler = {
  metadata: handlerFields,
  serves: 'both',
  forwards: 'always',
  handle: handleForward,
};

/** As in GOST a node that is spoken to in no protocol is its own target: what is asked of it is not said to anybody. */
const connector: Connector = { metadata: {}, connect: (node) => Promise.resolve(node) };

/** Port forwarding to the nodes of a service's `forwarder`. */
export const tcpForward: Protocol = { type: 'tcp', handler, connector };

/** The same, under the name that goes with datagrams. */
export const udpForward: Protocol = { type: 'udp', handler };

/** The same, under the name that goes with both. */
export const forward: Protocol = { type: 'forward', handler, connector };

/** The same for what comes to the far end of a chain: with no forwarder a tunnel's visitor goes where it wants to. */
const remoteHandler: Handler = { ...handler, forwards: 'optional', handle: handleRemote };

/** Connections that come to the far end of the listener's chain. */
export const rtcpForward: Protocol = { type: 'rtcp', handler: remoteHandler };

/** Datagrams that do. */
export const rudpForward: Protocol = { type: 'rudp', handler: remoteHandler };

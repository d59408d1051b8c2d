import type { Conn } from '../../core/conn.ts';
import type { Datagrams } from '../../core/datagrams.ts';
import { ProxyError } from '../../core/errors.ts';
import { lingeringClose } from '../../core/linger.ts';
import { formatSocks5Datagram, parseSocks5Datagram } from '../../wire/socks5-udp.ts';
import type { Socks5UdpDatagram } from '../../wire/socks5-udp.ts';
import { sharedReads, untilPeerLeaves } from './reads.ts';
import { asBuffer } from '../../core/framed-datagrams.ts';

/**
 * Datagrams by way of a SOCKS5 node's relay (RFC 1928, section 7). `relay` leads to it. They close with the control
 * connection, which from now on belongs to them, and so does `relay`.
 */
export function createRelayedDatagrams(control: Conn, relay: Datagrams): Datagrams {
  const read = sharedReads(control);
  let open = true;
  let end!: () => void;
  const closed = new Promise<void>((resolve) => (end = resolve));
  const close = () => {
    if (!open) return;
    open = false;
    relay.close();
    end();
    void lingeringClose(control, { read });
  };
  void untilPeerLeaves(read).then(close);
  void relay.closed.then(close);
  return {
    kind: 'datagrams',
    local: relay.local,
    remote: control.remote,
    closed,
    receive(each) {
      relay.receive((bytes) => {
        const datagram = parse(bytes);
        if (datagram?.fragment === 0) each(datagram.data, datagram.address);
      });
    },
    send(data, peer) {
      if (!open || peer === undefined) return false;
      try {
        return relay.send(formatSocks5Datagram({ address: peer, data: asBuffer(data) }));
      } catch (error) {
        if (error instanceof ProxyError) return false;
        throw error;
      }
    },
    close,
  };
}

function parse(bytes: Buffer): Socks5UdpDatagram | undefined {
  try {
    return parseSocks5Datagram(bytes, 'upstream');
  } catch (error) {
    // One bad datagram is no reason to end what the others are for.
    if (error instanceof ProxyError) return undefined;
    throw error;
  }
}

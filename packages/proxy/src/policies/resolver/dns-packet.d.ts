/** The part of the dns-packet library that is used here; it brings no types of its own. */
declare module 'dns-packet' {
  export interface Question {
    readonly type: string;
    readonly name: string;
    readonly class?: string;
  }

  export interface EdnsOption {
    /** A number of IANA's list, or the library's word for it. */
    readonly code: number | string;
    readonly ip?: string;
    readonly sourcePrefixLength?: number;
    readonly data?: Buffer;
  }

  export interface Resource {
    readonly type: string;
    readonly name: string;
    readonly ttl?: number;
    readonly class?: string;
    readonly data?: unknown;
    readonly udpPayloadSize?: number;
    /** OPT only: the high eight bits of the response code. */
    readonly extendedRcode?: number;
    readonly options?: readonly EdnsOption[];
  }

  export interface Packet {
    readonly id?: number;
    readonly type?: 'query' | 'response';
    /** The response code is the low four bits. */
    readonly flags?: number;
    readonly questions?: readonly Question[];
    readonly answers?: readonly Resource[];
    readonly authorities?: readonly Resource[];
    readonly additionals?: readonly Resource[];
  }

  interface Decoder<T> {
    (bytes: Buffer, offset?: number): T;
    /** How many bytes the last call has read. */
    readonly bytes: number;
  }

  const dnsPacket: {
    readonly RECURSION_DESIRED: number;
    readonly TRUNCATED_RESPONSE: number;
    readonly name: { readonly decode: Decoder<string> };
    /** Reads the length and the address behind it. */
    readonly aaaa: { readonly decode: Decoder<string> };
    encode(packet: Packet): Buffer;
    decode(bytes: Buffer): Packet;
  };
  export default dnsPacket;
}

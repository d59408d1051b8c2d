/** Families of `metadata` keys that GOST's handlers, listeners, dialers and connectors share. */
export const tuning = {
  keepalive: ['keepalive', 'keepalive.idle', 'keepalive.interval', 'keepalive.count'],
  mux: [
    'mux.type',
    'mux.version',
    'mux.keepaliveInterval',
    'mux.keepaliveDisabled',
    'mux.keepaliveTimeout',
    'mux.maxFrameSize',
    'mux.maxReceiveBuffer',
    'mux.maxStreamBuffer',
    'mux.maxStreamWindow',
  ],
  sniffing: [
    'sniffing',
    'sniffing.timeout',
    'sniffing.websocket',
    'sniffing.websocket.sampleRate',
    'mitm.certFile',
    'mitm.caCertFile',
    'mitm.keyFile',
    'mitm.caKeyFile',
    'mitm.alpn',
    'mitm.bypass',
  ],
  observer: ['observePeriod', 'observer.period', 'observer.observePeriod', 'observer.resetTraffic'],
  limiter: ['limiter.refreshInterval', 'limiter.cleanupInterval', 'limiter.scope'],
} as const;

const forwarding = [
  'readTimeout',
  'idleTimeout',
  'http.keepalive',
  'proxyProtocol',
  'bufferSize',
  ...tuning.sniffing,
];
const socks = [
  'readTimeout',
  'notls',
  'bind',
  'udp',
  'publicAddr',
  'udp.bufferSize',
  'udp.bindRange',
  'udp.bindRange.min',
  'udp.bindRange.max',
  'udp.resolveDomain',
  'comp',
  'tor',
  'hash',
  ...tuning.mux,
  ...tuning.sniffing,
];
const httpHandler = [
  'readTimeout',
  'idleTimeout',
  'http.header',
  'header',
  'http.keepalive',
  'keepalive',
  'http.compression',
  'compression',
  'proxyAgent',
  'authBasicRealm',
  'probeResist',
  'probeResistance',
  'probe_resist',
  'knock',
  'udp',
  'udp.bufferSize',
  'cache',
  ...tuning.sniffing,
];
const websocket = [
  'path',
  'header',
  'handshakeTimeout',
  'readHeaderTimeout',
  'readBufferSize',
  'writeBufferSize',
  'enableCompression',
  'backlog',
];

/** Metadata keys of the handlers of this version beside those that every handler takes. */
export const gostHandlerMetadata: Readonly<Record<string, readonly string[]>> = {
  http: httpHandler,
  socks5: socks,
  socks,
  socks4: ['readTimeout', 'hash', ...tuning.sniffing],
  socks4a: ['readTimeout', 'hash', ...tuning.sniffing],
  auto: [...new Set([...httpHandler, ...socks])],
  relay: ['readTimeout', 'bind', 'nodelay', 'udp.bufferSize', 'hash', ...tuning.mux, ...tuning.sniffing],
  sni: ['readTimeout', 'hash', ...tuning.sniffing],
  tcp: forwarding,
  udp: [...forwarding, 'stateless'],
  forward: forwarding,
};

/** Metadata keys of the listeners of this version. */
export const gostListenerMetadata: Readonly<Record<string, readonly string[]>> = {
  tcp: ['mptcp', 'reuseport', ...tuning.keepalive],
  tls: ['mptcp', ...tuning.keepalive],
  ws: [...websocket, 'mptcp', ...tuning.keepalive],
  wss: [...websocket, 'mptcp', ...tuning.keepalive],
  mtcp: ['mptcp', 'reuseport', 'backlog', ...tuning.mux, ...tuning.keepalive],
  mtls: ['mptcp', 'backlog', ...tuning.mux, ...tuning.keepalive],
  mws: [...websocket, 'mptcp', ...tuning.mux, ...tuning.keepalive],
  mwss: [...websocket, 'mptcp', ...tuning.mux, ...tuning.keepalive],
  udp: ['ttl', 'keepalive', 'readBufferSize', 'readQueueSize', 'backlog', 'stateless'],
  tun: ['router', 'tun.router', 'dns', 'tun.dns'],
  unix: [],
};

/** Metadata keys of the dialers of this version. */
export const gostDialerMetadata: Readonly<Record<string, readonly string[]>> = {
  tcp: [...tuning.keepalive],
  tls: ['handshakeTimeout', ...tuning.keepalive],
  ws: [...websocket, 'host', 'keepalive', 'ttl', ...tuning.keepalive.map((key) => `tcp.${key}`)],
  wss: [...websocket, 'host', 'keepalive', 'ttl', ...tuning.keepalive.map((key) => `tcp.${key}`)],
  mtcp: ['handshakeTimeout', ...tuning.mux, ...tuning.keepalive],
  mtls: ['handshakeTimeout', ...tuning.mux, ...tuning.keepalive],
  mws: [
    ...websocket,
    'host',
    'keepalive',
    'ttl',
    ...tuning.mux,
    ...tuning.keepalive.map((key) => `tcp.${key}`),
  ],
  mwss: [
    ...websocket,
    'host',
    'keepalive',
    'ttl',
    ...tuning.mux,
    ...tuning.keepalive.map((key) => `tcp.${key}`),
  ],
  udp: [],
  unix: [],
};

/** Metadata keys of the connectors of this version. */
export const gostConnectorMetadata: Readonly<Record<string, readonly string[]>> = {
  http: ['timeout', 'header'],
  socks5: ['notls', 'relay', 'udp.timeout', 'udp.bufferSize', ...tuning.mux],
  socks: ['notls', 'relay', 'udp.timeout', 'udp.bufferSize', ...tuning.mux],
  socks4: ['disable4a'],
  socks4a: ['disable4a'],
  relay: ['connectTimeout', 'nodelay', ...tuning.mux],
  sni: ['host'],
  forward: [],
  tcp: [],
  direct: ['action'],
  virtual: ['action'],
};

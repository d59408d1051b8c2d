// One row for each question to each module: who asks, what the module is asked, and what becomes of the user.
import { credentials } from './modules-config.ts';
import type { Asked } from './plugins.ts';
import type { Way, Wish } from './visits.ts';

/** The ways in which a user names a target. */
export const proxied: readonly Way[] = ['CONNECT', 'GET', 'socks5', 'socks4'];
/** And the one in which the proxy knows it. */
export const everyWay: readonly Way[] = [...proxied, 'tcp'];

/** What a user is told where something is refused, by way. */
export const refusals = {
  /** Whoever connects is not wanted. */
  admission: { CONNECT: 'closed', GET: 'closed', socks5: 'closed', socks4: 'closed', tcp: 'closed' },
  auth: { CONNECT: 'HTTP 407', GET: 'HTTP 407', socks5: 'credentials', socks4: 'SOCKS4 93', tcp: '' },
  bypass: { CONNECT: 'HTTP 403', GET: 'HTTP 403', socks5: 'SOCKS5 2', socks4: 'SOCKS4 92', tcp: 'closed' },
  noWay: { CONNECT: 'HTTP 503', GET: 'HTTP 503', socks5: 'SOCKS5 3', socks4: 'SOCKS4 91', tcp: 'closed' },
  tooMany: { CONNECT: 'HTTP 429', GET: 'HTTP 429', socks5: 'SOCKS5 2', socks4: 'SOCKS4 92', tcp: 'closed' },
} satisfies Record<string, Record<Way, string>>;

/** One question to one module in one place. */
export interface Row {
  readonly title: string;
  /** Whose service, by the name before the handler's. */
  readonly service: string;
  readonly ways: readonly Way[];
  /** Default: the origin, by the right user. */
  readonly wish?: (way: Way, facts: Facts) => Partial<Wish>;
  /** What a plugin is asked, in order, where the module is one. */
  readonly asked: (facts: Facts) => readonly Asked[];
  readonly outcome?: Readonly<Record<Way, string>>;
  /** At which of its addresses the origin was reached. Default 127.0.0.1. */
  readonly at?: string;
  /** Whether the named node was gone through. Default no. */
  readonly node?: boolean;
}

/** What a row's expectations are made of. */
export interface Facts {
  readonly way: Way;
  readonly service: string;
  readonly client: string;
  readonly originPort: number;
  /** As the module is told. */
  readonly target: string;
  readonly host: string;
  /** Who the user turned out to be. */
  readonly user: string;
}

/** What each module is asked about a visit. */
export const admitted = ({ client, service }: Facts): Asked => [
  'admission.admit',
  { client, service, network: 'tcp' },
];
export const authenticated = ({ way, client, service }: Facts, given = credentials): Asked[] => {
  const [username, password] = given === '' ? ['', ''] : (given.split(':') as [string, string]);
  const asked = {
    username,
    password: way === 'socks4' ? '' : password,
    client,
    service,
    certificate: undefined,
  };
  return way === 'tcp' ? [] : [['auth.authenticate', asked]];
};
export const passed = ({ target, service, user }: Facts): Asked => [
  'bypass.bypass',
  { target, user, network: 'tcp', host: '', path: '', service },
];
export const lookedUp = ({ host, user }: Facts): Asked => ['hosts.lookup', { network: 'ip', host, user }];
export const resolved = ({ host, user }: Facts): Asked => ['resolver.resolve', { network: 'ip', host, user }];
export const selected = ({ target, user, client }: Facts, to = target): Asked => [
  'hop.select',
  { network: 'tcp', target: to, host: target, path: '', user, client },
];
export const limited = ({ target, user, client, service }: Facts): Asked[] => {
  const base = { service, network: 'tcp', target: '', user: '', client: '' };
  return [
    ['limiter.limit', { ...base, scope: 'service' }],
    ['limiter.limit', { ...base, scope: 'conn', client }],
    ['limiter.limit', { ...base, scope: 'client', target, user, client }],
  ];
};

const named =
  (host: string) =>
  (_way: Way, { originPort }: Facts) => ({
    target: `${host}:${String(originPort)}`,
  });

export const rows: readonly Row[] = [
  {
    title: 'admission: who is admitted goes on',
    service: 'admitting',
    ways: everyWay,
    asked: (facts) => [admitted(facts), ...authenticated(facts)],
  },
  {
    title: 'admission: who is not hears nothing',
    service: 'refusing',
    ways: everyWay,
    asked: (facts) => [admitted(facts)],
    outcome: refusals.admission,
  },
  { title: 'auther: the right user', service: 'auth', ways: proxied, asked: (facts) => authenticated(facts) },
  {
    title: 'auther: a wrong password',
    service: 'auth',
    ways: ['CONNECT', 'GET', 'socks5'],
    wish: () => ({ credentials: 'gost:wrong' }),
    asked: (facts) => authenticated(facts, 'gost:wrong'),
    outcome: refusals.auth,
  },
  {
    title: 'auther: nobody’s credentials',
    service: 'auth',
    ways: ['CONNECT', 'GET'],
    wish: () => ({ credentials: undefined }),
    asked: (facts) => authenticated(facts, ''),
    outcome: refusals.auth,
  },
  {
    title: 'bypass: a target that is none of its',
    service: 'bypass',
    ways: proxied,
    asked: (facts) => [...authenticated(facts), passed(facts)],
  },
  {
    title: 'bypass: a target that is',
    service: 'bypass',
    ways: proxied,
    wish: () => ({ target: 'forbidden.test:443' }),
    asked: (facts) => [...authenticated(facts), passed(facts)],
    outcome: refusals.bypass,
  },
  {
    title: 'hop: the node that it names is gone through',
    service: 'hop',
    ways: proxied,
    wish: named('origin.test'),
    asked: (facts) => [...authenticated(facts), selected(facts)],
    node: true,
  },
  {
    title: 'hop: no node is no connection',
    service: 'hop',
    ways: proxied,
    wish: named('nowhere.test'),
    asked: (facts) => [...authenticated(facts), selected(facts)],
    outcome: refusals.noWay,
  },
  {
    title: 'hosts: the address that they give is dialled',
    service: 'hosts',
    ways: proxied,
    wish: named('hosts.test'),
    asked: (facts) => [...authenticated(facts), lookedUp(facts)],
    at: '127.0.0.2',
  },
  {
    title: 'hosts: a name that they do not know is as it was',
    service: 'hosts',
    ways: proxied,
    wish: named('localhost'),
    asked: (facts) => [...authenticated(facts), lookedUp(facts)],
  },
  {
    title: 'resolver: the address that it gives is dialled',
    service: 'resolver',
    ways: proxied,
    wish: named('resolver.test'),
    asked: (facts) => [...authenticated(facts), resolved(facts)],
    at: '127.0.0.3',
  },
  {
    title: 'resolver: no address is no connection',
    service: 'resolver',
    ways: proxied,
    wish: named('localhost'),
    asked: (facts) => [...authenticated(facts), resolved(facts)],
    outcome: refusals.noWay,
  },
];
